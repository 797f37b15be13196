"""Finds files that grow while nothing is read from them, though nothing keeps the reader from it."""

from __future__ import annotations

from collections.abc import Iterable

from .follower import Follower
from .generation import Generation


class Watchdog:
    """Remembers since when each file has unread bytes at the same offset."""

    def __init__(self) -> None:
        # Offset and time of the first look that found the file there, by the number of its generation.
        self._since: dict[int, tuple[int, float]] = {}

    def rest(self) -> None:
        """Forget everything, because the reader is held up: no file is to blame."""
        self._since.clear()

    def stalled(self, followers: Iterable[Follower], now: float, longest_s: float) -> list[Generation]:
        """The files that are to be read next in their path and have not come forward for so long."""
        since: dict[int, tuple[int, float]] = {}
        stalled = []
        for follower in followers:
            for generation in follower.generations:
                if generation.has_unread:
                    offset, begin = self._since.get(generation.number, (-1, now))
                    since[generation.number] = (
                        (offset, begin) if offset == generation.offset else (generation.offset, now)
                    )
                    if now - since[generation.number][1] >= longest_s:
                        stalled.append(generation)
                        del since[generation.number]
                if generation.has_unread or generation.has_unfinished_line:
                    break  # younger files wait for this one
        self._since = since
        return stalled
