"""What may be used up in a burst, and comes back slowly: the time that records wait, and questions to a server.

A filter that asks others about records asks in the background, and waits for answers only while it has patience.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

from ..clock import Clock

_RECOVERY_S = 60.0
_SHORTEST_WAIT_S = 0.1
"""For less than this it is not worth beginning to wait."""


class Patience:
    """The time for which records may be held up altogether: whoever waits does so at the expense of all.

    After `most_s` seconds of waiting nobody waits any more. What was used up comes back while nobody waits, all of it
    within a minute; time in which several wait at once counts once. So an input, whatever it brings and however slow
    the answers are, is held up by `most_s` seconds at a stretch, and in the long run by `most_s` seconds a minute.
    """

    def __init__(self, most_s: float, clock: Clock) -> None:
        self._most_s = most_s
        self._clock = clock
        # `_left_s` is what was left at `_counted_at`; since then nothing has changed in the number of those who wait.
        self._left_s = most_s
        self._counted_at = clock.monotonic()
        self._waiting = 0

    def __repr__(self) -> str:
        return f"Patience(left_s={self._left_s:.1f}, waiting={self._waiting})"

    async def wait(self, event: asyncio.Event, longest_s: float) -> bool:
        """Wait for the event, for `longest_s` at most and while there is time left; true if it is set."""
        self._count()
        longest_s = min(longest_s, self._left_s)
        if event.is_set() or longest_s < _SHORTEST_WAIT_S:
            return event.is_set()
        self._waiting += 1
        try:
            return await self._clock.wait(event, longest_s)
        finally:
            self._count()
            self._waiting -= 1

    def _count(self) -> None:
        """Settle what has passed since the last time; due before the number of those who wait changes."""
        now = self._clock.monotonic()
        passed_s, self._counted_at = now - self._counted_at, now
        change_s = -passed_s if self._waiting else passed_s * self._most_s / _RECOVERY_S
        self._left_s = min(self._most_s, max(0.0, self._left_s + change_s))


class Pace:
    """Lets something happen `at_once` times in succession, and from then on once in `every_s` seconds."""

    def __init__(self, at_once: int, every_s: float, clock: Clock) -> None:
        self._every_s = every_s
        self._most_ahead_s = (at_once - 1) * every_s
        self._clock = clock
        self._next_at = float("-inf")
        """When it would happen next if it had happened evenly so far; it may be ahead of that a little."""

    async def keep(self) -> None:
        """Wait until it may happen, and count that it does."""
        while (early_s := self._next_at - self._most_ahead_s - self._clock.monotonic()) > 0:
            await self._clock.sleep(early_s)
        self._next_at = max(self._next_at, self._clock.monotonic()) + self._every_s


class Errands:
    """Questions that are asked in the background, until `close`; one at a time of each name.

    `_done` has those that are on their way.
    """

    def __init__(self, longest_s: float, clock: Clock) -> None:
        self._longest_s = longest_s
        self._patience = Patience(longest_s, clock)
        self._done: dict[str, tuple[asyncio.Task[None], asyncio.Event]] = {}

    def __repr__(self) -> str:
        return f"Errands({len(self._done)} on their way, {self._patience})"

    async def run(self, name: str, errand: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Begin it unless it is on its way, and wait for it while patience lasts; raises what it raised meanwhile."""
        task, done = self._done.get(name) or self._begin(name, errand())
        if await self._patience.wait(done, self._longest_s):
            task.result()

    async def close(self) -> None:
        """End those that are on their way."""
        tasks = [task for task, _ in self._done.values()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _begin(self, name: str, errand: Coroutine[Any, Any, None]) -> tuple[asyncio.Task[None], asyncio.Event]:
        task, done = asyncio.create_task(errand), asyncio.Event()
        self._done[name] = task, done

        def finished(_: asyncio.Task[None]) -> None:
            del self._done[name]
            done.set()

        task.add_done_callback(finished)
        return task, done
