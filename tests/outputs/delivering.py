"""An output with what the engine puts around it: a buffer, a dispatcher, and the store of rejected records."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec

from shipper.buffers.filesystem import RejectedStore
from shipper.buffers.memory import MemoryBuffer
from shipper.clock import Clock, SystemClock
from shipper.config.service import ServiceOptions
from shipper.disk import SystemDisk
from shipper.dispatcher import Dispatcher
from shipper.log import Log
from shipper.metrics import Metrics
from shipper.outputs.base import Output
from shipper.record import RecordBatch
from shipper.retry import Backoff
from shipper.testing import context_of

from ..written_options import options_from

NAME = "out.0"
PATIENCE_S = 10.0


class _AtOnce(Backoff):
    """A back-off that is too short to be configured."""

    def __init__(self) -> None:
        super().__init__(1, 1)

    def wait(self, failures: int, wish: float = 0.0) -> float:
        return 0.01


class Delivering:
    """An output whose deliveries are tried again at once."""

    def __init__(
        self, kind: type[Output], lines: str, folder: Path, clock: Clock | None = None, retries: int | None = None
    ) -> None:
        self.clock = clock or SystemClock()
        self.context = context_of("output", NAME, self.clock, service=ServiceOptions(flush=0.01))
        self.output = kind(options_from(kind.Options, lines, "output"), self.context)
        self._rejected = folder / "rejected"
        store = RejectedStore(str(self._rejected), 0, self.clock, Log(""), SystemDisk(), Metrics())
        store.open()
        self.dispatcher = Dispatcher(self.output, self.context, 1, retries, _AtOnce(), store)
        self._buffer = MemoryBuffer("in.0", 100_000_000, self.clock, Log(""))
        self.dispatcher.attach("in.0", self._buffer)

    def put(self, *batches: RecordBatch) -> None:
        for batch in batches:
            self._buffer.put(batch, [NAME])

    def count(self, name: str) -> int:
        return self.context.metrics.total(f"output_{name}", name=NAME)

    async def until_delivered(self) -> None:
        """Wait until nothing is left to deliver; what has begun is tried again as often as it takes."""
        async with asyncio.timeout(PATIENCE_S):
            while self.dispatcher.held()[0]:  # noqa: ASYNC110  # some servers are threads
                await asyncio.sleep(0.002)

    async def drain(self) -> None:
        """Wait until everything is delivered, with nothing more to come."""
        self.dispatcher.begin_drain()
        await self.until_delivered()

    @property
    def kept(self) -> list[dict[str, Any]]:
        """The lines of the store of rejected records."""
        path = self._rejected / NAME / "rejected.jsonl"
        return [msgspec.json.decode(line) for line in path.read_bytes().splitlines()] if path.exists() else []


@asynccontextmanager
async def delivering(
    kind: type[Output], lines: str, folder: Path, retries: int | None = None
) -> AsyncIterator[Delivering]:
    """An output that runs as long as the block; without `retries` what fails is tried again without end."""
    one = Delivering(kind, lines, folder, retries=retries)
    await one.output.open()
    task = asyncio.ensure_future(one.dispatcher.run())
    try:
        yield one
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await one.output.close()
