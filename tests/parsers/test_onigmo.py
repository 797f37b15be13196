"""Ruby's regular expressions on top of Python's."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shipper.parsers.onigmo import Regex, RegexError

Groups = dict[str, str | None]


def found(pattern: str, text: str) -> str | None:
    match = Regex.parse(pattern).search(text)
    return match and match[0]


def groups(pattern: str, text: str) -> Groups | None:
    regex = Regex.parse(pattern)
    match = regex.search(text)
    return match and regex.groups(match)


@pytest.mark.parametrize(
    ("pattern", "text", "expected"),
    [
        (r"(?<n>a)", "xa", {"n": "a"}),
        (r"(?'n'a)", "xa", {"n": "a"}),
        (r"(?<=x)(?<n>a)(?<!y)", "xa", {"n": "a"}),
        (r"(?<naïve>a)(?<_1>b)", "ab", {"naïve": "a", "_1": "b"}),
        (r"^(?<a>x)|(?<a>y)$", "y", {"a": "y"}),
        (r"(?:(?<a>x)|(?<b>y)|(?<a>z))+", "xyz", {"a": "z", "b": "y"}),
        (r"(?<a>x)|(?<b>y)", "y", {"a": None, "b": "y"}),
        (r"(\w)(?<b>\w)", "xy", {"b": "y"}),
        (r"(x)", "x", {}),
        (r"(?<n>x)(a){2}{2}(?:b)?+", "xaaaab", {"n": "x"}),
        (r"(?<q>['\"])(?<v>.*?)\k<q>", "a 'b\" c'", {"q": "'", "v": 'b" c'}),
        (r"(?<a>x)|(?<a>y)\k<a>", "yy", {"a": "y"}),
        (r"(?<a>x)?(?(<a>)(?<b>y)|(?<b>z))", "z", {"a": None, "b": "z"}),
    ],
)
def test_named_groups_are_given_in_order_and_merged(pattern: str, text: str, expected: Groups) -> None:
    captured = groups(pattern, text)

    assert captured == expected
    assert list(captured or ()) == list(expected)


@pytest.mark.parametrize(
    ("pattern", "text", "expected"),
    [
        # line anchors
        (r"^b$", "a\nb\nc", "b"),
        (r"\Ab", "a\nb", None),
        (r"a\z", "a\n", None),
        (r"a\Z", "a\n", "a"),
        (r"a\Z", "a\n\n", None),
        (r"a.b", "a\nb", None),
        (r"/a.b/m", "a\nb", "a\nb"),
        # flags
        (r"/A/i", "a", "a"),
        (r"x(?i)a|b", "xB", "xB"),
        (r"x(?i)a|b", "b", None),
        (r"(?:(?i)a)b", "AB", None),
        (r"(?i:a(?-i)b)c", "ABc", None),
        (r"(?i:a(?-i)b)c", "Abc", "Abc"),
        (r"(?m:.)a.", "\na\n", None),
        (r"(?mx: . )a", "\na", "\na"),
        (r"/ a b # c/x", "ab", "ab"),
        (r"(?x) a [ ] b", "a b", "a b"),
        (r"/é[ü]/i", "ÉÜ", "ÉÜ"),
        (r"(?i)É", "é", "é"),
        # classes and sets
        (r"\h+", "xyz09afAFg", "09afAF"),
        (r"\H+", "09afxyz", "xyz"),
        (r"[\h-]+", "x-a-", "-a-"),
        (r"[^\H]+", "zzab", "ab"),
        (r"\w+", "é1", "1"),
        (r"\d", "٣", None),
        (r"[[:alpha:]]+", "12éa3", "éa"),
        (r"[[:^digit:]_]+", "12éa_3", "éa_"),
        (r"[x[:upper:]]+", "axÉB", "xÉB"),
        (r"\p{Alpha}+", "12éa", "éa"),
        (r"\p{L}+ \P{L}", "ab cd 1", "cd 1"),
        (r"\p{^Lu}[\p{Decimal_Number}]", "AaB1b2", "b2"),
        (r"\p{punct}", "a-b", "-"),
        (r"[a-z&&[^aeiou]]+", "aebcd", "bcd"),
        (r"[^a-z&&[b-y]]+", "bcaz", "az"),
        (r"[a[^a-y]]+", "bazb", "az"),
        (r"[]a]+", "]a", "]a"),
        (r"[^]a]+", "]ab", "b"),
        (r"[a-\d]+", "b-4", "-4"),
        (r"[\d-x]+", "b-4", "-4"),
        (r"[a-c-e]+", "d-e", "-e"),
        (r"[(^$.|*+?{}]+", "a(^$.|*+?{}", "(^$.|*+?{}"),
        (r"[&~|\-\[]+", "a[-&~|", "[-&~|"),
        (r"[\t\x41\u00e9]+", "b\tAé", "\tAé"),
        (r"[\xC3\xA9]", "é", "é"),
        (r"[\b]", "a\bc", "\b"),
        # escapes
        (r"\<a\>\:\@\"\/\ \#", '<a>:@"/ #', '<a>:@"/ #'),
        (r"\u0023\x{1F600}\x41\101\e\cA", "#😀AA\x1b\x01", "#😀AA\x1b\x01"),
        (r"\xC3\xA9+\x41\x42+", "ééABB", "ééABB"),
        (r"[\xe2\x82\xac\x41-\x43]+", "x€B", "€B"),
        (r"\xff+", "\udcff\udcff", "\udcff\udcff"),
        (r"a\R+b", "a\r\n\nb", "a\r\n\nb"),
        (r"(?#a comment \) with a parenthesis)a", "a", "a"),
        (r"a]b}", "a]b}", "a]b}"),
        # quantifiers
        (r"[^ ]*+ ", "foo bar", "foo "),
        (r"a++a", "aaa", None),
        (r"(?>a+)a", "aaa", None),
        (r"a{,2}", "aaa", "aa"),
        (r"a{2}+", "aaaaa", "aaaa"),
        (r"^a{2}?b", "b", "b"),
        (r"a{1,2}?", "aa", "a"),
        (r"a{1,2}+$", "aaaaa", "aaaaa"),
        (r"a**b", "aab", "aab"),
        (r"a+?*b", "aab", "aab"),
        (r"^*a", "a", "a"),
        (r"a{b,}", "a{b,}", "a{b,}"),
        (r"a{}{,}", "a{}{,}", "a{}{,}"),
        (r"/a +/x", "aa", "aa"),
        # references by number, where nothing is named
        (r"(a|b)\1", "abb", "bb"),
        (r"(a|b)(c)\k<-2>", "aca", "aca"),
        (r"(a)?(?(1)b|c)", "c", "c"),
        # look-behinds of several lengths
        (r"(?<=a|bc)x", "bcx", "x"),
        (r"(?<!a|bc)x", "bcx", None),
        (r"(?<!a|bc)x", "cx", "x"),
    ],
)
def test_ruby_syntax_is_understood(pattern: str, text: str, expected: str | None) -> None:
    assert found(pattern, text) == expected


@pytest.mark.parametrize(
    ("pattern", "text", "expected"),
    [
        (r"/^(?<a>[a-z]+)$/", "abc", "abc"),
        (r"/^(?<a>[a-z]+)/z", "hello", None),
        (r"/^(?<a>[a-z]+)/z", "/hello/z", None),
        (r"/a/z", "x/a/z", "/a/z"),
        (r"/a/b/i", "A/B", "A/B"),
        (r"/a b/ixo", "AB", "AB"),
        (r"/", "a/b", "/"),
        (r"//", "ab", ""),
        (r"/a", "b/a", "/a"),
        (r"a/", "ba/", "a/"),
    ],
)
def test_slashes_and_flags_around_a_pattern_are_taken_off(pattern: str, text: str, expected: str | None) -> None:
    assert found(pattern, text) == expected


@pytest.mark.parametrize(
    ("pattern", "text", "matches"),
    [
        (r"^$", "", True),
        (r"^$", "\n", True),
        (r"^$", "a\n", False),
        (r"^$", "a\n\n", True),
        (r"^\s*$", "a\n", False),
        (r"^ |^$", "a\n", False),
        (r"b|^", "a\n", True),
        (r"(?:^)*b", "a\nb", True),
        (r"a\n(?=^)", "a\n", False),
        (r"a\n(^|x)", "a\n", False),
        (r"a\n(^|x)", "a\nb", True),
        (r"a\n(^|x)b", "a\nb", True),
        (r"a\n(?i)^b?|c", "a\n", False),
        (r"a\n^(?:b|c?)", "a\n", False),
        (r"a\n$", "a\n", True),
    ],
)
def test_no_line_starts_behind_the_last_newline(pattern: str, text: str, matches: bool) -> None:
    assert (Regex.parse(pattern).search(text) is not None) is matches


def test_a_later_line_is_found_even_if_the_pattern_begins_with_a_line_start() -> None:
    regex = Regex.parse("^b")

    assert regex.search("a\nb") is not None
    assert regex.search("a b") is None
    assert regex.match("a\nb") is None


@pytest.mark.parametrize(
    ("pattern", "position", "words"),
    [
        (r"(?<a>x)\g<a>", 7, "subexpression calls"),
        (r"a\K", 1, "look-behind"),
        (r"\X", 0, "not supported"),
        (r"^(?<a.b>x)", 1, "group name"),
        (r"(?<1a>x)", 0, "digit"),
        (r"(?P<a>x)", 0, "(?<name>…)"),
        (r"(?~x)", 0, "absence"),
        (r"(?{x})", 0, "not supported"),
        (r"ab(c", 2, "not closed"),
        (r"ab)c", 2, "no group to close"),
        (r"ab[c", 2, "not closed"),
        (r"/ab[c/i", 3, "not closed"),
        (r"ab[]", 2, "empty"),
        (r"ab[]c", 2, "empty"),
        (r"[z-a]", 1, "ends before it begins"),
        (r"[[:letter:]]", 1, "no character class"),
        (r"\p{Klingon}", 0, "Klingon"),
        (r"a|*", 2, "nothing to repeat"),
        (r"{2}", 0, "nothing to repeat"),
        (r"a{3,2}", 1, "ends before"),
        (r"ab(?<=c+)", 2, "fixed length"),
        (r"(?<a>b)\k<c>", 7, "no group named 'c'"),
        (r"(?<a>b)(c)\1", 10, "by name"),
        (r"(a)\k<2>", 3, "no group 2"),
        (r"(?<a>\k<a>)", 5, "open group"),
        ("a\\", 1, "backslash"),
        (r"\x{110000}", 0, "no such character"),
    ],
)
def test_what_cannot_be_used_is_refused_at_its_place(pattern: str, position: int, words: str) -> None:
    with pytest.raises(RegexError) as caught:
        Regex.parse(pattern)

    assert caught.value.position == position
    assert words in str(caught.value)
    assert f"position {position}" in str(caught.value)


def test_an_error_shows_the_place_in_the_pattern() -> None:
    with pytest.raises(ValueError, match=re.escape(r"'/ab<here>[c/i'")):
        Regex.parse("/ab[c/i")


def test_undecodable_bytes_are_characters_like_any_other() -> None:
    text = b"a \xff\xfe b".decode("utf-8", "surrogateescape")

    assert groups(r"^(?<a>\S+) (?<b>[^ ]+) (?<c>.*)$", text) == {"a": "a", "b": "\udcff\udcfe", "c": "b"}


_atoms = st.sampled_from(["a", "b", " ", "\\.", ".", "[ab]", "[^a]", "[a-c ]", "\\w", "\\s", "\\d", "$", "é"])
_repeated = st.builds(
    "{}{}".format,
    st.sampled_from(["a", "b", ".", "[ab]", "[^a]", "\\w", "(?:ab)", "(?:a|b)"]),
    st.sampled_from(["*", "+", "?", "*?", "+?", "??", "{1,2}", "{2}", "{0,1}?", "*+", "++"]),
)
_patterns = st.recursive(
    st.lists(_atoms | _repeated, min_size=1, max_size=4).map("".join),
    lambda inner: st.one_of(
        st.builds("(?:{})".format, inner),
        st.builds("({})".format, inner),
        st.builds("(?={})".format, inner),
        st.builds("(?!{})".format, inner),
        st.builds("^{}".format, inner),
        st.builds("{}|{}".format, inner, inner),
    ),
    max_leaves=4,
)


@given(_patterns, st.text("ab .é\n", max_size=8).filter(lambda t: not t.endswith("\n")))
def test_patterns_that_python_reads_the_same_way_match_the_same(pattern: str, text: str) -> None:
    plain = re.compile(pattern, re.ASCII | re.MULTILINE).search(text)
    ours = Regex.parse(pattern).search(text)

    assert (ours and (ours.span(), ours.groups())) == (plain and (plain.span(), plain.groups()))


@given(st.text(min_size=1, max_size=10))
def test_a_text_with_every_special_character_escaped_finds_itself(text: str) -> None:
    pattern = "".join(f"\\{c}" if c.isascii() and not c.isalnum() else c for c in text)

    assert found(pattern, f"x{text}x") == text


@given(st.sets(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=6), st.characters())
def test_a_class_matches_its_characters_and_no_others(members: set[str], character: str) -> None:
    escaped = "".join(f"\\u{ord(c):04x}" if ord(c) < 0x10000 else f"\\x{{{ord(c):x}}}" for c in sorted(members))

    assert (found(f"[{escaped}]", character) == character) is (character in members)
    assert (found(f"[^{escaped}]", character) == character) is (character not in members)
    assert (found(f"[[^{escaped}]&&[^x]]", character) == character) is (character not in members | {"x"})
