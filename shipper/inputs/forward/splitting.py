"""Where MessagePack values end, found without making them.

A walk counts the values that are still to come: one for a value alone, and as many more as a container has. So it can
stop where the bytes end and go on when there are more, however deeply they are nested.
"""

from __future__ import annotations

import re
from collections.abc import Callable

import msgspec

Bytes = bytes | bytearray | memoryview

_LENGTHS = {0xC4: 1, 0xC5: 2, 0xC6: 4, 0xD9: 1, 0xDA: 2, 0xDB: 4}
_EXTENSIONS = {0xC7: 1, 0xC8: 2, 0xC9: 4}
_COUNTS = {0xDC: (2, 1), 0xDD: (4, 1), 0xDE: (2, 2), 0xDF: (4, 2)}
_NUMBERS = {0xCA: 5, 0xCB: 9, 0xCC: 2, 0xCD: 3, 0xCE: 5, 0xCF: 9, 0xD0: 2, 0xD1: 3, 0xD2: 5, 0xD3: 9}
_FIXED_EXTENSIONS = {0xD4: 3, 0xD5: 4, 0xD6: 6, 0xD7: 10, 0xD8: 18}


class BadMessage(ValueError):
    """A sender does not keep to the protocol."""


def _fixed_size(kind: int) -> int:
    """The bytes of a value that begins so and holds no others; 0 where that alone does not tell."""
    if kind < 0x80 or kind >= 0xE0 or kind in (0x80, 0x90, 0xC0, 0xC2, 0xC3):
        return 1
    if 0xA0 <= kind < 0xC0:
        return 1 + (kind & 0x1F)
    return _NUMBERS.get(kind) or _FIXED_EXTENSIONS.get(kind) or 0


_FIXED = tuple(map(_fixed_size, range(256)))


def walk(data: Bytes, at: int, todo: int) -> tuple[int, int]:
    """Pass over so many values from here; gives where it came to and how many are still to come there."""
    size, fixed = len(data), _FIXED
    while todo and at < size:
        kind = data[at]
        if step := fixed[kind]:
            more = 0
        elif kind < 0xA0:
            step, more = 1, (kind & 0x0F) * (2 if kind < 0x90 else 1)
        else:
            width = _LENGTHS.get(kind) or _EXTENSIONS.get(kind) or _COUNTS.get(kind, (0, 0))[0]
            if not width:
                raise BadMessage(f"there is no type {kind:#x}")
            if at + 1 + width > size:
                break
            number = int.from_bytes(data[at + 1 : at + 1 + width], "big")
            step, more = 1 + width, 0
            if kind in _COUNTS:
                more = number * _COUNTS[kind][1]
            else:
                step += number + (kind in _EXTENSIONS)
        if at + step > size:
            break
        at += step
        todo += more - 1
    return at, todo


def end_of(data: Bytes, at: int) -> int:
    """Where the value ends that begins here; raises `BadMessage` if it is not whole."""
    end, todo = walk(data, at, 1)
    if todo:
        raise BadMessage("a value is not whole")
    return end


def array_begin(data: Bytes) -> tuple[int, int]:
    """The number of elements of the array that the data begins with, and where the first one is.

    Raises `BadMessage` if it begins otherwise.
    """
    kind = data[0] if data else 0
    if 0x90 <= kind < 0xA0:
        return kind & 0x0F, 1
    width = {0xDC: 2, 0xDD: 4}.get(kind)
    if width is None:
        raise BadMessage("what was sent is not an array")
    return int.from_bytes(data[1 : 1 + width], "big"), 1 + width


def content_at(data: Bytes, at: int, end: int) -> bytes:
    """The bytes of the string or binary value between these places."""
    kind = data[at]
    head = 1 if 0xA0 <= kind < 0xC0 else 1 + _LENGTHS[kind]
    return bytes(data[at + head : end])


def is_array(kind: int) -> bool:
    """Whether a value that begins so is an array."""
    return 0x90 <= kind < 0xA0 or kind in (0xDC, 0xDD)


def is_text_or_binary(kind: int) -> bool:
    """Whether a value that begins so is a string or binary data."""
    return 0xA0 <= kind < 0xC0 or kind in _LENGTHS


_MOST_IN_VAIN = 8
"""How often, measured by its length, a message may be passed over that turns out not to be whole."""

_TRAILING = re.compile(r"trailing characters \(byte ([0-9]+)\)")
_pass_over = msgspec.msgpack.Decoder(msgspec.Raw).decode


def quick_end(data: Bytes) -> int:
    """Where the first value ends, 0 if it is not whole; raises `BadMessage` if it is none, or nested too deeply.

    msgspec passes over a value twenty times as fast as `walk` does, and says where it ends in the words of an error.
    """
    try:
        _pass_over(data)
    except msgspec.DecodeError as error:
        words = str(error)
        if found := _TRAILING.search(words):
            return int(found[1])
        if "truncated" in words:
            return 0
        raise BadMessage(f"a message cannot be read: {words}") from error
    except RecursionError as error:
        raise BadMessage("a message is nested too deeply") from error
    return len(data)


class Splitter:
    """Gives out each message of a stream as soon as it is whole; none may be longer than `longest` bytes."""

    def __init__(self, longest: int, too_long: Callable[[int], Exception]) -> None:
        self._longest = longest
        self._too_long = too_long
        self._buffer = bytearray()
        self._begin()
        self.error: Exception | None = None
        """Why nothing will come any more; messages in front of it have been given out."""

    def feed(self, data: bytes) -> list[bytes]:
        """Take more bytes and return the messages that are whole now."""
        self._buffer += data
        messages: list[bytes] = []
        try:
            while self.error is None and self._buffer and (message := self._next()) is not None:
                messages.append(message)
        except BadMessage as error:
            self.error = error
        return messages

    def _begin(self) -> None:
        """Nothing is known about the message at the front."""
        # How far it was walked, and how many values it still lacks there.
        self._at, self._todo = 0, 1
        self._passed_in_vain = 0

    def _next(self) -> bytes | None:
        buffer = self._buffer
        if self._at == 0 and not is_array(buffer[0]):
            raise BadMessage("what was sent is not an array")
        # The quick way begins at the front each time. A message that comes in very many pieces is walked instead,
        # which goes on where it came to.
        if self._at == 0 and self._passed_in_vain < _MOST_IN_VAIN * len(buffer):
            self._passed_in_vain += len(buffer)
            if end := quick_end(buffer):
                self._at, self._todo = end, 0
        else:
            self._at, self._todo = walk(buffer, self._at, self._todo)
        length = len(buffer) if self._todo else self._at
        if length > self._longest:
            self.error = self._too_long(length)
        if self._todo or self.error is not None:
            return None
        message = bytes(buffer[: self._at])
        del buffer[: self._at]
        self._begin()
        return message

    @property
    def unfinished(self) -> int:
        """Bytes of a message that is not whole."""
        return len(self._buffer)
