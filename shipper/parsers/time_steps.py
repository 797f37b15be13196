"""The directives of a time format, each as a step that reads its part of a text.

Steps work from left to right and never go back, as C's strptime does: a number takes as many digits as its largest
value allows, and what follows has to fit.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import NamedTuple

from .time_zones import read_abbreviation, read_offset

Fields = dict[str, int]
Read = Callable[[str, int, Fields], int]
"""Reads at a position into the fields; the position behind, or -1 if the text does not fit."""

_BLANKS = " \t\n\v\f\r"
_MONTHS = ["january", "february", "march", "april", "may", "june"]
_MONTHS += ["july", "august", "september", "october", "november", "december"]
_DAYS = ["sunday", "monday", "tuesday", "wednesday", "thursday", "friday", "saturday"]
_COMPOSED = {
    "D": "%m/%d/%y",
    "F": "%Y-%m-%d",
    "R": "%H:%M",
    "T": "%H:%M:%S",
    "r": "%I:%M:%S %p",
    "c": "%a %b %e %H:%M:%S %Y",
    "x": "%m/%d/%y",
    "X": "%H:%M:%S",
}
# The field, its smallest and largest value.
_NUMBERS = {
    "Y": ("year", 0, 9999),
    "y": ("short_year", 0, 99),
    "C": ("century", 0, 99),
    "m": ("month", 1, 12),
    "d": ("day", 1, 31),
    "e": ("day", 1, 31),
    "j": ("day_of_year", 1, 366),
    "H": ("hour", 0, 23),
    "k": ("hour", 0, 23),
    "I": ("hour", 1, 12),
    "l": ("hour", 1, 12),
    "M": ("minute", 0, 59),
    "S": ("second", 0, 60),
    "s": ("epoch", 0, 10**18),
    "u": ("", 1, 7),
    "w": ("", 0, 6),
    "U": ("", 0, 53),
    "W": ("", 0, 53),
    "V": ("", 0, 53),
    "g": ("", 0, 99),
    "G": ("", 0, 9999),
}


class Step(NamedTuple):
    """One part of a format: its directive (empty for other text), how it is read, and its usual width."""

    directive: str
    read: Read
    width: int


def steps_of(format: str) -> list[Step]:
    """The steps of a format, composed directives taken apart; `%L` is among them but reads nothing."""
    return [_step(token) for token in _tokens(format)]


def unsupported(format: str) -> str | None:
    """The first directive of the format that never fits anything."""
    fractions = 0
    for token in _tokens(format):
        fractions += token == "%L"
        if fractions > 1 or (len(token) == 2 and token[1] not in _KNOWN):
            return token
    return None


def _tokens(format: str) -> Iterator[str]:
    """Directives of two characters and single other characters."""
    pos = 0
    while pos < len(format):
        if format[pos] != "%":
            yield format[pos]
            pos += 1
            continue
        pos += 1
        while format[pos : pos + 1] in ("E", "O"):
            pos += 1
        directive = format[pos : pos + 1]
        pos += 1
        if directive in _COMPOSED:
            yield from _tokens(_COMPOSED[directive])
        elif directive in ("n", "t"):
            yield " "
        elif directive == "%":
            yield "%"
        else:
            yield "%" + (directive or " ")


def _step(token: str) -> Step:
    if len(token) == 1:
        return Step("", _blanks, 1) if token in _BLANKS else Step("", _text(token), 1)
    directive = token[1]
    if directive in _NUMBERS:
        field, low, high = _NUMBERS[directive]
        width = len(str(high)) if directive != "s" else 10
        return Step(directive, _number(field, low, high, padded=directive in "ekl"), width)
    if directive in "bBh":
        return Step(directive, _word("month", _MONTHS, first=1), 9 if directive == "B" else 3)
    if directive in "aA":
        return Step(directive, _word("", _DAYS, first=0), 9 if directive == "A" else 3)
    other = {"p": (_half_of_day, 2), "z": (_zone(read_offset), 6), "Z": (_zone(read_abbreviation), 4)}
    read, width = other.get(directive, (_never, 0))
    return Step(directive, read, width)


_KNOWN = {*_NUMBERS, *"bBhaApzZL"}


def _text(character: str) -> Read:
    def read(text: str, pos: int, fields: Fields) -> int:
        return pos + 1 if text.startswith(character, pos) else -1

    return read


def _number(field: str, low: int, high: int, padded: bool) -> Read:
    def read(text: str, pos: int, fields: Fields) -> int:
        if padded and pos < len(text) and text[pos] in _BLANKS:
            pos += 1
        start, value, room = pos, 0, high
        while pos < len(text) and "0" <= text[pos] <= "9" and value * 10 <= high and (room or pos == start):
            value = value * 10 + int(text[pos])
            room //= 10
            pos += 1
        if pos == start or not low <= value <= high:
            return -1
        fields[field] = value
        return pos

    return read


def _word(field: str, words: list[str], first: int) -> Read:
    """Reads one of the words in full or its first three letters, in any case."""
    numbers = {word: number for number, word in enumerate(words, first)}
    numbers |= {word[:3]: number for word, number in numbers.items()}
    pattern = re.compile("|".join(sorted(numbers, key=len, reverse=True)), re.IGNORECASE | re.ASCII)

    def read(text: str, pos: int, fields: Fields) -> int:
        found = pattern.match(text, pos)
        if not found:
            return -1
        fields[field] = numbers[found[0].lower()]
        return found.end()

    return read


def _zone(find: Callable[[str, int], tuple[int, int] | None]) -> Read:
    def read(text: str, pos: int, fields: Fields) -> int:
        found = find(text, pos)
        if found is None:
            return -1
        fields["offset"] = found[0]
        return found[1]

    return read


def _half_of_day(text: str, pos: int, fields: Fields) -> int:
    word = text[pos : pos + 2].upper()
    if word not in ("AM", "PM"):
        return -1
    fields["is_pm"] = int(word == "PM")
    return pos + 2


def _blanks(text: str, pos: int, fields: Fields) -> int:
    while pos < len(text) and text[pos] in _BLANKS:
        pos += 1
    return pos


def _never(text: str, pos: int, fields: Fields) -> int:
    return -1
