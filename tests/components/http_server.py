"""An HTTP server on the loopback whose answers are the test's business; it remembers every request."""

from __future__ import annotations

import asyncio
import gzip
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping
from contextlib import asynccontextmanager
from typing import Any

import msgspec

from shipper.testing import ManualClock, settle


class Got(msgspec.Struct, frozen=True):
    """One request; names of headers are in lower case, and the body is as it was before compression."""

    method: str
    target: str
    headers: Mapping[str, str]
    raw: bytes

    @property
    def body(self) -> bytes:
        return gzip.decompress(self.raw) if self.headers.get("content-encoding") == "gzip" else self.raw

    @property
    def json(self) -> Any:
        return msgspec.json.decode(self.body)

    @property
    def lines(self) -> list[Any]:
        """The values of a body that is one JSON value a line."""
        return [msgspec.json.decode(line) for line in self.body.splitlines()]


class Says(msgspec.Struct, frozen=True):
    """An answer; `cut` closes the connection instead, after the request was read."""

    status: int = 200
    body: bytes = b""
    headers: Mapping[str, str] = {}
    cut: bool = False


Judge = Callable[[Got], Says]


class HttpServer:
    """Answers with the next of `script`, afterwards with what `judge` says.

    With `permits` each answer takes one of them, and waits until there is one.
    """

    def __init__(self, judge: Judge) -> None:
        self.got: list[Got] = []
        self.permits: asyncio.Semaphore | None = None
        self.script: list[Says] = []
        self.judge = judge
        self.port = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection, until either end closes it."""
        try:
            while await self._exchange(reader, writer):
                pass
        except (asyncio.IncompleteReadError, ConnectionError):
            pass  # the caller has hung up
        finally:
            writer.close()

    async def _exchange(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        first, *rest = (await reader.readuntil(b"\r\n\r\n")).decode().strip().split("\r\n")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in rest)}
        method, target, _ = first.split(" ")
        got = Got(method, target, headers, await reader.readexactly(int(headers.get("content-length", "0"))))
        self.got.append(got)
        if self.permits is not None:
            await self.permits.acquire()
        says = self.script.pop(0) if self.script else self.judge(got)
        if says.cut:
            return False
        told = "".join(f"{k}: {v}\r\n" for k, v in {"Content-Length": str(len(says.body)), **says.headers}.items())
        writer.write(f"HTTP/1.1 {says.status} said\r\n{told}\r\n".encode() + says.body)
        await writer.drain()
        return True


async def seconds_with_slow_answers(
    server: HttpServer, clock: ManualClock, work: Coroutine[Any, Any, Any], each_s: float = 0.9
) -> float:
    """The time of the clock that the work takes while every answer of the server takes `each_s`; then all go on."""
    server.permits = permits = asyncio.Semaphore(0)
    began, task = clock.monotonic(), asyncio.ensure_future(work)
    while not task.done():
        before = len(server.got)
        await clock.advance(each_s)
        permits.release()
        while not task.done() and len(server.got) == before:
            await settle()
    await task
    for _ in range(1000):
        permits.release()
    return clock.monotonic() - began


@asynccontextmanager
async def http_server(judge: Judge = lambda got: Says()) -> AsyncIterator[HttpServer]:
    """A server that runs as long as the block."""
    server = HttpServer(judge)
    running = await asyncio.start_server(server.serve, "127.0.0.1", 0, limit=1 << 22)
    server.port = running.sockets[0].getsockname()[1]
    try:
        yield server
    finally:
        running.close()
        await running.wait_closed()
