"""An answer that is read while it comes, such as the events of a watch that stays open for minutes."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence

from ..clock import Clock
from .answers import AnswerReader
from .connection import Connection
from .settings import HttpAnswer, NoAnswer

MOST_UNREAD = 256 * 1024
"""Bytes that may be here unread; the server has to wait while there are more."""

_LIMIT = 16 << 20
"""More than can come before the server has to wait; a body would be cut here."""


class AnswerStream:
    """The answer on a connection of its own; `close` it in the end."""

    def __init__(self, connection: Connection, parts: Sequence[bytes], clock: Clock) -> None:
        self._connection = connection
        self._parts = parts
        self._clock = clock
        self._reader = AnswerReader(_LIMIT)
        self._news = asyncio.Event()
        self._end: asyncio.Future[HttpAnswer] | None = None
        self._is_paused = False

    @property
    def status(self) -> int:
        return self._reader.status

    @property
    def headers(self) -> Mapping[str, str]:
        return self._reader.headers

    async def begin(self) -> None:
        """Send the request and wait for the head of the answer; raises `NoAnswer`."""
        self._end = self._connection.follow(self._parts, self._reader, self._note_data)
        self._end.add_done_callback(self._note_end)
        while not self._reader.status:
            if self._end.done():
                self._end.result()
            self._news.clear()
            await self._news.wait()

    async def read(self, patience_s: float) -> bytes:
        """What has come since the last call, or waits for more; nothing at the end of the body.

        Raises `NoAnswer` if the connection breaks, or nothing comes for so long.
        """
        while not (body := self._reader.take_body()):
            if self._end is None or self._end.done():
                if self._end is not None:
                    self._end.result()
                return b""
            self._news.clear()
            if self._is_paused:
                self._is_paused = False
                self._connection.resume()
            if not await self._clock.wait(self._news, patience_s):
                raise NoAnswer("answer", f"nothing came for {patience_s:g} seconds", timed_out=True)
        return body

    def close(self) -> None:
        """Cut the connection, whatever is still to come."""
        self._connection.close()

    def _note_data(self) -> None:
        self._news.set()
        if self._reader.body_size > MOST_UNREAD and not self._is_paused:
            self._is_paused = True
            self._connection.pause()

    def _note_end(self, end: asyncio.Future[HttpAnswer]) -> None:
        self._news.set()
        if not end.cancelled():
            end.exception()  # asyncio complains about errors that nobody has looked at
