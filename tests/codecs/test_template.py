"""Record accessor templates and paths."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from shipper.codecs.template import KeyPath, Template, text_of

BODY: dict[str, Any] = {
    "k": {"a": {"b": "v"}},
    "a": {"b": "v"},
    "s": "str",
    "n": 7,
    "arr": [1, {"z": 2}],
    "k-1": "dash",
    "p/q": "slash",
    "nothing": None,
    "kubernetes": {"labels": {"app.kubernetes.io/name": "web", "it's": "quoted", "a b,c": "odd"}},
}


@pytest.mark.parametrize(
    ("template", "expected"),
    [
        ("", ""),
        ("plain text", "plain text"),
        ("$s", "str"),
        ("$k['a']['b']", "v"),
        ("pre-$a['b'].post $TAG", "pre-v.post x.y.z"),
        ("$a.b", '{"b":"v"}.b'),
        ("$s['x']", "str"),
        ("$s[0]['x']", "str"),
        ("$arr[0]", "1"),
        ("$arr[1]['z']", "2"),
        ("$arr[1]['y']", ""),
        ("$arr[2]", ""),
        ("$arr['z']", ""),
        ("$a[0]", ""),
        ("$a['b']['c']", ""),
        ("$k-1", "dash"),
        ("$p/q", "slash"),
        ("$TAG", "x.y.z"),
        ("$TAG[1]", "y"),
        ("$TAG[9]", ""),
        ("$TAG[9]x", "x"),
        ("$TAG[0].$TAG[2]", "x.z"),
        ("/g/$TAG/end", "/g/x.y.z/end"),
        ("$s,$n", "str,7"),
        ('$s"$n', 'str"7'),
        ("$s $n", "str 7"),
        ("$missing.x", ".x"),
        ("$arr.x", ".x"),
        ("$nothing", "null"),
        ("$kubernetes['labels']['app.kubernetes.io/name']", "web"),
        ("$kubernetes['labels']['it''s']", "quoted"),
        ("$kubernetes['labels']['a b,c'].x", "odd.x"),
        ("5 $", "5 $"),
        ("5 $ each", "5 $ each"),
        ("${VAR} $(s)", "${VAR} $(s)"),
        ("new.$1.$2.$9", "new.one.."),
    ],
)
def test_a_template_is_filled_in(template: str, expected: str) -> None:
    assert Template.parse(template).render("x.y.z", BODY, ("all", "one", None)) == expected


@pytest.mark.parametrize(
    ("template", "position"),
    [
        ("$s$s", 3),
        ("$n-$f", 4),
        ("$a['b']$s", 8),
        ("$a['b']-z", 8),
        ("$a['b'", 3),
        ("$a[b]", 3),
        ("$a[-1]", 3),
        ('$m["a"]', 3),
        ("x $s:y", 5),
        ("$TAG[x]", 5),
        ("[$missing]", 10),
    ],
)
def test_a_mistake_in_a_template_is_told_with_its_place(template: str, position: int) -> None:
    with pytest.raises(ValueError, match=f"at character {position} of"):
        Template.parse(template)


@pytest.mark.parametrize(
    ("template", "expected"),
    [
        ("$s.$a['b']", "str.v"),
        ("$s.$missing", None),
        ("$k['a']['nope']", None),
        ("$arr", None),
        ("$nothing", "null"),
        ("$TAG[9]x", "x"),
        ("$s.$TAG[9]", "str."),
        ("$s.$3", "str."),
        ("text", "text"),
    ],
)
def test_a_strict_template_fails_as_a_whole_when_a_value_is_missing(template: str, expected: str | None) -> None:
    assert Template.parse(template).render_strict("x.y.z", BODY) == expected


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("text", "text"),
        (True, "true"),
        (False, "false"),
        (-3, "-3"),
        (1.5, "1.500000"),
        (None, "null"),
        (b"\x00\xff", "00ff"),
        ({"a": [1, "ä"]}, '{"a":[1,"ä"]}'),
        ([1], None),
        ({"a": "\udcff"}, '{"a":"\ufffd"}'),
        (msgspec.Raw(b'{"a":1}'), '{"a":1}'),
        (msgspec.Raw(b'"text"'), "text"),
    ],
)
def test_values_become_text(value: Any, expected: str | None) -> None:
    assert text_of(value) == expected


@pytest.mark.parametrize(
    ("template", "is_static", "uses_record"),
    [
        ("text $", True, False),
        ("$TAG[0]-$TAG", False, False),
        ("$TAG.$s", False, True),
        ("$1", False, True),
    ],
)
def test_a_template_knows_what_it_depends_on(template: str, is_static: bool, uses_record: bool) -> None:
    parsed = Template.parse(template)

    assert (parsed.is_static, parsed.uses_record) == (is_static, uses_record)


def test_a_template_names_the_values_that_it_reads() -> None:
    paths = Template.parse("$a['b'].$TAG,$s").paths

    assert [(path.key, path.steps) for path in paths] == [("a", ("b",)), ("s", ())]


def test_a_template_of_the_tag_alone_is_worked_out_once_per_tag() -> None:
    template = Template.parse("/logs/$TAG[1]")

    first, second = template.render("a.b", {}), template.render_strict("a.b", BODY)

    assert first == "/logs/b"
    assert second is first


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("s", "str"),
        ("$s", "str"),
        ("k-1", "dash"),
        ("$a['b']", "v"),
        ("$arr[1]['z']", 2),
        ("$arr", [1, {"z": 2}]),
        ("$nothing", None),
        ("$nothing['x']", None),
        ("$missing", "default"),
        ("$missing['x']", "default"),
        ("$arr[7]", "default"),
        ("$s['x']", "str"),
        ("a['b']", "default"),
    ],
)
def test_a_path_finds_a_value_or_gives_the_default(path: str, expected: Any) -> None:
    assert KeyPath.parse(path).get(BODY, "default") == expected


@pytest.mark.parametrize("path", ["$", "$-a", "$a.b", "$a['b", "$a ", "$a['b']x"])
def test_a_path_that_is_not_understood_is_refused(path: str) -> None:
    with pytest.raises(ValueError, match="syntax error"):
        KeyPath.parse(path)


def test_values_that_were_encoded_ahead_are_looked_into() -> None:
    body = {"kubernetes": msgspec.Raw(b'{"pod_name":"web-1"}'), "a": {"b": msgspec.Raw(b"[1,2]")}}

    assert Template.parse("$kubernetes['pod_name'].$a['b'][1]").render("t", body) == "web-1.2"
    assert KeyPath.parse("$kubernetes['pod_name']").get(body) == "web-1"
