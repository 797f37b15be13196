"""Take syslog messages from TCP, UDP or unix sockets."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Annotated, Literal

from ...config.options import opt
from ...config.units import ByteSize
from ...context import Context, Emit
from ...errors import OptionError
from ...record import Record, RecordBatch
from ..listening import (
    Address,
    Connection,
    Datagram,
    DatagramListener,
    FileMode,
    ListenOptions,
    Place,
    PushInput,
    StreamListener,
    UnixPath,
    count_cut_off,
    decoded_text,
    hand_on,
    parser_named,
)
from .framing import Split, split_counted, split_lines

_PARSERS = {"tcp": "syslog-rfc5424", "udp": "syslog-rfc5424"}
_LOCAL_PARSER = "syslog-rfc3164-local"
_REMARK_EVERY_S = 30.0


class SyslogOptions(ListenOptions):
    """Options of the syslog input."""

    mode: Annotated[Literal["unix_tcp", "unix_udp", "tcp", "udp"], opt("Kind of the socket.")] = "unix_udp"
    port: Annotated[int, opt("Port to listen on.", core=True)] = 5140
    path: Annotated[str | None, opt("File of the unix socket.", example="/var/run/shipper.sock")] = None
    unix_perm: Annotated[FileMode, opt("Permissions of that file.", example="0666")] = FileMode(0o644)
    parser: Annotated[
        str | None,
        opt("Parser for the messages; syslog-rfc5424 for tcp and udp, else syslog-rfc3164-local, if not set."),
    ] = None
    format: Annotated[Literal["newline", "octet_counting"], opt("Where messages end in a stream.")] = "newline"
    buffer_chunk_size: Annotated[ByteSize, opt("Size of the first buffer.")] = ByteSize(32_768)
    buffer_max_size: Annotated[ByteSize | None, opt("Longest message; buffer_chunk_size if not set.")] = None
    receive_buffer_size: Annotated[ByteSize, opt("Buffer of the system for datagrams; 0 for its own size.")] = ByteSize(
        0
    )
    raw_message_key: Annotated[str | None, opt("Field for the whole message.", example="raw")] = None
    source_address_key: Annotated[str | None, opt("Field for the address of the sender.", example="source")] = None


class SyslogInput(PushInput):
    """Each message that its parser understands is a record; others are dropped and counted."""

    Options = SyslogOptions

    def __init__(self, options: SyslogOptions, context: Context) -> None:
        self._options = options
        self._context = context
        self._tag = options.tag or context.name
        self._longest = int(options.buffer_max_size or options.buffer_chunk_size)
        self._idle_s = float(options.io_timeout) or None
        self._split: Split = split_counted if options.format == "octet_counting" else split_lines
        self._parse = parser_named(options.parser or _PARSERS.get(options.mode, _LOCAL_PARSER), context).parse
        place = _place(options)
        if options.mode.endswith("tcp"):
            self.listener = StreamListener(place, options, context, self._serve)
        else:
            size = int(options.receive_buffer_size)
            self.listener = DatagramListener(place, options, context, self._take, receive_buffer=size)

    async def _serve(self, connection: Connection, emit: Emit) -> None:
        source, rest = self._source(connection.peer), b""
        try:
            while data := await connection.read(self._idle_s):
                data = rest + data
                found = self._split(data, self._longest)
                rest = data[found.rest :]
                await self._emit([(text, source) for text in found.messages], found.rest, emit)
                if found.error is not None:
                    raise found.error
        except asyncio.CancelledError:
            data = rest + connection.cut_off()
            found = self._split(data, self._longest)
            count_cut_off(len(found.messages), found.rest, self._context)
            self._count_unterminated(data[found.rest :], source)
            raise
        self._count_unterminated(rest, source)

    def _count_unterminated(self, rest: bytes, source: str) -> None:
        if rest:
            self._context.dropped(1, len(rest), "unterminated")
            self._context.log.warning(
                "a connection ended within a message, which is dropped", every=_REMARK_EVERY_S, peer=source
            )

    async def _take(self, datagrams: list[Datagram], emit: Emit) -> None:
        messages = [(decoded_text(d.data).rstrip("\n\r\0"), self._source(d.source)) for d in datagrams]
        await self._emit(messages, sum(len(d.data) for d in datagrams), emit)

    async def _emit(self, messages: Iterable[tuple[str, str]], size: int, emit: Emit) -> None:
        """Emit what the parser understands of messages and their sources, which have so many bytes together."""
        parse, now = self._parse, self._context.clock.time_ns()
        raw_key, source_key = self._options.raw_message_key, self._options.source_address_key
        records, unknown, unknown_size = list[Record](), 0, 0
        for text, source in messages:
            parsed = parse(text)
            if parsed is None:
                unknown += 1
                unknown_size += len(text)
                self._context.log.warning("a message does not fit the parser", every=_REMARK_EVERY_S, peer=source)
                continue
            time_ns, body = parsed
            if raw_key:
                body[raw_key] = text
            if source_key:
                body[source_key] = source
            records.append(Record(now if time_ns is None else time_ns, body))
        if unknown:
            self._context.dropped(unknown, unknown_size, "parser_mismatch")
        if records:
            await hand_on(RecordBatch(self._tag, records, max(1, size - unknown_size)), emit, self._context)

    def _source(self, peer: str) -> str:
        return f"{self._options.mode}://{peer}" if peer else self._options.path or ""


def _place(options: SyslogOptions) -> Place:
    if not options.mode.startswith("unix"):
        return Address(options.listen, options.port)
    if not options.path:
        raise OptionError("path", f"is required for mode {options.mode}", "for example: path /var/run/shipper.sock")
    return UnixPath(options.path, options.unix_perm)
