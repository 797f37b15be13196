"""Batches waiting for one output, sorted into lanes: which of them is delivered next, and when."""

from __future__ import annotations

import heapq
import itertools
from collections import deque
from collections.abc import Hashable, Iterable
from typing import Generic, Protocol, TypeVar

from .base import BatchLimits


class Waiting(Protocol):
    """What lanes must know of a batch: numbers grow with every put, `put_at` is by the clock of those who take."""

    sequence: int
    records: int
    size: int
    put_at: float


E = TypeVar("E", bound=Waiting)


class Lane(Generic[E]):
    """The entries of one destination stream, oldest first; `is_out` while a delivery of it is out."""

    __slots__ = ("entries", "is_out", "name", "records", "size")

    def __init__(self, name: Hashable) -> None:
        self.name = name
        self.entries: deque[E] = deque()
        self.size = 0
        self.records = 0
        self.is_out = False


class Lanes(Generic[E]):
    """The lanes of one reader.

    `_due` orders lanes by when their oldest entry is due, `_full` holds lanes that reached the limits. Both
    may name a lane that has changed since, so each is looked at before it is believed. A lane is forgotten when it is
    empty, and when it was taken from as soon as that does not matter any more.
    """

    def __init__(self, limits: BatchLimits) -> None:
        self._limits = limits
        self._lanes: dict[Hashable, Lane[E]] = {}
        self._due: list[tuple[float, int, float, Lane[E]]] = []
        self._full: deque[Lane[E]] = deque()
        self._order = itertools.count()
        self._lane_of: dict[int, Lane[E]] = {}
        self._taken_at: dict[Hashable, float] = {}
        """When lanes were taken from, oldest first, if deliveries are to be some time apart."""
        self.waiting = 0
        """Bytes as read that wait and are not out."""

    def add(self, entry: E, name: Hashable) -> bool:
        """Let an entry wait; true if there is news for whoever takes."""
        lane = self._lanes.get(name)
        if lane is None:
            lane = self._lanes[name] = Lane[E](name)
        lane.entries.append(entry)
        lane.size += entry.size
        lane.records += entry.records
        self.waiting += entry.size
        self._lane_of[entry.sequence] = lane
        if lane.is_out:
            return False
        is_first = len(lane.entries) == 1
        if is_first:
            self._schedule(lane)
        if self._is_full(lane):
            self._full.append(lane)
            return True
        return is_first

    def has_full(self) -> bool:
        """Whether a full delivery can be taken."""
        full = self._full
        while full:
            if not full[0].is_out and self._is_full(full[0]):
                return True
            full.popleft()
        return False

    def due_in(self, now: float) -> float | None:
        """Seconds until something can be taken; None if nothing waits."""
        if self.has_full():
            return 0.0
        first = self._first_due()
        return None if first is None else max(0.0, first[0] - now)

    def take(self, now: float, *, flush: bool) -> tuple[Hashable, list[E]] | None:
        """The entries of the next delivery that is full or due; their lane is out from now on."""
        first = None if self.has_full() else self._first_due()
        if first is not None:
            due, lane = first
            if not flush and due > now:
                return None
        elif self._full:
            lane = self._full.popleft()
        else:
            return None
        if self._limits.apart:
            self._note_taken(lane, now)
        return self._take_from(lane)

    def take_all(self, name: Hashable) -> list[E]:
        """Everything that waits in this lane, which is not out and has something; it is out from now on."""
        return self._take_from(self._lanes[name], is_limited=False)[1]

    def first_waiting(self, sequences: Iterable[int]) -> E | None:
        """The entry of the first of these numbers, which are in order, that is neither out nor gone."""
        for sequence in sequences:
            lane = self._lane_of.get(sequence)
            if lane is not None:
                return lane.entries[0]
        return None

    def drop(self, sequence: int) -> E:
        """Take the entry out that is the oldest of all waiting, and so the first of its lane."""
        lane = self._lane_of.pop(sequence)
        entry = lane.entries.popleft()
        lane.size -= entry.size
        lane.records -= entry.records
        self.waiting -= entry.size
        if not lane.is_out:
            self._settle(lane)
        return entry

    @property
    def is_empty(self) -> bool:
        """Whether nothing waits; deliveries may be out."""
        return not self._lane_of

    def oldest(self) -> E | None:
        """The entry with the lowest number of those that wait and are the first of their lane."""
        first = [lane.entries[0] for lane in self._lanes.values() if lane.entries]
        return min(first, key=lambda entry: entry.sequence, default=None)

    def entries(self) -> Iterable[E]:
        """Everything that waits, lane by lane."""
        return itertools.chain.from_iterable(lane.entries for lane in self._lanes.values())

    def withdraw(self) -> list[E]:
        """Take everything out that waits, in the order in which it was put."""
        entries = list(self.entries())
        self._lane_of.clear()
        self._due.clear()
        self._full.clear()
        self.waiting = 0
        self._lanes = {name: lane for name, lane in self._lanes.items() if lane.is_out}
        for lane in self._lanes.values():
            lane.entries.clear()
            lane.size = lane.records = 0
        entries.sort(key=lambda entry: entry.sequence)
        return entries

    def back(self, name: Hashable, entries: list[E] | tuple[E, ...] = ()) -> None:
        """A delivery of this lane has ended; `entries` of it are the next again."""
        lane = self._lanes[name]
        lane.is_out = False
        self.leave_out(name, entries)
        self._settle(lane)

    def leave_out(self, name: Hashable, entries: list[E] | tuple[E, ...]) -> None:
        """These last ones of a delivery are not in it after all, and the next of the lane again when it is back."""
        lane = self._lanes[name]
        lane.entries.extendleft(reversed(entries))
        for entry in entries:
            lane.size += entry.size
            lane.records += entry.records
            self.waiting += entry.size
            self._lane_of[entry.sequence] = lane

    def _take_from(self, lane: Lane[E], *, is_limited: bool = True) -> tuple[Hashable, list[E]]:
        limits, taken, size, records = self._limits, list[E](), 0, 0
        waiting = lane.entries
        while waiting:
            entry = waiting[0]
            if is_limited and taken and (size + entry.size > limits.size or records + entry.records > limits.records):
                break
            taken.append(waiting.popleft())
            del self._lane_of[entry.sequence]
            size += entry.size
            records += entry.records
        lane.size -= size
        lane.records -= records
        self.waiting -= size
        lane.is_out = True
        return lane.name, taken

    def _settle(self, lane: Lane[E]) -> None:
        if not lane.entries:
            del self._lanes[lane.name]
            return
        self._schedule(lane)
        if self._is_full(lane):
            self._full.append(lane)

    def _first_due(self) -> tuple[float, Lane[E]] | None:
        """The lane that is due next, and when."""
        due = self._due
        while due:
            when, _, put_at, lane = due[0]
            if not lane.is_out and lane.entries and lane.entries[0].put_at == put_at:
                return when, lane
            heapq.heappop(due)
        return None

    def _schedule(self, lane: Lane[E]) -> None:
        put_at = lane.entries[0].put_at
        when = put_at + self._limits.seconds
        if self._limits.apart and lane.name in self._taken_at:
            when = max(when, self._taken_at[lane.name] + self._limits.apart)
        heapq.heappush(self._due, (when, next(self._order), put_at, lane))

    def _note_taken(self, lane: Lane[E], now: float) -> None:
        taken_at = self._taken_at
        taken_at.pop(lane.name, None)
        taken_at[lane.name] = now
        while taken_at[name := next(iter(taken_at))] <= now - self._limits.apart:
            del taken_at[name]

    def _is_full(self, lane: Lane[E]) -> bool:
        return lane.size >= self._limits.size or lane.records >= self._limits.records
