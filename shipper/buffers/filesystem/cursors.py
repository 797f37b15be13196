"""Cursors: what of a log each output has finished, and the file that remembers it.

The file is a journal. Each entry names an output, the last frame it has seen, and how its open frames have changed
since the entry before: those that were opened, the numbers of those that were finished, and of those that an output has
in part the rows that are left. An entry is a length, a checksum and MessagePack. Reading ends at the first entry that
is not intact, and what was read until then is a state that the output was in. The journal is replaced as a whole, by
renaming, when it is opened and when it has grown.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Iterable, Mapping
from struct import Struct

import msgspec
import xxhash

from ...disk import Disk
from .files import PRIVATE, read_all, release, write_all

LARGEST_JOURNAL = 256 << 10

_ENTRY = Struct("<IQ")
_ORDER_SLACK = 64
_checksum = xxhash.xxh3_64_intdigest

Open = tuple[int, int, int, int]
"""A frame that is not finished: number, records, bytes as read, bytes on disk."""


class _Entry(msgspec.Struct, array_like=True):
    output: str
    seen: int
    opened: list[Open] = []
    finished: list[int] = []
    left: dict[int, list[int]] = {}


_decode_entry = msgspec.msgpack.Decoder(_Entry).decode
_encode_entry = msgspec.msgpack.Encoder().encode


class Cursor:
    """What one output has finished: every frame up to `seen` that is not in `open`.

    Of an open frame that is in `left`, only these rows are not delivered; its numbers in `open` are theirs. `opened`
    and `closed` are the changes that were not saved yet.
    """

    __slots__ = ("_order", "closed", "left", "open", "opened", "output", "seen")

    def __init__(self, output: str) -> None:
        self.output = output
        self.seen = 0
        self.open: dict[int, Open] = {}
        self.opened: dict[int, Open] = {}
        self.closed: list[int] = []
        self.left: dict[int, list[int]] = {}
        # The numbers of all open frames in order, and of some that are open no more.
        self._order: deque[int] = deque()

    @property
    def committed(self) -> int:
        """The number up to which every frame is finished."""
        order, is_open = self._order, self.open
        while order and order[0] not in is_open:
            order.popleft()
        return order[0] - 1 if order else self.seen

    def is_finished(self, sequence: int) -> bool:
        return sequence <= self.seen and sequence not in self.open

    def begin(self, frame: Open) -> None:
        """Note a frame beyond `seen` that is for this output."""
        sequence = frame[0]
        self.seen = sequence
        self.open[sequence] = self.opened[sequence] = frame
        self._order.append(sequence)
        if len(self._order) > 2 * len(self.open) + _ORDER_SLACK:
            self._order = deque(self.open)

    def keep_rows(self, sequence: int, rows: list[int], size: int) -> None:
        """Note that of an open frame only these rows are left, which had so many bytes."""
        stored = self.open[sequence][3]
        self.open[sequence] = self.opened[sequence] = (sequence, len(rows), size, stored)
        self.left[sequence] = rows

    def finish(self, sequences: Iterable[int]) -> None:
        """Note frames that are delivered or skipped."""
        for sequence in sequences:
            del self.open[sequence]
            was_left = self.left.pop(sequence, None) is not None
            if self.opened.pop(sequence, None) is None or was_left:
                self.closed.append(sequence)

    def restore(
        self, seen: int, opened: Iterable[Open], finished: Iterable[int], left: Mapping[int, list[int]] | None = None
    ) -> None:
        """Change it as a saved entry tells."""
        self.seen = max(self.seen, seen)
        self.open.update((frame[0], frame) for frame in opened)
        self.left.update(left or {})
        for sequence in finished:
            self.open.pop(sequence, None)
            self.left.pop(sequence, None)

    def settle_order(self) -> None:
        """Take note of the open frames that were restored."""
        self.open = dict(sorted(self.open.items()))
        self._order = deque(self.open)

    def saved(self) -> None:
        """Everything up to now was written."""
        self.opened.clear()
        self.closed.clear()

    def __repr__(self) -> str:
        return f"Cursor({self.output!r}, seen {self.seen}, {len(self.open)} open)"


class CursorFile:
    """The cursors of one log on disk; every method raises `OSError` as the disk gives it."""

    def __init__(self, disk: Disk, folder: str, *, syncs: bool) -> None:
        self._disk = disk
        self._folder = folder
        self.path = f"{folder}/cursors"
        self._syncs = syncs
        self._fd: int | None = None
        self._size = 0
        self._is_broken = True
        self.cursors: dict[str, Cursor] = {}

    def load(self) -> bool:
        """Read the cursors; false if the file has an entry that is not intact."""
        try:
            data = read_all(self._disk, self.path)
        except FileNotFoundError:
            return True
        at = 0
        while at + _ENTRY.size <= len(data):
            length, checksum = _ENTRY.unpack_from(data, at)
            body = data[at + _ENTRY.size : at + _ENTRY.size + length]
            if len(body) < length or _checksum(body) != checksum:
                break
            entry = _decode_entry(body)
            self.cursor(entry.output).restore(entry.seen, entry.opened, entry.finished, entry.left)
            at += _ENTRY.size + length
        for cursor in self.cursors.values():
            cursor.settle_order()
        return at == len(data)

    def cursor(self, output: str) -> Cursor:
        """The cursor of this output, a new one if there is none."""
        found = self.cursors.get(output)
        if found is None:
            found = self.cursors[output] = Cursor(output)
        return found

    def save(self, cursor: Cursor) -> None:
        """Remember where the cursor stands; durable as soon as it is written."""
        if self._is_broken or self._fd is None or self._size > LARGEST_JOURNAL:
            self.rewrite()
            return
        entry = _encode(cursor, list(cursor.opened.values()), cursor.closed)
        # After a failed write the file may end in half an entry, and nothing behind that would be read.
        self._is_broken = True
        write_all(self._disk, self._fd, entry)
        self._is_broken = False
        self._size += len(entry)
        cursor.saved()

    def rewrite(self) -> None:
        """Replace the file by one with the present cursors only."""
        self.close()
        fresh = f"{self.path}.new"
        data = b"".join(_encode(cursor, list(cursor.open.values()), []) for cursor in self.cursors.values())
        fd = self._disk.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, PRIVATE)
        try:
            write_all(self._disk, fd, data)
            if self._syncs:
                self._disk.fsync(fd)
            self._disk.rename(fresh, self.path)
        except OSError:
            release(self._disk, fd)
            raise
        # The journal that has been grown by as much as it began with is replaced again.
        self._fd, self._size, self._is_broken = fd, -len(data), False
        for cursor in self.cursors.values():
            cursor.saved()

    def close(self) -> None:
        if self._fd is not None:
            fd, self._fd = self._fd, None
            release(self._disk, fd)


def _encode(cursor: Cursor, opened: list[Open], finished: list[int]) -> bytes:
    left = {frame[0]: cursor.left[frame[0]] for frame in opened if frame[0] in cursor.left} if cursor.left else {}
    body = _encode_entry(_Entry(cursor.output, cursor.seen, opened, finished, left))
    return _ENTRY.pack(len(body), _checksum(body)) + body
