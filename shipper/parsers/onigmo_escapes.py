r"""Escapes that stand for one character, or for a set of characters, inside and outside of classes."""

from __future__ import annotations

import re

import msgspec

from .onigmo_unicode import Ranges, inverse, property_set

SPECIAL = frozenset(r"\.^$*+?{}[]|()")
_SINGLE = {"n": "\n", "t": "\t", "r": "\r", "f": "\f", "v": "\v", "a": "\a", "e": "\x1b"}
_BYTE = re.compile(r"\\x([0-9a-fA-F]{1,2})")
_BYTES = re.compile(r"\\x[c-fC-F][0-9a-fA-F](?:\\x[89abAB][0-9a-fA-F]){1,3}")
_CODE_POINT = re.compile(r"\\x\{([0-9a-fA-F]{1,8})\}|\\u([0-9a-fA-F]{4})")
_OCTAL = re.compile(r"\\([0-7]{1,3})")
_CONTROL = re.compile(r"\\(?:c|C-)(\\?.)", re.DOTALL)
_PROPERTY = re.compile(r"\\([pP])\{(\^?)([^}]*)\}")


class RegexError(ValueError):
    """A pattern that cannot be used, and the position in it where reading stopped."""

    def __init__(self, message: str, position: int) -> None:
        super().__init__(message)
        self.position = position


def shown_in_class(code: int) -> str:
    """A character as it is written inside a Python class, where only letters and digits are never special."""
    character = chr(code)
    if code < 0x80 and not character.isalnum():
        return f"\\x{code:02x}" if code < 0x20 or code == 0x7F else f"\\{character}"
    return character


def _shown_range(low: int, high: int) -> str:
    if low == high:
        return shown_in_class(low)
    return f"{shown_in_class(low)}-{shown_in_class(high)}"


class CharSet(msgspec.Struct, frozen=True):
    """Characters as the inside of a Python class, and as ranges where they must be computed with."""

    text: str
    ranges: Ranges

    @classmethod
    def of(cls, ranges: Ranges) -> CharSet:
        return cls("".join(_shown_range(low, high) for low, high in ranges), ranges)


_DIGIT: Ranges = ((0x30, 0x39),)
_WORD: Ranges = ((0x30, 0x39), (0x41, 0x5A), (0x5F, 0x5F), (0x61, 0x7A))
_SPACE: Ranges = ((0x09, 0x0D), (0x20, 0x20))
_HEX: Ranges = ((0x30, 0x39), (0x41, 0x46), (0x61, 0x66))
SETS = {
    "d": CharSet(r"\d", _DIGIT),
    "D": CharSet(r"\D", inverse(_DIGIT)),
    "w": CharSet(r"\w", _WORD),
    "W": CharSet(r"\W", inverse(_WORD)),
    "s": CharSet(r"\s", _SPACE),
    "S": CharSet(r"\S", inverse(_SPACE)),
    "h": CharSet("0-9a-fA-F", _HEX),
    "H": CharSet.of(inverse(_HEX)),
}


def read_character(source: str, pos: int) -> tuple[str, int]:
    r"""The character that the escape at `pos` stands for, and the position behind it.

    The bytes of a character in UTF-8, each written as `\xNN`, are taken together.
    """
    if pos + 1 >= len(source):
        raise RegexError("the pattern ends with a backslash", pos)
    letter = source[pos + 1]
    if letter in _SINGLE:
        return _SINGLE[letter], pos + 2
    if found := _CODE_POINT.match(source, pos):
        code = int(found[1] or found[2], 16)
        if code > 0x10FFFF:
            raise RegexError("there is no such character", pos)
        return chr(code), found.end()
    if found := _BYTES.match(source, pos):
        character = bytes.fromhex(found[0].replace("\\x", "")).decode("utf-8", "surrogateescape")[0]
        if character < "\udc80" or character > "\udcff":
            return character, pos + 4 * len(character.encode())
    if found := _BYTE.match(source, pos):
        return bytes([int(found[1], 16)]).decode("utf-8", "surrogateescape"), found.end()
    if found := _OCTAL.match(source, pos):
        return chr(int(found[1], 8) & 0xFF), found.end()
    if found := _CONTROL.match(source, pos):
        return chr(ord(found[1][-1]) & 0x1F), found.end()
    if letter in "xuCM":
        raise RegexError(f"the escape '\\{letter}' is not complete or not supported", pos)
    return letter, pos + 2


def read_set(source: str, pos: int) -> tuple[CharSet, int] | None:
    r"""The set that the escape at `pos` stands for, such as `\w`, `\h` or `\p{Alpha}`; None if it is not one."""
    letter = source[pos + 1 : pos + 2]
    if letter in SETS:
        return SETS[letter], pos + 2
    if letter not in ("p", "P"):
        return None
    found = _PROPERTY.match(source, pos)
    if not found:
        return None
    ranges = property_set(found[3])
    if ranges is None:
        raise RegexError(f"the character property '{found[3]}' is not supported", pos)
    is_negated = (found[1] == "P") != (found[2] == "^")
    return CharSet.of(inverse(ranges) if is_negated else ranges), found.end()
