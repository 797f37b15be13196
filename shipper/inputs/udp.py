"""Take JSON objects or lines of text from UDP datagrams."""

from __future__ import annotations

from ..context import Context, Emit
from ..record import Record, RecordBatch
from .listening import Address, Datagram, DatagramListener, PayloadReader, PushInput, RawOptions, hand_on


class UdpOptions(RawOptions):
    """Options of the udp input."""


class UdpInput(PushInput):
    """Every datagram is read on its own; what is not whole at its end is dropped and counted."""

    Options = UdpOptions

    def __init__(self, options: UdpOptions, context: Context) -> None:
        self._context = context
        self._tag = options.tag or context.name
        self._payload = PayloadReader(options, context, "udp")
        self.listener = DatagramListener(Address(options.listen, options.port), options, context, self._take)

    async def _take(self, datagrams: list[Datagram], emit: Emit) -> None:
        records: list[Record] = []
        size = 0
        for data, source in datagrams:
            read = self._payload.read(data, source, is_end=True)
            records += read.records
            size += read.rest - read.invalid
            if read.invalid:
                self._payload.count_invalid(read.invalid, source)
            elif data[read.rest :].strip():
                self._context.dropped(1, len(data) - read.rest, "unterminated")
        if records:
            await hand_on(RecordBatch(self._tag, records, size), emit, self._context)
