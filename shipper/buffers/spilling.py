"""A buffer in memory that moves to the disk what an output does not take, so that the others go on.

An output that has committed nothing for a while, although the input waits for room, is taken to be away. What waits for
it or is on its way goes to the disk in the order in which it came, what comes new for it goes there, too, and it is
read from there; so the order of its streams stays, also if the process dies. When it has caught up it is served from
memory again.

An input that keeps its source waits instead, unless another output has nothing left to do: as long as all of them are
away, the source is the cheapest place for what was not read.

What is left in memory at a stop goes to the disk, too, if the input has no source to read it from again, or if some
outputs have got it already and would get it twice.
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

AWAY_AFTER_S = 1.0
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
        found = self._readers[output] = SpillingReader(memory, files, notify, self.memory.let_go)
        return found

    def held(self) -> dict[str, int]:
        files = self.files.held()
        return {name: records + files.get(name, 0) for name, records in self.memory.held().items()}

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

    def close(self) -> None:
        """Store what the next run needs; comes before `files.close`, when nothing is sent any more."""
        # An output that failed and was to begin anew has not given back what it had taken.
        held = {name: reader.memory for name, reader in self._readers.items() if not reader.memory.is_idle}
        if not self._keeps_source or any(memory.has_shared() for memory in held.values()):
            for name in held:
                self._log.info(
                    f"[input] {self._name} leaves on disk what {name} has not taken", records=self._move(name)
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
        # What may not wait on the disk either waits here, and the input with it. Its form there may be larger.
        away = [
            (waiting, name) for waiting, name in away if self.files.has_room_for(name, 2 * readers[name].memory.unkept)
        ]
        if away:
            output = max(away)[1]
            self._log.warning(
                f"[input] {self._name} keeps on disk what {output} does not take, so that other outputs go on",
                records=self._move(output),
                remedy="see to that output",
            )

    def _move(self, output: str) -> int:
        """Move what waits for an output to the disk; gives the number of records."""
        reader = self._readers[output]
        for delivery, entries in reader.memory.withdraw_out():
            self._store(entries, output, is_limited=False)
            reader.adopt(delivery, entries)
        waiting = reader.memory.withdraw()
        self._store(waiting, output)
        self.memory.let_go(waiting)
        return reader.held()[0]

    def _store(self, entries: list[Entry], output: str, *, is_limited: bool = True) -> None:
        for entry in entries:
            receipt = Receipt(_settling(self.memory, entry))
            batch = RecordBatch(entry.batch.tag, entry.batch.content, entry.size, receipt)
            self.files.put(batch, [output], is_limited=is_limited)


class SpillingReader(Reader):
    """What is in memory first, then what is on the disk."""

    def __init__(
        self,
        memory: MemoryReader,
        files: StoredReader,
        notify: Callable[[], None],
        let_go: Callable[[Sequence[Entry]], None],
    ) -> None:
        self.memory = memory
        self._files = files
        self._notify = notify
        self._let_go = let_go
        # Deliveries from the disk, with the entries in memory of those that were on their way before they went there.
        self._from_files: dict[Delivery, Sequence[Entry]] = {}

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
            self._from_files[delivery] = ()
        return delivery

    def adopt(self, delivery: Delivery, entries: Sequence[Entry]) -> None:
        """Take note that a delivery which is on its way is on the disk now; these entries are it in memory."""
        self._files.adopt(delivery)
        self._from_files[delivery] = entries

    def due_in(self, now: float) -> float | None:
        return self.memory.due_in(now) if not self.memory.is_idle else self._files.due_in(now)

    def commit(self, delivery: Delivery) -> None:
        self._part(delivery).commit(delivery)
        self._let_go(self._from_files.pop(delivery, ()))
        self._notify()

    def keep(self, delivery: Delivery) -> None:
        self._part(delivery).keep(delivery)
        if delivery in self._from_files:
            self._let_go(self._from_files[delivery])
            self._from_files[delivery] = ()
        self._notify()

    def give_back(self, delivery: Delivery) -> None:
        self._part(delivery).give_back(delivery)
        self._let_go(self._from_files.pop(delivery, ()))

    def give_back_rest(self, delivery: Delivery, left: Sequence[Sequence[int]]) -> bool:
        if not self._part(delivery).give_back_rest(delivery, left):
            return False
        self._let_go(self._from_files.pop(delivery, ()))
        return True

    def held(self) -> tuple[int, int]:
        memory, files = self.memory.held(), self._files.held()
        return memory[0] + files[0], memory[1] + files[1]

    def _part(self, delivery: Delivery) -> Reader:
        return self._files if delivery in self._from_files else self.memory


def _settling(memory: MemoryBuffer, entry: Entry) -> Callable[[], None]:
    return lambda: memory.settle([entry])
