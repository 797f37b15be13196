"""What has arrived at a sink, read out of lines that say when they were written and which one they are."""

from __future__ import annotations

import re
import time
from array import array
from collections.abc import Sequence

import msgspec

_MARK = re.compile(rb"at=(\d+) no=(\d+) ")


class Status(msgspec.Struct, frozen=True):
    """How far a sink is.

    Lines are counted once in `arrived` and each time in `taken`; all lines with numbers below `complete_below` have
    arrived. Times are wall times in nanoseconds, 0 for what has not happened: the first arrival, and when the sink was
    back after an absence.
    """

    arrived: int = 0
    taken: int = 0
    complete_below: int = 0
    first_ns: int = 0
    back_ns: int = 0


class Latencies(msgspec.Struct, frozen=True):
    """Seconds between writing and arriving."""

    lines: int
    p50_s: float
    p99_s: float
    most_s: float


class Arrivals:
    """Counts lines by their numbers, and remembers when each was written and how late it was."""

    def __init__(self) -> None:
        # One byte for each number: whether that line has arrived.
        self._seen = bytearray()
        self._arrived = 0
        self._complete_below = 0
        self._first_ns = 0
        # Of all lines, also of those that came twice, in the order in which they came.
        self._written_ns = array("q")
        self._late_ns = array("q")

    def take(self, body: bytes, now_ns: int | None = None) -> None:
        """Note the lines in the body of a request."""
        marks = _MARK.findall(body)
        if not marks:
            return
        now = time.time_ns() if now_ns is None else now_ns
        self._first_ns = self._first_ns or now
        written = [int(at) for at, _ in marks]
        self._written_ns.extend(written)
        self._late_ns.extend([now - at for at in written])
        numbers = {int(number) for _, number in marks}
        if (missing := max(numbers) + 1 - len(self._seen)) > 0:
            self._seen.extend(bytes(missing))
        seen = self._seen
        for number in numbers:
            if not seen[number]:
                seen[number] = 1
                self._arrived += 1

    def status(self) -> Status:
        gap = self._seen.find(0, self._complete_below)
        self._complete_below = len(self._seen) if gap < 0 else gap
        return Status(self._arrived, len(self._written_ns), self._complete_below, self._first_ns)

    def latencies(self, since_ns: int = 0, until_ns: int = 1 << 62) -> Latencies:
        """How late lines were that were written in this time."""
        pairs = zip(self._written_ns, self._late_ns, strict=True)
        late = sorted(late for written, late in pairs if since_ns <= written < until_ns)
        if not late:
            return Latencies(0, 0.0, 0.0, 0.0)
        return Latencies(len(late), percentile(late, 50) / 1e9, percentile(late, 99) / 1e9, late[-1] / 1e9)


def percentile(ordered: Sequence[int], percent: float) -> int:
    """The smallest of the ordered values that so many percent of them are not above."""
    rank = -(-len(ordered) * percent // 100)
    return ordered[max(0, int(rank) - 1)]
