"""A small HTTP/1.1 server for pages that are made at once from what is in memory.

Everything is bounded: the bytes of a request's head and body, the time for each of them and for reading the answer, the
requests and the idle time of a connection, and the number of connections. Whoever exceeds a bound is told so if that
is possible, and the connection is closed. A request that cannot be understood ends the connection, because it is not
known where the next one begins.
"""

from __future__ import annotations

import asyncio
import ipaddress
import re
import socket
from collections.abc import Callable

import msgspec

from ..log import Log
from ..metrics import Counter
from ..supervisor import outcome

_METHOD = re.compile("[A-Za-z-]{1,32}")
_ANY_V6, _ANY_V4 = "::", "0.0.0.0"
_BACKLOG = 64


class Limits(msgspec.Struct, frozen=True):
    """What one client may take: bytes, seconds, requests of a connection, and connections of all clients together."""

    head_size: int = 8192
    body_size: int = 65_536
    head_s: float = 5.0
    body_s: float = 5.0
    write_s: float = 10.0
    idle_s: float = 30.0
    requests: int = 1000
    connections: int = 64


class Request(msgspec.Struct, frozen=True):
    """What was asked for; `path` has no query, the names of headers are in lower case.

    `is_local` says that it comes from this machine, or from another container of the pod.
    """

    method: str
    path: str
    headers: dict[str, str] = {}
    is_last: bool = False
    is_local: bool = False


class Answer(msgspec.Struct, frozen=True):
    """What a request is answered with."""

    status: int = 200
    body: bytes = b""
    content_type: str = ""
    headers: tuple[tuple[str, str], ...] = ()


Respond = Callable[[Request], Answer]


class BadRequest(Exception):
    """The request cannot be answered, and nothing after it can be read; `status` says why."""

    def __init__(self, status: int) -> None:
        super().__init__(f"bad request: {status}")
        self.status = status


class HttpServer:
    """Answers requests by calling `respond`, one at a time for each connection."""

    def __init__(
        self, host: str, port: int, respond: Respond, log: Log, failures: Counter, limits: Limits | None = None
    ) -> None:
        self._host = host
        self._port = port
        self._answer = respond
        self._log = log
        self._failures = failures
        self._limits = limits or Limits()
        self._server: asyncio.Server | None = None
        self._connections: dict[asyncio.Task[None], _Connection] = {}

    async def open(self) -> None:
        """Listen, at `::` for both families; raises `OSError` if that cannot be."""
        host, head = self._host, self._limits.head_size
        if host == _ANY_V6 and socket.has_dualstack_ipv6():
            # asyncio would make a socket for IPv6 alone.
            both = socket.create_server(
                (host, self._port), family=socket.AF_INET6, backlog=_BACKLOG, dualstack_ipv6=True
            )
            self._server = await asyncio.start_server(self._accept, sock=both, limit=head, backlog=_BACKLOG)
            return
        if host == _ANY_V6:
            self._log.info(f"this machine has no IPv6, so {_ANY_V6} is {_ANY_V4}")
            host = _ANY_V4
        self._server = await asyncio.start_server(self._accept, host, self._port, limit=head, backlog=_BACKLOG)

    @property
    def port(self) -> int:
        """The port it listens on; another one than it was given if that was 0."""
        if self._server is None or not self._server.sockets:
            return self._port
        found: int = self._server.sockets[0].getsockname()[1]
        return found

    def is_at(self, host: str, port: int) -> bool:
        """Whether it was told to listen there."""
        return (self._host, self._port) == (host, port)

    def answer_with(self, respond: Respond, failures: Counter) -> None:
        """Let another one answer from now on, also on the connections that there are."""
        self._answer, self._failures = respond, failures

    def _respond(self, request: Request) -> Answer:
        return self._answer(request)

    async def close(self) -> None:
        """Stop listening and end all connections."""
        if self._server is not None:
            self._server.close()
        for task in list(self._connections):
            task.cancel()
        await asyncio.gather(*self._connections, return_exceptions=True)
        if self._server is not None:
            await self._server.wait_closed()
            self._server = None

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if len(self._connections) >= self._limits.connections and not self._make_room():
            writer.write(_encoded(Answer(429), is_last=True, with_body=True))
            writer.close()
            return
        connection = _Connection(reader, writer, self._respond, self._limits)
        # The server owns the task: `close` ends it, and until then it ends by its own bounds.
        task = asyncio.ensure_future(self._serve(connection, writer))
        self._connections[task] = connection
        task.add_done_callback(lambda ended: self._connections.pop(ended, None))

    def _make_room(self) -> bool:
        """End the connection that has asked for nothing for the longest time; false if all are being answered.

        So nobody can keep the probes of the kubelet out by connections that do nothing.
        """
        waiting = [(c.waits_since, n, task) for n, (task, c) in enumerate(self._connections.items()) if c.waits_since]
        if not waiting:
            return False
        _, _, task = min(waiting, key=lambda one: one[:2])
        del self._connections[task]
        task.cancel()
        return True

    async def _serve(self, connection: _Connection, writer: asyncio.StreamWriter) -> None:
        try:
            if await outcome(connection.serve(), self._log, self._failures, "a page failed", every=60) is not None:
                await connection.refuse(500)
        finally:
            if connection.is_broken:
                writer.transport.abort()
            else:
                writer.close()

    def __repr__(self) -> str:
        return f"HttpServer({self._host}:{self.port}, {len(self._connections)} connections)"


class _Connection:
    """One connection and the requests that come on it. `is_broken` says that what was written last may not be read."""

    def __init__(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, respond: Respond, limits: Limits
    ) -> None:
        self._reader = reader
        self._writer = writer
        self._respond = respond
        self._limits = limits
        self._is_local = is_loopback(writer.get_extra_info("peername"))
        self.is_broken = True
        self.waits_since: float | None = asyncio.get_running_loop().time()
        """Since when it has not asked for anything, by the clock of the loop; None while it is answered."""

    async def serve(self) -> None:
        """Answer until the client closes the connection or exceeds a bound."""
        for left in range(self._limits.requests, 0, -1):
            try:
                request = await self._next()
            except BadRequest as error:
                await self.refuse(error.status)
                return
            if request is None:
                return
            self.waits_since = None
            answer = self._respond(request)
            is_last = request.is_last or left == 1
            if not await self._write(answer, is_last=is_last, with_body=request.method != "HEAD"):
                return
            if is_last:
                break
            self.waits_since = asyncio.get_running_loop().time()
        self.is_broken = False

    async def refuse(self, status: int) -> None:
        """Give this answer as the last one."""
        self.is_broken = not await self._write(Answer(status), is_last=True)

    async def _next(self) -> Request | None:
        """The next request with its body read away; None if there is none."""
        limits, reader = self._limits, self._reader
        try:
            async with asyncio.timeout(limits.idle_s):
                first = await reader.read(1)
            if not first:
                return None
            async with asyncio.timeout(limits.head_s):
                head = first + await reader.readuntil(b"\r\n\r\n")
            request = msgspec.structs.replace(parse_head(head), is_local=self._is_local)
            async with asyncio.timeout(limits.body_s):
                await reader.readexactly(body_size(request, limits.body_size))
        except asyncio.LimitOverrunError as error:
            raise BadRequest(431) from error
        except TimeoutError as error:
            raise BadRequest(408) from error
        except (asyncio.IncompleteReadError, OSError):
            return None
        return request

    async def _write(self, answer: Answer, *, is_last: bool, with_body: bool = True) -> bool:
        """False if the client does not read."""
        try:
            async with asyncio.timeout(self._limits.write_s):
                self._writer.write(_encoded(answer, is_last=is_last, with_body=with_body))
                await self._writer.drain()
        except (TimeoutError, OSError):
            return False
        return True


def parse_head(head: bytes) -> Request:
    """The request whose line and headers these are; raises `BadRequest`."""
    first, *lines = head.decode("latin-1")[:-4].split("\r\n")
    parts = first.split(" ")
    if len(parts) != 3 or not parts[1].startswith("/"):
        raise BadRequest(400)
    method, target, version = parts
    if version not in ("HTTP/1.1", "HTTP/1.0") or not _METHOD.fullmatch(method):
        raise BadRequest(400)
    headers = _headers(lines)
    wish = headers.get("connection", "").lower()
    is_last = wish == "close" or (version == "HTTP/1.0" and wish != "keep-alive")
    return Request(method, target.partition("?")[0], headers, is_last)


def body_size(request: Request, most: int) -> int:
    """The bytes of a body that follow the head; raises `BadRequest` if they are too many or cannot be told."""
    if "transfer-encoding" in request.headers:
        raise BadRequest(411)
    text = request.headers.get("content-length", "0")
    if not (text.isascii() and text.isdigit()):
        raise BadRequest(400)
    if len(text) > 15 or int(text) > most:
        raise BadRequest(413)
    return int(text)


def is_loopback(peer: object) -> bool:
    """Whether the address of a client, as its socket tells it, can only be that of this machine."""
    if not isinstance(peer, tuple):
        return False
    try:
        address = ipaddress.ip_address(peer[0])
    except ValueError:
        return False
    # An IPv4 client of a socket for both families.
    return (getattr(address, "ipv4_mapped", None) or address).is_loopback


def _headers(lines: list[str]) -> dict[str, str]:
    headers: dict[str, str] = {}
    for line in lines:
        name, colon, value = line.partition(":")
        if not colon or not name or name != name.strip() or any(ord(c) < 32 for c in line.replace("\t", "")):
            raise BadRequest(400)
        key = name.lower()
        if key == "content-length" and headers.get(key, value.strip()) != value.strip():
            raise BadRequest(400)
        headers[key] = value.strip()
    return headers


def _encoded(answer: Answer, *, is_last: bool, with_body: bool) -> bytes:
    # Fluent Bit gives no words with the number either.
    lines = [f"HTTP/1.1 {answer.status} ", "server: Fluent Bit", "x-http-engine: Monkey heritage"]
    lines.append(f"content-length: {len(answer.body)}")
    if answer.content_type:
        lines.append(f"content-type: {answer.content_type}")
    lines += [f"{name}: {value}" for name, value in answer.headers]
    if is_last:
        lines.append("connection: close")
    head = "\r\n".join((*lines, "", "")).encode("latin-1")
    return head + answer.body if with_body else head
