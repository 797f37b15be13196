"""A buffer in memory: batches shared by reference, bounded in bytes, settled after delivery."""

from __future__ import annotations

import asyncio
import heapq
import itertools
from collections import deque
from collections.abc import Callable, Hashable, Sequence

from ..clock import Clock
from ..log import Log
from ..record import RecordBatch
from .base import MEMORY_FACTOR, BatchLimits, Buffer, BufferStatistics, Delivery, Lane, Reader

RECORD_OVERHEAD = 64
"""Bytes that a record weighs in memory however short its line is."""

PAUSE_TOLD_EVERY_S = 30.0
"""Of pauses that follow each other one in this time is told; one that lasts is always told."""


class _Entry:
    """A stored batch; `waiting` readers have not committed it."""

    __slots__ = ("batch", "put_at", "waiting", "weight")

    def __init__(self, batch: RecordBatch, waiting: int, weight: int, put_at: float) -> None:
        self.batch = batch
        self.waiting = waiting
        self.weight = weight
        self.put_at = put_at


class MemoryBuffer(Buffer):
    """Keeps batches in memory until all their readers have committed them.

    `limit` bounds the weight of what is held in bytes of resident memory; one batch is always let in, so that a batch
    larger than the limit passes alone. The receipt of a batch is settled when its last reader commits it.
    """

    def __init__(self, name: str, limit: int, clock: Clock, log: Log) -> None:
        self._name = name
        self._limit = limit
        self._clock = clock
        self._log = log
        self._readers: dict[str, MemoryReader] = {}
        self._weight = 0
        self._batches = 0
        self._records = 0
        self._size = 0
        self._waiters: deque[asyncio.Event] = deque()
        self._pause_told_at: float | None = None

    async def room(self, size: int) -> None:
        weight = size * MEMORY_FACTOR
        if self._waiters or self._is_over(weight):
            await self._wait_for(weight)

    def put(self, batch: RecordBatch, outputs: Sequence[str]) -> None:
        # The lanes come first: an output that cannot name one must not leave the batch with some readers only.
        taken_by = [(reader, reader.lane_of(batch)) for reader in map(self._readers.__getitem__, outputs)]
        entry = _Entry(batch, len(outputs), weight_of(batch), self._clock.monotonic())
        self._weight += entry.weight
        self._batches += 1
        self._records += len(batch)
        self._size += batch.size
        for reader, lane in taken_by:
            reader.add(entry, lane)

    def reader(self, output: str, lane: Lane, limits: BatchLimits, notify: Callable[[], None]) -> MemoryReader:
        found = self._readers[output] = MemoryReader(self, lane, limits, notify)
        return found

    def statistics(self) -> BufferStatistics:
        return BufferStatistics(self._batches, self._records, self._size, bool(self._waiters))

    @property
    def weight(self) -> int:
        """Resident bytes that the held batches are taken to have."""
        return self._weight

    def _is_over(self, weight: int) -> bool:
        return self._weight > 0 and self._weight + weight > self._limit

    async def _wait_for(self, weight: int) -> None:
        turn, is_told = asyncio.Event(), False
        self._waiters.append(turn)
        try:
            while not turn.is_set():
                quiet_s = None if is_told else self._quiet_s()
                if quiet_s == 0.0:
                    self._tell_pause(weight)
                    is_told = True
                elif await self._clock.wait(turn, quiet_s) and self._is_over(weight):
                    turn.clear()
        finally:
            self._waiters.remove(turn)
            # Whoever waits next is asked when our batch is in the buffer; it may also have been dropped or cancelled,
            # and then nothing else would wake the next one.
            asyncio.get_running_loop().call_soon(self._let_in)
        if is_told:
            size, limit = self._weight, self._limit
            self._log.info(
                f"[input] {self._name} resume (mem buf overlimit - buf size {size}B now below limit {limit}B)"
            )

    def _quiet_s(self) -> float:
        """Seconds until a pause may be told."""
        if self._pause_told_at is None:
            return 0.0
        return max(0.0, self._pause_told_at + PAUSE_TOLD_EVERY_S - self._clock.monotonic())

    def _tell_pause(self, weight: int) -> None:
        self._pause_told_at = self._clock.monotonic()
        held = sorted(((reader.held()[0], name) for name, reader in self._readers.items()), reverse=True)
        self._log.warning(
            f"[input] {self._name} paused (mem buf overlimit - event of size {weight}B exceeded limit "
            f"{self._limit}B to {self._weight + weight}B)",
            waits_for=" ".join(f"{name}:{records}" for records, name in held if records),
            remedy="see to that output, or raise Mem_Buf_Limit",
        )

    def release(self, entries: Sequence[_Entry]) -> None:
        """One reader has committed these entries; what no reader waits for is settled and forgotten."""
        for entry in entries:
            entry.waiting -= 1
            if entry.waiting == 0:
                self._weight -= entry.weight
                self._batches -= 1
                self._records -= len(entry.batch)
                self._size -= entry.batch.size
                entry.batch.receipt.settle()
        self._let_in()

    def _let_in(self) -> None:
        if self._waiters and (self._weight < self._limit or self._weight == 0):
            self._waiters[0].set()


def weight_of(batch: RecordBatch) -> int:
    """The resident bytes a batch is taken to have."""
    return batch.size * MEMORY_FACTOR + len(batch) * RECORD_OVERHEAD


class _LaneQueue:
    """The entries of one lane, oldest first; `is_out` while a delivery of the lane is neither committed nor back."""

    __slots__ = ("entries", "is_out", "name", "records", "size")

    def __init__(self, name: Hashable) -> None:
        self.name = name
        self.entries: deque[_Entry] = deque()
        self.size = 0
        self.records = 0
        self.is_out = False


class MemoryReader(Reader):
    """A cursor per lane over the entries put for one output.

    `_due` orders lanes by the age of their oldest entry, `_full` holds lanes that reached the limits. Both may name a
    lane that has changed since; `take` looks before it believes them. A lane is forgotten when it is empty.
    """

    def __init__(self, buffer: MemoryBuffer, lane: Lane, limits: BatchLimits, notify: Callable[[], None]) -> None:
        self._buffer = buffer
        self.lane_of = lane
        self._limits = limits
        self._notify = notify
        self._lanes: dict[Hashable, _LaneQueue] = {}
        self._out: dict[Delivery, list[_Entry]] = {}
        self._due: list[tuple[float, int, _LaneQueue]] = []
        self._full: deque[_LaneQueue] = deque()
        self._order = itertools.count()
        self._records = 0
        self._size = 0

    def add(self, entry: _Entry, name: Hashable) -> None:
        """Take note of an entry put for this reader, for the lane of this name."""
        lane = self._lanes.get(name)
        if lane is None:
            lane = self._lanes[name] = _LaneQueue(name)
        lane.entries.append(entry)
        lane.size += entry.batch.size
        lane.records += len(entry.batch)
        self._records += len(entry.batch)
        self._size += entry.batch.size
        if not lane.is_out:
            if len(lane.entries) == 1:
                self._schedule(lane)
            if self._is_full(lane):
                self._full.append(lane)
                self._notify()
            elif len(lane.entries) == 1:
                self._notify()

    def take(self, now: float, *, flush: bool = False) -> Delivery | None:
        while self._full:
            lane = self._full.popleft()
            if not lane.is_out and self._is_full(lane):
                return self._take_from(lane, now)
        while self._due:
            put_at, _, lane = self._due[0]
            if lane.is_out or not lane.entries or lane.entries[0].put_at != put_at:
                heapq.heappop(self._due)
            elif flush or put_at + self._limits.seconds <= now:
                heapq.heappop(self._due)
                return self._take_from(lane, now)
            else:
                return None
        return None

    def due_in(self, now: float) -> float | None:
        while self._full:
            if not self._full[0].is_out and self._is_full(self._full[0]):
                return 0.0
            self._full.popleft()
        while self._due:
            put_at, _, lane = self._due[0]
            if lane.is_out or not lane.entries or lane.entries[0].put_at != put_at:
                heapq.heappop(self._due)
            else:
                return max(0.0, put_at + self._limits.seconds - now)
        return None

    def commit(self, delivery: Delivery) -> None:
        entries = self._out.pop(delivery)
        self._records -= delivery.records
        self._size -= delivery.size
        self._lane_is_back(delivery.lane)
        self._buffer.release(entries)

    def give_back(self, delivery: Delivery) -> None:
        entries = self._out.pop(delivery)
        lane = self._lanes[delivery.lane]
        lane.entries.extendleft(reversed(entries))
        lane.size += delivery.size
        lane.records += delivery.records
        self._lane_is_back(delivery.lane)

    def held(self) -> tuple[int, int]:
        return self._records, self._size

    def _take_from(self, lane: _LaneQueue, now: float) -> Delivery:
        limits, entries, size, records = self._limits, list[_Entry](), 0, 0
        while lane.entries:
            batch = lane.entries[0].batch
            if entries and (size + batch.size > limits.size or records + len(batch) > limits.records):
                break
            entries.append(lane.entries.popleft())
            size += batch.size
            records += len(batch)
        lane.size -= size
        lane.records -= records
        lane.is_out = True
        delivery = Delivery(lane.name, [e.batch for e in entries], now)
        self._out[delivery] = entries
        return delivery

    def _lane_is_back(self, name: Hashable) -> None:
        lane = self._lanes[name]
        lane.is_out = False
        if not lane.entries:
            del self._lanes[name]
            return
        self._schedule(lane)
        if self._is_full(lane):
            self._full.append(lane)
        self._notify()

    def _schedule(self, lane: _LaneQueue) -> None:
        heapq.heappush(self._due, (lane.entries[0].put_at, next(self._order), lane))

    def _is_full(self, lane: _LaneQueue) -> bool:
        return lane.size >= self._limits.size or lane.records >= self._limits.records
