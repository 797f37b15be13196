"""Character classes of Ruby syntax: nested classes, `&&`, POSIX brackets, written as classes of Python."""

from __future__ import annotations

import re

from .onigmo_escapes import CharSet, RegexError, read_character, read_set, shown_in_class
from .onigmo_unicode import intersection, inverse, posix_bracket, union

_BRACKET = re.compile(r"\[:(\^?)(\w+):\]")
_ASCII_ONLY = re.compile(r"\\[wWdDsS]")


def read_class(source: str, pos: int, ignore_case: bool) -> tuple[str, int]:
    """The class that begins with the bracket at `pos`, as Python writes it, and the position behind it."""
    reader = _ClassReader(source, pos)
    found, is_negated = reader.read()
    text = f"[{'^' if is_negated else ''}{found.text}]"
    if ignore_case and not text.isascii() and not _ASCII_ONLY.search(text):
        # Without this Python, told that \w means ASCII, would ignore the case of ASCII letters only.
        text = f"(?u:{text})"
    return text, reader.pos


class _ClassReader:
    """Reads one class, and those inside it by readers of their own; `pos` is where it has come to."""

    def __init__(self, source: str, pos: int) -> None:
        self._source = source
        self._start = pos
        self.pos = pos + 1
        self._done: list[CharSet] = []  # the operands of && that are complete
        self._items: list[CharSet] = []

    def read(self) -> tuple[CharSet, bool]:
        """What the brackets hold, and whether everything else is meant."""
        source = self._source
        is_negated = source.startswith("^", self.pos)
        self.pos += is_negated
        if source.startswith("]", self.pos) and "]" in source[self.pos + 1 :]:
            self._read_item()  # a bracket that comes first is a character
        while not source.startswith("]", self.pos):
            if self.pos >= len(source):
                raise RegexError("the character class is not closed", self._start)
            if source.startswith("&&", self.pos):
                self._done.append(_joined(self._items))
                self._items = []
                self.pos += 2
            else:
                self._read_item()
        self.pos += 1
        found = _joined(self._items)
        if not self._done and not found.ranges:
            raise RegexError("the character class is empty", self._start)
        for other in self._done:
            found = CharSet.of(intersection(found.ranges, other.ranges))
        return _never_empty(found, is_negated)

    def _read_item(self) -> None:
        """Read one character, range, set or nested class."""
        source, pos = self._source, self.pos
        if source[pos] == "[":
            self._items.append(self._nested())
            return
        if source[pos] == "\\" and (found := read_set(source, pos)):
            chars, self.pos = found
            self._items.append(chars)
            return
        low = self._character()
        high = self._range_end()
        if high is None:
            self._items.append(_single(low))
        elif low > high:
            raise RegexError(f"the range ends before it begins: {source[pos : self.pos]}", pos)
        else:
            text = f"{shown_in_class(ord(low))}-{shown_in_class(ord(high))}"
            self._items.append(CharSet(text, ((ord(low), ord(high)),)))

    def _range_end(self) -> str | None:
        """The character behind a hyphen that makes a range, None if there is no such hyphen."""
        source, pos = self._source, self.pos
        if not source.startswith("-", pos) or pos + 1 >= len(source) or source[pos + 1] in "][":
            return None
        if source.startswith("&&", pos + 1):
            return None
        if source[pos + 1] == "\\" and read_set(source, pos + 1):
            return None
        self.pos += 1
        return self._character()

    def _character(self) -> str:
        source, pos = self._source, self.pos
        if source[pos] != "\\":
            self.pos += 1
            return source[pos]
        if source.startswith("\\b", pos):
            self.pos += 2
            return "\b"
        character, self.pos = read_character(source, pos)
        return character

    def _nested(self) -> CharSet:
        if bracket := _BRACKET.match(self._source, self.pos):
            ranges = posix_bracket(bracket[2])
            if ranges is None:
                raise RegexError(f"there is no character class {bracket[0]}", self.pos)
            self.pos = bracket.end()
            return CharSet.of(inverse(ranges) if bracket[1] else ranges)
        reader = _ClassReader(self._source, self.pos)
        found, is_negated = reader.read()
        self.pos = reader.pos
        return CharSet.of(inverse(found.ranges)) if is_negated else found


def _single(character: str) -> CharSet:
    code = ord(character)
    return CharSet(shown_in_class(code), ((code, code),))


def _joined(items: list[CharSet]) -> CharSet:
    return CharSet("".join(item.text for item in items), union(*(item.ranges for item in items)))


def _never_empty(found: CharSet, is_negated: bool) -> tuple[CharSet, bool]:
    """Python has no class without characters: write it as everything but everything."""
    if found.ranges:
        return found, is_negated
    return CharSet.of(inverse(())), not is_negated
