"""Push requests as Promtail sends them: protobuf, compressed with snappy. Encoded by hand, as there are five messages.

    PushRequest  1 streams: Stream*
    Stream       1 labels: text        2 entries: Entry*
    Entry        1 time: Timestamp     2 line: text        3 structured metadata: LabelPair*
    Timestamp    1 seconds: varint     2 nanoseconds: varint
    LabelPair    1 name: text          2 value: text

A varint may be written longer than it needs to be. Nanoseconds always take five bytes, and seconds too where five can
hold them, so that a timestamp is put together from tables instead of being computed bit by bit. Seconds before 1970 are
negative, which takes ten bytes.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from functools import lru_cache

from ...codecs.compression import compress_snappy
from ...codecs.json_lines import HoledLines, split_lines
from .requests import Part, Request
from .streams import LineEncoder, Metadata

_SURROGATE = re.compile("[\ud800-\udfff]")
_STREAMS, _LABELS, _ENTRIES, _TIME, _LINE, _METADATA, _NAME, _VALUE = (
    bytes([number << 3 | 2]) for number in (1, 1, 2, 1, 2, 3, 1, 2)
)
_SECONDS, _NANOS = b"\x08", b"\x10"
_NANOS_SIZE = 5
_FIVE_BYTES = 1 << 35
_ALL_BITS = (1 << 64) - 1


def protobuf_push(request: Request) -> bytes:
    """The body of a request."""
    return compress_snappy(push_message(request))


def push_message(request: Request) -> bytes:
    """The same before it is compressed."""
    return b"".join([_field(_STREAMS, _stream(part)) for part in request.parts])


def json_lines_as_they_are(lines: HoledLines, count: int) -> list[bytes]:
    """Each of so many lines of JSON text."""
    return split_lines(lines.whole())


def texts_as_they_are(texts: Sequence[str]) -> list[bytes]:
    """Each text in UTF-8; what is no Unicode becomes U+FFFD."""
    try:
        return [text.encode() for text in texts]
    except UnicodeEncodeError:
        return [_SURROGATE.sub("\ufffd", text).encode() for text in texts]


def plain_text(line: bytes) -> str:
    """The text that stands in a body like this."""
    return line.decode("utf-8", "replace")


LINE_ENCODER = LineEncoder(json_lines_as_they_are, texts_as_they_are, False)


def label_text(labels: Sequence[tuple[str, str]]) -> str:
    """Labels as Loki writes them: in order of their names, values quoted."""
    pairs = [f"{name}={json.dumps(value, ensure_ascii=False)}" for name, value in sorted(labels)]
    return "{" + ", ".join(pairs) + "}"


def varint(number: int) -> bytes:
    """A number in groups of seven bits, the lowest first."""
    found = bytearray()
    while number > 0x7F:
        found.append(number & 0x7F | 0x80)
        number >>= 7
    found.append(number)
    return bytes(found)


def _field(tag: bytes, content: bytes) -> bytes:
    return b"%b%b%b" % (tag, _length(len(content)), content)


_length = lru_cache(16_384)(varint)


@lru_cache(64)
def _time_head(seconds: int) -> bytes:
    """An entry up to the digits of its nanoseconds."""
    digits = _five_bytes(seconds) if 0 <= seconds < _FIVE_BYTES else varint(seconds & _ALL_BITS)
    start = b"%b%b%b" % (_SECONDS, digits, _NANOS)
    return b"%b%b%b" % (_TIME, bytes([len(start) + _NANOS_SIZE]), start)


@lru_cache(1)
def _fourteen_bits() -> tuple[bytes, ...]:
    """All pairs of groups of a varint that goes on; half a megabyte, made when it is first needed."""
    return tuple([bytes([number & 0x7F | 0x80, number >> 7 | 0x80]) for number in range(1 << 14)])


_LAST_BITS = tuple(bytes([number]) for number in range(4))


def _five_bytes(number: int) -> bytes:
    return bytes([number >> shift & 0x7F | 0x80 for shift in (0, 7, 14, 21)]) + bytes([number >> 28 & 0x7F])


def _stream(part: Part) -> bytes:
    entries = part.entries
    labels = label_text(part.stream.labels).encode("utf-8", "replace")
    metadata = [b""] * len(entries) if entries.metadata is None else [_metadata(m) for m in entries.metadata]
    pieces = [_field(_LABELS, labels)]
    add, length, head = pieces.extend, _length, _time_head
    bits, last_bits = _fourteen_bits(), _LAST_BITS
    for time_ns, line, pairs in zip(entries.times, entries.lines, metadata, strict=True):
        seconds, nanos = divmod(time_ns, 1_000_000_000)
        size, start = length(len(line)), head(seconds)
        add(
            (
                _ENTRIES,
                length(len(start) + _NANOS_SIZE + 1 + len(size) + len(line) + len(pairs)),
                start,
                bits[nanos & 16383],
                bits[nanos >> 14 & 16383],
                last_bits[nanos >> 28],
                _LINE,
                size,
                line,
                pairs,
            )
        )
    return b"".join(pieces)


def _metadata(metadata: Metadata) -> bytes:
    return b"".join(
        [
            _field(_METADATA, _field(_NAME, name.encode()) + _field(_VALUE, value.encode("utf-8", "replace")))
            for name, value in metadata.items()
        ]
    )
