"""A listening input that runs in the test's own event loop, and small clients for it."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Callable, Mapping
from typing import Any, Literal, Self

from shipper.clock import Clock, SystemClock
from shipper.context import Context
from shipper.inputs.listening import PushInput
from shipper.parsers.base import Parser, ParserLibrary
from shipper.record import Body, Record, RecordBatch
from shipper.testing import context_of

from ...written_options import options_from

Settling = Literal["at once", "later"]
PATIENCE_S = 5.0


class Running:
    """One life of an input: `async with`, send, then look at what it emitted.

    While `gate` is not set the buffers are full, and while there is a `failure` nothing can be emitted. With settling
    "later" receipts stay owed until `settle` is called.
    """

    def __init__(
        self,
        plugin: type[PushInput],
        lines: str = "",
        *,
        settling: Settling = "at once",
        parsers: Mapping[str, Parser] | None = None,
        clock: Clock | None = None,
    ) -> None:
        self.batches: list[RecordBatch] = []
        self.is_held_up = False
        self.failure: Exception | None = None
        self.gate = asyncio.Event()
        self.gate.set()
        self._settling = settling
        place = "" if "listen " in lines or "path " in lines else "listen 127.0.0.1\nport 0\n"
        library = ParserLibrary(dict(parsers or {}))
        name = f"{plugin.__name__.removesuffix('Input').lower()}.0"
        self.context: Context = context_of(name=name, clock=clock or SystemClock(), parsers=library)
        self.input = plugin(options_from(plugin.Options, place + lines, "input"), self.context)
        self._task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        await self.input.open()
        self.port = self.input.listener.port if not _is_unix(self.input) else 0
        self._task = asyncio.ensure_future(self.input.run(self._emit))
        await asyncio.sleep(0.01)
        return self

    async def __aexit__(self, *error: object) -> None:
        await self.stop()
        await self.input.close()

    async def stop(self) -> None:
        """Stop as the engine does; receipts are not settled by that."""
        task, self._task = self._task, None
        if task is not None:
            self.gate.set()
            assert await self.input.stop()
            await asyncio.wait_for(task, PATIENCE_S)

    async def cancel(self) -> None:
        """End as the engine does when a stop takes too long."""
        task, self._task = self._task, None
        assert task is not None
        assert await self.input.stop()
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    async def _emit(self, batch: RecordBatch) -> None:
        self.is_held_up = not self.gate.is_set()
        await self.gate.wait()
        if self.failure is not None:
            raise self.failure
        self.batches.append(batch)
        if self._settling == "at once":
            batch.receipt.settle()

    def settle(self) -> None:
        """Everything that was emitted is safe."""
        for batch in self.batches:
            if not batch.receipt.is_settled:
                batch.receipt.settle()

    @property
    def records(self) -> list[Record]:
        return [record for batch in self.batches for record in batch]

    @property
    def bodies(self) -> list[Body]:
        return [record.body for record in self.records]

    async def until(self, condition: Callable[[], bool]) -> None:
        """Wait for what happens in the other end of a real socket, which tells nobody."""
        async with asyncio.timeout(PATIENCE_S):
            while not condition():  # noqa: ASYNC110 - there is no event to wait for
                await asyncio.sleep(0.002)

    async def until_records(self, count: int) -> list[Body]:
        """Wait for so many records; gives their bodies."""
        await self.until(lambda: len(self.records) >= count)
        return self.bodies

    def dropped(self, reason: str) -> int:
        return self.context.metrics.total("input_dropped_records_total", reason=reason)

    def refused(self, reason: str) -> int:
        return self.context.metrics.total("input_refused_connections_total", reason=reason)

    async def send(self, *parts: bytes, pause_s: float = 0.0) -> None:
        """Send parts over a connection of its own and end it."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        for part in parts:
            writer.write(part)
            await writer.drain()
            if pause_s:
                await asyncio.sleep(pause_s)
        writer.write_eof()
        async with asyncio.timeout(PATIENCE_S):
            await reader.read()
        await ended(writer)

    async def send_without_end(self, *parts: bytes) -> None:
        """Send parts over a connection of its own and close it without waiting for answers."""
        _, writer = await asyncio.open_connection("127.0.0.1", self.port)
        writer.write(b"".join(parts))
        await writer.drain()
        await ended(writer)

    def send_datagrams(self, *datagrams: bytes) -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
            for datagram in datagrams:
                sender.sendto(datagram, ("127.0.0.1", self.port))


def _is_unix(input: PushInput) -> bool:
    return type(getattr(input.listener, "place", None)).__name__ == "UnixPath"


async def ended(writer: asyncio.StreamWriter) -> None:
    """Close a connection and wait until it is."""
    writer.close()
    try:
        await writer.wait_closed()
    except (ConnectionError, ssl.SSLError):
        return


async def connected(port: int, **more: Any) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    return await asyncio.open_connection("127.0.0.1", port, **more)
