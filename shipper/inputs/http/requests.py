"""HTTP/1.1 as a server reads it: strict, with limits on everything that a client can make long."""

from __future__ import annotations

import re
from collections.abc import Sequence

import msgspec

from ...clock import Clock
from ..listening import Connection

MOST_HEAD = 32 * 1024
MOST_HEADERS = 100
HEAD_WITHIN_S = 30.0
"""Longest time for the head of a request, from its first byte on."""

BODY_WITHIN_S = 60.0
LEAST_BYTES_PER_S = 1024
"""A body may take so long, and longer as long as so many bytes a second have come since it began."""

IDLE_S = 60.0

STOPPING = "error: the service stops or is reloaded, send the records again later"
"""Told to a client whose request has not come as a whole by then."""

_REQUEST_LINE = re.compile(r"([!#$%&'*+.^_`|~0-9A-Za-z-]{1,32}) ([!-~\x80-\xff]+) HTTP/1\.([01])")
_HEADER = re.compile(r"([!#$%&'*+.^_`|~0-9A-Za-z-]+):[ \t]*([^\x00-\x08\x0a-\x1f\x7f]*?)[ \t]*")
_CHUNK = re.compile(rb"([0-9A-Fa-f]{1,8})[ \t]*(?:;[^\r\n]*)?")
_ORIGIN = re.compile(r"https?://[^/?#]*", re.IGNORECASE)
_LENGTH = re.compile(r"[0-9]{1,15}")
_LONGEST_CHUNK_LINE = 256
_CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
_PHRASES = {
    200: "OK",
    201: "Created",
    204: "No Content",
    400: "Bad Request",
    408: "Request Timeout",
    413: "Content Too Large",
    415: "Unsupported Media Type",
    431: "Request Header Fields Too Large",
    501: "Not Implemented",
    503: "Service Unavailable",
}


class BadRequest(Exception):
    """A request that is answered with an error; `is_last` says that what follows on the connection means nothing."""

    def __init__(self, status: int, message: str, *, is_last: bool = False) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.is_last = is_last


class Request(msgspec.Struct, frozen=True):
    """A request; names of headers are in lower case. `keeps` says that another one may follow."""

    method: str
    target: str
    headers: dict[str, str]
    keeps: bool
    body: bytes = b""

    @property
    def path(self) -> str:
        """The path that is asked for, also where the target is a whole URL, as a proxy sends it."""
        return _ORIGIN.sub("", self.target, count=1).partition("?")[0] or "/"


def response(status: int, text: str = "", headers: Sequence[tuple[str, str]] = (), *, is_last: bool = False) -> bytes:
    """A whole response with a text, or nothing, as its body."""
    body = f"{text}\n".encode() if text else b""
    lines = [f"HTTP/1.1 {status} {_PHRASES[status]}", *(f"{name}: {value}" for name, value in headers)]
    if status != 204:
        lines.append(f"Content-Length: {len(body)}")
    if is_last:
        lines.append("Connection: close")
    return "\r\n".join([*lines, "", ""]).encode("latin-1", "replace") + body


def parse_head(data: bytes) -> Request:
    """The request without its body; raises `BadRequest`."""
    line, *fields = data.decode("latin-1").split("\r\n")
    found = _REQUEST_LINE.fullmatch(line)
    if found is None:
        raise BadRequest(400, "error: invalid request line", is_last=True)
    if len(fields) > MOST_HEADERS:
        raise BadRequest(431, "error: too many headers", is_last=True)
    headers: dict[str, str] = {}
    for one in fields:
        parts = _HEADER.fullmatch(one)
        if parts is None:
            raise BadRequest(400, "error: invalid header", is_last=True)
        name, value = parts[1].lower(), parts[2]
        if name in headers:
            if name in ("content-length", "host", "transfer-encoding") and headers[name] != value:
                raise BadRequest(400, f"error: header '{name}' is repeated", is_last=True)
            value = f"{headers[name]}, {value}" if name != "content-length" else value
        headers[name] = value
    wish = headers.get("connection", "").lower()
    keeps = "close" not in wish if found[3] == "1" else "keep-alive" in wish
    return Request(found[1], found[2], headers, keeps)


class RequestReader:
    """Reads the requests of one connection, one after the other; no body may be larger than `most_body`."""

    def __init__(self, connection: Connection, clock: Clock, most_body: int, idle_s: float) -> None:
        self._connection = connection
        self._clock = clock
        self._most_body = most_body
        self._idle_s = idle_s
        self._buffer = bytearray()
        # When the body began that is read, and how much of it and what follows has come.
        self._body_since = 0.0
        self._body_size = 0

    async def next(self) -> Request | None:
        """Wait for a request; None if the client has ended. Raises `BadRequest` and `TimeoutError`."""
        head = await self._head()
        if head is None:
            return None
        request = parse_head(head)
        self._body_since, self._body_size = self._clock.monotonic(), len(self._buffer)
        coding = request.headers.get("transfer-encoding", "").lower()
        length = request.headers.get("content-length")
        if coding:
            if coding != "chunked":
                raise BadRequest(501, "error: invalid 'Transfer-Encoding'", is_last=True)
            if length is not None:
                raise BadRequest(400, "error: two lengths", is_last=True)
            self._invite(request)
            body = await self._chunks()
        else:
            if length is not None and not _LENGTH.fullmatch(length):
                raise BadRequest(400, "error: invalid 'Content-Length'", is_last=True)
            size = int(length or 0)
            self._check(size)
            if size:
                self._invite(request)
            body = await self._take(size)
        return msgspec.structs.replace(request, body=body)

    async def _head(self) -> bytes | None:
        while self._buffer[:2] == b"\r\n":  # some clients send one behind a body
            del self._buffer[:2]
        has_begun, searched = bool(self._buffer), 0
        end_at = self._clock.monotonic() + (HEAD_WITHIN_S if has_begun else self._idle_s)
        while (end := self._buffer.find(b"\r\n\r\n", max(0, searched - 3))) < 0:
            searched = len(self._buffer)
            if searched > MOST_HEAD:
                raise BadRequest(431, "error: the header is too long", is_last=True)
            data = await self._read_until(end_at)
            if not data:
                return None
            if not has_begun:
                has_begun, end_at = True, self._clock.monotonic() + HEAD_WITHIN_S
                data = data.removeprefix(b"\r\n")
            self._buffer += data
        if end > MOST_HEAD:
            raise BadRequest(431, "error: the header is too long", is_last=True)
        head = bytes(self._buffer[:end])
        del self._buffer[: end + 4]
        return head

    def _invite(self, request: Request) -> None:
        """Tell a client that waits for it that its body is welcome."""
        if not self._buffer and request.headers.get("expect", "").lower() == "100-continue":
            self._connection.write(_CONTINUE)

    def _check(self, size: int) -> None:
        if size > self._most_body:
            message = f"error: the body is larger than buffer_max_size, {self._most_body} bytes"
            raise BadRequest(413, message, is_last=True)

    async def _chunks(self) -> bytes:
        parts, total = [], 0
        while size := await self._chunk_size():
            total += size
            self._check(total)
            part = await self._take(size + 2)
            if not part.endswith(b"\r\n"):
                raise BadRequest(400, "error: invalid chunk", is_last=True)
            parts.append(part[:-2])
        for _ in range(MOST_HEADERS):
            if not await self._line():
                return b"".join(parts)
        raise BadRequest(431, "error: too many trailers", is_last=True)

    async def _chunk_size(self) -> int:
        found = _CHUNK.fullmatch(await self._line())
        if found is None:
            raise BadRequest(400, "error: invalid chunk", is_last=True)
        return int(found[1], 16)

    async def _line(self) -> bytes:
        while (end := self._buffer.find(b"\r\n")) < 0:
            if len(self._buffer) > _LONGEST_CHUNK_LINE:
                raise BadRequest(400, "error: invalid chunk", is_last=True)
            await self._more()
        return bytes(await self._take(end + 2))[:-2]

    async def _take(self, size: int) -> bytes:
        while len(self._buffer) < size:
            await self._more()
        data = bytes(self._buffer[:size])
        del self._buffer[:size]
        return data

    async def _more(self) -> None:
        data = await self._read_until(self._body_since + BODY_WITHIN_S + self._body_size / LEAST_BYTES_PER_S)
        if not data and self._connection.is_stopped:
            # It is we who broke off, and a client does not send again what was answered 400.
            raise BadRequest(503, STOPPING, is_last=True)
        if not data:
            raise BadRequest(400, "error: the request is not complete", is_last=True)
        self._body_size += len(data)
        self._buffer += data

    async def _read_until(self, end_at: float) -> bytes:
        """Wait for data and return it; nothing at the end. Raises `TimeoutError` at this time."""
        return await self._connection.read(max(0.0, end_at - self._clock.monotonic()))
