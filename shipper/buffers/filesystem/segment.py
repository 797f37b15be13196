"""Segments: what is known of each file of a log without reading its records."""

from __future__ import annotations

from typing import Protocol, Self

import msgspec

from ...disk import Disk
from .encoding import Form
from .frames import (
    SEAL_MAGIC,
    SEAL_TRAILER,
    SEGMENT_HEAD,
    Damage,
    Frame,
    FrameReader,
    encode_frame,
    is_seal,
    split_names,
)

SUFFIX = ".seg"

_HEADS_READ_AHEAD = 16 << 10
_SEAL_READ_AHEAD = 4 << 10


class Measured(Protocol):
    """What is added up: a batch that waits, or its frame in a file."""

    @property
    def records(self) -> int: ...

    @property
    def size(self) -> int: ...

    @property
    def stored(self) -> int: ...


class Sums(msgspec.Struct, array_like=True):
    """How much something is: batches, records, bytes as read, and bytes on disk."""

    batches: int = 0
    records: int = 0
    size: int = 0
    stored: int = 0

    def add(self, batches: int, records: int, size: int, stored: int) -> None:
        self.batches += batches
        self.records += records
        self.size += size
        self.stored += stored

    def put(self, one: Measured) -> None:
        """Add one batch."""
        self.add(1, one.records, one.size, one.stored)

    def take(self, one: Measured) -> None:
        """Take one batch away."""
        self.add(-1, -one.records, -one.size, -one.stored)

    def plus(self, other: Sums, sign: int = 1) -> None:
        """Add another sum, or with the sign -1 take it away."""
        self.add(sign * other.batches, sign * other.records, sign * other.size, sign * other.stored)

    def copy(self) -> Sums:
        return Sums(self.batches, self.records, self.size, self.stored)

    def __bool__(self) -> bool:
        return self.batches != 0


def base_of(segment: Segment) -> int:
    """The number of its first frame, to look segments up by."""
    return segment.base


class _Seal(msgspec.Struct, array_like=True):
    """The payload of the last frame of a finished segment."""

    last: int
    all: Sums
    by_output: dict[str, Sums]


_decode_seal = msgspec.msgpack.Decoder(_Seal).decode


class Segment:
    """One file of a log.

    The frames that count have numbers from `base` to `last` and end before the offset `end`. `all` and `by_output` are
    sums over these frames, `finished` over those that no output waits for any more. `damage` is set when intact frames
    end earlier than the file.
    """

    def __init__(self, path: str, base: int) -> None:
        self.path = path
        self.base = base
        self.last = base - 1
        self.end = SEGMENT_HEAD.size
        self.all = Sums()
        self.finished = Sums()
        self.by_output: dict[str, Sums] = {}
        self.damage: Damage | None = None

    @classmethod
    def load(cls, disk: Disk, path: str, base: int, following: int | None) -> Self:
        """What the file holds, from its seal or else from the heads of its frames.

        Frames with numbers from `following` on, the base of the next segment, were written there again and do not
        count. Raises `OSError`.
        """
        segment = cls(path, base)
        reader = FrameReader(disk, path, 0, _SEAL_READ_AHEAD)
        try:
            size = reader.size()
            if size < SEGMENT_HEAD.size and following is None:
                segment.end = size  # the process ended, or the disk was full, when the segment was begun
            elif not segment._read_seal(reader, size, following):
                segment._count_heads(disk, size, following)
        finally:
            reader.close()
        return segment

    def count(self, last: int, outputs: tuple[str, ...], records: int, size: int, stored: int) -> None:
        """Note a frame that stands at the end of the file now."""
        self.last = last
        self.end += stored
        self.all.add(1, records, size, stored)
        for output in outputs:
            sums = self.by_output.get(output)
            if sums is None:
                sums = self.by_output[output] = Sums()
            sums.add(1, records, size, stored)

    def uncount(self, last: int, outputs: tuple[str, ...], records: int, size: int, stored: int) -> None:
        """Note that the last frame, which is of this number, does not count any more."""
        self.last = last - 1
        self.end -= stored
        self.all.add(-1, -records, -size, -stored)
        for output in outputs:
            self.by_output[output].add(-1, -records, -size, -stored)

    def encode_seal(self) -> bytes:
        """What is appended to a segment that gets no more frames."""
        payload = msgspec.msgpack.encode(_Seal(self.last, self.all, self.by_output))
        frame = encode_frame(self.last + 1, b"\0\0", 0, 0, 0, Form.SEAL, (payload,))
        return frame + SEAL_TRAILER.pack(SEAL_MAGIC, self.end)

    def position_of(self, disk: Disk, sequence: int, output: str) -> tuple[int, Sums]:
        """The offset of the first frame of at least this number, and the sums of those before it for the output."""
        passed = Sums()
        reader = FrameReader(disk, self.path, SEGMENT_HEAD.size, _HEADS_READ_AHEAD)
        try:
            while reader.offset < self.end:
                frame = reader.head(self.end)
                if frame.sequence >= sequence:
                    break
                if output in split_names(frame.names)[1]:
                    passed.put(frame)
                reader.offset = frame.end
        except Damage:
            pass  # whoever reads on finds it again, and tells of it
        finally:
            reader.close()
        return reader.offset, passed

    def _read_seal(self, reader: FrameReader, size: int, following: int | None) -> bool:
        trailer_at = size - SEAL_TRAILER.size
        if trailer_at < SEGMENT_HEAD.size:
            return False
        # The seal of most segments is short: one read gets it together with its trailer.
        reader.bytes_at(max(0, size - _SEAL_READ_AHEAD), min(size, _SEAL_READ_AHEAD))
        magic, offset = SEAL_TRAILER.unpack(reader.bytes_at(trailer_at, SEAL_TRAILER.size))
        if magic != SEAL_MAGIC or not SEGMENT_HEAD.size <= offset < trailer_at:
            return False
        reader.offset = offset
        try:
            frame = reader.head(trailer_at)
            seal = _decode_seal(reader.payload(frame)) if is_seal(frame) else None
        except (Damage, msgspec.DecodeError):
            return False
        if seal is None or frame.end != trailer_at or (following is not None and seal.last >= following):
            return False
        self.last, self.end, self.all, self.by_output = seal.last, offset, seal.all, seal.by_output
        return True

    def _count_heads(self, disk: Disk, size: int, following: int | None) -> None:
        reader = FrameReader(disk, self.path, self.end, _HEADS_READ_AHEAD)
        try:
            while reader.offset < size:
                frame = reader.head(size)
                if is_seal(frame) or (following is not None and frame.sequence >= following):
                    return
                self._check_order(frame)
                self.count(frame.sequence, split_names(frame.names)[1], frame.records, frame.size, frame.stored)
                reader.offset = frame.end
        except Damage as damage:
            # Where the next segment goes on with the next number, a write had failed here and was made again there.
            if self.last + 1 != following:
                self.damage = damage
        finally:
            reader.close()

    def _check_order(self, frame: Frame) -> None:
        if frame.sequence <= self.last:
            raise Damage(frame.offset, "the numbers of the frames are not in order")

    def __repr__(self) -> str:
        return f"Segment({self.base}..{self.last}, {self.end} bytes, {self.all.records} records)"
