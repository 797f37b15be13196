"""Plain texts that a pattern needs."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shipper.parsers.multiline import built_in_definitions
from shipper.parsers.needles import needles_of
from shipper.parsers.onigmo import Regex
from shipper.parsers.onigmo_syntax import translate

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
    (r"(a[)]b)cdef", ("cdef",)),
    (r"abc(a[)]b)|def", ()),
    (r"abc(a[[:alpha:])]b)|def", ()),
    (r"[^]abc]", ()),
    (r"[]abc]", ()),
    (r"[^\]abc]", ()),
    (r"abcd+*", ("abc",)),
    (r"abcd++*", ("abc",)),
    (r"abcd+?", ("abc",)),
    (r"(?:abc|def)+*", ()),
    (r"(?:abc|def)(?#no comment)*", ()),
    (r"abc{|}def", ()),
    (r"abcd{2}efg{1,3}", ("abc",)),
    (r"(?:a.b|cde)", ()),
    (r"(?:abc|def)", ("abc", "def")),
    (r"(?:abc|)", ()),
    (r"\x1b\[31mabc", ()),
    (r"\u0023abc", ()),
    (r"\101bcd", ()),
    (r"\cabcd", ()),
    (r"\C-abcd", ()),
    (r"(?<w>.)\k<w>", ()),
    (r"(?'word'.)\k'word'", ()),
    (r"\p{Alpha}abc", ()),
    (r"(?ai)abcd", ()),
    (r"(?-m)abcd", ()),
    (r"(?<=abc)def", ("def",)),
    (r"(?>abc)def", ("def",)),
    (r"\Aabc\.def\z", ("abc.def",)),
    ("", ()),
]


@pytest.mark.parametrize(("pattern", "expected"), PATTERNS)
def test_what_a_pattern_needs_is_known_or_nothing_is(pattern: str, expected: tuple[str, ...]) -> None:
    assert needles_of(pattern) == expected


@pytest.mark.parametrize("flags", ["i", "x", "mi"])
def test_nothing_is_known_where_flags_change_what_letters_mean(flags: str) -> None:
    assert needles_of("panic: here", flags) == ()


PIECES = (
    *("abcd", "wxyz", "ef", "Ab", "é", " ", ":", ",", "-", "#", "/", "'", '"', "=", "{", "}", "]", "{,", "a{b}"),
    *(r"\.", r"\[", r"\(", r"\|", r"\\", r"\{", r"\-", r"\/", r"\n", r"\t", r"\w", r"\d", r"\s", r"\S", r"\h", r"\R"),
    *(r"\x41", r"\x{41}", r"\x4", r"\u0041", r"\101", r"\0", r"\cA", r"\C-a", r"\p{Alpha}", r"\P{Digit}", r"\e", r"\a"),
    *(
        ".",
        "^",
        "$",
        r"\A",
        r"\z",
        r"\b",
        "[abc]",
        "[^abc]",
        "[]abc]",
        "[^]abc]",
        r"[^\]abc]",
        "[[:alpha:]]",
        "[)]",
        "[|]",
    ),
    *(
        "abc|def",
        "|",
        "(?#abcd)",
        "(?i)",
        "(?x)",
        "(?-i)",
        "(?m)",
        "(?<w>.)",
        r"\k<w>",
        "(?:abc|def|ghi)",
        "(?:a.b|cde)",
    ),
)
OPENINGS = ("(", "(?:", "(?<n>", "(?'n'", "(?=", "(?!", "(?<=", "(?<!", "(?>", "(?i:", "(?x:", "(?mi-x:", "(?ai:")
QUANTIFIERS = ("*", "+", "?", "{0,2}", "{2}", "{0}", "{,1}", "{1,}", "+?", "??", "*?", "++", "?+")

quantifiers = st.sampled_from(("", "", *QUANTIFIERS))
pieces = st.builds(str.__add__, st.sampled_from(PIECES), quantifiers)
several = st.lists(pieces, max_size=2).map("".join)
groups = st.builds("{}{}{}){}{}".format, st.sampled_from(OPENINGS), several, pieces, quantifiers, quantifiers)
parts = st.one_of(several, groups, st.builds("{}{}){}".format, st.sampled_from(OPENINGS), groups, quantifiers))
doubtful = (r"\x41bcd", r"\x{41}", r"\u0041", r"\101bcd", r"(?<w>.)\k<w>", r"\cabcd", "(?:a.b|cde)", r"\p{Alpha}")
texts = st.builds(str.__add__, st.sampled_from(("abc", "abcd", "(?:abc|def)", *doubtful)), quantifiers)
patterns = st.builds("{}{}{}{}{}".format, parts, texts, quantifiers, parts, st.sampled_from(("", "", "|a", ".*")))


@pytest.mark.parametrize("pattern", [p for p, needles in PATTERNS if needles])
@given(st.data())
def test_every_text_in_which_the_pattern_is_found_has_one(pattern: str, data: st.DataObject) -> None:
    regex = Regex(pattern)

    text = data.draw(st.from_regex(translate(pattern).compiled))

    assert regex.search(text) is None or any(needle in text for needle in regex.needles)


@settings(max_examples=300)
@given(patterns, st.data())
def test_no_pattern_is_found_in_a_text_without_its_needles(pattern: str, data: st.DataObject) -> None:
    regex = compiled(pattern)
    if regex is None or not regex.needles:
        return
    text = data.draw(st.from_regex(translate(pattern).compiled))

    assert regex.search(text) is None or any(needle in text for needle in regex.needles)


def compiled(pattern: str) -> Regex | None:
    """The expression, None if the pattern is none."""
    try:
        return Regex(pattern)
    except ValueError:
        return None


def test_the_starts_of_java_and_go_and_python_are_known() -> None:
    definitions = built_in_definitions()

    assert definitions["java"].rules.needles == ("Exception", "Error", "Throwable", "V8 errors stack trace")
    assert definitions["go"].rules.needles
    assert definitions["python"].rules.needles
