"""One HTTP/1.1 connection: made to the first address that answers, used for one request at a time."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable, Sequence
from contextlib import closing
from typing import cast

from .answers import AnswerReader, BadAnswer
from .keepalive import watch_peer
from .settings import BodyInPieces, HttpAnswer, NoAnswer, TcpKeepalive

HEAD_START_S = 0.25
"""An address has this much time before the next one is tried beside it."""

_MOST_UNSENT = 64 * 1024
"""Bytes of a body that wait for the network beside the piece that is being written; with TLS they are here twice."""

_WATCHED = TcpKeepalive(idle_s=30, interval_s=10, probes=3)


class Connection(asyncio.Protocol):
    """A connection and the request that is under way on it.

    `last_used` is when it came to rest, `exchanges` how many requests it has served.
    """

    def __init__(self) -> None:
        self._transport: asyncio.Transport | None = None
        # The request under way: who reads its answer, and who waits for it.
        self._reader: AnswerReader | None = None
        self._waiter: asyncio.Future[HttpAnswer] | None = None
        self._on_data: Callable[[], None] | None = None
        # Set while more may be written: the network has taken most of what was, or it is of no use any more.
        self._has_room = asyncio.Event()
        self._has_room.set()
        self.is_open = False
        self.last_used = 0.0
        self.exchanges = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self.is_open = True

    def data_received(self, data: bytes) -> None:
        if self._reader is None:
            self.close()  # nobody has asked for anything
            return
        try:
            self._reader.feed(data)
        except BadAnswer as error:
            self._fail(str(error))
            return
        self._settle()
        if self._on_data is not None:
            self._on_data()

    def eof_received(self) -> bool:
        self.is_open = False
        if self._reader is not None:
            self._reader.end()
            self._settle()
        return False

    def connection_lost(self, error: Exception | None) -> None:
        self.is_open = False
        if self._reader is not None:
            if error is None:
                self._reader.end()
                self._settle()
            self._fail(f"the connection ended before the answer: {error or 'closed by the server'}")

    def pause_writing(self) -> None:
        self._has_room.clear()

    def resume_writing(self) -> None:
        self._has_room.set()

    async def exchange(
        self, parts: Sequence[bytes], reader: AnswerReader, body: BodyInPieces | None = None
    ) -> HttpAnswer:
        """Send a request and wait for its answer; the connection is closed if it does not serve any longer.

        `body` follows the parts as the network takes it. Raises `NoAnswer`.
        """
        if self._transport is None or not self.is_open:
            raise NoAnswer("answer", "the connection is closed")
        self._reader, self._waiter = reader, asyncio.get_running_loop().create_future()
        self.exchanges += 1
        try:
            self._transport.writelines(parts)
            if body is not None and not await self._send_pieces(body, self._waiter):
                reader.may_be_kept = False
            return await self._waiter
        except BaseException:
            self.close()
            raise
        finally:
            self._reader = self._waiter = None
            if not reader.may_be_kept:
                self.close()

    def follow(
        self, parts: Sequence[bytes], reader: AnswerReader, on_data: Callable[[], None]
    ) -> asyncio.Future[HttpAnswer]:
        """Send a request whose answer is taken from the reader while it comes, and tell of all that comes.

        The connection serves nothing else afterwards. The result tells of the end; it raises `NoAnswer`.
        """
        if self._transport is None or not self.is_open:
            raise NoAnswer("answer", "the connection is closed")
        self._reader, self._on_data = reader, on_data
        self._waiter = asyncio.get_running_loop().create_future()
        watch_peer(self._transport, _WATCHED)
        self._transport.writelines(parts)
        return self._waiter

    def pause(self) -> None:
        """Take nothing more from the network until `resume`."""
        if self._transport is not None and not self._transport.is_closing():
            self._transport.pause_reading()

    def resume(self) -> None:
        if self._transport is not None and not self._transport.is_closing():
            self._transport.resume_reading()

    async def start_tls(self, context: ssl.SSLContext, name: str | None) -> None:
        """Speak TLS from now on; waits for the handshake. Raises what the handshake raises."""
        if self._transport is None:
            raise NoAnswer("tls", "the connection is closed")
        loop = asyncio.get_running_loop()
        self._transport = await loop.start_tls(self._transport, self, context, server_hostname=name)

    def watch(self, chosen: TcpKeepalive) -> None:
        """Have the peer asked while nothing is said."""
        if self._transport is not None:
            watch_peer(self._transport, chosen)

    def close(self) -> None:
        """Cut the connection."""
        self.is_open = False
        if self._transport is not None:
            self._transport.abort()

    async def _send_pieces(self, body: BodyInPieces, waiter: asyncio.Future[HttpAnswer]) -> bool:
        """Whether the whole body was written: an answer before its end, or the end of the connection, stops it.

        Waits for the network to take each piece. Raises `NoAnswer` if the body cannot be read.
        """
        if self._transport is None:
            raise NoAnswer("answer", "the connection is closed")
        self._transport.set_write_buffer_limits(_MOST_UNSENT)
        try:
            with closing(body.pieces()) as pieces:
                for piece in pieces:
                    if waiter.done():
                        return False
                    self._transport.write(piece)
                    # Also where the network takes everything at once others must have their turn.
                    await asyncio.sleep(0)
                    await self._has_room.wait()
        except OSError as error:
            raise NoAnswer("answer", f"the body cannot be read: {error}") from error
        return True

    def _settle(self) -> None:
        if self._reader is not None and self._reader.answer is not None and self._waiter and not self._waiter.done():
            self._waiter.set_result(self._reader.answer)
            self._has_room.set()

    def _fail(self, reason: str) -> None:
        self.is_open = False
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_exception(NoAnswer("answer", reason))
        self._has_room.set()
        if self._transport is not None:
            self._transport.abort()


async def connect(
    addresses: Sequence[str],
    port: int,
    *,
    source: str | None = None,
    tls: ssl.SSLContext | None = None,
    server_name: str | None = None,
) -> Connection:
    """The first connection that comes about; each address gets a head start before the next one.

    Raises the error of the last address that failed, if all did.
    """

    async def attempt(address: str) -> Connection:
        loop = asyncio.get_running_loop()
        local = (source, 0) if source else None
        _, made = await loop.create_connection(
            Connection, address, port, ssl=tls, server_hostname=server_name if tls else None, local_addr=local
        )
        return made

    if len(addresses) == 1:
        return await attempt(addresses[0])
    return await _race([lambda a=address: attempt(a) for address in addresses])  # type: ignore[misc]


async def _race(attempts: Sequence[Callable[[], asyncio.Future[Connection]]]) -> Connection:
    running: set[asyncio.Task[Connection]] = set()
    waiting = list(reversed(attempts))
    failure: BaseException = OSError("there is no address")
    winner: asyncio.Task[Connection] | None = None
    try:
        while waiting or running:
            if waiting:
                running.add(asyncio.ensure_future(waiting.pop()()))
            head_start = HEAD_START_S if waiting else None
            done, running = await asyncio.wait(running, timeout=head_start, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                if (error := task.exception()) is not None:
                    failure = error
                elif winner is None:
                    winner = task
                else:
                    task.result().close()
            if winner is not None:
                return winner.result()
        raise failure
    finally:
        for task in running:
            task.cancel()
        for late in await asyncio.gather(*running, return_exceptions=True):
            if isinstance(late, Connection):
                late.close()
