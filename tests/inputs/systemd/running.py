"""A systemd input on real journal files, and what it has emitted."""

from __future__ import annotations

import asyncio
import sqlite3
from pathlib import Path
from typing import Any, Self

from shipper.clock import SystemClock
from shipper.context import Context
from shipper.inputs.systemd.input import SystemdInput, SystemdOptions
from shipper.record import Body, RecordBatch
from shipper.testing import context_of

from ...written_options import options_from

_PATIENCE_S = 10.0


class Reading:
    """A running input; receipts are settled at once, or left to the test. The context ends as a stop does.

    `before` is one that has ended, whose place it takes at a hot reload.
    """

    def __init__(self, lines: str, *, is_settling: bool = True, before: Reading | None = None, **context: Any) -> None:
        self.context: Context = context_of("input", "systemd.0", SystemClock(), **context)
        self.input = SystemdInput(options_from(SystemdOptions, lines, "input"), self.context)
        self.batches: list[RecordBatch] = []
        self.gate = asyncio.Event()
        self.gate.set()
        self._came = asyncio.Event()
        self._is_settling = is_settling
        left = before.input.handed_over() if before is not None else None
        self._handed_over = {} if left is None else dict([left])
        self._task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        self.input.go_on_from(self._handed_over)
        await self.input.open()
        self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.cancel()
        await self.input.close()

    def start(self) -> None:
        self._task = asyncio.ensure_future(self.input.run(self._emit))

    async def cancel(self) -> None:
        assert self._task is not None
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)

    async def has(self, count: int) -> list[Body]:
        """Wait for so many records; gives all bodies."""
        async with asyncio.timeout(_PATIENCE_S):
            while len(self.bodies()) < count:
                self._came.clear()
                await self._came.wait()
        return self.bodies()

    async def is_quiet(self, seconds: float = 0.2) -> list[Body]:
        """Wait a while in which nothing more may come; gives all bodies."""
        async with asyncio.timeout(_PATIENCE_S):
            while await self._comes_within(seconds):
                continue
        return self.bodies()

    def bodies(self) -> list[Body]:
        return [record.body for batch in self.batches for record in batch]

    def messages(self) -> list[str]:
        return [body["MESSAGE"] for body in self.bodies()]

    async def _comes_within(self, seconds: float) -> bool:
        self._came.clear()
        return await self.context.clock.wait(self._came, seconds)

    async def _emit(self, batch: RecordBatch) -> None:
        await self.gate.wait()
        self.batches.append(batch)
        self._came.set()
        if self._is_settling:
            batch.receipt.settle()


async def read_all(lines: str, count: int, **more: Any) -> Reading:
    """The input after it has emitted `count` records and was stopped."""
    async with Reading(lines, **more) as reading:
        await reading.has(count)
        await reading.is_quiet(0.05)
    return reading


def saved_cursors(db: Path) -> list[str]:
    """The rows of the table of cursors, the oldest first."""
    connection = sqlite3.connect(db)
    try:
        return [row[0] for row in connection.execute("SELECT cursor FROM in_systemd_cursor ORDER BY rowid")]
    finally:
        connection.close()
