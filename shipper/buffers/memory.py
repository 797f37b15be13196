"""A buffer in memory: batches shared by reference, bounded in bytes, settled after delivery.

What an output has on its way cannot be taken back, so with several outputs each may have a share of the room on its
way and no more. What merely waits can be: it is dropped (`storage.type memrb`) or moved to the disk (see `spilling`).
"""

from __future__ import annotations

import asyncio
import itertools
from collections import deque
from collections.abc import Callable, Hashable, Sequence

import msgspec

from ..clock import Clock
from ..log import Log
from ..record import RecordBatch
from .base import (
    MEMORY_FACTOR,
    RING_OVER_LIMIT,
    BatchLimits,
    Buffer,
    BufferStatistics,
    Delivery,
    Lane,
    Loss,
    Reader,
    Skipped,
)
from .lanes import Lanes

RECORD_OVERHEAD = 64
"""Bytes that a record weighs in memory however short its line is."""

PAUSE_TOLD_EVERY_S = 30.0
"""Of pauses that follow each other one in this time is told; one that lasts is always told."""


RELIEF_AFTER_S = 0.5
"""Wait for room before something is done about what holds it."""


class Entry:
    """A stored batch for `readers` readers; `waiting` of them need its records, `owing` have not committed it.

    When nobody waits for it any more an empty batch takes its place, with the receipt for those that still owe.
    """

    __slots__ = ("batch", "owing", "put_at", "readers", "records", "sequence", "size", "waiting", "weight")

    def __init__(self, sequence: int, batch: RecordBatch, readers: int, put_at: float) -> None:
        self.sequence = sequence
        self.batch = batch
        self.records = len(batch)
        self.size = batch.size
        self.readers = readers
        self.waiting = readers
        self.owing = readers
        self.weight = weight_of(batch)
        self.put_at = put_at


class MemoryLimit(msgspec.Struct, frozen=True):
    """Bytes of resident memory, which setting they come from, and what to do when they are used up."""

    size: int
    source: str = "Mem_Buf_Limit"
    remedy: str = "see to that output, or raise Mem_Buf_Limit"


class MemoryBuffer(Buffer):
    """Keeps batches in memory until all their readers have committed them, or keep them in places of their own.

    `limit` bounds the weight of what is held in bytes of resident memory; one batch is always let in, so that a batch
    larger than the limit passes alone. The receipt of a batch is settled when its last reader commits it.

    `readers` is how many there will be. `relief` is called every second that somebody waits for room; it may withdraw
    what waits in readers. With `skipped` nobody waits for room while something can be dropped instead, oldest first.
    """

    def __init__(
        self,
        name: str,
        limit: MemoryLimit | int,
        clock: Clock,
        log: Log,
        readers: int = 1,
        relief: Callable[[], None] | None = None,
        skipped: Skipped | None = None,
    ) -> None:
        self._name = name
        self._bound = limit if isinstance(limit, MemoryLimit) else MemoryLimit(limit)
        self._limit = self._bound.size
        self._clock = clock
        self._log = log
        self._share = self._limit // max(1, readers)
        self._relief = relief
        self._skipped = skipped
        self.readers: dict[str, MemoryReader] = {}
        self._sequence = 0
        self._weight = 0
        self._batches = 0
        self._records = 0
        self._size = 0
        self._waiters: deque[asyncio.Event] = deque()
        self._pause_told_at: float | None = None

    async def room(self, size: int) -> None:
        weight = size * MEMORY_FACTOR
        if self._skipped is not None and self._is_over(weight):
            self._drop_oldest(weight, self._skipped)
        if self._waiters or self._is_over(weight):
            await self._wait_for(weight)

    def put(self, batch: RecordBatch, outputs: Sequence[str]) -> None:
        # The lanes come first: an output that cannot name one must not leave the batch with some readers only.
        taken_by = [(reader, reader.lane_of(batch)) for reader in map(self.readers.__getitem__, outputs)]
        self._sequence += 1
        entry = Entry(self._sequence, batch, len(outputs), self._clock.monotonic())
        self._weight += entry.weight
        self._batches += 1
        self._records += entry.records
        self._size += entry.size
        for reader, lane in taken_by:
            reader.add(entry, lane)

    def reader(self, output: str, lane: Lane, limits: BatchLimits, notify: Callable[[], None]) -> MemoryReader:
        size = max(1, min(limits.size, self._share // MEMORY_FACTOR // 2))
        limits = msgspec.structs.replace(limits, size=size)
        found = self.readers[output] = MemoryReader(self, lane, limits, notify, self._share, self._clock)
        return found

    def held(self) -> dict[str, int]:
        return {name: reader.held()[0] for name, reader in self.readers.items()}

    def statistics(self) -> BufferStatistics:
        return BufferStatistics(self._batches, self._records, self._size, bool(self._waiters), self._weight)

    @property
    def is_pressed(self) -> bool:
        """Whether somebody waits for room, so that nothing should wait for a fuller delivery."""
        return bool(self._waiters)

    @property
    def weight(self) -> int:
        """Resident bytes that the held batches are taken to have."""
        return self._weight

    def _is_over(self, weight: int) -> bool:
        return self._weight > 0 and self._weight + weight > self._limit

    async def _wait_for(self, weight: int) -> None:
        turn, is_told = asyncio.Event(), False
        self._waiters.append(turn)
        for reader in self.readers.values():
            reader.note_pressure()
        try:
            while not turn.is_set():
                quiet_s = None if is_told else self._quiet_s()
                if quiet_s == 0.0:
                    self._tell_pause(weight)
                    is_told = True
                elif await self._clock.wait(turn, self._until_relief(quiet_s)):
                    if self._is_over(weight):
                        turn.clear()
                elif self._relief is not None:
                    self._relief()
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

    def _until_relief(self, seconds: float | None) -> float | None:
        if self._relief is None:
            return seconds
        return RELIEF_AFTER_S if seconds is None else min(seconds, RELIEF_AFTER_S)

    def _drop_oldest(self, weight: int, skipped: Skipped) -> None:
        """Drop what was put first and is not on its way, until a batch of this weight fits or nothing is left."""
        while self._is_over(weight):
            oldest = [(e.sequence, name) for name, r in self.readers.items() if (e := r.lanes.oldest()) is not None]
            if not oldest:
                return
            reader = self.readers[name := min(oldest)[1]]
            entry = reader.drop_oldest()
            skipped(Loss(name, entry.records, entry.size, RING_OVER_LIMIT, entry.batch.tag))

    def _quiet_s(self) -> float:
        """Seconds until a pause may be told."""
        if self._pause_told_at is None:
            return 0.0
        return max(0.0, self._pause_told_at + PAUSE_TOLD_EVERY_S - self._clock.monotonic())

    def _tell_pause(self, weight: int) -> None:
        self._pause_told_at = self._clock.monotonic()
        held = sorted(((records, name) for name, records in self.held().items()), reverse=True)
        self._log.warning(
            f"[input] {self._name} paused (mem buf overlimit - event of size {weight}B exceeded limit "
            f"{self._limit}B to {self._weight + weight}B)",
            waits_for=" ".join(f"{name}:{records}" for records, name in held if records),
            limit=self._bound.source,
            remedy=self._bound.remedy,
        )

    def let_go(self, entries: Sequence[Entry]) -> None:
        """One reader does not need the records of these entries any more; when no reader does, they leave memory."""
        for entry in entries:
            entry.waiting -= 1
            if entry.waiting == 0:
                batch = entry.batch
                self._weight -= entry.weight
                self._batches -= 1
                self._records -= entry.records
                self._size -= entry.size
                entry.batch = RecordBatch(batch.tag, [], 0, batch.receipt)
        self._let_in()

    def settle(self, entries: Sequence[Entry]) -> None:
        """One reader has committed these entries; what no reader owes any more is settled."""
        for entry in entries:
            entry.owing -= 1
            if entry.owing == 0:
                entry.batch.receipt.settle()

    def _let_in(self) -> None:
        if self._waiters and (self._weight < self._limit or self._weight == 0):
            self._waiters[0].set()


def weight_of(batch: RecordBatch) -> int:
    """The resident bytes a batch is taken to have."""
    return batch.size * MEMORY_FACTOR + len(batch) * RECORD_OVERHEAD


class MemoryReader(Reader):
    """A cursor per lane over the entries put for one output; `share` bounds the weight of what is on its way."""

    def __init__(
        self,
        buffer: MemoryBuffer,
        lane: Lane,
        limits: BatchLimits,
        notify: Callable[[], None],
        share: int,
        clock: Clock,
    ) -> None:
        self._buffer = buffer
        self._share = share
        self._clock = clock
        self.lane_of = lane
        self.lanes = Lanes[Entry](limits)
        self._notify = notify
        self._out: dict[Delivery, list[Entry]] = {}
        self._kept: dict[Delivery, list[Entry]] = {}
        self._out_weight = 0
        self._records = 0
        self._size = 0
        self.has_had_some = False
        self.progress_at = clock.monotonic()
        """When it had nothing to do, or its output has committed something, for the last time."""

    def add(self, entry: Entry, name: Hashable) -> None:
        """Take note of an entry put for this reader, for the lane of this name."""
        if not self._records:
            self.progress_at = entry.put_at
        self.has_had_some = True
        self._records += entry.records
        self._size += entry.size
        if self.lanes.add(entry, name):
            self._notify()

    def take(self, now: float, *, flush: bool = False) -> Delivery | None:
        taken = None if self._has_its_share() else self.lanes.take(now, flush=flush or self._buffer.is_pressed)
        if taken is None:
            return None
        lane, entries = taken
        delivery = Delivery(lane, [e.batch for e in entries], now)
        self._out[delivery] = entries
        self._out_weight += sum(e.weight for e in entries)
        return delivery

    def due_in(self, now: float) -> float | None:
        due = None if self._has_its_share() else self.lanes.due_in(now)
        return 0.0 if due is not None and self._buffer.is_pressed else due

    def commit(self, delivery: Delivery) -> None:
        if delivery in self._out:
            self._let_go(delivery)
        entries = self._kept.pop(delivery)
        self._records -= delivery.records
        self._size -= delivery.size
        self._buffer.settle(entries)

    def keep(self, delivery: Delivery) -> None:
        self._let_go(delivery)
        delivery.batches = ()

    def give_back(self, delivery: Delivery) -> None:
        entries = self._out.pop(delivery)
        self._out_weight -= sum(e.weight for e in entries)
        self.lanes.back(delivery.lane, entries)
        self._notify()

    def held(self) -> tuple[int, int]:
        return self._records, self._size

    @property
    def unkept(self) -> int:
        """Bytes as read of what waits or is on its way, without what the output keeps in a place of its own."""
        return self.lanes.waiting + sum(delivery.size for delivery in self._out)

    @property
    def is_idle(self) -> bool:
        """Whether nothing waits and nothing is on its way."""
        return not self._out and self.lanes.is_empty

    def note_pressure(self) -> None:
        """Somebody waits for room."""
        if not self.lanes.is_empty:
            self._notify()

    def has_shared(self) -> bool:
        """Whether something waits, or is on its way, that another reader has committed."""
        held = itertools.chain(self.lanes.entries(), *self._out.values())
        return any(entry.owing < entry.readers for entry in held)

    def withdraw(self) -> list[Entry]:
        """Take everything out that waits, oldest first; whoever takes it owes it to the buffer, see `Buffer.settle`."""
        entries = self.lanes.withdraw()
        for entry in entries:
            self._records -= entry.records
            self._size -= entry.size
        return entries

    def withdraw_out(self) -> list[tuple[Delivery, list[Entry]]]:
        """The same for the deliveries that are on their way, which go on there; their entries still fill memory."""
        out = sorted(self._out.items(), key=lambda item: item[1][0].sequence)
        self._out.clear()
        self._out_weight = 0
        for delivery, _ in out:
            self._records -= delivery.records
            self._size -= delivery.size
            self.lanes.back(delivery.lane)
        return out

    def drop_oldest(self) -> Entry:
        """Take the entry out that was put first, undelivered."""
        oldest = self.lanes.oldest()
        assert oldest is not None
        self.lanes.drop(oldest.sequence)
        self._records -= oldest.records
        self._size -= oldest.size
        self._buffer.let_go([oldest])
        self._buffer.settle([oldest])
        return oldest

    def _has_its_share(self) -> bool:
        return self._out_weight >= self._share and bool(self._out)

    def _let_go(self, delivery: Delivery) -> None:
        entries = self._kept[delivery] = self._out.pop(delivery)
        self._out_weight -= sum(e.weight for e in entries)
        self.progress_at = self._clock.monotonic()
        self.lanes.back(delivery.lane)
        self._notify()
        self._buffer.let_go(entries)
