"""Reads MessagePack values from bytes as they come, for protocols that answer with small ones.

Strings come as bytes, because peers that are old put bytes into them; of extensions only the data come. What comes is
not trusted: its size and its depth have limits.
"""

from __future__ import annotations

from struct import Struct, error, unpack_from
from typing import Any

_MOST_BYTES = 1 << 20
_DEEPEST = 16
_NUMBERS = {
    0xCA: Struct(">f"), 0xCB: Struct(">d"), 0xCC: Struct(">B"), 0xCD: Struct(">H"), 0xCE: Struct(">I"),
    0xCF: Struct(">Q"), 0xD0: Struct(">b"), 0xD1: Struct(">h"), 0xD2: Struct(">i"), 0xD3: Struct(">q"),
}  # fmt: skip
_CONSTANTS = {0xC0: None, 0xC2: False, 0xC3: True}
_BYTES = {0xD9: ">B", 0xDA: ">H", 0xDB: ">I", 0xC4: ">B", 0xC5: ">H", 0xC6: ">I"}
_EXTENSIONS = {0xD4: 1, 0xD5: 2, 0xD6: 4, 0xD7: 8, 0xD8: 16}
_COUNTS = {0xDC: ">H", 0xDD: ">I", 0xDE: ">H", 0xDF: ">I"}


class BadMessage(ValueError):
    """The bytes are no MessagePack, or too many."""


class ValueReader:
    """Gives out each value as soon as it is whole."""

    def __init__(self) -> None:
        self._buffer = b""

    def feed(self, data: bytes) -> list[Any]:
        """Take more bytes and return the values that are whole now; raises `BadMessage`."""
        self._buffer += data
        values, at = [], 0
        try:
            while at < len(self._buffer):
                value, at = _read(self._buffer, at, 0)
                values.append(value)
        except (IndexError, error):
            pass  # the rest is still to come
        self._buffer = self._buffer[at:]
        if len(self._buffer) > _MOST_BYTES:
            raise BadMessage(f"a message is longer than {_MOST_BYTES} bytes")
        return values


def _read(data: bytes, at: int, depth: int) -> tuple[Any, int]:
    """The value that begins at an offset, and where it ends."""
    kind = data[at]
    at += 1
    if kind < 0x80:
        return kind, at
    if kind >= 0xE0:
        return kind - 256, at
    if kind in _CONSTANTS:
        return _CONSTANTS[kind], at
    if kind in _NUMBERS:
        number = _NUMBERS[kind]
        return number.unpack_from(data, at)[0], at + number.size
    if 0xA0 <= kind < 0xC0:
        return _cut(data, at, kind & 0x1F)
    if kind in _BYTES:
        length, at = _length(data, at, _BYTES[kind])
        return _cut(data, at, length)
    if kind in _EXTENSIONS:
        return _cut(data, at + 1, _EXTENSIONS[kind])
    if depth >= _DEEPEST:
        raise BadMessage("a message is nested too deeply")
    if 0x80 <= kind < 0xA0:
        count, is_map = kind & 0x0F, kind < 0x90
    elif kind in _COUNTS:
        (count, at), is_map = _length(data, at, _COUNTS[kind]), kind >= 0xDE
    else:
        raise BadMessage(f"a message holds the unknown type {kind:#x}")
    if count > _MOST_BYTES:
        raise BadMessage("a message holds too many values")
    items = []
    for _ in range(2 * count if is_map else count):
        item, at = _read(data, at, depth + 1)
        items.append(item)
    return (_map(items) if is_map else items), at


def _length(data: bytes, at: int, form: str) -> tuple[int, int]:
    width = {"B": 1, "H": 2, "I": 4}[form[1]]
    return unpack_from(form, data, at)[0], at + width


def _cut(data: bytes, at: int, length: int) -> tuple[bytes, int]:
    if length > _MOST_BYTES:
        raise BadMessage("a text of a message is too long")
    if at + length > len(data):
        raise IndexError(length)
    return data[at : at + length], at + length


def _map(items: list[Any]) -> dict[Any, Any]:
    try:
        return dict(zip(items[::2], items[1::2], strict=True))
    except TypeError as failure:
        raise BadMessage("a key of a message is no key") from failure


__all__ = ["BadMessage", "ValueReader"]
