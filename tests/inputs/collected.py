"""Runs an input by a clock that the test moves, and keeps what it emits."""

from __future__ import annotations

import asyncio
from typing import Self

from shipper.inputs.base import Input
from shipper.record import Body, RecordBatch
from shipper.testing import ManualClock

_PATIENCE_S = 10.0


class Collected:
    """A running input; a context manager that ends it as the engine does. While `gate` is not set buffers are full."""

    def __init__(self, one: Input, clock: ManualClock | None = None) -> None:
        self.input = one
        self.clock = clock or ManualClock()
        self.batches: list[RecordBatch] = []
        self.gate = asyncio.Event()
        self.gate.set()
        self.is_held_up = asyncio.Event()
        self._came = asyncio.Event()
        self.task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        await self.input.open()
        self.task = asyncio.ensure_future(self.input.run(self._emit))
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self.task is not None
        self.task.cancel()
        await asyncio.gather(self.task, return_exceptions=True)
        await self.input.close()

    async def after(self, seconds: float) -> list[Body]:
        """Let time pass; gives all bodies so far."""
        await self.clock.advance(seconds)
        return self.bodies()

    async def has(self, count: int) -> list[Body]:
        """Wait for so many records; gives all bodies."""
        async with asyncio.timeout(_PATIENCE_S):
            while len(self.bodies()) < count:
                self._came.clear()
                await self._came.wait()
        return self.bodies()

    async def until_ended(self) -> list[Body]:
        """Wait until the input has ended by itself; gives all bodies."""
        assert self.task is not None
        async with asyncio.timeout(_PATIENCE_S):
            await asyncio.shield(self.task)
        return self.bodies()

    def bodies(self) -> list[Body]:
        return [record.body for batch in self.batches for record in batch]

    def times_ns(self) -> list[int]:
        return [record.time_ns for batch in self.batches for record in batch]

    async def _emit(self, batch: RecordBatch) -> None:
        if not self.gate.is_set():
            self.is_held_up.set()
            await self.gate.wait()
        self.batches.append(batch)
        self._came.set()
