"""A tail input that runs in the test's own event loop on real files, with receipts settled as the test says."""

from __future__ import annotations

import asyncio
import os
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

from shipper.clock import Clock, SystemClock
from shipper.context import Context
from shipper.disk import Disk, SystemDisk
from shipper.inputs.tail import TailInput, TailOptions
from shipper.inputs.tail.assembly import Assembler
from shipper.parsers.base import Parser, ParserLibrary
from shipper.parsers.multiline import MultilineDefinition, built_in_definitions
from shipper.record import Body, RecordBatch
from shipper.testing import ManualClock, context_of

from ...written_options import options_from

Settling = Literal["at once", "later"]
LONGEST_WAIT_S = 8.0
QUICK = "refresh_interval 0.3\nprogress_check_interval 0.1\nrotate_wait 0.3"
"""Short times, so that a test of rotation takes tenths of a second."""


class DiskOfParts(SystemDisk):
    """Gives less than was asked for, as a network file system may."""

    def pread(self, fd: int, size: int, offset: int) -> bytes:
        return super().pread(fd, min(size, 10), offset)


class Tail:
    """One life of a tail input: `async with`, then look at what it emitted.

    With settling "later" receipts stay owed until `settle` is called. `kill` ends it as kill -9 would: nothing is saved
    that was not saved before.
    """

    def __init__(
        self,
        lines: str,
        *,
        settling: Settling = "at once",
        parsers: dict[str, Parser] | None = None,
        disk: Disk | None = None,
        clock: Clock | None = None,
        definitions: dict[str, MultilineDefinition] | None = None,
        **context: Any,
    ) -> None:
        self.batches: list[RecordBatch] = []
        self.gate = asyncio.Event()
        self.gate.set()
        self.stopped_service = False
        self._settling = settling
        written = dict(line.strip().partition(" ")[::2] for line in f"{QUICK}\n{lines}".splitlines())
        options = options_from(TailOptions, "\n".join(f"{key} {value}" for key, value in written.items()), "input")
        library = ParserLibrary(parsers, {**built_in_definitions(), **(definitions or {})})
        self.context: Context = context_of(
            clock=clock or SystemClock(), disk=disk, parsers=library, stop_service=self._stop_service, **context
        )
        self.input = TailInput(options, self.context)
        self._task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Tail:
        await self.input.open()
        self._task = asyncio.ensure_future(self.input.run(self._emit))
        return self

    async def __aexit__(self, *error: object) -> None:
        if self._task is not None:
            await self.stop()

    async def stop(self) -> None:
        """Stop gracefully: what was emitted is settled, positions are saved."""
        task, self._task = self._task, None
        await self.input.stop()
        self.gate.set()
        if task is not None:
            await asyncio.wait_for(task, LONGEST_WAIT_S)
        if self._settling == "at once":
            self.settle()
        await self.input.close()

    async def kill(self) -> None:
        """End at once; what the database holds now is what the next life finds."""
        task, self._task = self._task, None
        assert task is not None
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        parts = vars(self.input)
        store = parts["_store"]
        if store._db is not None:
            store._db.close()
            store._db = None
        store._path = None
        parts["_looking"].close()
        parts["_catalogue"].close()

    def save(self) -> None:
        """Write the positions of what was settled to the database now."""
        vars(self.input)["_store"].flush()

    def database(self) -> sqlite3.Connection:
        """The input's own connection."""
        connection: sqlite3.Connection = vars(self.input)["_store"]._db
        return connection

    def read_in_blocks(self, size: int) -> None:
        """Have it read about so many bytes at once."""
        vars(self.input)["_turns"].quantum = size

    def assembler(self, path: str) -> Assembler:
        """What makes records of the lines of this path."""
        made: Assembler = vars(self.input)["_line_modes"].assembler(path)
        return made

    def settle(self, count: int | None = None) -> int:
        """Settle the receipts of the oldest so many batches that are owed, of all by default; gives their number."""
        owed = [b for b in self.batches if not b.receipt.is_settled][:count]
        for batch in owed:
            batch.receipt.settle()
        return len(owed)

    def bodies(self) -> list[Body]:
        return [body for batch in self.batches for body in batch.content.bodies()]

    def lines(self) -> list[str]:
        return [body.get("log", "") for body in self.bodies()]

    def tags(self) -> list[str]:
        return [batch.tag for batch in self.batches]

    def times_ns(self) -> list[int]:
        return [time for batch in self.batches for time in batch.content.times_ns()]

    def count(self, counter: str) -> int:
        return self.context.metrics.total(f"input_{counter}")

    async def has(self, count: int) -> list[str]:
        """Wait until so many records came; gives their lines."""
        await self.until(lambda: len(self.bodies()) >= count)
        return self.lines()

    async def until(self, condition: Callable[[], bool]) -> None:
        """Wait for the condition; fails after a while."""
        async with asyncio.timeout(LONGEST_WAIT_S):
            while not condition():
                if self._task is not None and self._task.done():
                    self._task.result()
                await asyncio.sleep(0.005)

    async def are_saved(self) -> None:
        """Wait until the database has the positions of everything that was settled."""
        await self.until(lambda: not vars(self.input)["_store"]._dirty)

    async def is_quiet(self, seconds: float = 0.5) -> list[str]:
        """Wait for some scans and looks in which nothing more may come; gives all lines."""
        before = -1
        while before != len(self.batches):
            before = len(self.batches)
            await asyncio.sleep(seconds)
        return self.lines()

    async def _emit(self, batch: RecordBatch) -> None:
        await self.gate.wait()
        self.batches.append(batch)
        if self._settling == "at once":
            batch.receipt.settle()

    def _stop_service(self) -> None:
        self.stopped_service = True


async def time_passes_until(clock: ManualClock, condition: Callable[[], bool]) -> None:
    """Let the time of a tail input pass in small steps until the condition holds; fails after a while."""
    async with asyncio.timeout(LONGEST_WAIT_S):
        while not condition():
            await clock.advance(0.05)


async def read_all(lines: str, count: int, **more: Any) -> Tail:
    """The input after it has emitted `count` records, and a little longer, and was stopped."""
    async with Tail(lines, **more) as tail:
        await tail.has(count)
        await asyncio.sleep(0.06)
    return tail


def write(path: Path, *lines: str) -> None:
    """Make the file anew with these lines."""
    path.write_text("".join(f"{line}\n" for line in lines))


def append(path: Path, *lines: str) -> None:
    with path.open("a") as file:
        file.write("".join(f"{line}\n" for line in lines))


def rows(db: Path, columns: str = "name, offset, inode, rotated") -> list[tuple[Any, ...]]:
    """The rows of Fluent Bit's table."""
    connection = sqlite3.connect(db)
    try:
        return connection.execute(f"SELECT {columns} FROM in_tail_files ORDER BY id").fetchall()
    finally:
        connection.close()


def inode(path: Path) -> int:
    return os.stat(path).st_ino


def numbered(first: int, last: int) -> list[str]:
    """Lines that can be told apart."""
    return [f"line {number:05d} {'x' * 20}" for number in range(first, last + 1)]
