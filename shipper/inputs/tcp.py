"""Take JSON objects or lines of text from TCP connections."""

from __future__ import annotations

from ..context import Context, Emit
from ..record import RecordBatch
from .listening import Address, Connection, PayloadReader, PushInput, RawOptions, Refused, StreamListener, hand_on


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
        rest = b""
        while data := await connection.read(self._idle_s):
            rest = await self._take(rest + data, connection.peer, emit)
            if len(rest) > self._longest:
                message = f"a message is longer than buffer_size, which is {self._longest} bytes"
                raise Refused("too_long", message, len(rest), 1)
        if rest:
            await self._take_last(rest, connection.peer, emit)

    async def _take(self, data: bytes, peer: str, emit: Emit, *, is_end: bool = False) -> bytes:
        """Emit what is whole; gives what is not."""
        read = self._payload.read(data, peer, is_end=is_end)
        if read.records:
            await hand_on(RecordBatch(self._tag, read.records, read.rest - read.invalid), emit, self._context)
        if read.invalid:
            self._payload.count_invalid(read.invalid, peer)
        return data[read.rest :]

    async def _take_last(self, data: bytes, peer: str, emit: Emit) -> None:
        rest = await self._take(data, peer, emit, is_end=True)
        if rest.strip():
            self._context.dropped(1, len(rest), "unterminated")
            self._context.log.warning(
                "a connection ended within a message, which is dropped", every=30.0, peer=peer, bytes=len(rest)
            )
