"""The records of a batch as bytes, and back, without a step of Python per record where that can be done.

Times are an array of 64-bit integers; one that does not fit becomes the nearest that does. Bodies are JSON lines if the
content has a short way to them, because outputs want just that and take the bytes as they were stored, and if they have
encoded JSON in them, which is spliced in as it is. Otherwise they are MessagePack, which keeps every type. What
MessagePack has no form for stands in extension types of our own: text that is no Unicode, large integers, maps with
such keys, and foreign extensions that have one of our codes. Metadata, where there is any, is one more list.
"""

from __future__ import annotations

import sys
from array import array
from collections.abc import Sequence
from enum import IntEnum
from itertools import chain
from struct import Struct
from typing import Any

import msgspec
from msgspec.msgpack import Ext

from ...codecs.json_lines import HoledLines, short_json_lines
from ...codecs.line_feeds import count_line_feeds
from ...record import Body, Content, Record


class Form(IntEnum):
    """How a payload is to be read."""

    JSON_LINES = 1
    MSGPACK = 2
    MSGPACK_WITH_METADATA = 3
    JSON = 4
    """JSON lines as they are here; outputs may spell some numbers in another way and do not get them as they are."""
    HOLED_JSON_LINES = 5
    """JSON lines with a hole in each, behind the length of the filling and the filling itself."""
    SEAL = 255
    """Not records, but the sums of a segment."""


_NO_TEXT, _LARGE_INTEGER, _FOREIGN, _PAIRS = 96, 97, 98, 99
_OWN_CODES = (_NO_TEXT, _LARGE_INTEGER, _FOREIGN, _PAIRS)
_DEEPEST = 200
_TIMES = "q"
_EARLIEST, _LATEST = -(2**63), 2**63 - 1
_LENGTH = Struct("<I")

_PLAIN = frozenset({str, int, float, bool, type(None), bytes})
_CONTAINERS = frozenset({dict, list})
_JSON = frozenset({str, int, bool, type(None), msgspec.Raw}) | _CONTAINERS
"""What JSON has one spelling for."""

_encode = msgspec.msgpack.Encoder().encode
_encode_lines = msgspec.json.Encoder().encode_lines
_decode_lines = msgspec.json.Decoder().decode_lines
_decode_raw = msgspec.json.decode


class Payload(msgspec.Struct):
    """A batch as it is stored: the parts one after the other, and the same records as content for reading."""

    form: Form
    parts: tuple[bytes, ...]
    content: Content


class StoredLines:
    """Content that was stored as JSON lines; with `is_for_outputs` they are what outputs write."""

    __slots__ = ("_is_for_outputs", "_lines", "_times")

    has_metadata = False

    def __init__(self, times: Sequence[int], lines: HoledLines, *, is_for_outputs: bool = True) -> None:
        self._times = times
        self._lines = lines
        self._is_for_outputs = is_for_outputs

    def __len__(self) -> int:
        return len(self._times)

    def records(self) -> list[Record]:
        return [Record(t, body) for t, body in zip(self._times, self.bodies(), strict=True)]

    def times_ns(self) -> Sequence[int]:
        return self._times

    def bodies(self) -> list[Body]:
        return _decode_lines(self._lines.whole())

    def json_lines(self) -> bytes | None:
        return self._lines.whole() if self._is_for_outputs else None

    def holed_json_lines(self) -> HoledLines | None:
        """`json_lines` with the value that all lines share apart from them, if it was stored like that."""
        return self._lines if self._is_for_outputs and self._lines.filling is not None else None


class StoredBodies:
    """Content that was stored as MessagePack; it is decoded when somebody looks."""

    __slots__ = ("_bodies", "_metadata", "_times")

    def __init__(self, times: Sequence[int], bodies: bytes, metadata: bytes | None) -> None:
        self._times = times
        self._bodies = bodies
        self._metadata = metadata

    def __len__(self) -> int:
        return len(self._times)

    @property
    def has_metadata(self) -> bool:
        return self._metadata is not None

    def records(self) -> list[Record]:
        if self._metadata is None:
            return [Record(t, body) for t, body in zip(self._times, self.bodies(), strict=True)]
        metadata = _decode(self._metadata)
        return [Record(t, b, m) for t, b, m in zip(self._times, self.bodies(), metadata, strict=True)]

    def times_ns(self) -> Sequence[int]:
        return self._times

    def bodies(self) -> list[Body]:
        found: list[Body] = _decode(self._bodies)
        return found

    def json_lines(self) -> None:
        return None


def encode_content(content: Content) -> Payload:
    """The bytes of a batch's records; never refuses a record, whatever is in it."""
    if content.has_metadata:
        records = content.records()
        bodies = _encode_values([r.body for r in records])
        metadata = _encode_values([r.metadata for r in records])
        times = _pack_times(content.times_ns())
        return Payload(Form.MSGPACK_WITH_METADATA, (times, _LENGTH.pack(len(bodies)), bodies, metadata), content)
    lines = short_json_lines(content)
    if lines is not None:
        return _as_lines(content, lines)
    values = content.bodies()
    kinds = _kinds_in(values)
    if msgspec.Raw in kinds and kinds <= _JSON | {float} and (text := _lines_of(values)) is not None:
        if kinds <= _JSON:
            return _as_lines(content, HoledLines(text, None))
        return Payload(Form.JSON, (_pack_times(content.times_ns()), text), content)
    return Payload(Form.MSGPACK, (_pack_times(content.times_ns()), _encode_values(values, kinds)), content)


def decode_content(form: int, records: int, payload: bytes) -> Content:
    """The content of a payload whose checksum was right; raises `ValueError` if it still cannot be one."""
    end = records * 8
    times = _unpack_times(payload[:end])
    if len(times) != records:
        raise ValueError("the payload is shorter than its times")
    if form in (Form.JSON_LINES, Form.JSON):
        return StoredLines(times, HoledLines(payload[end:], None), is_for_outputs=form == Form.JSON_LINES)
    if form == Form.HOLED_JSON_LINES:
        filling, text = _apart(payload, end)
        return StoredLines(times, HoledLines(text, filling))
    if form == Form.MSGPACK:
        return StoredBodies(times, payload[end:], None)
    if form == Form.MSGPACK_WITH_METADATA:
        bodies, metadata = _apart(payload, end)
        return StoredBodies(times, bodies, metadata)
    raise ValueError(f"form {form} of a payload is unknown")


def _apart(payload: bytes, start: int) -> tuple[bytes, bytes]:
    """What follows a length, as long as that, and the rest."""
    head, start = payload[start : start + _LENGTH.size], start + _LENGTH.size
    end = start + (_LENGTH.unpack(head)[0] if len(head) == _LENGTH.size else len(payload))
    if end > len(payload):
        raise ValueError("the payload is shorter than its parts")
    return payload[start:end], payload[end:]


def _as_lines(content: Content, lines: HoledLines) -> Payload:
    # Bytes instead of the rows of the input: less memory, and the output need not encode them again.
    times = content.times_ns()
    stored = StoredLines(times, lines)
    text, filling = lines
    if filling is None:
        return Payload(Form.JSON_LINES, (_pack_times(times), text), stored)
    return Payload(Form.HOLED_JSON_LINES, (_pack_times(times), _LENGTH.pack(len(filling)), filling, text), stored)


def _lines_of(values: Sequence[Any]) -> bytes | None:
    """The values as JSON lines, if that is possible."""
    try:
        lines = _encode_lines(values)
    except (OverflowError, TypeError, UnicodeEncodeError, RecursionError):
        return None
    # JSON that is spliced in may have line feeds of its own.
    return lines if count_line_feeds(lines) == len(values) else None


def _encode_values(values: Sequence[Any], kinds: frozenset[type] | None = None) -> bytes:
    if (kinds or _kinds_in(values)) <= _PLAIN | _CONTAINERS:
        try:
            return _encode(values)
        except (OverflowError, TypeError, UnicodeEncodeError, RecursionError):
            pass
    return _encode([_mended(value) for value in values])


def _kinds_in(values: Sequence[Any]) -> frozenset[type]:
    """The types of all values at any depth; `object` is one of them if they are nested too deeply to know."""
    found = kinds = set(map(type, values))
    for _ in range(_DEEPEST):
        if not kinds & _CONTAINERS:
            return frozenset(found)
        nested = [v for v in values if type(v) in _CONTAINERS]
        once = dict(zip(map(id, nested), nested, strict=True)).values()  # maps that records share are looked at once
        values = list(chain.from_iterable([v.values() if type(v) is dict else v for v in once]))
        kinds = set(map(type, values))
        found = found | kinds
    return frozenset(found | {object})


def _mended(value: Any, depth: int = 0) -> Any:
    """A copy in types that MessagePack has."""
    if isinstance(value, str):
        return value if _is_unicode(value) else Ext(_NO_TEXT, value.encode("utf-8", "surrogatepass"))
    if isinstance(value, int) and not -(2**63) <= value < 2**64:
        return Ext(_LARGE_INTEGER, str(value).encode())
    if isinstance(value, msgspec.Raw):
        return _mended(_decode_raw(value), depth)
    if isinstance(value, Ext) and value.code in _OWN_CODES:
        return Ext(_FOREIGN, bytes([value.code]) + bytes(value.data))
    if isinstance(value, (dict, list, tuple)):
        if depth >= _DEEPEST:
            return "(nested too deeply)"
        if isinstance(value, dict):
            return _mended_map(value, depth + 1)
        return [_mended(v, depth + 1) for v in value]
    if isinstance(value, (int, float, bytes, bytearray, memoryview, Ext, type(None))):
        return value
    return _mended(msgspec.to_builtins(value, enc_hook=str), depth + 1)


def _mended_map(value: dict[Any, Any], depth: int) -> dict[Any, Any] | Ext:
    keys = [_mended(key, depth) for key in value]
    values = [_mended(v, depth) for v in value.values()]
    if any(isinstance(key, (Ext, list)) for key in keys):
        return Ext(_PAIRS, _encode([keys, values]))
    return dict(zip(keys, values, strict=True))


def _is_unicode(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _restore(code: int, data: memoryview) -> Any:
    if code == _NO_TEXT:
        return str(data, "utf-8", "surrogatepass")
    if code == _LARGE_INTEGER:
        return int(bytes(data))
    if code == _PAIRS:
        keys, values = _decode(bytes(data))
        return dict(zip([tuple(k) if isinstance(k, list) else k for k in keys], values, strict=True))
    if code == _FOREIGN:
        return Ext(data[0], bytes(data[1:]))
    return Ext(code, bytes(data))


_decode = msgspec.msgpack.Decoder(ext_hook=_restore).decode


def _pack_times(times: Sequence[int]) -> bytes:
    try:
        packed = array(_TIMES, times)
    except OverflowError:
        # No clock tells such a time: somebody took other units for seconds. Whoever makes records should not let it
        # come this far, but if it does, one record that cannot be stored would stop all that come behind it.
        packed = array(_TIMES, [min(max(time_ns, _EARLIEST), _LATEST) for time_ns in times])
    if sys.byteorder == "big":
        packed.byteswap()
    return packed.tobytes()


def _unpack_times(data: bytes) -> list[int]:
    packed = array(_TIMES, data)
    if sys.byteorder == "big":
        packed.byteswap()
    return packed.tolist()
