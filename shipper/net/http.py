"""Requests to one HTTP server over kept connections, with a deadline on everything that waits.

This is a client of our own because of what it weighs: aiohttp adds ten megabytes to a process that idles at thirty, and
a request of ours is always one finished body, here or in a file, to one host that is known from the start.
"""

from __future__ import annotations

import asyncio
import os
import ssl
from collections.abc import Mapping

import msgspec

from ..clock import Clock
from ..errors import OptionError
from ..log import Log
from .answer_stream import AnswerStream
from .answers import AnswerReader
from .connection import Connection, connect
from .names import HostNames
from .proxy import Proxy, parse_proxy, proxy_for
from .settings import BodyInPieces, ConnectionCount, HttpAnswer, HttpSettings, NoAnswer
from .tls import TlsContext

_NO_HEADERS: Mapping[str, str] = {}
_PROXY_ANSWER_LIMIT = 4096


class _Request(msgspec.Struct, frozen=True):
    """What is written: the parts that are here, and the rest that is read meanwhile."""

    method: str
    parts: list[bytes]
    rest: BodyInPieces | None


class HttpClient:
    """One server; any number of requests may run at the same time.

    `_idle` are connections at rest, the one used last at the end. `_slots` counts those that may still be opened.
    """

    def __init__(
        self, settings: HttpSettings, clock: Clock, log: Log, variables: Mapping[str, str] = os.environ
    ) -> None:
        self._settings = settings
        self._clock = clock
        self._log = log
        self._variables = variables
        self._idle: list[Connection] = []
        self._busy = 0
        self._slots = asyncio.Semaphore(settings.connections) if settings.connections else None
        self._tls: TlsContext | None = None
        self._proxy: Proxy | None = None
        self._names: HostNames | None = None
        self._host_header = _host_header(settings)

    async def open(self) -> None:
        """Get ready without a word to the server; raises `OptionError` for TLS files or a proxy it cannot use."""
        settings = self._settings
        if settings.tls is not None:
            self._tls = TlsContext(settings.tls, self._clock, self._log)
        if settings.proxy:
            self._proxy = _chosen_proxy(settings.proxy)
        elif settings.use_proxy:
            try:
                self._proxy = proxy_for(settings.host, tls=settings.tls is not None, variables=self._variables)
            except ValueError as error:
                raise OptionError(
                    "net.proxy_env_ignore", str(error), "set it to on if no proxy is to be used"
                ) from error
        host, port = (self._proxy.host, self._proxy.port) if self._proxy else (settings.host, settings.port)
        self._names = HostNames(host, port, self._clock, self._log)

    @property
    def connections(self) -> ConnectionCount:
        """What is open and not followed."""
        return ConnectionCount(self._busy + sum(c.is_open for c in self._idle), self._busy)

    async def request(
        self,
        method: str,
        target: str,
        headers: Mapping[str, str] = _NO_HEADERS,
        body: bytes | BodyInPieces = b"",
        timeout_s: float | None = None,
    ) -> HttpAnswer:
        """Make a request and wait for its answer, whatever its status; raises `NoAnswer`.

        It may take `timeout_s`, or as long as the settings allow.

        A kept connection that the server has closed meanwhile costs nothing: the request is sent once more, at once,
        over a new one, unless the settings forbid it.
        """
        limit_s = timeout_s or self._settings.io_timeout
        request = _Request(method, self._encoded(method, target, headers, body), _unless_here(body))
        if self._slots is None:
            return await self._exchange(request, limit_s)
        async with self._slots:
            return await self._exchange(request, limit_s)

    async def follow(self, method: str, target: str, headers: Mapping[str, str] = _NO_HEADERS) -> AnswerStream:
        """Make a request over a connection of its own and read its answer while it comes; waits for its head.

        Raises `NoAnswer`. Only connecting and the wait for the head are bounded by the settings here; whoever reads
        says how long it waits, and closes the stream.
        """
        limit_s = self._settings.io_timeout
        parts = self._encoded(method, target, headers, b"")
        try:
            async with asyncio.timeout(limit_s):
                stream = AnswerStream(await self._connected(), parts, self._clock)
                try:
                    await stream.begin()
                except BaseException:
                    stream.close()
                    raise
                return stream
        except TimeoutError as error:
            raise NoAnswer("answer", f"no answer within {limit_s:g} seconds", timed_out=True) from error

    async def close(self) -> None:
        """Close the connections at rest."""
        while self._idle:
            self._idle.pop().close()
        if self._names is not None:
            await self._names.close()

    async def _exchange(self, request: _Request, limit_s: float) -> HttpAnswer:
        try:
            async with asyncio.timeout(limit_s):
                if (kept := self._kept()) is not None:
                    reader = AnswerReader(self._settings.answer_limit, is_head=request.method == "HEAD")
                    try:
                        return await self._over(kept, request, reader)
                    except NoAnswer:
                        if reader.has_begun or not self._settings.resend:
                            raise
                connection = await self._connected()
                reader = AnswerReader(self._settings.answer_limit, is_head=request.method == "HEAD")
                return await self._over(connection, request, reader)
        except TimeoutError as error:
            raise NoAnswer("answer", f"no answer within {limit_s:g} seconds", timed_out=True) from error

    async def _over(self, connection: Connection, request: _Request, reader: AnswerReader) -> HttpAnswer:
        self._busy += 1
        try:
            answer = await connection.exchange(request.parts, reader, request.rest)
        finally:
            self._busy -= 1
        if connection.is_open:
            if self._may_serve_again(connection):
                connection.last_used = self._clock.monotonic()
                self._idle.append(connection)
            else:
                connection.close()
        return answer

    def _may_serve_again(self, connection: Connection) -> bool:
        most = self._settings.requests_each
        return self._settings.keepalive and (not most or connection.exchanges < most)

    def _kept(self) -> Connection | None:
        """A connection at rest that may still serve; those that rested too long are closed."""
        oldest = self._clock.monotonic() - self._settings.idle_timeout
        while self._idle and self._idle[0].last_used < oldest:
            self._idle.pop(0).close()
        while self._idle:
            connection = self._idle.pop()
            if connection.is_open:
                return connection
        return None

    async def _connected(self) -> Connection:
        """A new connection; waits at most for the connect timeout."""
        limit_s = self._settings.connect_timeout
        if self._names is None:
            raise RuntimeError("the client is not open")
        try:
            async with asyncio.timeout(limit_s):
                # Half of the time for the name: a resolver that hangs must leave time for the last known address.
                addresses = await self._addresses(self._names, limit_s / 2)
                connection = await self._connect_to(addresses)
        except TimeoutError as error:
            self._names.doubt()
            reason = f"{self._shown()}: no connection within {limit_s:g} seconds"
            raise NoAnswer("connect", reason, timed_out=True) from error
        except NoAnswer:
            raise
        except ssl.SSLError as error:
            raise NoAnswer("tls", f"{self._shown()}: {_told(error)}") from error
        except OSError as error:
            self._names.doubt()
            # A server that breaks off the handshake leaves an error without words.
            reason = error.strerror or str(error) or "the connection was closed while it was made"
            raise NoAnswer("connect", f"{self._shown()}: {reason}") from error
        if self._settings.tcp_keepalive is not None:
            connection.watch(self._settings.tcp_keepalive)
        return connection

    async def _addresses(self, names: HostNames, patience_s: float) -> list[str]:
        try:
            return await names.addresses(patience_s)
        except OSError as error:
            raise NoAnswer("dns", f"cannot look up {self._shown()}: {error.strerror or error}") from error

    async def _connect_to(self, addresses: list[str]) -> Connection:
        settings = self._settings
        context = self._tls.current() if self._tls is not None else None
        name = (settings.tls.vhost if settings.tls else None) or settings.host
        if self._proxy is None:
            return await connect(
                addresses, settings.port, source=settings.source_address, tls=context, server_name=name
            )
        connection = await connect(addresses, self._proxy.port, source=settings.source_address)
        if context is not None:
            try:
                await self._open_tunnel(connection, self._proxy)
                await connection.start_tls(context, name)
            except BaseException:
                connection.close()
                raise
        return connection

    async def _open_tunnel(self, connection: Connection, proxy: Proxy) -> None:
        authority = f"{_bracketed(self._settings.host)}:{self._settings.port}"
        lines = [f"CONNECT {authority} HTTP/1.1", f"Host: {authority}"]
        if proxy.authorization:
            lines.append(f"Proxy-Authorization: {proxy.authorization}")
        reader = AnswerReader(_PROXY_ANSWER_LIMIT, is_connect=True)
        answer = await connection.exchange([_head(lines)], reader)
        if not 200 <= answer.status < 300 or not connection.is_open:
            raise NoAnswer("proxy", f"the proxy {proxy.host}:{proxy.port} answered {answer.status}")

    def _encoded(self, method: str, target: str, headers: Mapping[str, str], body: bytes | BodyInPieces) -> list[bytes]:
        """Head and body of a request, ready to be written; the head alone if the body comes in pieces."""
        lines = [] if any(name.lower() == "host" for name in headers) else [f"Host: {self._host_header}"]
        if self._proxy is not None and self._settings.tls is None:
            target = f"http://{self._host_header}{target}"
            if self._proxy.authorization:
                lines.append(f"Proxy-Authorization: {self._proxy.authorization}")
        if body or method in ("POST", "PUT", "PATCH"):
            lines.append(f"Content-Length: {len(body) if isinstance(body, bytes) else body.size}")
        lines += [f"{name}: {value}" for name, value in headers.items()]
        if not self._settings.keepalive:
            lines.append("Connection: close")
        head = _head([f"{method} {target} HTTP/1.1", *lines])
        return [head, body] if isinstance(body, bytes) and body else [head]

    def _shown(self) -> str:
        server = f"{_bracketed(self._settings.host)}:{self._settings.port}"
        return f"{server} through {self._proxy.host}:{self._proxy.port}" if self._proxy else server


def _unless_here(body: bytes | BodyInPieces) -> BodyInPieces | None:
    return None if isinstance(body, bytes) else body


def _chosen_proxy(text: str) -> Proxy:
    try:
        return parse_proxy(text)
    except ValueError as error:
        raise OptionError("proxy", str(error), "for example: proxy http://10.0.0.1:3128") from error


def _head(lines: list[str]) -> bytes:
    text = "\r\n".join(lines)
    if text.count("\n") != len(lines) - 1 or "\0" in text:
        raise ValueError("a header holds a line break")
    return text.encode("utf-8", "surrogateescape") + b"\r\n\r\n"


def _host_header(settings: HttpSettings) -> str:
    usual = 443 if settings.tls else 80
    host = _bracketed(settings.host)
    return host if settings.port == usual else f"{host}:{settings.port}"


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host


def _told(error: ssl.SSLError) -> str:
    """Which check of a certificate failed, or what OpenSSL says."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"the server's certificate is not accepted: {error.verify_message}"
    return f"TLS handshake failed: {error.reason or error}"


__all__ = ["HttpClient"]
