"""The seam for time: everything that waits or asks for the time does it through a `Clock`."""

from __future__ import annotations

import asyncio
import time
from typing import Protocol


class Clock(Protocol):
    """Wall time, monotonic time and waiting; `testing.ManualClock` replaces it in tests."""

    def time_ns(self) -> int:
        """Nanoseconds since the Unix epoch."""

    def monotonic(self) -> float:
        """Seconds on a clock that never goes back."""

    async def sleep(self, seconds: float) -> None:
        """Wait for `seconds`."""

    async def wait(self, event: asyncio.Event, seconds: float | None) -> bool:
        """Wait for the event, at most for `seconds`; true if the event is set."""


class SystemClock:
    """The clock of the machine and of the running event loop."""

    time_ns = staticmethod(time.time_ns)
    monotonic = staticmethod(time.monotonic)

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)

    async def wait(self, event: asyncio.Event, seconds: float | None) -> bool:
        if event.is_set():
            return True
        if seconds is None:
            await event.wait()
            return True
        try:
            async with asyncio.timeout(seconds):
                await event.wait()
        except TimeoutError:
            return event.is_set()
        return True
