"""Which files are read next: those with something to read take turns by bytes (deficit round robin).

Every turn adds one quantum to what a file may read, and a file is read while it has credit. What it reads beyond (a
line longer than a block) it waits for in later turns, so that a flood in one file delays the others by one quantum.
"""

from __future__ import annotations

import asyncio

from .follower import Follower


class Turns:
    """The files that may have something to read, by path, and the credit of each in bytes."""

    def __init__(self, quantum: int) -> None:
        self.quantum = quantum
        self.is_filled = asyncio.Event()
        """Set when a file is added, for a reader that rests."""
        self._files: dict[str, Follower] = {}
        self._credit: dict[str, int] = {}

    def __bool__(self) -> bool:
        return bool(self._files)

    def add(self, follower: Follower) -> None:
        self._files[follower.path] = follower

    def remove(self, path: str) -> None:
        """The file was read to its end: what credit is left is not kept, a debt is."""
        self._files.pop(path, None)
        if self._credit.get(path, 0) >= 0:
            self._credit.pop(path, None)

    def round(self) -> list[Follower]:
        """The files of one round, each with a quantum more to read."""
        for path in self._files:
            # Up to half a quantum may be left over from the turn before, see `has_turn`.
            self._credit[path] = min(3 * self.quantum // 2, self._credit.get(path, 0) + self.quantum)
        return list(self._files.values())

    def has_turn(self, path: str) -> bool:
        # A block ends at a line's end; the few bytes to the quantum are not worth a read of their own.
        return path in self._files and 2 * self._credit.get(path, 0) > self.quantum

    def spend(self, path: str, size: int) -> None:
        """Take note of the bytes of one read; one that gave nothing ends the turn."""
        if path in self._credit:
            self._credit[path] -= size or self.quantum
