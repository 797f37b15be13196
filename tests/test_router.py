"""Routing: globs, regular expressions, and what becomes of outputs without either."""

from __future__ import annotations

import re
import time

import pytest

from shipper.router import Route, Router, match_route, match_tag, outputs_without_tags


class StartRegex:
    """A regular expression as the router needs it; counts how often it is asked."""

    def __init__(self, pattern: str) -> None:
        self._compiled = re.compile(pattern)
        self.asked = 0

    def match(self, text: str, /) -> re.Match[str] | None:
        self.asked += 1
        return self._compiled.match(text)


@pytest.mark.parametrize(
    ("pattern", "tag", "expected"),
    [
        ("*.*", "cpu.rpi", True),
        ("*.rpi", "cpu.rpi", True),
        ("cpu.*", "cpu.rpi", True),
        ("**d", "abcd", True),
        ("*e*", "abcd", False),
        ("system", "system\n", False),
        ("system*", "system\nx", True),
        ("mem.*", "cpu.rpi", False),
        ("*u.r*", "cpu.rpi", True),
        ("*", "", True),
        ("*c*", "abcd", True),
        ("hogeeeeeee", "hoge", False),
        ("metrics.*", "metrics", False),
        ("application.*", "application.var.log.x", True),
        ("application.*", "application", False),
        ("host.*", "host.dmesg", True),
        ("a*c", "abc", True),
        ("a*c", "a.b.c", True),
        ("a*a", "a", False),
        ("ab*ba", "aba", False),
        ("a*b*b", "ab", False),
        ("a*b*b", "abb", True),
        ("*ab*cd*", "xcdab", False),
        ("k8s_events", "k8s_events", True),
        ("k8s_events", "k8s_events.x", False),
        ("App", "app", False),
        ("a?c", "abc", False),
        ("a?c", "a?c", True),
        ("[ab]", "a", False),
        ("a.c", "abc", False),
        ("", "", True),
        ("", "a", False),
    ],
)
def test_a_glob_fits_whole_tags_and_only_the_star_is_special(pattern: str, tag: str, expected: bool) -> None:
    assert match_tag(pattern)(tag) is expected


def test_a_glob_with_many_stars_is_quick_on_a_tag_it_does_not_fit() -> None:
    fits = match_tag("*a" * 30 + "*b")
    began = time.process_time()

    assert not fits("a" * 5000)
    assert time.process_time() - began < 0.1


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [("foo", False), ("ap", True), (".*foo", True), (r"^app\.", True), ("x*", False), ("(?=app)", False)],
)
def test_a_regular_expression_begins_at_the_tags_start_and_consumes_something(pattern: str, expected: bool) -> None:
    assert match_route(None, StartRegex(pattern))("app.foo") is expected


@pytest.mark.parametrize(
    ("match", "regex", "expected"),
    [("zzz", "app", True), ("app.*", "zzz", True), ("zzz", "zzz", False), (None, None, False), ("app.*", "x*", True)],
)
def test_of_match_and_match_regex_either_suffices(match: str | None, regex: str | None, expected: bool) -> None:
    fits = match_route(match, StartRegex(regex) if regex else None)

    assert fits("app.foo") is expected


def test_a_tag_goes_to_every_output_that_fits_in_their_order() -> None:
    router = Router([Route("b.0", "app.*"), Route("a.1", "*"), Route("c.2", "sys")], inputs=3)

    assert router.outputs_for("app.web") == ("b.0", "a.1")
    assert router.outputs_for("sys") == ("a.1", "c.2")
    assert router.warnings == ()


def test_the_answer_for_a_tag_is_remembered_and_the_memory_is_bounded() -> None:
    regex = StartRegex("a")
    router = Router([Route("null.0", None, regex)], inputs=1, remembered=2)

    for tag in ("a1", "a1", "a2", "a3", "a1"):
        assert router.outputs_for(tag) == ("null.0",)

    assert regex.asked == 4


def test_one_output_without_match_gets_all_of_one_input() -> None:
    router = Router([Route("stdout.0")], inputs=1)

    assert router.outputs_for("anything") == ("stdout.0",)
    assert router.warnings == ()


@pytest.mark.parametrize(
    ("routes", "inputs"),
    [([Route("stdout.0")], 2), ([Route("stdout.0"), Route("null.1", "zzz")], 1), ([Route("stdout.0")], 0)],
)
def test_an_output_without_match_gets_nothing_otherwise_and_that_is_said(routes: list[Route], inputs: int) -> None:
    router = Router(routes, inputs)

    assert router.outputs_for("app") == ()
    assert router.warnings == ("[router] NO match for stdout.0 output instance",)


@pytest.mark.parametrize(
    ("pattern", "tag", "expected"),
    [
        ("app.*", "app.web", True),
        ("app.*", "app", False),
        ("app.*", "sys", False),
        ("kube.*", "kube.*", True),
        ("application.*", "dataplane.*", False),
        ("*.log", "kube.*", True),
        ("kube.var.log.*", "kube.*", True),
        ("kub", "kube.*", False),
        ("kube.", "kube.*", True),
        ("*a*b", "b*a", False),
        ("a*b", "*", True),
        ("*", "*", True),
        ("a*b*c", "a*c", True),
        ("a*x", "a*y", False),
        ("ab", "a**b", True),
        ("a**b", "a*c*b", True),
        ("abc", "a*bcd", False),
    ],
)
def test_an_output_whose_pattern_fits_no_input_is_found(pattern: str, tag: str, expected: bool) -> None:
    assert outputs_without_tags([Route("o", pattern)], [tag]) == ([] if expected else ["o"])


def test_a_regular_expression_is_believed_to_fit_a_tag_that_is_not_known_yet() -> None:
    routes = [Route("o.0", None, StartRegex("nope")), Route("o.1", "zzz", StartRegex("ap")), Route("o.2")]

    assert outputs_without_tags(routes, ["app", "sys"]) == ["o.0"]
    assert outputs_without_tags(routes, ["app", "kube.*"]) == []
