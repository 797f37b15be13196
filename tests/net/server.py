"""A server of bytes: each connection gets a scripted answer for each request, or is cut."""

from __future__ import annotations

import asyncio
import re
import ssl
from collections.abc import Sequence

CUT = b"(cut)"
HANG = b"(hang)"


class ByteServer:
    """Answers requests with the bytes of a script, all connections sharing it; keeps what was sent."""

    def __init__(self, answers: Sequence[bytes] = (), host: str = "127.0.0.1") -> None:
        self.answers = list(answers)
        self.requests: list[bytes] = []
        self.has_request = asyncio.Event()
        self.connections = 0
        self.port = 0
        self._host = host
        self._server: asyncio.Server | None = None
        self._writers: set[asyncio.StreamWriter] = set()

    async def start(self, context: ssl.SSLContext | None = None) -> None:
        self._server = await asyncio.start_server(self._serve, self._host, 0, ssl=context)
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        if self._server is not None:
            self._server.close()
        self.cut_connections()
        await asyncio.sleep(0.01)

    def cut_connections(self) -> None:
        for writer in self._writers:
            writer.transport.abort()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self._writers.add(writer)
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                found = re.search(rb"content-length: (\d+)", head, re.IGNORECASE)
                length = int(found[1]) if found else 0
                self.requests.append(head + await reader.readexactly(length))
                self.has_request.set()
                answer = self.answers.pop(0) if self.answers else b"HTTP/1.1 204 No Content\r\n\r\n"
                if answer == HANG:
                    await asyncio.sleep(30)
                if answer == CUT:
                    return
                writer.write(answer)
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
            pass  # the end of a connection
        finally:
            self._writers.discard(writer)
            writer.transport.abort()
