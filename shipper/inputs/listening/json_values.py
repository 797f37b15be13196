"""JSON values that follow one another in a stream, whole or not yet.

Text that is nothing but whole values is decoded by msgspec in one go. Whatever that refuses is cut into values here,
which shows whether the last one is still to come, and each is decoded alone.
"""

from __future__ import annotations

import re
from typing import Any

import msgspec

from ...parsers.json_object import read_object
from .texts import decoded_text

_TOKEN = re.compile(rb'"(?:[^"\\]++|\\.)*+"|["{}\[\]]', re.DOTALL)
_BLANKS = re.compile(rb"[ \t\r\n]*+")
_WORD = re.compile(rb'[^ \t\r\n{}\[\]",:]++')
_SAME_DIGITS = bytes.maketrans(b"123456789", b"0" * 9)
_LONG_NUMBER = b"0" * 19
"""Integers of more than 64 bits, which are to become floats, have at least so many digits in a row."""

_decode_all = msgspec.json.Decoder().decode_lines


class InvalidJson(ValueError):
    """From here on the text is no JSON; `values` are those before, `start` is where it goes wrong."""

    def __init__(self, values: list[Any], start: int) -> None:
        super().__init__("invalid JSON")
        self.values = values
        self.start = start


def read_values(data: bytes, is_end: bool = False) -> tuple[list[Any], int]:
    """The whole values, and where the one begins that is not whole yet; raises `InvalidJson`.

    At the end of a stream a number or a word needs nothing behind it to be whole.
    """
    if _LONG_NUMBER not in data.translate(_SAME_DIGITS):  # four times as fast as a regular expression
        if data.rstrip()[-1:] in (b"}", b"]"):
            try:
                return _decode_all(data), len(data)
            except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
                pass  # the last one is not whole, or one is not strictly JSON
        head = data.rfind(b"\n") + 1
        if head and head < len(data):
            return _read_head(data, head, is_end)
    return _read_each(data, 0, is_end)


def _read_head(data: bytes, head: int, is_end: bool) -> tuple[list[Any], int]:
    """Take the lines that are whole together, and what follows alone."""
    try:
        values = _decode_all(data[:head])
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return _read_each(data, 0, is_end)
    try:
        more, rest = _read_each(data, head, is_end)
    except InvalidJson as error:
        raise InvalidJson(values + error.values, error.start) from error
    return values + more, rest


def _read_each(data: bytes, at: int, is_end: bool) -> tuple[list[Any], int]:
    values: list[Any] = []
    while True:
        at = _end_of(_BLANKS, data, at)
        if at >= len(data):
            return values, at
        end = _end_of_value(data, at, is_end)
        if end is None:
            return values, at
        try:
            values.append(_read_one(data[at:end]))
        except ValueError as error:
            raise InvalidJson(values, at) from error
        at = end


def _read_one(text: bytes) -> Any:
    if text[:1] == b"{":
        body = read_object(decoded_text(text))
        if body is None:
            raise ValueError("not an object")
        return body
    try:
        return msgspec.json.decode(text)
    except (msgspec.DecodeError, RecursionError) as error:
        raise ValueError("not a value") from error


def _end_of_value(data: bytes, at: int, is_end: bool) -> int | None:
    """Where the value ends that begins here; None if its end has not come."""
    if data[at : at + 1] not in (b"{", b"[", b'"'):
        end = _end_of(_WORD, data, at)
        if end == at:
            return at + 1  # a character that begins no value, which decoding will show
        return end if end < len(data) or is_end else None
    depth = 0
    for token in _TOKEN.finditer(data, at):
        first, end = data[token.start()], token.end()
        if first in b"{[":
            depth += 1
        elif first in b"}]":
            depth -= 1
        elif end == token.start() + 1:
            return None  # a string that is still open
        if depth <= 0:
            return end
    return None


def _end_of(pattern: re.Pattern[bytes], data: bytes, at: int) -> int:
    found = pattern.match(data, at)
    return found.end() if found else at
