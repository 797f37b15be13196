"""Signed calls to S3's REST interface, whose bodies may be parts of files.

aiobotocore's S3 client reads a description of the service that costs ten megabytes for as long as the process lives,
and passes every body through checksums of its own. A few calls are needed here, and their bodies are finished: so
credentials and signatures are aiobotocore's, and the requests go straight to aiohttp.
"""

from __future__ import annotations

import hashlib
import os
import socket
import ssl
from collections.abc import Mapping, Sequence
from typing import Any

import aiohttp
from aiohttp.abc import AbstractStreamWriter
from aiohttp.payload import Payload
from botocore.exceptions import BotoCoreError, ClientError
from yarl import URL

from ..net.keepalive import watch_socket
from ..net.settings import TcpKeepalive
from .messages import FilePart, RestAnswer
from .session import Credentials, new_signing_session
from .settings import AwsError, AwsSettings, NoAnswer, NoCredentials
from .signature import Signatures

_READ = 1 << 18
_SLOWEST_BYTES_PER_S = 256_000
"""A body may take the time it needs at this pace, in addition to the usual time of a call."""

_ANSWER_LIMIT = 16_000_000
_NO_HEADERS: Mapping[str, str] = {}


class RestClient:
    """Makes calls to one endpoint; any number may run at the same time."""

    def __init__(self, service: str, base_url: str, settings: AwsSettings) -> None:
        self._signatures = Signatures(service, settings.region)
        self._base_url = base_url
        self._settings = settings
        self._http: aiohttp.ClientSession | None = None
        self._credentials: Credentials | None = None

    async def open(self) -> None:
        """Get ready without a word to AWS; raises `OptionError` for a profile that does not exist."""
        settings = self._settings
        _, self._credentials = new_signing_session(settings)
        connector = _connector(settings)
        self._http = aiohttp.ClientSession(
            connector=connector, trust_env=settings.use_proxy, auto_decompress=False, middlewares=(_send_once,)
        )

    async def call(
        self,
        method: str,
        path: str,
        headers: Mapping[str, str] = _NO_HEADERS,
        body: bytes | FilePart = b"",
        timeout_s: float | None = None,
    ) -> RestAnswer:
        """Make one call and wait for its answer; `path` is encoded and may hold a query.

        Raises `AwsError` for an answer that is an error, `NoAnswer` if none came, `NoCredentials` if nothing was sent.
        """
        if self._http is None:
            raise RuntimeError("the client is not open")
        url = self._base_url + path
        signed = await self._signed(method, url, headers, _hash_of(body))
        size = body.size if isinstance(body, FilePart) else len(body)
        longest = (timeout_s or self._settings.io_timeout) + size / _SLOWEST_BYTES_PER_S
        try:
            answer = await self._exchange(self._http, method, url, signed, body, longest)
        except aiohttp.ConnectionTimeoutError as error:
            limit_s = self._settings.connect_timeout
            raise NoAnswer(f"no connection within {limit_s:g} seconds", timed_out=True) from error
        except TimeoutError as error:
            raise NoAnswer(f"no answer after {longest:g} seconds", timed_out=True) from error
        except aiohttp.ClientError as error:
            raise NoAnswer(str(error) or type(error).__name__) from error
        # A call that takes long answers 200 before it knows, and tells an error in the body.
        if answer.status >= 300 or answer.body.lstrip()[:200].find(b"<Error>") >= 0:
            raise self._error_in(answer)
        return answer

    def forget_credentials(self) -> None:
        """Look through all sources of credentials again at the next call."""
        if self._credentials is not None:
            self._credentials.forget()

    async def close(self) -> None:
        """Close the connections."""
        if self._http is not None:
            await self._http.close()

    async def _exchange(
        self,
        http: aiohttp.ClientSession,
        method: str,
        url: str,
        headers: Mapping[str, str],
        body: bytes | FilePart,
        longest: float,
    ) -> RestAnswer:
        data: Any = _FileBody(body) if isinstance(body, FilePart) else body or None
        async with http.request(
            method,
            URL(url, encoded=True),
            headers=headers,
            data=data,
            allow_redirects=False,
            skip_auto_headers=("Content-Type", "User-Agent"),
            timeout=aiohttp.ClientTimeout(total=longest, sock_connect=self._settings.connect_timeout),
        ) as response:
            told = await response.content.read(_ANSWER_LIMIT)
            while more := await response.content.read(_ANSWER_LIMIT):
                told = (told + more)[:_ANSWER_LIMIT]
            return RestAnswer(response.status, {k.lower(): v for k, v in response.headers.items()}, told)

    async def _signed(self, method: str, url: str, headers: Mapping[str, str], payload: str) -> dict[str, str]:
        if self._credentials is None:
            raise RuntimeError("the client is not open")
        try:
            keys = await self._credentials.get_frozen_credentials()
        except (ClientError, BotoCoreError) as error:
            raise NoCredentials(str(error)) from error
        named = {**headers, "User-Agent": self._settings.user_agent}
        return self._signatures.headers(keys, method, url, named, payload)

    def _error_in(self, answer: RestAnswer) -> AwsError:
        code = answer.element("Code") or _CODES.get(answer.status, f"Status{answer.status}")
        self._signatures.learn_clock(code, answer.headers.get("date"))
        after = answer.headers.get("retry-after", "")
        wish = float(after) if after.isdecimal() else None
        return AwsError(code, answer.status, answer.element("Message") or "", after=wish)


_CODES = {
    304: "NotModified",
    403: "AccessDenied",
    404: "NotFound",
    412: "PreconditionFailed",
    500: "InternalError",
    501: "NotImplemented",
    503: "ServiceUnavailable",
}
"""What an answer without a body means; answers to HEAD have none."""


async def _send_once(request: aiohttp.ClientRequest, send: aiohttp.ClientHandlerType) -> aiohttp.ClientResponse:
    """Keep aiohttp from sending a PUT a second time by itself: whoever calls must know that it may have been done."""
    try:
        return await send(request)
    except (aiohttp.ClientOSError, aiohttp.ServerDisconnectedError) as error:
        raise NoAnswer(str(error)) from error


class _FileBody(Payload):
    """A part of a file that is read while it is sent, so that memory never holds more than a little of it."""

    def __init__(self, part: FilePart) -> None:
        super().__init__(part)
        self._part = part
        self._size = part.size

    def decode(self, encoding: str = "utf-8", errors: str = "strict") -> str:
        raise TypeError("a file is no text")

    async def write(self, writer: AbstractStreamWriter) -> None:
        await self.write_with_length(writer, None)

    async def write_with_length(self, writer: AbstractStreamWriter, content_length: int | None) -> None:
        part = self._part
        file = os.open(part.path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            place = part.start
            while place < part.end:
                data = os.pread(file, min(_READ, part.end - place), place)
                if not data:
                    raise aiohttp.ClientPayloadError(f"{part.path} ends before its time")
                await writer.write(data)
                place += len(data)
        finally:
            os.close(file)


def _hash_of(body: bytes | FilePart) -> str:
    return body.sha256 if isinstance(body, FilePart) else hashlib.sha256(body).hexdigest()


def _connector(settings: AwsSettings) -> aiohttp.TCPConnector:
    """What makes the connections; how many calls one may serve cannot be said to it."""
    watched = settings.tcp_keepalive
    more: dict[str, Any] = {"keepalive_timeout": settings.idle_timeout} if settings.keepalive else {"force_close": True}
    if watched is not None:
        more["socket_factory"] = lambda address: _watched_socket(address, watched)
    return aiohttp.TCPConnector(limit=settings.connections, ssl=_tls_context(settings), **more)


def _watched_socket(address: Sequence[Any], watched: TcpKeepalive) -> socket.socket:
    family, kind, protocol = address[:3]
    made = socket.socket(family, kind, protocol)
    watch_socket(made, watched)
    return made


def _tls_context(settings: AwsSettings) -> ssl.SSLContext | bool:
    """What checks certificates; without a file of its own, what aiohttp has anyway."""
    if isinstance(settings.verify, str):
        return ssl.create_default_context(cafile=settings.verify)
    return settings.verify
