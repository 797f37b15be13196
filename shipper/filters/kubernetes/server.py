"""Requests to the API server and to the kubelet, and what comes of them."""

from __future__ import annotations

from typing import TypeVar

import msgspec

from ...context import Context
from ...errors import OptionError
from ...kubernetes.token import NoToken, Token
from ...net.http import HttpClient
from ...net.settings import HttpAnswer, HttpSettings, NoAnswer

_REMARK_EVERY_S = 60.0

T = TypeVar("T")


class NoMetadata(Exception):
    """There is no metadata now.

    `is_away` says that nobody answered, so that others need not wait for the same, and `is_passing` that there should
    soon be some.
    """

    def __init__(self, reason: str, *, is_away: bool = False, is_passing: bool = False) -> None:
        super().__init__(reason)
        self.is_away = is_away
        self.is_passing = is_passing or is_away

    def again(self) -> NoMetadata:
        """The same for another one who asked, without the way that this one has come."""
        return NoMetadata(str(self), is_away=self.is_away, is_passing=self.is_passing)


class Server:
    """One server that is asked with the token; the connection is made when it is first needed.

    `token_place` is what the user knows the token by.
    """

    def __init__(
        self, what: str, settings: HttpSettings, limit: int, token: Token, token_place: str, context: Context
    ) -> None:
        self._what = what
        self._settings = settings
        self._limit = limit
        self._token = token
        self._token_place = token_place
        self._context = context
        self._client: HttpClient | None = None
        self._failed = context.counter("metadata_requests_failed_total", server=what)
        self._requests = context.counter("metadata_requests_total", server=what)

    async def get(self, target: str, kind: type[T]) -> T:
        """Ask for an object; raises `NoMetadata`. A refused token is read again, and then used once more."""
        try:
            answer = await self._answer(target)
            return self._read(answer, kind)
        except NoMetadata:
            self._failed.add()
            raise

    async def close(self) -> None:
        if self._client is not None:
            await self._client.close()

    async def _answer(self, target: str) -> HttpAnswer:
        answer, token = await self._asked(target)
        if answer.status == 401:
            self._token.doubt(token)
            answer, _ = await self._asked(target)
        return answer

    async def _asked(self, target: str) -> tuple[HttpAnswer, str]:
        try:
            token = await self._token.text()
            client = await self._opened()
            self._requests.add()
            headers = {"User-Agent": "Fluent-Bit", "Authorization": f"Bearer {token}"}
            return await client.request("GET", target, headers), token
        except NoToken as error:
            self._context.log.warning(
                f"{self._token_place} gives no token, and without one no metadata is asked for; it is read again",
                every=_REMARK_EVERY_S,
                reason=error,
            )
            raise NoMetadata("no token") from error
        except OptionError as error:
            self._context.log.error("no TLS connection is possible", every=_REMARK_EVERY_S, reason=error)
            raise NoMetadata(f"no TLS: {error}") from error
        except NoAnswer as error:
            raise NoMetadata(f"the {self._what} does not answer: {error.reason}", is_away=True) from error

    async def _opened(self) -> HttpClient:
        if self._client is None:
            client = HttpClient(self._settings, self._context.clock, self._context.log)
            await client.open()
            self._client = client
        return self._client

    def _read(self, answer: HttpAnswer, kind: type[T]) -> T:
        if answer.status != 200:
            is_away = answer.status == 429 or answer.status >= 500
            raise NoMetadata(f"the {self._what} answers with status {answer.status}", is_away=is_away)
        if len(answer.body) > self._limit:
            self._context.log.error(
                "an answer is longer than buffer_size and is not used; set Buffer_Size 0 to allow any size",
                every=_REMARK_EVERY_S,
                server=self._what,
                buffer_size=self._limit,
            )
            raise NoMetadata("the answer is longer than buffer_size")
        try:
            return msgspec.json.decode(answer.body, type=kind)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise NoMetadata(f"the answer of the {self._what} cannot be read: {error}") from error
