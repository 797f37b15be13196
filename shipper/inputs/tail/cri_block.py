"""Whole blocks of CRI lines at once: the columns of all lines in one pass, records only when somebody asks.

This is the short way of `JoinedLines`; it takes only what it can prove to be plain: every line of the block has the
form `TIME stdout|stderr F|P TEXT` with a time as the runtimes write it, and every partial line is completed in the
block. For anything else it gives back nothing, or stops before the first line that is not complete, and the multiline
engine, whose results are the same by test, takes over.
"""

from __future__ import annotations

import re

from ...parsers.container_time import container_time_ns
from ...record import Body, Record

Row = tuple[str, str, str, str]
"""Time, stream, flag and text of a line, or of the lines joined to a record."""

_ROW = re.compile(
    r"^(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{1,9}(?:Z|[+-]\d\d:\d\d)) (stdout|stderr) ([FP]) (.*)$", re.M | re.A
)


class CriBlock:
    """The records of a block as rows; `consumed` bytes of the block are in them, read from `lines` lines."""

    __slots__ = ("_rows", "consumed", "lines")

    def __init__(self, rows: list[Row], consumed: int, lines: int) -> None:
        self._rows = rows
        self.consumed = consumed
        self.lines = lines

    def __len__(self) -> int:
        return len(self._rows)

    def records(self) -> list[Record]:
        return [Record(t, body) for t, body in zip(self.times_ns(), self.bodies(), strict=True)]

    def times_ns(self) -> list[int]:
        time_ns = container_time_ns
        # The form of the time was checked; only a time before 1970 or an impossible date can fail here.
        return [time_ns(row[0]) or 0 for row in self._rows]

    def bodies(self) -> list[Body]:
        return [{"time": t, "stream": s, "_p": p, "log": log} for t, s, p, log in self._rows]


def read_cri_block(data: bytes) -> CriBlock | None:
    """The records of a block of CRI lines, or None if any line is not of the plain form."""
    if data.find(b"\r\n") >= 0:
        return None
    try:
        text = data.decode()
    except UnicodeDecodeError:
        return None
    rows: list[Row] = _ROW.findall(text)
    lines = text.count("\n")
    if len(rows) != lines or _has_odd_time(rows):
        return None
    if " P " not in text:
        return CriBlock(rows, len(data), lines)
    joined, taken = _join_partials(rows)
    if taken == lines:
        return CriBlock(joined, len(data), lines)
    return CriBlock(joined, _offset_of_line(data, taken), taken)


def _has_odd_time(rows: list[Row]) -> bool:
    """Whether the times may hold one that means no time; within a block they differ in their last digits only."""
    return any(container_time_ns(row[0]) is None for row in (rows[0], rows[-1])) if rows else False


def _join_partials(rows: list[Row]) -> tuple[list[Row], int]:
    """Join partial lines per stream; gives the records of the lines before the first partial that stays open.

    The records stand in the order in which their last lines came.
    """
    while True:
        joined, first_open = _join_all(rows)
        if first_open is None:
            return joined, len(rows)
        rows = rows[:first_open]


def _join_all(rows: list[Row]) -> tuple[list[Row], int | None]:
    open_rows: dict[str, tuple[int, Row]] = {}
    joined: list[Row] = []
    for number, row in enumerate(rows):
        if row[2] == "P":
            first, head = open_rows.get(row[1]) or (number, (row[0], row[1], "P", ""))
            open_rows[row[1]] = (first, (head[0], head[1], "P", head[3] + row[3]))
        elif open_rows and (opened := open_rows.pop(row[1], None)):
            head = opened[1]
            joined.append((head[0], head[1], "P", head[3] + row[3]))
        else:
            joined.append(row)
    return joined, min((first for first, _ in open_rows.values()), default=None)


def _offset_of_line(data: bytes, number: int) -> int:
    offset = 0
    for _ in range(number):
        offset = data.index(b"\n", offset) + 1
    return offset
