"""Records as GELF 1.1 messages, one JSON object each."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec

from ...codecs.json_lines import JsonEncoder
from ...codecs.template import text_of
from ...record import Body, Content

_LEVELS = {
    "emerg": 0, "emergency": 0, "alert": 1, "crit": 2, "critical": 2, "err": 3, "error": 3, "warn": 4, "warning": 4,
    "notice": 5, "info": 6, "informational": 6, "debug": 7,
}  # fmt: skip
_DEEPEST = 30


class GelfKeys(msgspec.Struct, frozen=True):
    """Where a record has what GELF gives names to."""

    short_message: str = "short_message"
    full_message: str | None = None
    host: str = "host"
    level: str = "level"
    timestamp: str | None = None


class GelfEncoder:
    """Encodes records; one without a short message gets its own JSON as one, because GELF demands it."""

    def __init__(self, keys: GelfKeys, json: JsonEncoder) -> None:
        self._keys = keys
        self._json = json

    def encode(self, content: Content) -> list[bytes]:
        """One message per record, in order."""
        return [self._message(record.time_ns, record.body) for record in content.records()]

    def _message(self, time_ns: int, body: Body) -> bytes:
        keys = self._keys
        encode = self._json.encode
        members: dict[str, bytes] = {"version": b'"1.1"'}
        timestamp = f"{time_ns / 1e9:.3f}".encode()
        for key, value in body.items():
            if isinstance(value, msgspec.Raw):
                value = msgspec.json.decode(value)
            if key == keys.short_message:
                members["short_message"] = _text(value, encode)
            elif key == keys.full_message:
                members["full_message"] = _text(value, encode)
            elif key == keys.host:
                members["host"] = _text(value, encode)
            elif key == keys.level:
                members["level"] = str(_level(value)).encode()
            elif key == keys.timestamp and (found := _number(value)) is not None:
                timestamp = f"{found:.3f}".encode()
            elif key != "id":
                members.update((f"_{name}", text) for name, text in _fields(key, value, encode, 0))
        if members.get("short_message", b'""') == b'""':
            members["short_message"] = encode(encode(body).decode())
        members["timestamp"] = timestamp
        return b"{%b}" % b", ".join([encode(name) + b":" + text for name, text in members.items()])


def _fields(name: str, value: Any, encode: Any, depth: int) -> Iterator[tuple[str, bytes]]:
    """The flat fields that a value becomes."""
    if isinstance(value, msgspec.Raw):
        value = msgspec.json.decode(value)
    if value is None:
        return
    if isinstance(value, dict) and depth < _DEEPEST:
        for key, inner in value.items():
            yield from _fields(f"{name}_{key}", inner, encode, depth + 1)
    elif isinstance(value, bool):
        yield name, b'"true"' if value else b'"false"'
    elif isinstance(value, float):
        # GELF knows no NaN and no infinities.
        yield name, f"{value:f}".encode() if abs(value) < float("inf") else encode(str(value))
    elif isinstance(value, list):
        yield name, encode(", ".join([_item(item, encode) for item in value]))
    else:
        yield name, encode(value)


def _item(value: Any, encode: Any) -> str:
    return value if isinstance(value, str) else str(encode(value), "utf-8")


def _text(value: Any, encode: Any) -> bytes:
    text = text_of(value)
    return bytes(encode(text if text is not None else encode(value).decode()))


def _level(value: Any) -> int:
    """The number of a level; 6, which is information, for one that is not known."""
    if isinstance(value, int):
        return int(value) if 0 <= value <= 7 else 6
    word = str(value).strip().lower()
    return int(word) if word in set("01234567") else _LEVELS.get(word, 6)


def _number(value: Any) -> float | None:
    try:
        number = float(value)
    except (TypeError, ValueError):
        return None
    return number if abs(number) < 1e15 else None
