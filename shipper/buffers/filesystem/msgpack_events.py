"""MessagePack as Fluent Bit writes it into its chunks: events one after the other, found without being told how many.

Where an event ends is found by walking over it; what is whole is then decoded at once. Strings that are no UTF-8,
which Fluent Bit stores as they came, make the fast decoder refuse, and then each event is read step by step.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from struct import Struct
from typing import Any

import msgspec

from ...record import Body, Record

_EVENT_TIME = 0
_SECONDS = Struct(">II")
_DEEPEST = 200
_FIRST_MARKER_NS = 0xFFFFFFFE * 1_000_000_000
"""Times from here on are no times, they mark where a group of OpenTelemetry records begins or ends."""

_FIXED = {0xC0: 1, 0xC2: 1, 0xC3: 1, 0xCA: 5, 0xCB: 9}
_FIXED |= dict(zip(range(0xCC, 0xD4), (2, 3, 5, 9, 2, 3, 5, 9), strict=True))
_FIXED |= dict(zip(range(0xD4, 0xD9), (3, 4, 6, 10, 18), strict=True))
"""Bytes of types of one length, extensions included, with their first byte."""

_BY_LENGTH = {0xC4: (1, 0), 0xC5: (2, 0), 0xC6: (4, 0), 0xC7: (1, 1), 0xC8: (2, 1), 0xC9: (4, 1)}
_BY_LENGTH |= {0xD9: (1, 0), 0xDA: (2, 0), 0xDB: (4, 0)}
"""Of types that tell their length: the bytes of the length, and what else there is before the data."""

_BY_COUNT = {0xDC: (2, 1), 0xDD: (4, 1), 0xDE: (2, 2), 0xDF: (4, 2)}
"""Of arrays and maps: the bytes of the count, and the objects for each."""


def event_ends(data: bytes) -> list[int]:
    """The offsets at which whole events end; they stop where something is cut or is no MessagePack."""
    ends, at = list[int](), 0
    while at < len(data):
        try:
            at = _end_of(data, at)
        except (IndexError, KeyError):
            break
        if at > len(data):
            break
        ends.append(at)
    return ends


def read_events(data: bytes) -> tuple[list[Record], int]:
    """The records of all whole events before the first that is none, and the offset where they end."""
    ends = event_ends(data)
    whole = data[: ends[-1]] if ends else b""
    events: Iterator[Any]
    try:
        events = iter(_decode(b"\xdd" + len(ends).to_bytes(4, "big") + whole))
    except (msgspec.DecodeError, UnicodeDecodeError, TypeError, RecursionError):
        events = (_read(data, start, 0)[0] for start in [0, *ends[:-1]])
    records, end = list[Record](), 0
    for event, event_end in zip(events, ends, strict=False):
        record = _record_of(event)
        if record is None:
            break
        if record.time_ns < _FIRST_MARKER_NS:
            records.append(record)
        end = event_end
    return records, end


def _record_of(event: Any) -> Record | None:
    """The record of an event in the form `[[time, metadata], body]` or the older `[time, body]`."""
    if not isinstance(event, list) or len(event) != 2 or not isinstance(event[1], dict):
        return None
    head, body = event
    metadata: Body | None = None
    if isinstance(head, list):
        if len(head) != 2 or not isinstance(head[1], dict):
            return None
        head, metadata = head[0], head[1] or None
    time_ns = _time_of(head)
    return None if time_ns is None else Record(time_ns, body, metadata)


def _time_of(value: Any) -> int | None:
    if isinstance(value, msgspec.msgpack.Ext):
        data = bytes(value.data)
        if value.code != _EVENT_TIME or len(data) != _SECONDS.size:
            return None
        seconds, nanoseconds = _SECONDS.unpack(data)
        return int(seconds) * 1_000_000_000 + int(nanoseconds)
    if isinstance(value, bool) or not isinstance(value, (int, float)) or value != value or abs(value) > 1e10:
        return None
    return round(value * 1_000_000_000)


def _end_of(data: bytes, at: int) -> int:
    """The offset behind the object at this offset; raises `IndexError` or `KeyError` where there is no whole one."""
    left = 1
    while left:
        left -= 1
        kind = data[at]
        if kind < 0x80 or kind >= 0xE0:
            at += 1
        elif kind >= 0xA0 and kind < 0xC0:
            at += kind - 0x9F
        elif kind < 0x90:
            at, left = at + 1, left + 2 * (kind - 0x80)
        elif kind < 0xA0:
            at, left = at + 1, left + kind - 0x90
        elif kind in _FIXED:
            at += _FIXED[kind]
        elif kind in _BY_LENGTH:
            width, more = _BY_LENGTH[kind]
            at += 1 + width + more + _number(data, at + 1, width)
        else:
            width, objects = _BY_COUNT[kind]
            left += objects * _number(data, at + 1, width)
            at += 1 + width
    return at


def _number(data: bytes, at: int, width: int) -> int:
    if at + width > len(data):
        raise IndexError("the number is cut")
    return int.from_bytes(data[at : at + width], "big")


def _read(data: bytes, at: int, depth: int) -> tuple[Any, int]:
    """The object at this offset, which is known to be whole, and the offset behind it; any bytes may be a string."""
    kind, end = data[at], _end_of(data, at)
    if 0xA0 <= kind < 0xC0:
        return data[at + 1 : end].decode("utf-8", "surrogateescape"), end
    if 0xD9 <= kind <= 0xDB:
        return data[at + 1 + _BY_LENGTH[kind][0] : end].decode("utf-8", "surrogateescape"), end
    if 0x80 <= kind < 0xA0 or kind in _BY_COUNT:
        if depth >= _DEEPEST:
            return "(nested too deeply)", end
        return _read_container(data, at, depth + 1), end
    return _decode(data[at:end]), end


def _read_container(data: bytes, at: int, depth: int) -> Any:
    kind = data[at]
    if kind in _BY_COUNT:
        width, objects = _BY_COUNT[kind]
        count, at = objects * _number(data, at + 1, width), at + 1 + width
    else:
        objects = 2 if kind < 0x90 else 1
        count, at = objects * (kind & 0x0F), at + 1
    found = []
    for _ in range(count):
        value, at = _read(data, at, depth)
        found.append(value)
    return found if objects == 1 else _as_map(found)


def _as_map(found: Sequence[Any]) -> dict[Any, Any]:
    keys = [str(k) if isinstance(k, (list, dict)) else k for k in found[::2]]
    return dict(zip(keys, found[1::2], strict=True))


_decode = msgspec.msgpack.Decoder().decode
