"""JSON lines as they stand inside of JSON strings, escaped many at a time.

Destinations that take a record as text get JSON inside of JSON. Many lines are escaped in one call, and what stands
between the lines, times and brackets, is put in where lines end. Lines become objects only where there is no other way.
They are escaped when a body is made of them, piece by piece: the text of a piece stays in the cache of the processor
until times are put between its lines.

DEL stands for the ends of lines, or for the holes in them: our JSON lines have it as an escape (`json_lines`), and
msgspec leaves it alone. It is one byte, which is found ten times faster than two.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple, overload

import msgspec

from .json_lines import HOLE, HoledLines, split_lines
from .line_feeds import count_line_feeds

_END = HOLE
_BEHIND_HOLE = b"}\\n"
_PIECE = 65_536
"""Bytes of lines that are escaped together."""

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

    __slots__ = ("_count", "_split", "_unescaped")

    def __init__(self, lines: HoledLines, count: int) -> None:
        self._unescaped = [(lines, count)]
        self._count = count
        self._split: list[bytes] | None = None

    def extend(self, more: EscapedLines) -> None:
        """Put other lines behind these."""
        self._unescaped += more._unescaped
        self._count += more._count
        self._split = None

    def woven(self, before: bytes, numbers: list[int], between: bytes, after: bytes) -> list[bytes]:
        """Pieces that are, joined, `before`, a number, `between`, a line and `after`, for each line.

        There is a number for each line; no percent sign is in what stands around them.
        """
        target: list[bytes] = []
        start = 0
        for piece in self._pieces():
            end = start + piece.size
            weave = _weave_whole if piece.filling is None else _weave_holed
            weave(target, piece, before, numbers[start:end], between, after)
            start = end
        return target

    def _pieces(self) -> Iterator[_Piece]:
        for (text, filling), count in self._unescaped:
            escaped_filling = None if filling is None else _escaped(filling)
            for piece in pieces_of(text):
                size = count if len(piece) == len(text) else count_line_feeds(piece)
                # The ends of lines are looked for later, and one byte that nothing else has is found fastest.
                unescaped = piece.replace(b"\n", _END) if filling is None else piece
                yield _Piece(_escaped(unescaped), escaped_filling, size)

    def _lines(self) -> list[bytes]:
        if self._split is None:
            self._split = [line for piece in self._pieces() for line in piece.lines()]
        return self._split

    def __len__(self) -> int:
        return self._count

    @overload
    def __getitem__(self, place: int) -> bytes: ...
    @overload
    def __getitem__(self, place: slice) -> list[bytes]: ...
    def __getitem__(self, place: int | slice) -> bytes | list[bytes]:
        return self._lines()[place]

    def __iter__(self) -> Iterator[bytes]:
        return iter(self._lines())


def pieces_of(text: bytes) -> Iterator[bytes]:
    """Lines, the last one too with a line feed, in pieces of about so many bytes that they stay in the cache."""
    start = 0
    while start < len(text):
        end = text.find(b"\n", min(start + _PIECE, len(text) - 1)) + 1
        yield text[start:end]
        start = end


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
