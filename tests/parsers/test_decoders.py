"""The options Decode_Field and Decode_Field_As."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shipper.parsers.decoders import Decoders, DecodeRule
from shipper.parsers.escapes import unescape, unescape_unicode, unquote_mysql
from shipper.record import Body


def decoded(body: Body, *rules: str) -> Body:
    """The body after rules that begin with `as` or `add`."""
    words = [rule.split(" ", 1) for rule in rules]
    Decoders([DecodeRule.parse(rest, replaces=how == "as") for how, rest in words]).apply(body)
    return body


@pytest.mark.parametrize(
    ("body", "rules", "expected"),
    [
        pytest.param({"log": '{"x":1}', "k": "v"}, ["as json log"], {"log": {"x": 1}, "k": "v"}, id="27"),
        pytest.param({"log": '{"x":1}', "k": "v"}, ["add json log"], {"log": '{"x":1}', "k": "v", "x": 1}, id="28"),
        pytest.param(
            {"a": '{"x":1,"y":{"z":[1,2]}}'}, ["as json a"], {"a": {"x": 1, "y": {"z": [1, 2]}}}, id="29 object"
        ),
        pytest.param({"a": "[1,2]"}, ["as json a"], {"a": "[1,2]"}, id="29 array"),
        pytest.param({"a": "notjson"}, ["as json a"], {"a": "notjson"}, id="29 text"),
        pytest.param({"a": '{"x":1}'}, ["as escaped a", "as json a"], {"a": '{"x":1}'}, id="30"),
        pytest.param({"a": r"tab\tq\"z\qk"}, ["as escaped a"], {"a": 'tab\tq"zqk'}, id="31"),
        pytest.param(
            {"a": r"caf\u00e9 \"q\" \/ \x41 \101 \n"}, ["as escaped_utf8 a"], {"a": 'café "q" / A A \n'}, id="32"
        ),
        pytest.param(
            {"a": r"{\"x\":\"1\"}"}, ["as escaped a do_next", "as json a"], {"a": {"x": "1"}}, id="33"
        ),
        pytest.param(
            {"a": r"'it\'s \Z \0 \q'"}, ["as mysql_quoted a"], {"a": "it's \x1a \0 \\q"}, id="34"
        ),
        pytest.param({"a": "x"}, ["as json a", "as escaped a"], {"a": "x"}, id="failure stops"),
        pytest.param({"a": r"x\t"}, ["as json a try_next", "as escaped a"], {"a": "x\t"}, id="failure goes on"),
        pytest.param({"a": r"x\t"}, ["as json a do_next", "as escaped a"], {"a": "x\t"}, id="failure goes on too"),
        pytest.param({"a": r"\\t"}, ["as escaped a try_next", "as escaped a"], {"a": "\\t"}, id="success stops"),
        pytest.param({"a": "{}"}, ["as json a do_next", "as escaped a"], {"a": {}}, id="a map ends it"),
        pytest.param(
            {"a": '{"x":1}', "b": '{"y":2}'},
            ["add json a", "add json b"],
            {"a": '{"x":1}', "b": '{"y":2}', "x": 1, "y": 2},
            id="entries of two fields",
        ),
        pytest.param(
            {"a": r"{\"x\":1}"}, ["add escaped a do_next", "add json a"], {"a": r"{\"x\":1}", "x": 1}, id="added chain"
        ),
        pytest.param({"a": '{"a":1}'}, ["add json a"], {"a": 1}, id="entries overwrite"),
        pytest.param({"a": 5, "b": None}, ["as json a", "as json b", "as json c"], {"a": 5, "b": None}, id="no texts"),
    ],
)  # fmt: skip
def test_fields_are_decoded(body: Body, rules: list[str], expected: Body) -> None:
    result = decoded(body, *rules)

    assert result == expected
    assert list(result) == list(expected)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (r"\n\t\r\a\b\v\f\\", "\n\t\r\a\b\v\f\\"),
        (r"\0\101\x41\u00e9\'", "0101x41u00e9'"),
        ("plain", "plain"),
        ("end\\", "end\\"),
    ],
)
def test_simple_escapes_are_decoded_and_others_lose_their_backslash(text: str, expected: str) -> None:
    assert unescape(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (r"\n\t\r\a\b\v\f\\\"\'\/", "\n\t\r\a\b\v\f\\\"'/"),
        (r"\ud83d\ude00 \U0001F600", "😀 😀"),
        (r"\ud83d \ude00", "\ufffd \ufffd"),
        (r"\UFFFFFFFF", "\ufffd"),
        (r"\xe9\0\1013", "é\0A3"),
        (r"\q", "q"),
        ("end\\", "end\\"),
    ],
)
def test_unicode_escapes_are_decoded(text: str, expected: str) -> None:
    assert unescape_unicode(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (r"'\n\t\r\b\\\'\"\0\Z\%'", "\n\t\r\b\\'\"\0\x1a\\%"),
        ('"two"', "two"),
        ("''", ""),
        ("'open", None),
        ("'mixed\"", None),
        ("bare", None),
        ("'", None),
    ],
)
def test_only_whole_quoted_texts_are_unquoted(text: str, expected: str | None) -> None:
    assert unquote_mysql(text) == expected


@given(st.text())
def test_what_was_escaped_comes_back(text: str) -> None:
    escaped = text.replace("\\", "\\\\").replace("\n", "\\n").replace("'", "\\'")

    assert unescape(escaped) == text
    assert unescape_unicode(escaped) == text
    assert unquote_mysql(f"'{escaped}'") == text


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("json", "DECODER FIELD"),
        ("json a b c", "DECODER FIELD"),
        ("jsn a", "did you mean 'json'"),
        ("json a do_nxt", "did you mean 'do_next'"),
    ],
)
def test_a_rule_that_cannot_be_read_is_refused(text: str, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        DecodeRule.parse(text, replaces=True)
