"""Bounds what deleted files may take that stay open because they were not read to their end.

Without a bound none is let go, which loses nothing but keeps the disk from being freed while a destination is down.
"""

from __future__ import annotations

from collections.abc import Iterable

from ...disk import Disk
from .follower import Follower
from .generation import Generation

Held = tuple[Follower, Generation]


class DeletedFiles:
    """Chooses the deleted files that are to be closed unread: those beyond an age, and the oldest beyond a size."""

    def __init__(self, disk: Disk, most_bytes: int, longest_s: float) -> None:
        self._disk = disk
        self._most_bytes = most_bytes
        self._longest_s = longest_s
        # When a file was first seen deleted, by the number of its generation.
        self._since: dict[int, float] = {}

    @property
    def is_bounded(self) -> bool:
        return bool(self._most_bytes or self._longest_s)

    def beyond_bounds(self, followers: Iterable[Follower], now: float) -> list[Held]:
        """The files to let go of now; of those that were deleted at the same time the older generation first."""
        held, sizes = [], {}
        for follower in followers:
            for generation in follower.generations:
                state = self._disk.fstat(generation.fd)
                if not state.st_nlink:
                    held.append((follower, generation))
                    sizes[generation.number] = state.st_size
        self._since = {number: self._since.get(number, now) for number in sizes}
        held.sort(key=lambda one: (self._since[one[1].number], one[1].number))
        too_much = sum(sizes.values()) - self._most_bytes if self._most_bytes else 0
        chosen = []
        for follower, generation in held:
            is_old = self._longest_s and now - self._since[generation.number] >= self._longest_s
            if too_much > 0 or is_old:
                chosen.append((follower, generation))
                too_much -= sizes[generation.number]
        return chosen
