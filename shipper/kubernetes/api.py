"""Requests to an API server with the token of the moment."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TypeVar

import msgspec

from ..context import Context
from ..errors import OptionError
from ..net.answer_stream import AnswerStream
from ..net.http import HttpClient
from ..net.settings import HttpAnswer, HttpSettings, NoAnswer, TlsSettings
from .token import NoToken, Token
from .url import KubeUrl

_CONNECT_TIMEOUT_S = 5.0
_MOST_REQUESTS = 4
_SPOKE_PLAINLY = b"HTTP request to an HTTPS server"

T = TypeVar("T", HttpAnswer, AnswerStream)


class NoApi(Exception):
    """The API server was not asked, or did not answer."""


class ApiServer:
    """One API server; connections are made when they are first needed.

    A refused token is read again and then used once more. A server that was spoken to plainly and wants TLS gets TLS.
    Without a token requests carry none.
    """

    def __init__(
        self,
        url: KubeUrl,
        tls: TlsSettings,
        token: Token | None,
        context: Context,
        *,
        answer_limit: int,
        io_timeout: float,
    ) -> None:
        self._url = url
        self._tls = tls
        self._is_tls = url.is_tls
        self._token = token
        self._context = context
        self._answer_limit = answer_limit
        self._io_timeout = io_timeout
        self._client: HttpClient | None = None

    async def request(self, method: str, target: str, document: object = None) -> HttpAnswer:
        """The answer, whatever its status; raises `NoApi`."""
        body = b"" if document is None else msgspec.json.encode(document)
        kind = {"Content-Type": "application/json"} if body else {}

        async def ask(client: HttpClient, headers: dict[str, str]) -> HttpAnswer:
            return await client.request(method, target, headers | kind, body)

        return await self._asked(ask)

    async def follow(self, target: str) -> AnswerStream:
        """The answer while it comes, whatever its status; raises `NoApi`."""

        async def ask(client: HttpClient, headers: dict[str, str]) -> AnswerStream:
            return await client.follow("GET", target, headers)

        return await self._asked(ask)

    async def close(self) -> None:
        client, self._client = self._client, None
        if client is not None:
            await client.close()

    async def _asked(self, ask: Callable[[HttpClient, dict[str, str]], Awaitable[T]]) -> T:
        answer, token = await self._attempt(ask)
        if answer.status == 401 and self._token is not None:
            self._token.doubt(token)
        elif not (answer.status == 400 and not self._is_tls and await _wants_tls(answer)):
            return answer
        else:
            self._context.log.warning(
                "the API server wants TLS and gets it from now on; write https:// in Kube_URL", kube_url=self._url
            )
            self._is_tls = True
            await self.close()
        _close(answer)
        return (await self._attempt(ask))[0]

    async def _attempt(self, ask: Callable[[HttpClient, dict[str, str]], Awaitable[T]]) -> tuple[T, str]:
        headers, token = {"User-Agent": "Fluent-Bit"}, ""
        try:
            if self._token is not None:
                token = await self._token.text()
                headers["Authorization"] = f"Bearer {token}"
            return await ask(await self._opened(), headers), token
        except NoToken as error:
            raise NoApi(f"no request without a token: {error}") from error
        except OptionError as error:
            raise NoApi(f"no TLS connection is possible: {error}") from error
        except NoAnswer as error:
            raise NoApi(f"the API server does not answer: {error.reason}") from error

    async def _opened(self) -> HttpClient:
        if self._client is None:
            client = HttpClient(self._settings(), self._context.clock, self._context.log)
            await client.open()
            self._client = self._client or client  # another request may have been quicker
        return self._client

    def _settings(self) -> HttpSettings:
        return HttpSettings(
            host=self._url.host,
            port=self._url.port,
            tls=self._tls if self._is_tls else None,
            connect_timeout=_CONNECT_TIMEOUT_S,
            io_timeout=self._io_timeout,
            connections=_MOST_REQUESTS,
            use_proxy=False,
            answer_limit=self._answer_limit,
        )


async def _wants_tls(answer: HttpAnswer | AnswerStream) -> bool:
    if isinstance(answer, HttpAnswer):
        return _SPOKE_PLAINLY in answer.body
    try:
        return _SPOKE_PLAINLY in await answer.read(_CONNECT_TIMEOUT_S)
    except NoAnswer:
        return False


def _close(answer: HttpAnswer | AnswerStream) -> None:
    if isinstance(answer, AnswerStream):
        answer.close()


__all__ = ["ApiServer", "NoApi"]
