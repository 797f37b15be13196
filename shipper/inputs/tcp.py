"""Take JSON objects or lines of text from TCP connections."""

from __future__ import annotations

import asyncio

from ..context import Context, Emit
from ..record import RecordBatch
from .listening import (
    Address,
    Connection,
    PayloadReader,
    PushInput,
    RawOptions,
    Read,
    Refused,
    StreamListener,
    count_cut_off,
    hand_on,
)


class TcpOptions(RawOptions):
    """Options of the tcp input."""


class TcpInput(PushInput):
    """What one read brings becomes one batch; a line or object that is not whole waits for the next."""

    Options = TcpOptions

    def __init__(self, options: TcpOptions, context: Context) -> None:
        self._context = context
        self._tag = options.tag or context.name
        self._longest = options.longest
        self._idle_s = float(options.io_timeout) or None
        self._payload = PayloadReader(options, context, "tcp")
        self.listener = StreamListener(Address(options.listen, options.port), options, context, self._serve)

    async def _serve(self, connection: Connection, emit: Emit) -> None:
        peer, rest = connection.peer, b""
        try:
            while data := await connection.read(self._idle_s):
                read, rest = self._read(rest + data, peer)
                await self._hand_on(read, emit)
                if len(rest) > self._longest:
                    message = f"a message is longer than buffer_size, which is {self._longest} bytes"
                    raise Refused("too_long", message, len(rest), 1)
            if rest:
                read, rest = self._read(rest, peer, is_end=True)
                await self._hand_on(read, emit)
                self._count_unterminated(rest, peer)
        except asyncio.CancelledError:
            read, rest = self._read(rest + connection.cut_off(), peer, is_end=True)
            count_cut_off(len(read.records), read.rest - read.invalid, self._context)
            self._count_unterminated(rest, peer)
            raise

    def _read(self, data: bytes, peer: str, *, is_end: bool = False) -> tuple[Read, bytes]:
        """What is whole, and what is not; what is nothing is counted."""
        read = self._payload.read(data, peer, is_end=is_end)
        if read.invalid:
            self._payload.count_invalid(read.invalid, peer)
        return read, data[read.rest :]

    async def _hand_on(self, read: Read, emit: Emit) -> None:
        if read.records:
            await hand_on(RecordBatch(self._tag, read.records, read.rest - read.invalid), emit, self._context)

    def _count_unterminated(self, rest: bytes, peer: str) -> None:
        if rest.strip():
            self._context.dropped(1, len(rest), "unterminated")
            self._context.log.warning(
                "a connection ended within a message, which is dropped", every=30.0, peer=peer, bytes=len(rest)
            )
