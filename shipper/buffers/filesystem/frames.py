"""Frames: how a batch stands in a segment, and how a segment is read; the layout is in the package's text."""

from __future__ import annotations

import os
from collections.abc import Sequence
from struct import Struct

import msgspec
import xxhash

from ...disk import Disk
from .encoding import Form
from .files import release

SEGMENT_HEAD = Struct("<8sQQ8x")
SEGMENT_MAGIC = b"SHIPSEG1"
SEAL_TRAILER = Struct("<8sQ")
SEAL_MAGIC = b"SHIPSEAL"

_SUM = Struct("<Q")
_HEAD = Struct("<QIIQQQIB3x")
HEAD_SIZE = _SUM.size + _HEAD.size
_LONGEST_NAMES = 1 << 20
_LARGEST_PAYLOAD = 1 << 31
_SEPARATOR = b"\0\0"

READ_AHEAD = 256 << 10
"""Bytes read at once where small frames follow each other."""

_checksum = xxhash.xxh3_64_intdigest


class Damage(Exception):
    """The bytes at `offset` are no intact frame; `is_torn` if the file just ends too early, as after a crash."""

    def __init__(self, offset: int, reason: str, *, is_torn: bool = False) -> None:
        super().__init__(reason)
        self.offset = offset
        self.reason = reason
        self.is_torn = is_torn


class Frame(msgspec.Struct, gc=False):
    """The head of a frame, and where it stands in its file."""

    offset: int
    payload_at: int
    end: int
    payload_sum: int
    sequence: int
    size: int
    time_ns: int
    records: int
    form: int
    names: bytes

    @property
    def stored(self) -> int:
        return self.end - self.offset


def join_names(tag: str, outputs: Sequence[str]) -> bytes:
    """Tag and outputs as they stand in the head of a frame."""
    return "\0".join(outputs).encode() + _SEPARATOR + tag.encode("utf-8", "surrogatepass")


def split_names(names: bytes) -> tuple[str, tuple[str, ...]]:
    """Tag and outputs of a frame."""
    outputs, _, tag = names.partition(_SEPARATOR)
    return tag.decode("utf-8", "surrogatepass"), tuple(outputs.decode().split("\0")) if outputs else ()


def encode_frame(
    sequence: int, names: bytes, size: int, time_ns: int, records: int, form: int, parts: Sequence[bytes]
) -> bytes:
    """A whole frame, ready to be appended."""
    digest = xxhash.xxh3_64()
    for part in parts:
        digest.update(part)
    length = sum(map(len, parts))
    head = _HEAD.pack(digest.intdigest(), len(names), length, sequence, size, time_ns, records, form)
    return b"".join((_SUM.pack(_checksum(head + names)), head, names, *parts))


def encode_segment_head(base: int, created_ns: int) -> bytes:
    """The first bytes of a segment, for people who find one; nothing depends on them, so damage here harms nothing."""
    return SEGMENT_HEAD.pack(SEGMENT_MAGIC, base, created_ns)


class FrameReader:
    """Reads the frames of one file, from an offset on, in pieces of `read_ahead` bytes.

    `OSError` of the disk is passed on, and what was not read is read by the next call.
    """

    def __init__(self, disk: Disk, path: str, offset: int, read_ahead: int = READ_AHEAD) -> None:
        self._disk = disk
        self._path = path
        self._fd: int | None = None
        self.offset = offset
        self._data = b""
        self._data_at = 0
        self._read_ahead = read_ahead

    def head(self, end: int) -> Frame:
        """The head of the frame at `offset` in a file of which `end` bytes count; raises `Damage`."""
        offset = self.offset
        fixed = self._bytes(offset, HEAD_SIZE, end)
        if len(fixed) < HEAD_SIZE:
            raise Damage(offset, "the file ends inside the head of a frame", is_torn=True)
        payload_sum, names_length, length, sequence, size, time_ns, records, form = _HEAD.unpack_from(fixed, _SUM.size)
        if names_length > _LONGEST_NAMES or length > _LARGEST_PAYLOAD:
            raise Damage(offset, "the head of a frame is damaged")
        names_at = offset + HEAD_SIZE
        names = self._bytes(names_at, names_length, end)
        if len(names) == names_length and fixed[: _SUM.size] != _SUM.pack(_checksum(fixed[_SUM.size :] + names)):
            raise Damage(offset, "the head of a frame is damaged")
        payload_at = names_at + names_length
        frame_end = payload_at + length
        if frame_end > end:
            raise Damage(offset, "the file ends inside a frame", is_torn=True)
        return Frame(offset, payload_at, frame_end, payload_sum, sequence, size, time_ns, records, form, names)

    def payload(self, frame: Frame) -> bytes:
        """The payload of a frame; raises `Damage` if its checksum is wrong."""
        length = frame.end - frame.payload_at
        data = self._bytes(frame.payload_at, length, frame.end)
        if len(data) < length or _checksum(data) != frame.payload_sum:
            raise Damage(frame.offset, "the records of a frame are damaged")
        return data

    def bytes_at(self, offset: int, size: int) -> bytes:
        """Bytes of the file, fewer where it ends."""
        return self._bytes(offset, size, offset + size)

    def size(self) -> int:
        """The length of the file."""
        return self._disk.fstat(self._opened()).st_size

    def close(self) -> None:
        if self._fd is not None:
            release(self._disk, self._fd)
            self._fd = None

    def _opened(self) -> int:
        if self._fd is None:
            self._fd = self._disk.open(self._path, os.O_RDONLY | os.O_CLOEXEC)
        return self._fd

    def _bytes(self, offset: int, size: int, end: int) -> bytes:
        size = max(0, min(size, end - offset))
        start = offset - self._data_at
        if start < 0 or start + size > len(self._data):
            self._data, self._data_at, start = (
                self._read(offset, min(max(size, self._read_ahead), end - offset)),
                offset,
                0,
            )
        return self._data[start : start + size]

    def _read(self, offset: int, size: int) -> bytes:
        parts: list[bytes] = []
        while size > 0:
            part = self._disk.pread(self._opened(), size, offset)
            if not part:
                break
            parts.append(part)
            size -= len(part)
            offset += len(part)
        return parts[0] if len(parts) == 1 else b"".join(parts)


def is_seal(frame: Frame) -> bool:
    """Whether the frame is no batch but the sums of its segment."""
    return frame.form == Form.SEAL
