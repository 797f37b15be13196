"""Records as MessagePack: their bodies, and the events that Fluent Bit and Fluentd pass to each other.

Bodies are encoded by msgspec as they are. What MessagePack has no form for is mended first, in the rare records that
hold it: JSON that was encoded ahead (`msgspec.Raw`) is decoded, and text that is no Unicode is written with U+FFFD.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain, compress
from struct import Struct
from typing import Any

import msgspec

from ..record import Content

_SECOND = 1_000_000_000
_WITH_METADATA = Struct(">IIIB").pack
_ARRAY_ARRAY_TIME, _EMPTY_MAP = 0x9292D700, 0x80
_WITH_TIME = Struct(">BHII").pack
_ARRAY_OF_TWO, _TIME = 0x92, 0xD700
_INTEGER_TIME = Struct(">BBI").pack
_UINT32 = 0xCE
_HARMLESS = frozenset({str, int, bool, type(None), float, bytes})
_CONTAINERS = frozenset({dict, list})
_DEEPEST = 300
_KNOWN = _HARMLESS | _CONTAINERS

_encode = msgspec.msgpack.Encoder(enc_hook=str).encode


def event_time(time_ns: int) -> bytes:
    """A time as the extension type of Fluent Bit and Fluentd."""
    seconds, rest = divmod(time_ns, _SECOND)
    return b"\xd7\x00" + (seconds & 0xFFFFFFFF).to_bytes(4, "big") + rest.to_bytes(4, "big")


def encode_bodies(content: Content) -> list[bytes]:
    """The MessagePack of each body, in order."""
    bodies = content.bodies()
    if not bodies or not _holds_spliced(bodies):
        try:
            return list(map(_encode, bodies))
        except (UnicodeEncodeError, OverflowError, RecursionError):
            pass  # some text, or some number, has to be looked at
    return [_encode(mended(record.body)) for record in content.records()]


def encode_events(content: Content) -> list[bytes]:
    """Each record as `[[time, metadata], body]`, the form in which Fluent Bit keeps them."""
    bodies = encode_bodies(content)
    times = content.times_ns()
    if not content.has_metadata:
        return [
            _WITH_METADATA(_ARRAY_ARRAY_TIME, t // _SECOND & 0xFFFFFFFF, t % _SECOND, _EMPTY_MAP) + body
            for t, body in zip(times, bodies, strict=True)
        ]
    metadata = [_encode(mended(record.metadata or {})) for record in content.records()]
    return [b"\x92\x92" + event_time(t) + more + body for t, more, body in zip(times, metadata, bodies, strict=True)]


def encode_plain_events(content: Content) -> list[bytes]:
    """Each record as `[time, body]`, without its metadata."""
    return [
        _WITH_TIME(_ARRAY_OF_TWO, _TIME, t // _SECOND & 0xFFFFFFFF, t % _SECOND) + body
        for t, body in zip(content.times_ns(), encode_bodies(content), strict=True)
    ]


def encode_integer_events(content: Content) -> list[bytes]:
    """Each record as `[seconds, body]`, the form that old receivers understand."""
    return [
        _INTEGER_TIME(_ARRAY_OF_TWO, _UINT32, t // _SECOND & 0xFFFFFFFF) + body
        for t, body in zip(content.times_ns(), encode_bodies(content), strict=True)
    ]


def array_head(count: int) -> bytes:
    """What begins an array of so many elements."""
    if count < 16:
        return bytes([0x90 | count])
    return b"\xdc" + count.to_bytes(2, "big") if count < 1 << 16 else b"\xdd" + count.to_bytes(4, "big")


def map_head(count: int) -> bytes:
    """What begins a map of so many entries."""
    if count < 16:
        return bytes([0x80 | count])
    return b"\xde" + count.to_bytes(2, "big") if count < 1 << 16 else b"\xdf" + count.to_bytes(4, "big")


def encode(value: Any) -> bytes:
    """One value of any kind."""
    return _encode(mended(value))


def mended(value: Any, depth: int = 0) -> Any:
    """The value without JSON that was encoded ahead, text that is no Unicode, and numbers that have no form.

    What is nested more deeply than 300 levels is replaced by words.
    """
    if isinstance(value, msgspec.Raw):
        return mended(msgspec.json.decode(value), depth)
    if isinstance(value, str):
        return value if value.isascii() else value.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
    if depth > _DEEPEST and isinstance(value, (dict, list, tuple)):
        return "(nested too deeply)"
    if isinstance(value, dict):
        return {mended(k, depth + 1): mended(v, depth + 1) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        items = [mended(v, depth + 1) for v in value]
        return tuple(items) if isinstance(value, tuple) else items  # a tuple may be a key
    if type(value) is int and not -(2**63) <= value < 2**64:
        return float(value)
    return value


def _holds_spliced(bodies: Sequence[Any]) -> bool:
    """Whether a value at any depth may be JSON that was encoded ahead, which the encoder would splice in as it is."""
    if type(bodies[0]) is not dict:
        return True
    values = list(chain.from_iterable(map(dict.values, bodies)))
    kinds = set(map(type, values))
    while kinds <= _KNOWN:
        if _CONTAINERS.isdisjoint(kinds):
            return False
        nested = list(compress(values, map(_CONTAINERS.__contains__, map(type, values))))
        once = dict(zip(map(id, nested), nested, strict=True)).values()  # maps that records share are looked at once
        values = list(chain.from_iterable([v.values() if type(v) is dict else v for v in once]))
        kinds = set(map(type, values))
    return True


__all__ = [
    "array_head",
    "encode",
    "encode_bodies",
    "encode_events",
    "encode_integer_events",
    "encode_plain_events",
    "event_time",
    "map_head",
    "mended",
]
