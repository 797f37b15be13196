"""Messages that are larger than the destination takes: shortened, or divided into parts.

A part begins with a marker such as `[part=1/3 id=0123456789abcdef] `, by which readers find what belongs together.
Cuts are made between characters, and in JSON text never inside an escape.
"""

from __future__ import annotations

import re

import msgspec
import xxhash

# The last escape if it is not whole, or the first half of a pair with whatever is left of the second.
_HALF_AN_ESCAPE = re.compile(
    r"(?<!\\)((?:\\\\)*)\\(?:u(?:[0-9a-f]{0,3}|d[89ab][0-9a-f]{2}(?:\\(?:u[0-9a-f]{0,3})?)?))?\Z"
)


class Part(msgspec.Struct, frozen=True):
    """Which part of a message it is, of how many; the `id` stands for the whole message."""

    number: int
    count: int
    id: str

    @property
    def is_last(self) -> bool:
        return self.number == self.count

    @property
    def marker(self) -> str:
        """What the text of the part begins with."""
        return f"[part={self.number}/{self.count} id={self.id}] "


def id_of(message: str) -> str:
    """An id of the message made of its text alone, so that it is the same whenever the message is sent."""
    return xxhash.xxh3_64_hexdigest(message.encode())


def parts_of(message: str, most: int, message_id: str) -> list[tuple[Part, str]]:
    """The message as texts of at most so many UTF-8 bytes, each with its marker; there must be room for one."""
    data, digits = message.encode(), 1
    while True:
        too_many = 10**digits
        widest = Part(too_many - 1, too_many - 1, message_id).marker
        pieces = _pieces(data, most - len(widest))
        if len(pieces) < too_many:
            break
        digits += 1  # the numbers need more room than there was
    parts = [Part(number, len(pieces), message_id) for number in range(1, len(pieces) + 1)]
    return [(part, part.marker + piece) for part, piece in zip(parts, pieces, strict=True)]


def shortened(message: str, most: int) -> tuple[str, int]:
    """The longest beginning of a message that has at most so many UTF-8 bytes, and how many it has."""
    text = _beginning(message.encode()[:most], is_json=message.startswith("{"))
    return text, len(text.encode())


def _pieces(data: bytes, most: int) -> list[str]:
    is_json = data.startswith(b"{")
    pieces, place = [], 0
    while len(data) - place > most:
        piece = _beginning(data[place : place + most], is_json=is_json)
        pieces.append(piece)
        place += len(piece.encode())
    return [*pieces, data[place:].decode()]


def _beginning(data: bytes, *, is_json: bool) -> str:
    """The text without what the cut has left of its last character, or of its last escape."""
    text = data.decode("utf-8", "ignore")
    return _HALF_AN_ESCAPE.sub(r"\1", text) if is_json else text
