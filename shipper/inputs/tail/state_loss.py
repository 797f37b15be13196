"""Where files begin whose positions were lost with the database."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from typing import Self

from ...config.units import Seconds
from ...disk import Disk
from ...parsers.container_time import container_time_ns
from .access import read_whole

LineTime = Callable[[bytes], int | None]
"""Nanoseconds since the epoch of a line, None if it has no time that can be read."""

_WINDOW = 64 * 1024
"""A range of so many bytes is searched line by line."""

_REACH = 2 * _WINDOW
"""Bytes in which a line with a time has to begin."""

_LEADING_TIME = re.compile(rb"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?(?:Z|[+-]\d\d:?\d\d)(?=[ \t])")
_JSON_TIME = re.compile(rb'"time":"(\d{4}-\d\d-\d\dT[^"]+)"')


class StateLoss:
    """What to do without positions: `head`, `tail`, or `since=TIME` for the lines of that time up to now."""

    shown_as = "head, tail or since=TIME"

    def __init__(self, text: str) -> None:
        word, _, duration = text.strip().lower().partition("=")
        if word not in ("head", "tail", "since") or (word == "since") is not bool(duration):
            raise ValueError(f"{text!r} is neither head nor tail nor since=TIME, such as since=10m")
        self.is_head = word == "head"
        self.since_s = float(Seconds.parse(duration)) if duration else None
        self._text = text

    @classmethod
    def parse(cls, text: str) -> Self:
        return cls(text)

    def __str__(self) -> str:
        return self._text

    __repr__ = __str__


class LostPositions:
    """Where files begin that were there when positions were lost; `since_ns` is None unless the rule has a time."""

    def __init__(self, rule: StateLoss, disk: Disk, line_time: LineTime, now_ns: int) -> None:
        self._rule = rule
        self._disk = disk
        self._line_time = line_time
        self.since_ns = None if rule.since_s is None else now_ns - int(rule.since_s * 1e9)

    def is_wanted(self, mtime_ns: int) -> bool:
        """Whether a rotated file of that time may have lines of the wanted time."""
        return self.since_ns is not None and mtime_ns >= self.since_ns

    def first_offset(self, fd: int, state: os.stat_result) -> int:
        """Where to begin; a file that was changed lately but has lines without times begins at its head."""
        if self._rule.is_head:
            return 0
        if self.since_ns is None or state.st_mtime_ns < self.since_ns:
            return state.st_size
        found = first_line_since(self._disk, fd, state.st_size, self.since_ns, self._line_time)
        return 0 if found is None else found


def container_line_time(line: bytes) -> int | None:
    """The time of a line that begins with one, or that is a JSON object of Docker."""
    found = _LEADING_TIME.match(line)
    if found:
        return container_time_ns(found[0].decode())
    inside = _JSON_TIME.search(line)
    return container_time_ns(inside[1].decode("ascii", "replace")) if inside else None


def first_line_since(disk: Disk, fd: int, size: int, since_ns: int, line_time: LineTime) -> int | None:
    """The offset of the first line that is not older, the size if all are; None if no line has a time.

    Lines are taken to be in order of time. Those without a time belong to the line before.
    """
    # The lines before `low` are older; of those behind `high` none is, or none has a time.
    low, high = 0, size
    while high - low > _WINDOW:
        middle = (low + high) // 2
        times = _timed_lines(disk, fd, middle, line_time)
        if times and times[0][1] < since_ns:
            low = times[0][0]
        else:
            high = middle
    times = _timed_lines(disk, fd, low, line_time)
    if not times:
        return None
    for start, time_ns in times:
        if time_ns >= since_ns:
            return start
    # Behind many lines without a time there may be newer ones.
    return size if low + _REACH >= size else low


def _timed_lines(disk: Disk, fd: int, begin: int, line_time: LineTime) -> list[tuple[int, int]]:
    """Offset and time of the lines with a time that begin at `begin` or soon behind it."""
    start = max(0, begin - 1)
    data = read_whole(disk, fd, _REACH, start)
    if start < begin:
        skipped = data.find(b"\n") + 1 or len(data)
        start, data = start + skipped, data[skipped:]
    times = []
    for line in data.split(b"\n"):
        time_ns = line_time(line)
        if time_ns is not None:
            times.append((start, time_ns))
        start += len(line) + 1
    return times
