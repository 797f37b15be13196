"""Records become the entries of requests: one line of JSON each, or as many lines as an entry holds."""

from __future__ import annotations

import binascii
import zlib
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from functools import lru_cache, partial
from typing import Any

import msgspec

from ...buffers.base import Delivery
from ...codecs.compression import compress_gzip, compress_snappy_frames, compress_zstd
from ...codecs.dates import strftime_utc
from ...codecs.json_lines import JsonEncoder
from ...record import Content, RecordBatch
from ..places import RecordsOf
from .options import PutOptions

_SECOND = 1_000_000_000
_FRACTIONS = (("%3N", 1_000_000, 3), ("%6N", 1000, 6), ("%9N", 1, 9), ("%L", 1_000_000, 3))
_REMEMBERED_SECONDS = 64


class Limits(msgspec.Struct, frozen=True):
    """What the service takes: entries in a request, and bytes of an entry and of all entries of a request."""

    entries: int
    entry_size: int
    request_size: int


class Entry(msgspec.Struct, frozen=True, gc=False):
    """An encoded entry of a request, what it counts, and how many records of the delivery it holds, from which on."""

    text: bytes
    size: int
    records: int
    start: int

    @property
    def places(self) -> range:
        """The places of its records in the delivery."""
        return range(self.start, self.start + self.records)


class Request(msgspec.Struct):
    """Entries for one call."""

    entries: list[Entry]

    @property
    def records(self) -> int:
        return sum([entry.records for entry in self.entries])

    def body(self, head: bytes) -> bytes:
        """The body of the call, with the name of the stream in front."""
        return b'{%b,"Records":[%b]}' % (head, b",".join([entry.text for entry in self.entries]))


class EntryMaker:
    """Turns batches into requests. With a `key_prefix` entries have partition keys, which spread them over shards."""

    def __init__(self, options: PutOptions, json: JsonEncoder, limits: Limits, key_prefix: str | None) -> None:
        self._options = options
        self._json = json
        self._limits = limits
        self._key_prefix = key_prefix
        self._compress = _compressors()[options.compression]
        self._time = _time_writer(options.time_key_format)
        self._time_key = json.encode(options.time_key) if options.time_key else b""

    def requests(self, delivery: Delivery) -> deque[Request]:
        """The requests of a delivery; what makes no entry, or too large a one, is refused."""
        entries: list[Entry] = []
        start = 0
        for batch in delivery.batches:
            entries += self._entries(batch, delivery, start)
            start += len(batch)
        requests = deque[Request]()
        limits, size = self._limits, 0
        for entry in entries:
            is_full = not requests or len(requests[-1].entries) >= limits.entries
            if is_full or size + entry.size > limits.request_size:
                requests.append(Request([]))
                size = 0
            requests[-1].entries.append(entry)
            size += entry.size
        return requests

    def _entries(self, batch: RecordBatch, delivery: Delivery, start: int) -> Iterator[Entry]:
        lines = self._lines(batch.content)
        salt = zlib.crc32(batch.tag.encode("utf-8", "surrogateescape"))
        limit = self._limits.entry_size
        pieces = _joined(lines, limit) if self._options.simple_aggregation else ((line, 1) for line in lines)
        times = batch.content.times_ns()
        for number, (data, records) in enumerate(pieces):
            first, start = start, start + records
            if not data:
                _refuse(delivery, first, records, "missing_log_key")
                continue
            packed = self._compress(data)
            if len(packed) > limit:
                _refuse(delivery, first, records, "record_too_large")
                continue
            yield self._entry(packed, records, first, zlib.crc32(b"%d %d" % (times[number], number), salt))

    def _entry(self, data: bytes, records: int, start: int, spread: int) -> Entry:
        encoded = binascii.b2a_base64(data, newline=False)
        if self._key_prefix is None:
            return Entry(b'{"Data":"%b"}' % encoded, len(data), records, start)
        key = f"{self._key_prefix}{spread}".encode()
        return Entry(b'{"Data":"%b","PartitionKey":"%b"}' % (encoded, key), len(data) + len(key), records, start)

    def _lines(self, content: Content) -> list[bytes]:
        """A line per record, with its line feed; empty where there is nothing to send."""
        if self._options.log_key is not None:
            return [self._value(r.body.get(self._options.log_key)) for r in content.records()]
        lines = self._json.encode_bodies(content)
        if not self._time_key:
            return [line + b"\n" for line in lines]
        times = map(self._time, content.times_ns())
        return [
            b'%b%b%b:"%b"}\n' % (line[:-1], b"" if line == b"{}" else b",", self._time_key, when)
            for line, when in zip(lines, times, strict=True)
        ]

    def _value(self, value: Any) -> bytes:
        if value is None or value == "":
            return b""
        if isinstance(value, str):
            return value.encode("utf-8", "replace") + b"\n"
        return self._json.encode(value) + b"\n"


def _refuse(delivery: Delivery, first: int, records: int, reason: str) -> None:
    which = partial(RecordsOf(delivery.batches).at, range(first, first + records))
    delivery.refuse(records, reason, which)


def _joined(lines: Iterable[bytes], limit: int) -> Iterator[tuple[bytes, int]]:
    """Lines put together up to the limit, and how many there are in each; empty ones stay alone."""
    parts: list[bytes] = []
    size = 0
    for line in lines:
        if parts and (not line or size + len(line) > limit):
            yield b"".join(parts), len(parts)
            parts, size = [], 0
        if not line:
            yield line, 1
            continue
        parts.append(line)
        size += len(line)
    if parts:
        yield b"".join(parts), len(parts)


def _time_writer(form: str) -> Callable[[int], bytes]:
    """Writes times, seconds once and fractions as they come."""
    marks = {mark: chr(0xE000 + n) for n, (mark, _, _) in enumerate(_FRACTIONS)}
    for mark, stand_in in marks.items():
        form = form.replace(mark, stand_in)
    used = [(marks[mark], unit, digits) for mark, unit, digits in _FRACTIONS if marks[mark] in form]

    @lru_cache(_REMEMBERED_SECONDS)
    def second_text(second: int) -> str:
        return strftime_utc(form, second)

    def write(time_ns: int) -> bytes:
        second, rest = divmod(time_ns, _SECOND)
        text = second_text(second)
        for stand_in, unit, digits in used:
            text = text.replace(stand_in, f"{rest // unit:0{digits}d}")
        return msgspec.json.encode(text)[1:-1]

    return write


def _compressors() -> dict[str, Callable[[bytes], bytes]]:
    return {"none": bytes, "gzip": compress_gzip, "zstd": compress_zstd, "snappy": compress_snappy_frames}
