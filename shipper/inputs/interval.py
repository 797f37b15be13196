"""What inputs share that look at something again and again."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Annotated

from ..clock import Clock
from ..config.options import opt
from .base import InputOptions


class IntervalOptions(InputOptions):
    """Options of inputs that collect at an interval."""

    interval_sec: Annotated[int, opt("Seconds between collections.")] = 1
    interval_nsec: Annotated[int, opt("Nanoseconds added to interval_sec.")] = 0

    def period_s(self) -> float:
        """Seconds from one collection to the next; one second where none are given."""
        return max(self.interval_sec, 0) + max(self.interval_nsec, 0) / 1e9 or 1.0


async def ticks(clock: Clock, period_s: float) -> AsyncIterator[None]:
    """Come back at the end of each period; periods that pass while the caller works are left out."""
    next_at = clock.monotonic() + period_s
    while True:
        await clock.sleep(max(0.0, next_at - clock.monotonic()))
        yield
        next_at = max(next_at + period_s, clock.monotonic())
