"""Let only so many records pass in a time."""

from __future__ import annotations

import re
from collections import deque
from typing import Annotated, Self

from ..config.options import opt
from ..context import Context
from ..record import RecordBatch
from .base import Filter, FilterOptions

_INTERVAL = re.compile(r"([0-9]+(?:\.[0-9]+)?)([smhd]?)", re.IGNORECASE)
_FACTORS = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86400}
_USUAL_WINDOW = 5


class Interval(int):
    """Whole seconds, at least one; text that is no time means one second, as in Fluent Bit, and is told by `remark`."""

    shown_as = "time"
    remark = ""

    @classmethod
    def parse(cls, text: str) -> Self:
        if found := _INTERVAL.fullmatch(text.strip()):
            return cls(max(1, int(float(found[1]) * _FACTORS[found[2].lower()])))
        interval = cls(1)
        interval.remark = f"{text!r} is not a duration; 1s is used, as in Fluent Bit (write one such as 30s or 5m)"
        return interval

    def __str__(self) -> str:
        return f"{int(self)}s"


class ThrottleOptions(FilterOptions):
    """Options of the throttle filter."""

    rate: Annotated[float, opt("Records that may pass in an interval, on average; at least 1.")] = 1.0
    window: Annotated[int, opt("Intervals over which the average is taken.")] = _USUAL_WINDOW
    interval: Annotated[Interval, opt("Length of an interval.", example="1s")] = Interval(1)
    print_status: Annotated[bool, opt("Tell the average in every interval in which records come.")] = False


class ThrottleFilter(Filter):
    """Drops a record while the average of the last intervals, of all tags it matches, has reached the rate.

    `_counts` are the records that have passed in each interval of the window, that of now last; it began at `_began`.
    """

    Options = ThrottleOptions

    def __init__(self, options: ThrottleOptions, context: Context) -> None:
        window = options.window if options.window > 1 else _USUAL_WINDOW
        self._most = max(options.rate, 1.0) * window
        self._interval = int(options.interval)
        self._counts = deque([0] * window, window)
        self._clock = context.clock
        self._began = context.clock.monotonic()
        self._log = context.log if options.print_status else None

    def apply(self, batch: RecordBatch) -> RecordBatch | None:
        self._move_on()
        counts, total = self._counts, sum(self._counts)
        # A record passes while fewer have passed than the whole window may hold.
        room = max(0, -int(-(self._most - total) // 1))
        records = len(batch)
        passing = min(room, records)
        counts[-1] += passing
        if passing == records:
            return batch
        if not passing:
            return None
        batch.size = batch.size * passing // records
        batch.records = batch.records[:passing]
        return batch

    def _move_on(self) -> None:
        """Begin the intervals that have begun since the last time."""
        passed = int((self._clock.monotonic() - self._began) // self._interval)
        if not passed:
            return
        self._began += passed * self._interval
        if self._log is not None:
            average = sum(self._counts) / len(self._counts)
            self._log.info("throttle", average=f"{average:.2f}", limit=self._most / len(self._counts))
        self._counts.extend([0] * min(passed, len(self._counts)))
