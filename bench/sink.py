"""A process that takes records over HTTP and knows how late each is: `python -m bench.sink --port P --control Q`.

The load's lines are read out of the bodies wherever they stand in them, so any format will do that does not compress.
The other port answers questions: `/status`, `/latencies?since=NS&until=NS`; and `/away?seconds=S` makes the first port
refuse connections for so long.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Self
from urllib.parse import parse_qs, urlsplit

import msgspec

from bench.arrivals import Arrivals, Latencies, Status
from bench.measure import RunFailed, Running
from bench.nginx import free_port

_NO_CONTENT = b"HTTP/1.1 204 No Content\r\n\r\n"


class Sink:
    """The two servers."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._arrivals = Arrivals()
        self._server: asyncio.Server | None = None
        # Connections of the first port, to be cut when it goes away.
        self._open: set[asyncio.StreamWriter] = set()
        self._tasks = asyncio.TaskGroup()
        self._back_ns = 0

    async def run(self, control: int) -> None:
        """Serve until cancelled."""
        async with self._tasks:
            server = await asyncio.start_server(self._answer_questions, "127.0.0.1", control)
            await self._come()
            await server.serve_forever()

    async def _come(self) -> None:
        self._server = await asyncio.start_server(self._take_records, "127.0.0.1", self._port, limit=1 << 20)

    async def _be_away(self, seconds: float) -> None:
        """Refuse connections for so long."""
        if self._server is not None:
            self._server.close()
        for writer in self._open:
            writer.transport.abort()
        await asyncio.sleep(seconds)
        await self._come()
        self._back_ns = time.time_ns()

    async def _take_records(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._open.add(writer)
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                _, length = await _read_head(reader)
                self._arrivals.take(await reader.readexactly(length))
                writer.write(_NO_CONTENT)
        self._open.discard(writer)
        writer.close()

    async def _answer_questions(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            address, _ = await _read_head(reader)
            body = msgspec.json.encode(self._answer(address))
            writer.write(b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body))
            await writer.drain()
        writer.close()

    def _answer(self, address: str) -> Status | Latencies:
        parts = urlsplit(address)
        words = {name: values[0] for name, values in parse_qs(parts.query).items()}
        if parts.path == "/latencies":
            return self._arrivals.latencies(int(words["since"]), int(words["until"]))
        if parts.path == "/away":
            self._tasks.create_task(self._be_away(float(words["seconds"])))
        return msgspec.structs.replace(self._arrivals.status(), back_ns=self._back_ns)


async def _read_head(reader: asyncio.StreamReader) -> tuple[str, int]:
    """The address and the length of the body of the next request."""
    head = await reader.readuntil(b"\r\n\r\n")
    first, *lines = head.decode("latin-1").split("\r\n")
    headers = {name.lower(): value for name, _, value in (line.partition(":") for line in lines)}
    return first.split(" ")[1], int(headers.get("content-length", 0))


class SinkProcess(Running):
    """The sink in a process of its own, and the questions to it."""

    def __init__(self, folder: Path) -> None:
        self.port = free_port()
        self._control = free_port()
        ports = ["--port", str(self.port), "--control", str(self._control)]
        super().__init__([sys.executable, "-m", "bench.sink", *ports], {}, folder / "sink.err")

    def __enter__(self) -> Self:
        limit = time.monotonic() + 10
        while True:
            self.check()
            try:
                self.status()
                return self
            except urllib.error.URLError as error:
                if time.monotonic() > limit:
                    raise RunFailed("the sink does not answer") from error
                time.sleep(0.02)

    def status(self) -> Status:
        return msgspec.json.decode(self._ask("/status"), type=Status)

    def latencies(self, since_ns: int, until_ns: int) -> Latencies:
        return msgspec.json.decode(self._ask(f"/latencies?since={since_ns}&until={until_ns}"), type=Latencies)

    def be_away(self, seconds: float) -> None:
        """Refuse connections from now on for so long; does not wait for the end of it."""
        self._ask(f"/away?seconds={seconds}")

    def wait_for(self, lines: int, limit_s: float) -> bool:
        """Wait until so many different lines have arrived; says whether they have."""
        limit = time.monotonic() + limit_s
        while (arrived := self.status().arrived) < lines and time.monotonic() < limit:
            time.sleep(0.02)
        return arrived >= lines

    def _ask(self, address: str) -> bytes:
        with urllib.request.urlopen(f"http://127.0.0.1:{self._control}{address}", timeout=30) as answer:
            body: bytes = answer.read()
        return body


def main() -> None:
    parser = argparse.ArgumentParser(description="Take records over HTTP.")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--control", type=int, required=True)
    options = parser.parse_args()
    asyncio.run(Sink(options.port).run(options.control))


if __name__ == "__main__":
    main()
