"""Chunk files as Fluent Bit writes them, made by the documented format."""

from __future__ import annotations

import zlib
from struct import pack
from typing import Any

import msgspec
from msgspec.msgpack import Ext

TIME_NS = 1_700_000_000_000_000_005
SAMPLE = bytes.fromhex(
    "c100 00000000 00000000 0000001c 0000000000000000 000b"
    "f1770000 6170702e776562"
    "9292d7006553f1000000000580 81a76d657373616765a564756d6d79"
)
"""The sample of the format: tag `app.web`, `{"message":"dummy"}`, at `TIME_NS`."""


def event(body: dict[Any, Any], time_ns: int = TIME_NS, metadata: dict[str, Any] | None = None) -> bytes:
    seconds, nanoseconds = divmod(time_ns, 10**9)
    return msgspec.msgpack.encode([[Ext(0, pack(">II", seconds, nanoseconds)), metadata or {}], body])


def chunk(
    content: bytes,
    tag: bytes = b"app.web",
    *,
    kind: int = 0,
    routes: bytes = b"",
    is_legacy: bool = False,
    has_checksum: bool = False,
    length: int | None = None,
    zeros: int = 0,
) -> bytes:
    """A whole file; `length` replaces the true length of the content, `zeros` are what the file was made longer by."""
    metadata = tag if is_legacy else bytes([0xF1, 0x77, kind, 1 if routes else 0]) + tag + routes
    checked = pack(">H", len(metadata)) + metadata + content
    checksum = zlib.crc32(checked) if has_checksum else 0
    stored = len(content) if length is None else length
    return b"\xc1\x00" + pack(">I4xI8x", checksum, stored) + checked + bytes(zeros)
