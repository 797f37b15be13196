"""Records as the text that Fluent Bit prints for MessagePack: `{"k"=>"v", "n"=>[1, 2.500000, nil]}`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec

_DEEPEST = 100


def render(value: Any) -> str:
    """The text of one value; strings stand in quotes as they are, without any escaping.

    What is nested so deeply that it cannot be rendered is replaced by words.
    """
    try:
        return _render(value)
    except RecursionError:
        return _render(_cut(value, 0))


def _render(value: Any) -> str:
    renderer = _RENDERERS.get(type(value))
    return renderer(value) if renderer else _render_rare(value)


def _cut(value: Any, depth: int) -> Any:
    """A copy that has no more than so many levels, and none in its keys."""
    if isinstance(value, msgspec.Raw):
        value = msgspec.json.decode(value)
    if not isinstance(value, (dict, list, tuple)):
        return value
    if depth >= _DEEPEST:
        return "(nested too deeply)"
    if isinstance(value, dict):
        return {_cut(k, _DEEPEST): _cut(v, depth + 1) for k, v in value.items()}
    return [_cut(v, depth + 1) for v in value]


def encode(text: str) -> bytes:
    """The bytes of a text; what was no UTF-8 when it was read is written as it was."""
    try:
        return text.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        return text.encode("utf-8", "replace")


def _render_map(value: dict[Any, Any]) -> str:
    return "{" + ", ".join([f"{_render(k)}=>{_render(v)}" for k, v in value.items()]) + "}"


def _render_list(value: list[Any]) -> str:
    return "[" + ", ".join([_render(v) for v in value]) + "]"


def _render_rare(value: Any) -> str:
    if isinstance(value, msgspec.Raw):
        return _render(msgspec.json.decode(value))
    if isinstance(value, (bytes, bytearray, memoryview)):
        return f'"{bytes(value).decode("utf-8", "surrogateescape")}"'
    if isinstance(value, msgspec.msgpack.Ext):
        return f"(ext: {value.code})" + '"' + "".join(f"\\x{byte:02x}" for byte in bytes(value.data)) + '"'
    if isinstance(value, dict):
        return _render_map(value)
    if isinstance(value, (list, tuple)):
        return _render_list(list(value))
    return f'"{value}"'


_RENDERERS: dict[type, Callable[[Any], str]] = {
    str: lambda value: f'"{value}"',
    int: str,
    float: lambda value: f"{value:f}",
    bool: lambda value: "true" if value else "false",
    type(None): lambda value: "nil",
    dict: _render_map,
    list: _render_list,
}
