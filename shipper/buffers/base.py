"""What a buffer is: one stored copy, many readers, each with a cursor of its own."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Hashable, Iterable, Sequence
from typing import Any

import msgspec

from ..record import Record, RecordBatch

MEMORY_FACTOR = 3
"""Records in memory weigh about this many times the bytes they had where they were read."""

Lane = Callable[[RecordBatch], Hashable]
"""Names the destination stream of a batch; see `Output.lane`."""


class BatchLimits(msgspec.Struct, frozen=True):
    """The most that one delivery holds: bytes as read, records, and seconds the oldest batch may wait for company.

    Two deliveries of a lane that are not full are at least `apart` seconds apart.
    """

    size: int = 1_000_000
    records: int = 10_000
    seconds: float = 1.0
    apart: float = 0.0


class Kept:
    """What an output owes for a delivery that it keeps in a place of its own, until its destination has everything.

    The output ends it once, with `settle` or `drop`. Until then the records count as held and nothing is settled, so a
    process that dies leaves them owed to their input.
    """

    __slots__ = ("_on_end", "_reason", "is_ended")

    def __init__(self) -> None:
        self.is_ended = False
        self._reason: str | None = None
        self._on_end: Callable[[str | None], None] | None = None

    def settle(self) -> None:
        """The destination has everything; a second call does nothing."""
        self._end(None)

    def drop(self, reason: str) -> None:
        """The destination will never get it; the records are counted as dropped for this reason."""
        self._end(reason)

    def when_ended(self, on_end: Callable[[str | None], None]) -> None:
        """Call this with the reason of a drop, or None, at the end; at once if that has been."""
        if self.is_ended:
            on_end(self._reason)
        else:
            self._on_end = on_end

    def _end(self, reason: str | None) -> None:
        if self.is_ended:
            return
        self.is_ended, self._reason = True, reason
        if self._on_end is not None:
            self._on_end(reason)


Which = Callable[[], Iterable[tuple[str, Record]]]
"""Gives records with their tags; asked only if somebody wants to keep them."""


class Refusal(msgspec.Struct):
    """Records that a destination will never take, why in one word, and what it said."""

    reason: str
    which: Which
    status: str = ""
    message: str = ""


class Delivery:
    """Batches of one lane, taken from a buffer and not yet committed, oldest first.

    `progress` belongs to the output: whatever it must know to go on where the last attempt stopped. One that sends in
    parts adds to `accepted` the records of each part that was taken, and calls `refuse` for records that the
    destination will never take; both survive a retry, so that the counters are right whatever comes.

    `filtered` is by how many records the processors of the output have made it shorter, below zero if there are more
    now; None if there are none or they have not run. `records` and `size` stay what was taken from the buffer.

    `name` and `number` are what log lines call it, `is_replayed` says that an earlier run has stored it.

    `attempts` are those that failed, `counted` those of them that count against `retry_limit`; `reached` is how far the
    output had come when the last one failed.

    An output that collects for longer than a delivery lasts calls `keep` before its `send` returns: the batches then
    leave memory, and their receipts stay owed until the output ends what it keeps.
    """

    __slots__ = (
        "_tags",
        "accepted",
        "attempts",
        "batches",
        "counted",
        "filtered",
        "is_replayed",
        "kept",
        "lane",
        "name",
        "number",
        "progress",
        "reached",
        "records",
        "refusals",
        "refused",
        "size",
        "started",
    )

    def __init__(self, lane: Hashable, batches: Sequence[RecordBatch], started: float = 0.0) -> None:
        self.lane = lane
        self.batches = batches
        self.records = sum(len(b) for b in batches)
        self.size = sum(b.size for b in batches)
        self.attempts = 0
        self.counted = 0
        self.reached: tuple[int, int] | None = None
        self.started = started
        self.progress: Any = None
        self.accepted = 0
        self.refused: dict[str, list[int]] = {}
        self.refusals: list[Refusal] = []
        self.kept: Kept | None = None
        self.filtered: int | None = None
        self.name = ""
        self.number: int | None = None
        self.is_replayed = False
        self._tags: tuple[str, ...] = ()

    def keep(self) -> Kept:
        """Take the delivery over into a place of the output's own; see `Kept`."""
        if self.kept is None:
            self.kept, self._tags = Kept(), self.tags
        return self.kept

    def share(self, records: int) -> int:
        """The bytes as read of so many of its records, by their number."""
        return self.size * records // max(1, self.records)

    def refuse(
        self,
        records: int,
        reason: str,
        which: Which | None = None,
        *,
        size: int | None = None,
        status: str = "",
        message: str = "",
    ) -> None:
        """Note records that the destination will never take, by reason, with their bytes if these are known.

        `which` finds the records themselves, for the store of rejected records; `status` and `message` are what the
        destination answered. Without `which` they are counted, and cannot be kept.
        """
        sums = self.refused.setdefault(reason, [0, 0])
        sums[0] += records
        sums[1] += self.share(records) if size is None else size
        if which is not None:
            self.refusals.append(Refusal(reason, which, status, message))

    @property
    def tags(self) -> tuple[str, ...]:
        """The tags of its batches, also when these have left memory."""
        return tuple(dict.fromkeys(batch.tag for batch in self.batches)) or self._tags

    @property
    def refused_records(self) -> int:
        """Records that are not delivered whatever comes, those that processors took out among them."""
        return sum(records for records, _ in self.refused.values()) + (self.filtered or 0)

    def __repr__(self) -> str:
        return f"Delivery({self.lane!r}, {self.records} records, {self.size} bytes, attempts={self.attempts})"


RING_OVER_LIMIT = "memrb_overlimit"
"""Why records are not delivered that `storage.type memrb` has dropped."""

OVER_LIMIT = "storage_limit"
DAMAGED = "storage_damaged"
"""Why stored records are not delivered to an output."""


class Loss(msgspec.Struct, frozen=True):
    """Records that an output will not get: how many, their bytes as read, and why.

    `tag` is theirs, and `put_ns` is when they came into the buffer, if that is known.
    """

    output: str
    records: int
    size: int
    reason: str
    tag: str = ""
    put_ns: int | None = None


Skipped = Callable[[Loss], None]
"""Is told of what a buffer drops."""


class BufferStatistics(msgspec.Struct, frozen=True):
    """What a buffer holds: batches, records, bytes as read; whether an input waits for room; bytes here and on disk."""

    batches: int
    records: int
    size: int
    is_full: bool
    memory: int = 0
    stored: int = 0


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
    def held(self) -> dict[str, int]:
        """For each reader the records that were put for it and are not committed."""

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

    def keep(self, delivery: Delivery) -> None:
        """The output has taken the delivery over: free its memory and its lane; `commit` comes later, in any order.

        A reader whose memory is bounded without this need not do anything; its lane then waits for the commit.
        """

    @abstractmethod
    def give_back(self, delivery: Delivery) -> None:
        """The delivery was not made: its batches are the next of their lane again, in their order."""

    def give_back_rest(self, delivery: Delivery, left: Sequence[Sequence[int]]) -> bool:
        """Give back a delivery that will not be taken again in this run, and of which only some records are left.

        `left` are for each of its batches the rows that are. False if the reader cannot remember that: nothing was done
        then.
        """
        return False

    @abstractmethod
    def held(self) -> tuple[int, int]:
        """Records and bytes put for this reader and not committed."""
