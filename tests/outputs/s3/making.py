"""Short ways to make what the tests of this output need."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from shipper.buffers.base import Delivery
from shipper.buffers.memory import MemoryBuffer
from shipper.clock import Clock, SystemClock
from shipper.config.service import ServiceOptions
from shipper.context import Context
from shipper.disk import Disk, SystemDisk
from shipper.dispatcher import Dispatcher
from shipper.log import Log
from shipper.outputs.s3.options import S3Options
from shipper.outputs.s3.output import S3Output
from shipper.record import Origin, Receipt, Record, RecordBatch
from shipper.retry import Backoff
from shipper.testing import context_of
from tests.written_options import options_from

T0 = 1_700_000_000_001_000_000
MS = 1_000_000
NAME = "s3.0"
PATIENCE_S = 20.0


def options_of(url: str, folder: Path, lines: str = "") -> S3Options:
    """Options that send to a small S3, with more lines of configuration."""
    return options_from(S3Options, f"bucket b\nendpoint {url}\nstore_dir {folder}\n{lines}", "output")


def batch_of(
    *bodies: dict[str, Any], tag: str = "app.web", time_ns: int = T0, origin: Origin | None = None
) -> RecordBatch:
    """A batch whose records follow each other at a distance of one millisecond."""
    records = [Record(time_ns + i * MS, body) for i, body in enumerate(bodies)]
    return RecordBatch(tag, records, 100 * len(bodies), Receipt(origin=origin))


def lines_from(begin: int, end: int) -> Origin:
    """Lines of a file, counted."""
    return Origin("file", begin, end)


class _Shortly(Backoff):
    """A back-off of one length."""

    def __init__(self, seconds: float) -> None:
        super().__init__(1, 1)
        self._seconds = seconds

    def wait(self, failures: int, wish: float = 0.0) -> float:
        return self._seconds


class Running:
    """An output with its dispatcher and a buffer, as the engine makes them."""

    def __init__(self, options: S3Options, clock: Clock | None = None, disk: Disk | None = None) -> None:
        self.clock = clock or SystemClock()
        service = ServiceOptions(flush=0.01)
        self.context: Context = context_of("output", NAME, self.clock, disk or SystemDisk(), service=service)
        self.output = S3Output(options, self.context)
        retries = options.retry_limit.retries if options.retry_limit else None
        self.dispatcher = Dispatcher(self.output, self.context, 8, retries, Backoff(1, 2))
        self.buffer = MemoryBuffer("in.0", 100_000_000, self.clock, Log(""))
        self.dispatcher.attach("in.0", self.buffer)
        self.task: asyncio.Future[None] | None = None

    async def start(self) -> None:
        await self.output.open()
        self.task = asyncio.ensure_future(self.dispatcher.run())

    def retry_after(self, seconds: float) -> None:
        """Wait so long before an upload is tried again; the shortest back-off that can be configured is two seconds."""
        assert self.output._uploads is not None
        self.output._uploads._backoff = _Shortly(seconds)

    def put(self, *batches: RecordBatch) -> None:
        for batch in batches:
            self.buffer.put(batch, [NAME])

    async def send(self, batch: RecordBatch) -> Delivery:
        """Hand a batch to the output without the dispatcher."""
        delivery = Delivery(batch.tag, [batch])
        await self.output.send(delivery)
        return delivery

    async def until(self, condition: Any) -> None:
        """Wait for something that the output does by itself."""
        async with asyncio.timeout(PATIENCE_S):
            while not condition():  # noqa: ASYNC110  # the server is a thread: there is nothing to wait on
                await asyncio.sleep(0.005)

    async def drain(self) -> None:
        """Stop in good order: everything is delivered."""
        assert self.task is not None
        self.dispatcher.begin_drain()
        await asyncio.wait_for(self.task, PATIENCE_S)
        await self.output.close()

    async def die(self) -> None:
        """Stop as a kill does, as far as files and receipts are concerned."""
        if self.task is not None and not self.task.done():
            self.task.cancel()
            await asyncio.gather(self.task, return_exceptions=True)
        self.output._store.close()
        if self.output._client is not None:
            await self.output._client.close()

    def count(self, name: str) -> int:
        return self.context.metrics.total(f"output_{name}", name=NAME)


@contextlib.asynccontextmanager
async def running(options: S3Options, disk: Disk | None = None) -> AsyncIterator[Running]:
    """An output that runs, and is stopped without ceremony if it still does at the end."""
    one = Running(options, disk=disk)
    await one.start()
    try:
        yield one
    finally:
        await one.die()


@contextlib.asynccontextmanager
async def working(options: S3Options, clock: Clock, disk: Disk | None = None) -> AsyncIterator[Running]:
    """An output without its dispatcher, by this clock, which is stopped as a kill does."""
    one = Running(options, clock, disk)
    await one.output.open()
    one.task = asyncio.ensure_future(one.output.work())
    try:
        yield one
    finally:
        await one.die()
