"""Sets of characters by name: POSIX brackets and Unicode categories, as ranges of code points."""

from __future__ import annotations

import functools
import re
import unicodedata
from collections.abc import Iterable

Ranges = tuple[tuple[int, int], ...]

LAST = 0x10FFFF
_WORDS_OF_CATEGORY = {
    "letter": "L", "cased_letter": "LC", "uppercase_letter": "Lu", "lowercase_letter": "Ll", "titlecase_letter": "Lt",
    "modifier_letter": "Lm", "other_letter": "Lo", "mark": "M", "combining_mark": "M", "nonspacing_mark": "Mn",
    "spacing_mark": "Mc", "enclosing_mark": "Me", "number": "N", "decimal_number": "Nd", "letter_number": "Nl",
    "other_number": "No", "punctuation": "P", "connector_punctuation": "Pc", "dash_punctuation": "Pd",
    "open_punctuation": "Ps", "close_punctuation": "Pe", "initial_punctuation": "Pi", "final_punctuation": "Pf",
    "other_punctuation": "Po", "symbol": "S", "math_symbol": "Sm", "currency_symbol": "Sc", "modifier_symbol": "Sk",
    "other_symbol": "So", "separator": "Z", "space_separator": "Zs", "line_separator": "Zl",
    "paragraph_separator": "Zp", "other": "C", "control": "Cc", "format": "Cf", "unassigned": "Cn",
    "private_use": "Co", "surrogate": "Cs",
}  # fmt: skip
_SPACE: Ranges = ((0x09, 0x0D), (0x85, 0x85))
_PUNCTUATION: Ranges = tuple((ord(c), ord(c)) for c in "$+<=>^`|~")


def union(*sets: Iterable[tuple[int, int]]) -> Ranges:
    """The ranges of all sets, in order and without overlap."""
    merged: list[tuple[int, int]] = []
    for low, high in sorted(r for ranges in sets for r in ranges):
        if merged and low <= merged[-1][1] + 1:
            merged[-1] = (merged[-1][0], max(merged[-1][1], high))
        else:
            merged.append((low, high))
    return tuple(merged)


def inverse(ranges: Iterable[tuple[int, int]]) -> Ranges:
    """All other code points."""
    others: list[tuple[int, int]] = []
    following = 0
    for low, high in union(ranges):
        if low > following:
            others.append((following, low - 1))
        following = high + 1
    if following <= LAST:
        others.append((following, LAST))
    return tuple(others)


def intersection(one: Iterable[tuple[int, int]], other: Iterable[tuple[int, int]]) -> Ranges:
    """The code points that are in both sets."""
    return inverse(union(inverse(one), inverse(other)))


def posix_bracket(name: str) -> Ranges | None:
    """The set of `[:name:]`; as in Ruby it is not limited to ASCII."""
    of = _in_categories
    match name:
        case "alnum":
            return of("L", "M", "Nd")
        case "alpha":
            return of("L", "M")
        case "ascii":
            return ((0, 0x7F),)
        case "blank":
            return union(of("Zs"), ((0x09, 0x09),))
        case "cntrl":
            return of("C")
        case "digit":
            return of("Nd")
        case "graph":
            return inverse(union(of("Z", "Cc", "Cn", "Cs"), _SPACE))
        case "lower":
            return of("Ll")
        case "print":
            return union(inverse(union(of("Z", "Cc", "Cn", "Cs"), _SPACE)), of("Zs"))
        case "punct":
            return union(of("P"), _PUNCTUATION)
        case "space":
            return union(of("Z"), _SPACE)
        case "upper":
            return of("Lu")
        case "word":
            return of("L", "M", "Nd", "Pc")
        case "xdigit":
            return ((0x30, 0x39), (0x41, 0x46), (0x61, 0x66))
    return None


def property_set(name: str) -> Ranges | None:
    r"""The set of `\p{name}`: a POSIX name or a general category, in any case; None if it is not known."""
    word = name.strip().lower().replace(" ", "_").replace("-", "_")
    if (known := posix_bracket(word)) is not None:
        return known
    if word == "any":
        return ((0, LAST),)
    if word == "assigned":
        return inverse(_in_categories("Cn"))
    category = _WORDS_OF_CATEGORY.get(word, word.capitalize())
    if category in ("LC", "Lc"):
        return _in_categories("Lu", "Ll", "Lt")
    return _in_categories(category) or None


def _in_categories(*categories: str) -> Ranges:
    return union(*(ranges for name, ranges in _categories().items() if name.startswith(categories)))


@functools.cache
def _categories() -> dict[str, Ranges]:
    """The ranges of every general category; only the planes with characters are looked at, which takes 10 ms."""
    found: dict[str, list[tuple[int, int]]] = {"Cn": [(0x40000, 0xDFFFF), (0xE1000, 0xEFFFF)], "Co": [(0xF0000, LAST)]}
    for start, end in ((0, 0x40000), (0xE0000, 0xE1000)):
        names = "".join(map(unicodedata.category, map(chr, range(start, end))))
        for run in re.finditer(r"(..)(?:\1)*", names):
            low, high = start + run.start() // 2, start + run.end() // 2 - 1
            found.setdefault(run[1], []).append((low, high))
    return {name: tuple(ranges) for name, ranges in found.items()}
