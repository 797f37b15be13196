"""JSON lines as they stand inside of JSON strings, escaped many at a time.

Destinations that take a record as text get JSON inside of JSON. A whole batch is escaped in one call, and what stands
between the lines, times and brackets, is put in where lines end. Lines become objects only where there is no other way.

DEL stands for the ends of lines, or for the holes in them: our JSON lines have it as an escape (`json_lines`), and
msgspec leaves it alone. It is one byte, which is found ten times faster than two.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple, overload

import msgspec

from .json_lines import HOLE, HoledLines, split_lines

_END = HOLE
_BEHIND_HOLE = b"}\\n"
_encode = msgspec.json.encode


class _Piece(NamedTuple):
    """Escaped lines. Without a filling each is followed by `_END`; else it has a hole, and `_BEHIND_HOLE` behind it."""

    text: bytes
    filling: bytes | None
    size: int
    """How many lines."""

    def lines(self) -> list[bytes]:
        if self.filling is None:
            return split_lines(self.text.replace(_END, b"\n"))
        end = self.filling + b"}"
        return [line + end for line in self.beginnings()]

    def beginnings(self) -> list[bytes]:
        """The lines up to their holes."""
        return split_lines(_BEHIND_HOLE + self.text.replace(HOLE, b"\n"), len(_BEHIND_HOLE))[:-1]


class EscapedLines(Sequence[bytes]):
    """Lines that become objects only if somebody asks for them; nearly always they go into one body as they are."""

    __slots__ = ("_lines", "_pieces")

    def __init__(self, pieces: Sequence[_Piece]) -> None:
        self._pieces = list(pieces)
        self._lines: list[bytes] | None = None

    def extend(self, more: EscapedLines) -> None:
        """Put other lines behind these."""
        self._pieces += more._pieces
        self._lines = None

    def woven(self, before: bytes, numbers: list[int], between: bytes, after: bytes) -> list[bytes]:
        """Pieces that are, joined, `before`, a number, `between`, a line and `after`, for each line.

        There is a number for each line; no percent sign is in what stands around them.
        """
        target: list[bytes] = []
        start = 0
        for piece in self._pieces:
            end = start + piece.size
            weave = _weave_whole if piece.filling is None else _weave_holed
            weave(target, piece, before, numbers[start:end], between, after)
            start = end
        return target

    def _split(self) -> list[bytes]:
        if self._lines is None:
            self._lines = [line for piece in self._pieces for line in piece.lines()]
        return self._lines

    def __len__(self) -> int:
        return sum([piece.size for piece in self._pieces])

    @overload
    def __getitem__(self, place: int) -> bytes: ...
    @overload
    def __getitem__(self, place: slice) -> list[bytes]: ...
    def __getitem__(self, place: int | slice) -> bytes | list[bytes]:
        return self._split()[place]

    def __iter__(self) -> Iterator[bytes]:
        return iter(self._split())


def escaped_json_lines(lines: HoledLines, count: int) -> EscapedLines:
    """Each of so many lines as it stands inside a JSON string."""
    if not count:
        return EscapedLines([])
    text, filling = lines
    if filling is None:
        return EscapedLines([_Piece(_escaped(text.replace(b"\n", _END)), None, count)])
    return EscapedLines([_Piece(_escaped(text), _escaped(filling), count)])


def _escaped(text: bytes) -> bytes:
    return _encode(text.decode())[1:-1]


def _weave_whole(
    target: list[bytes], piece: _Piece, before: bytes, numbers: list[int], between: bytes, after: bytes
) -> None:
    text = piece.text.replace(b"%", b"%%") if b"%" in piece.text else piece.text
    head = b"%b%%d%b" % (before, between)
    # The end stands behind each line: what follows the last one is cut off, and put in front.
    text = head + text.replace(_END, after + head)[: -len(head)]
    target.append(text % tuple(numbers))


def _weave_holed(
    target: list[bytes], piece: _Piece, before: bytes, numbers: list[int], between: bytes, after: bytes
) -> None:
    count = piece.size
    end = b"%b}%b" % (piece.filling or b"", after)
    values = [between] * (4 * count)
    values[0::4] = _encode(numbers)[1:-1].split(b",")
    values[2::4] = piece.beginnings()
    values[3::4] = [end + before] * count
    values[-1] = end
    target.append(before)
    target += values
