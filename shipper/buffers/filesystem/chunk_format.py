"""Chunk files as Fluent Bit writes them, read with as much left of them as can be."""

from __future__ import annotations

import re
import zlib
from struct import Struct

import msgspec

from ...record import Record
from .msgpack_events import read_events

SUFFIX = ".flb"

_HEAD = Struct(">2sI4xI8xH")
_MAGIC = b"\xc1\x00"
_CHECKED_FROM = 22
_METADATA_MARK = b"\xf1\x77"
_LOGS, _HAS_ROUTES = 0, 1
_KINDS = ("logs", "metrics", "traces", "blobs", "profiles")
_NAME = re.compile(r"\d+-(\d+)\. *(\d+)\.flb")


class UnreadableChunk(Exception):
    """Nothing can be delivered of this file."""


class Chunk(msgspec.Struct):
    """What a chunk file holds; `doubt` says what is wrong with it, if anything is.

    `size` is the length of the events that were read, and `intact` the offset in the file behind them.
    """

    tag: str
    records: list[Record]
    size: int
    intact: int
    doubt: str | None = None


def parse_chunk(data: bytes, *, verify: bool) -> Chunk:
    """The records of a chunk file; raises `UnreadableChunk`. With `verify` a wrong checksum makes it doubtful."""
    if len(data) < _HEAD.size or not data.startswith(_MAGIC):
        raise UnreadableChunk("it has no head of a chunk")
    _, checksum, length, metadata_length = _HEAD.unpack_from(data)
    start = _HEAD.size + metadata_length
    tag = _tag_of(data[_HEAD.size : start])
    content = data[start : start + length] if length else data[start:]
    records, end = read_events(content)
    if not records:
        raise UnreadableChunk("it has no whole record")
    doubt = None
    if length > len(content):
        doubt = f"it ends {length - len(content)} bytes too early"
    elif end < len(content) and (length or content[end:].strip(b"\0")):
        doubt = f"{len(content) - end} bytes behind the whole records cannot be read"
    elif verify and checksum and zlib.crc32(data[_CHECKED_FROM : start + len(content)]) != checksum:
        doubt = "its checksum is wrong"
    return Chunk(tag, records, end, start + end, doubt)


def age_of(name: str) -> tuple[int, int, str]:
    """Sorts the names of chunk files by the time they were made."""
    found = _NAME.fullmatch(name)
    return (int(found[1]), int(found[2]), name) if found else (0, 0, name)


def _tag_of(metadata: bytes) -> str:
    if metadata.startswith(_METADATA_MARK) and len(metadata) >= 4:
        kind, flags, tag = metadata[2], metadata[3], metadata[4:]
        if kind != _LOGS:
            what = _KINDS[kind] if kind < len(_KINDS) else f"type {kind}"
            raise UnreadableChunk(f"it holds {what}, not logs")
        if flags & _HAS_ROUTES:
            tag = tag.partition(b"\0")[0]
    else:
        tag = metadata
    if not tag:
        raise UnreadableChunk("it has no tag")
    return tag.decode("utf-8", "surrogateescape")
