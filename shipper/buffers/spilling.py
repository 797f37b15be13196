"""A buffer in memory that moves to the disk what an output does not take, so that the others go on.

An output that has committed nothing for a while, although the input waits for room, is taken to be away. What waits for
it goes to the disk in the order in which it came, what comes new for it goes there, too, and it is read from there when
everything that was in memory is done; so the order of its streams stays. When it has caught up it is served from memory
again.

An input that keeps its source waits instead, unless another output has nothing left to do: as long as all of them are
away, the source is the cheapest place for what was not read.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from ..clock import Clock
from ..log import Log
from ..record import Receipt, RecordBatch
from .base import BatchLimits, Buffer, BufferStatistics, Delivery, Lane, Reader
from .filesystem import FilesystemBuffer
from .filesystem.reader import StoredReader
from .memory import Entry, MemoryBuffer, MemoryLimit, MemoryReader

AWAY_AFTER_S = 2.0
"""An output that has committed nothing for so long is taken to be away."""


class SpillingBuffer(Buffer):
    """A memory buffer with a buffer on disk behind it; both are the caller's to open, run and close."""

    def __init__(
        self,
        name: str,
        limit: MemoryLimit | int,
        files: FilesystemBuffer,
        clock: Clock,
        log: Log,
        readers: int,
        *,
        keeps_source: bool,
    ) -> None:
        self.memory = MemoryBuffer(name, limit, clock, log, readers, self._relieve)
        self.files = files
        self._keeps_source = keeps_source
        self._name = name
        self._clock = clock
        self._log = log
        self._readers: dict[str, SpillingReader] = {}

    async def room(self, size: int) -> None:
        await self.memory.room(size)
        if any(reader.is_spilled for reader in self._readers.values()):
            await self.files.room(size)

    def put(self, batch: RecordBatch, outputs: Sequence[str]) -> None:
        spilled = [output for output in outputs if self._readers[output].is_spilled]
        if not spilled:
            self.memory.put(batch, outputs)
            return
        direct = [output for output in outputs if output not in spilled]
        if direct:
            batch.receipt.share()
            self.memory.put(batch, direct)
        self.files.put(batch, spilled)

    def reader(self, output: str, lane: Lane, limits: BatchLimits, notify: Callable[[], None]) -> Reader:
        memory = self.memory.reader(output, lane, limits, notify)
        files = self.files.reader(output, lane, limits, notify)
        found = self._readers[output] = SpillingReader(memory, files, notify)
        return found

    def statistics(self) -> BufferStatistics:
        memory, files = self.memory.statistics(), self.files.statistics()
        return BufferStatistics(
            memory.batches + files.batches,
            memory.records + files.records,
            memory.size + files.size,
            memory.is_full or files.is_full,
            memory.memory + files.memory,
            files.stored,
        )

    def _relieve(self) -> None:
        """Move to the disk what waits for the output that holds the most, if it is away and somebody needs the room."""
        readers = self._readers
        if self._keeps_source and not any(r.memory.is_idle and r.has_had_some for r in readers.values()):
            return
        now = self._clock.monotonic()
        away = [
            (reader.memory.lanes.waiting, name)
            for name, reader in readers.items()
            if not reader.memory.lanes.is_empty and now - reader.memory.progress_at >= AWAY_AFTER_S
        ]
        if away:
            self._spill(max(away)[1])

    def _spill(self, output: str) -> None:
        entries = self._readers[output].memory.withdraw()
        self._log.warning(
            f"[input] {self._name} keeps on disk what {output} does not take, so that other outputs go on",
            records=sum(entry.records for entry in entries),
            remedy="see to that output",
        )
        for entry in entries:
            receipt = Receipt(_settling(self.memory, entry))
            self.files.put(RecordBatch(entry.batch.tag, entry.batch.content, entry.size, receipt), [output])
        self.memory.let_go(entries)


class SpillingReader(Reader):
    """What is in memory first, then what is on the disk."""

    def __init__(self, memory: MemoryReader, files: StoredReader, notify: Callable[[], None]) -> None:
        self.memory = memory
        self._files = files
        self._notify = notify
        self._from_files: set[Delivery] = set()

    @property
    def is_spilled(self) -> bool:
        """Whether something on the disk has still to be taken, so that what comes new has its place behind it."""
        return not self._files.is_idle

    @property
    def has_had_some(self) -> bool:
        """Whether anything was ever put for it; an output that gets nothing waits for nothing."""
        return self.memory.has_had_some

    def take(self, now: float, *, flush: bool = False) -> Delivery | None:
        if not self.memory.is_idle:
            return self.memory.take(now, flush=flush)
        if self._files.is_idle:
            return None
        delivery = self._files.take(now, flush=flush)
        if delivery is not None:
            self._from_files.add(delivery)
        return delivery

    def due_in(self, now: float) -> float | None:
        return self.memory.due_in(now) if not self.memory.is_idle else self._files.due_in(now)

    def commit(self, delivery: Delivery) -> None:
        self._part(delivery).commit(delivery)
        self._from_files.discard(delivery)
        self._notify()

    def keep(self, delivery: Delivery) -> None:
        self._part(delivery).keep(delivery)
        self._notify()

    def give_back(self, delivery: Delivery) -> None:
        self._part(delivery).give_back(delivery)
        self._from_files.discard(delivery)

    def held(self) -> tuple[int, int]:
        memory, files = self.memory.held(), self._files.held()
        return memory[0] + files[0], memory[1] + files[1]

    def _part(self, delivery: Delivery) -> Reader:
        return self._files if delivery in self._from_files else self.memory


def _settling(memory: MemoryBuffer, entry: Entry) -> Callable[[], None]:
    return lambda: memory.settle([entry])
