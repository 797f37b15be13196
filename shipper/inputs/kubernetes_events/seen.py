"""Which events were emitted by this process."""

from __future__ import annotations

from collections.abc import Callable, Hashable

MOST_REMEMBERED = 50_000
"""Entries of a generation; two generations take about seven megabytes at most."""


class RecentlySeen:
    """Remembers what was emitted for one to two times `keep_s`, or less if there is too much.

    Only hashes are kept, in two generations: the young one becomes the old one when it is full or has its age.
    """

    def __init__(self, keep_s: float, monotonic: Callable[[], float], most: int = MOST_REMEMBERED) -> None:
        self._keep_s = keep_s
        self._monotonic = monotonic
        self._most = most
        self._young: set[int] = set()
        self._old: set[int] = set()
        self._turned_at = monotonic()

    def __contains__(self, key: Hashable) -> bool:
        value = hash(key)
        return value in self._young or value in self._old

    def __len__(self) -> int:
        return len(self._young) + len(self._old)

    def add(self, key: Hashable) -> None:
        now = self._monotonic()
        if len(self._young) >= self._most or now - self._turned_at > self._keep_s:
            self._old, self._young, self._turned_at = self._young, set(), now
        self._young.add(hash(key))
