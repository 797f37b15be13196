"""Plain texts that a pattern needs."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shipper.parsers.multiline import built_in_definitions
from shipper.parsers.needles import needles_of
from shipper.parsers.onigmo import Regex

PATTERNS = [
    (r"(.)(?:Exception|Error|Throwable)[:\r\n]", ("Exception", "Error", "Throwable")),
    (r"^Traceback \(most recent call last\):$", ("Traceback (most recent call last):",)),
    (r"\bpanic: ", ("panic: ",)),
    (r"(?:panic|fatal)? here we", (" here we",)),
    (r"(?:panic|fatal){0,2}", ()),
    (r"abcd?", ("abc",)),
    (r"abcd*", ("abc",)),
    (r"abcd{0,1}", ("abc",)),
    (r"abcd+e", ("abcd",)),
    (r"abc|def", ()),
    (r"(abc|def)ghi", ("ghi",)),
    (r"[abc]def", ("def",)),
    (r"[[:alpha:]]def", ()),
    (r"[^\]]def", ()),
    (r"abc(?i)def", ()),
    (r"ab", ()),
    (r"(?!abc)defg", ("defg",)),
    (r"(a[)]b)cdef", ()),
    (r"\Aabc\.def\z", ("abc.def",)),
    ("", ()),
]


@pytest.mark.parametrize(("pattern", "expected"), PATTERNS)
def test_what_a_pattern_needs_is_known_or_nothing_is(pattern: str, expected: tuple[str, ...]) -> None:
    assert needles_of(pattern) == expected


@pytest.mark.parametrize("flags", ["i", "x", "mi"])
def test_nothing_is_known_where_flags_change_what_letters_mean(flags: str) -> None:
    assert needles_of("panic: here", flags) == ()


@pytest.mark.parametrize("pattern", [p for p, needles in PATTERNS if needles])
@given(st.data())
def test_every_text_in_which_the_pattern_is_found_has_one(pattern: str, data: st.DataObject) -> None:
    regex = Regex(pattern)

    text = data.draw(st.from_regex(pattern.replace(r"\z", r"\Z")))

    assert regex.search(text) is None or any(needle in text for needle in regex.needles)


def test_the_starts_of_java_and_go_and_python_are_known() -> None:
    definitions = built_in_definitions()

    assert definitions["java"].rules.needles == ("Exception", "Error", "Throwable", "V8 errors stack trace")
    assert definitions["go"].rules.needles
    assert definitions["python"].rules.needles
