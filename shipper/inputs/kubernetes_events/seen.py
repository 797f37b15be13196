"""Which events were emitted by this process."""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections import deque
from collections.abc import Callable, Collection, Hashable

import msgspec

MOST_REMEMBERED = 100_000
"""Events that are remembered; they take about a megabyte."""

_RUN = 2048
"""A search looks into every run, and what is not in one yet takes ten times as much memory."""


class _Run(msgspec.Struct, frozen=True):
    """Hashes in order, and when the last of them was added."""

    hashes: array[int]
    ended_at: float


class RecentlySeen:
    """Remembers what was emitted for one to two times `keep_s`, or less if there is too much.

    Only hashes are kept: the latest in a set, the others in sorted runs of eight bytes each.
    """

    def __init__(
        self, keep_s: float, monotonic: Callable[[], float], most: int = MOST_REMEMBERED, run: int = _RUN
    ) -> None:
        self._keep_s = keep_s
        self._monotonic = monotonic
        self._most_runs = max(1, most // run)
        self._run = run
        self._latest: set[int] = set()
        self._began_at = monotonic()
        self._runs: deque[_Run] = deque()

    def __contains__(self, key: Hashable) -> bool:
        value = hash(key)
        return value in self._latest or any(_holds(run.hashes, value) for run in self._runs)

    def __len__(self) -> int:
        return len(self._latest) + sum(len(run.hashes) for run in self._runs)

    def add(self, key: Hashable) -> None:
        now = self._monotonic()
        if len(self._latest) >= self._run or now - self._began_at > self._keep_s:
            self._runs.append(_Run(array("q", sorted(self._latest)), now))
            self._latest, self._began_at = set(), now
        while len(self._runs) > self._most_runs or (self._runs and now - self._runs[0].ended_at > self._keep_s):
            self._runs.popleft()
        self._latest.add(hash(key))

    def forget(self, values: Collection[int]) -> None:
        """Forget the keys with these hashes; everything is looked through for them."""
        values = set(values)
        self._latest -= values
        left = (_Run(array("q", [h for h in run.hashes if h not in values]), run.ended_at) for run in self._runs)
        self._runs = deque(left)


def _holds(hashes: array[int], value: int) -> bool:
    place = bisect_left(hashes, value)
    return place < len(hashes) and hashes[place] == value
