"""JSON values that follow one another in a stream, whole or not yet.

Text that is nothing but whole values is decoded by msgspec in one go, or in slices of whole lines. What it refuses is
cut into values here, which shows whether the last one is still to come, and each is decoded alone. That takes a hundred
times as long, so it has a limit where somebody can send a lot of it with little.
"""

from __future__ import annotations

import re
import sys
from typing import Any

import msgspec

from ...parsers.json_object import DEEPEST, read_object, shorten_integers
from .texts import decoded_text

_TOKEN = re.compile(rb'"(?:[^"\\]++|\\.)*+"|["{}\[\]]', re.DOTALL)
_BLANKS = re.compile(rb"[ \t\r\n]*+")
_WORD = re.compile(rb'[^ \t\r\n{}\[\]",:]++')
_SAME_DIGITS = bytes.maketrans(b"123456789", b"0" * 9)
_LONG_NUMBER = b"0" * 19
"""Integers of more than 64 bits, which are to become floats, have at least so many digits in a row."""

_SLICE = 64 * 1024
_TOKENS_OF_A_VALUE = 10
"""Decoding a value alone takes as long as looking at so many tokens."""

_decode_all = msgspec.json.Decoder().decode_lines
_REFUSALS = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)


class InvalidJson(ValueError):
    """From here on the text is no JSON that we take; `values` are those before, `start` is where it goes wrong."""

    def __init__(self, values: list[Any], start: int, limit: str = "") -> None:
        super().__init__(limit or "invalid JSON")
        self.values = values
        self.start = start
        self.limit = limit
        """What there is too much of, if that is the reason."""


def read_values(data: bytes, is_end: bool = False, most_tokens: int = sys.maxsize) -> tuple[list[Any], int]:
    """The whole values, and where the one begins that is not whole yet; raises `InvalidJson`.

    At the end of a stream a number or a word needs nothing behind it to be whole. No more than `most_tokens` strings
    and brackets are looked at in what is not strictly JSON.
    """
    if data.rstrip()[-1:] in (b"}", b"]"):
        try:
            return _decoded(data), len(data)
        except _REFUSALS:
            pass  # the last one is not whole, or one is not strictly JSON
    return _Cutter(data, is_end, most_tokens).read()


def _decoded(data: bytes) -> list[Any]:
    """The values, if they are strictly JSON; raises one of `_REFUSALS`."""
    values: list[Any] = _decode_all(data)
    if _LONG_NUMBER in data.translate(_SAME_DIGITS):  # four times as fast as a regular expression
        shorten_integers(values)
    return values


class _Cutter:
    """Reads values one after the other; `values` are those so far, `at` is where they end."""

    def __init__(self, data: bytes, is_end: bool, most_tokens: int) -> None:
        self._data = data
        self._is_end = is_end
        self._tokens_left = most_tokens
        self._values: list[Any] = []
        self._at = 0

    def read(self) -> tuple[list[Any], int]:
        data, is_whole = self._data, True
        while is_whole and (end := self._end_of_slice()):
            try:
                self._values += _decoded(data[self._at : end])
                self._at = end
            except _REFUSALS:
                is_whole = self._read_each(end)
        if is_whole:
            self._read_each(len(data))
        return self._values, self._at

    def _end_of_slice(self) -> int:
        """Where the lines end that are decoded together next; 0 if no line ends any more."""
        most = self._at + _SLICE
        return self._data.rfind(b"\n", self._at, most) + 1 or self._data.find(b"\n", most) + 1

    def _read_each(self, end: int) -> bool:
        """Read values one by one up to this place; false if the last one is not whole."""
        data = self._data
        while True:
            self._at = _end_of(_BLANKS, data, self._at)
            if self._at >= end:
                return True
            value_end = self._end_of_value()
            if value_end is None:
                return False
            try:
                self._values.append(_read_one(data[self._at : value_end]))
            except ValueError as error:
                raise InvalidJson(self._values, self._at) from error
            self._at = value_end

    def _end_of_value(self) -> int | None:
        """Where the value ends that begins here; None if its end has not come."""
        data, at = self._data, self._at
        self._spend(_TOKENS_OF_A_VALUE)
        if data[at : at + 1] not in (b"{", b"[", b'"'):
            end = _end_of(_WORD, data, at)
            if end == at:
                return at + 1  # a character that begins no value, which decoding will show
            return end if end < len(data) or self._is_end else None
        depth = 0
        for token in _TOKEN.finditer(data, at):
            self._spend(1)
            first, end = data[token.start()], token.end()
            if first in b"{[":
                depth += 1
                if depth > DEEPEST:
                    raise InvalidJson(self._values, at, "a value is nested too deeply")
            elif first in b"}]":
                depth -= 1
            elif end == token.start() + 1:
                return None  # a string that is still open
            if depth <= 0:
                return end
        return None

    def _spend(self, tokens: int) -> None:
        self._tokens_left -= tokens
        if self._tokens_left < 0:
            raise InvalidJson(self._values, self._at, "there is too much that is not strictly JSON")


def _read_one(text: bytes) -> Any:
    if text[:1] == b"{":
        body = read_object(decoded_text(text))
        if body is None:
            raise ValueError("not an object")
        return body
    try:
        return _decoded(text)[0]
    except _REFUSALS as error:
        raise ValueError("not a value") from error


def _end_of(pattern: re.Pattern[bytes], data: bytes, at: int) -> int:
    found = pattern.match(data, at)
    return found.end() if found else at
