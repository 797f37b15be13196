"""What `tcp` and `udp` share: their options, and records from lines or JSON values."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Annotated, Any, Literal

import msgspec

from ...config.options import opt
from ...config.units import ByteSize, parse_int
from ...context import Context
from ...parsers.escapes import unescape_unicode
from ...record import Body, Record
from ..depth import count_too_deep, without_deep
from .json_values import InvalidJson, read_values
from .options import ListenOptions
from .texts import decoded_text, parser_named

_KIB = 1024
_REMARK_EVERY_S = 30.0
_LINE_FEED = b"\n"
_ESCAPE = re.compile(r"\\(?:x([0-9a-fA-F]{1,2})|([0-7]{1,3})|.)", re.DOTALL)


class KibiBytes(ByteSize):
    """A number of bytes in units of 1,024; with a suffix it is a size as elsewhere."""

    shown_as = "KiB"

    @classmethod
    def parse(cls, text: str) -> KibiBytes:
        return cls(parse_int(text) * _KIB) if text.strip().isdigit() else cls(ByteSize.parse(text))


class RawOptions(ListenOptions):
    """Options of the inputs tcp and udp."""

    port: Annotated[int, opt("Port to listen on.", core=True)] = 5170
    format: Annotated[
        Literal["json", "none"], opt("json: objects, one after the other. none: a record for each line.")
    ] = "json"
    separator: Annotated[
        str | None, opt(r"What ends a line, with escapes as in C; by default a line feed.", example=r"\x00")
    ] = None
    parser: Annotated[str | None, opt("Parser for each line; the format is none then.", example="nginx")] = None
    chunk_size: Annotated[KibiBytes, opt("Size of the first buffer, in KiB.")] = KibiBytes(32 * _KIB)
    buffer_size: Annotated[KibiBytes | None, opt("Longest line or object, in KiB; chunk_size if not set.")] = None
    source_address_key: Annotated[str | None, opt("Field for the address of the sender.", example="source")] = None

    @property
    def longest(self) -> int:
        """The most bytes that may wait for the end of their line or object."""
        return int(self.buffer_size or self.chunk_size)


class Read(msgspec.Struct, frozen=True):
    """What became of some bytes: records, where the unfinished rest begins, and how much of them was no JSON."""

    records: list[Record]
    rest: int
    invalid: int = 0


class PayloadReader:
    """Makes records of bytes as `format`, `separator` and `parser` say; `scheme` goes before addresses of senders."""

    def __init__(self, options: RawOptions, context: Context, scheme: str) -> None:
        self._context = context
        self._scheme = scheme
        self._source_key = options.source_address_key
        self._parser = parser_named(options.parser, context) if options.parser else None
        self._separator = _separator_of(options.separator) if options.separator else _LINE_FEED
        try:
            self._separator_text: str | None = self._separator.decode()
        except UnicodeDecodeError:
            self._separator_text = None
        is_json = options.format == "json" and self._parser is None
        self._read: Callable[[bytes, bool], Read] = self._read_json if is_json else self._read_lines

    def read(self, data: bytes, source: str, *, is_end: bool = False) -> Read:
        """The records that are whole in these bytes; `is_end` says that nothing follows them."""
        # What a line feed leaves over at the front is nobody's; another separator may begin there.
        if self._separator == _LINE_FEED and data[:1] in (b"\n", b"\r"):
            inner = self._read(data[1:], is_end)
            read = Read(inner.records, inner.rest + 1, inner.invalid)
        else:
            read = self._read(data, is_end)
        kept = without_deep(read.records)
        if kept is not read.records:
            count_too_deep(len(read.records) - len(kept), self._context, source)
            read = Read(kept, read.rest, read.invalid)
        if self._source_key:
            key, address = self._source_key, f"{self._scheme}://{source}"
            for record in read.records:
                record.body[key] = address
        return read

    def _read_json(self, data: bytes, is_end: bool) -> Read:
        invalid = 0
        try:
            values, rest = read_values(data, is_end)
        except InvalidJson as error:
            values, rest = error.values, len(data)
            invalid = len(data) - error.start
        now = self._context.clock.time_ns()
        return Read([Record(now, _body(value)) for value in values], rest, invalid)

    def _read_lines(self, data: bytes, is_end: bool) -> Read:
        end = data.rfind(self._separator)
        if end < 0:
            return Read([], 0)
        texts = self._texts(data[:end])
        now, rest = self._context.clock.time_ns(), end + len(self._separator)
        if self._parser is None:
            return Read([Record(now, {"log": text}) for text in texts if text], rest)
        parse, records = self._parser.parse, []
        for text in texts:
            if text:
                parsed = parse(text)
                time_ns, body = parsed if parsed is not None else (None, {"log": text})
                records.append(Record(now if time_ns is None else time_ns, body))
        return Read(records, rest)

    def _texts(self, data: bytes) -> list[str]:
        if self._separator_text is not None:
            return decoded_text(data).split(self._separator_text)  # decoding all at once costs half as much
        return [decoded_text(part) for part in data.split(self._separator)]

    def count_invalid(self, size: int, source: str) -> None:
        """Count and tell bytes that were no JSON."""
        self._context.dropped(1, size, "invalid_json")
        self._context.log.warning("invalid JSON message, skipping", every=_REMARK_EVERY_S, peer=source, bytes=size)


def _separator_of(text: str) -> bytes:
    r"""The bytes that a text with escapes stands for: `\xff` is that byte and no character."""

    def high_byte(found: re.Match[str]) -> str:
        code = int(found[1], 16) if found[1] else int(found[2] or "0", 8)
        return chr(0xDC00 + code) if 0x80 <= code <= 0xFF else found[0]

    return unescape_unicode(_ESCAPE.sub(high_byte, text)).encode("utf-8", "surrogateescape")


def _body(value: Any) -> Body:
    return value if type(value) is dict else {"msg": value}


__all__ = ["PayloadReader", "RawOptions", "Read"]
