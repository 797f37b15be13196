"""What a buffer is: one stored copy, many readers, each with a cursor of its own."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Hashable, Sequence
from typing import Any

import msgspec

from ..record import RecordBatch

MEMORY_FACTOR = 3
"""Records in memory weigh about this many times the bytes they had where they were read."""

Lane = Callable[[RecordBatch], Hashable]
"""Names the destination stream of a batch; see `Output.lane`."""


class BatchLimits(msgspec.Struct, frozen=True):
    """The most that one delivery holds: bytes as read, records, and seconds the oldest batch may wait for company."""

    size: int = 1_000_000
    records: int = 10_000
    seconds: float = 1.0


class Delivery:
    """Batches of one lane, taken from a buffer and not yet committed, oldest first.

    `progress` belongs to the output: whatever it must know to go on where the last attempt stopped. One that sends in
    parts adds to `accepted` the records of each part that was taken, and calls `refuse` for records that the
    destination will never take; both survive a retry, so that the counters are right whatever comes.
    """

    __slots__ = ("accepted", "attempts", "batches", "lane", "progress", "records", "refused", "size", "started")

    def __init__(self, lane: Hashable, batches: Sequence[RecordBatch], started: float = 0.0) -> None:
        self.lane = lane
        self.batches = batches
        self.records = sum(len(b) for b in batches)
        self.size = sum(b.size for b in batches)
        self.attempts = 0
        self.started = started
        self.progress: Any = None
        self.accepted = 0
        self.refused: dict[str, list[int]] = {}

    def refuse(self, records: int, size: int, reason: str) -> None:
        """Note records (and their bytes) that the destination will never take, by reason."""
        sums = self.refused.setdefault(reason, [0, 0])
        sums[0] += records
        sums[1] += size

    @property
    def refused_records(self) -> int:
        return sum(records for records, _ in self.refused.values())

    def __repr__(self) -> str:
        return f"Delivery({self.lane!r}, {self.records} records, {self.size} bytes, attempts={self.attempts})"


class BufferStatistics(msgspec.Struct, frozen=True):
    """What a buffer holds: batches, records, bytes as read, and whether it is full."""

    batches: int
    records: int
    size: int
    is_full: bool


class Buffer(ABC):
    """Keeps batches until every reader they were put for has committed them."""

    @abstractmethod
    async def room(self, size: int) -> None:
        """Wait until a batch of this many bytes as read may be put; a batch is always let into an empty buffer."""

    @abstractmethod
    def put(self, batch: RecordBatch, outputs: Sequence[str]) -> None:
        """Take over the batch and its receipt, for the readers named; whoever puts has asked for room before."""

    @abstractmethod
    def reader(self, output: str, lane: Lane, limits: BatchLimits, notify: Callable[[], None]) -> Reader:
        """A new cursor; `notify` is called whenever there may be more to take."""

    @abstractmethod
    def statistics(self) -> BufferStatistics: ...


class Reader(ABC):
    """The cursor of one output in one buffer. A lane whose delivery is out gives no other until that one is back."""

    @abstractmethod
    def take(self, now: float, *, flush: bool = False) -> Delivery | None:
        """The next delivery that is full or due, or with `flush` anything there is; None if there is nothing yet."""

    @abstractmethod
    def due_in(self, now: float) -> float | None:
        """Seconds until `take` will have something without further puts; None if it is empty or all lanes are out."""

    @abstractmethod
    def commit(self, delivery: Delivery) -> None:
        """The delivery is done: settle its batches for this reader."""

    @abstractmethod
    def give_back(self, delivery: Delivery) -> None:
        """The delivery was not made: its batches are the next of their lane again, in their order."""

    @abstractmethod
    def held(self) -> tuple[int, int]:
        """Records and bytes put for this reader and not committed."""
