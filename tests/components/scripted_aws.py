"""An HTTP server on the loopback that answers AWS calls as a script says, and remembers what it was sent."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from typing import Any

import msgspec
import pytest


class Reply(msgspec.Struct):
    """One answer; `cut` closes the connection instead, `delay_s` keeps the caller waiting first."""

    status: int = 200
    body: Any = msgspec.field(default_factory=dict)
    headers: dict[str, str] = {}
    request_id: str | None = "00000000-0000-4000-8000-000000000000"
    cut: bool = False
    delay_s: float = 0.0


def error(code: str, message: str = "m", status: int = 400, **fields: Any) -> Reply:
    """An error as AWS services that speak JSON answer it."""
    return Reply(status, {"__type": code, "message": message, **fields})


class Sent(msgspec.Struct):
    """One request: the operation, the body's bytes, and the headers by name in lower case."""

    operation: str
    body: bytes
    headers: dict[str, str]

    @property
    def json(self) -> Any:
        return msgspec.json.decode(self.body)

    @property
    def messages(self) -> list[str]:
        return [event["message"] for event in self.json["logEvents"]]


class ScriptedAws:
    """Answers calls of one operation with the replies scripted for it, one after another, then with success."""

    def __init__(self) -> None:
        self.sent: list[Sent] = []
        self.connections = 0
        self.url = ""
        self._scripts: dict[str, deque[Reply]] = {}
        self._arrived = asyncio.Condition()

    def script(self, operation: str, *replies: Reply) -> None:
        """Answer the next calls of this operation with these."""
        self._scripts.setdefault(operation, deque()).extend(replies)

    def calls(self, operation: str = "PutLogEvents") -> list[Sent]:
        """The requests for one operation, in order."""
        return [s for s in self.sent if s.operation == operation]

    async def wait_for(self, count: int, operation: str = "PutLogEvents") -> None:
        """Wait until so many requests for one operation have come."""
        async with self._arrived:
            await self._arrived.wait_for(lambda: len(self.calls(operation)) >= count)

    @property
    def operations(self) -> list[str]:
        return [s.operation for s in self.sent]

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection, until either end closes it."""
        self.connections += 1
        try:
            while await self._exchange(reader, writer):
                pass
        except (asyncio.IncompleteReadError, ConnectionError):
            pass  # the caller has hung up
        finally:
            writer.close()

    async def _exchange(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
        headers = {k.lower(): v.strip() for k, _, v in (line.partition(":") for line in head[1:] if line)}
        body = await reader.readexactly(int(headers.get("content-length", "0")))
        operation = headers.get("x-amz-target", "").rpartition(".")[2]
        self.sent.append(Sent(operation, body, headers))
        async with self._arrived:
            self._arrived.notify_all()
        script = self._scripts.get(operation)
        reply = script.popleft() if script else Reply()
        if reply.delay_s:
            await asyncio.sleep(reply.delay_s)
        if reply.cut:
            return False
        text = reply.body if isinstance(reply.body, bytes) else msgspec.json.encode(reply.body)
        lines = {"Content-Length": str(len(text)), "Content-Type": "application/x-amz-json-1.1", **reply.headers}
        if reply.request_id:
            lines["x-amzn-RequestId"] = reply.request_id
        told = "".join(f"{k}: {v}\r\n" for k, v in lines.items())
        writer.write(f"HTTP/1.1 {reply.status} said\r\n{told}\r\n".encode() + text)
        await writer.drain()
        return True


@pytest.fixture
async def scripted_aws() -> AsyncIterator[ScriptedAws]:
    """A scripted server that runs as long as the test."""
    aws = ScriptedAws()
    server = await asyncio.start_server(aws.serve, "127.0.0.1", 0, limit=1 << 22)
    host, port = server.sockets[0].getsockname()
    aws.url = f"http://{host}:{port}"
    yield aws
    server.close()
    await server.wait_closed()
