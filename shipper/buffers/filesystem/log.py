"""The writing side of a log: appends frames, begins and ends segments, and gives segments up that nobody needs."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import suppress
from itertools import zip_longest

from ...disk import Disk
from .files import PRIVATE, release, write_all
from .frames import Damage, encode_segment_head
from .quarantine import Quarantine
from .segment import SUFFIX, Segment

SEGMENT_SIZE = 16 << 20
"""Bytes after which a new segment is begun."""

_TO_SYNC = os.O_RDONLY | os.O_CLOEXEC


class SegmentLog:
    """The segments of one folder, oldest first; only the last may be `active`, the one that is written to.

    With `syncs` the files of segments that have ended stay open until `to_sync` has given them out and `synced` is
    called; a thread may be in `fsync` meanwhile.
    """

    def __init__(
        self,
        disk: Disk,
        folder: str,
        quarantine: Quarantine,
        segment_size: int,
        now_ns: Callable[[], int],
        *,
        syncs: bool,
    ) -> None:
        self._disk = disk
        self._folder = folder
        self._quarantine = quarantine
        self._segment_size = segment_size
        self._now_ns = now_ns
        self._syncs = syncs
        self.segments: list[Segment] = []
        self.active: Segment | None = None
        self._fd = -1
        self._base: int | None = None
        self._reusable: str | None = None
        self._ended: list[int] = []
        self._syncing: list[int] = []
        self._is_folder_new = False
        self._folders_above = _above(folder) if syncs else []
        """Those that may have been made for this log, whose names have to be durable before the first record is."""

    def open(self) -> None:
        """Make the folder if it is not there, and learn what its segments hold; raises `OSError`."""
        self._disk.mkdirs(self._folder)
        names = sorted(n for n in self._disk.listdir(self._folder) if n.endswith(SUFFIX))
        bases = [int(stem) for n in names if (stem := n.removesuffix(SUFFIX)).isdecimal()]
        for base, following in zip_longest(bases, bases[1:]):
            self.segments.append(Segment.load(self._disk, self._path(base), base, following))

    def append(
        self, data: bytes, sequence: int, outputs: tuple[str, ...], records: int, size: int
    ) -> tuple[Segment, int]:
        """Write a frame; gives its segment and offset. If it raises `OSError` nothing of the frame counts."""
        segment = self.active
        if self.must_end(len(data)):
            self.seal()
            segment = None
        if segment is None:
            segment = self._begin(sequence)
        offset = segment.end
        try:
            write_all(self._disk, self._fd, data)
        except OSError:
            self._undo(segment)
            raise
        segment.count(sequence, outputs, records, size, len(data))
        return segment, offset

    def seal(self) -> None:
        """End the active segment; the seal only makes the next start quicker, so it need not be written."""
        segment = self.active
        if segment is None:
            return
        try:
            write_all(self._disk, self._fd, segment.encode_seal())
        except OSError:
            self._undo(segment)
        self._end_active()

    def abandon(self) -> None:
        """End the active segment as it is; the next one begins with the number that follows its last frame."""
        segment = self.active
        if segment is None:
            return
        self._base = segment.last + 1
        self._end_active()
        if not segment.all.batches:
            self.segments.remove(segment)
            self._reusable = segment.path

    def must_end(self, size: int) -> bool:
        """Whether the active segment ends before a frame of this size."""
        segment = self.active
        return segment is not None and segment.all.batches > 0 and segment.end + size > self._segment_size

    def to_sync(self) -> list[int]:
        """The files that `fsync` must be called for, so that all that was written is durable; raises `OSError`."""
        if self._is_folder_new:
            self._ended.append(self._disk.open(self._folder, _TO_SYNC))
            self._is_folder_new = False
            self._end_folders_above()
        self._syncing, self._ended = self._syncing + self._ended, []
        return self._syncing if self.active is None else [*self._syncing, self._fd]

    def _end_folders_above(self) -> None:
        """Have the folders on the way to this one synced, once; those that we may not open were made by others."""
        folders, self._folders_above = self._folders_above, []
        for folder in folders:
            with suppress(PermissionError):
                self._ended.append(self._disk.open(folder, _TO_SYNC))

    def synced(self) -> None:
        """`fsync` was called for these files."""
        syncing, self._syncing = self._syncing, []
        for fd in syncing:
            release(self._disk, fd)

    def remove(self, segment: Segment) -> str | None:
        """Delete a segment, or move it to the quarantine if it is damaged and give its path there; raises `OSError`."""
        moved = None
        damage = segment.damage
        try:
            if damage is not None:
                moved = self._quarantine.move(segment.path, damage.offset, damage.reason)
            else:
                self._disk.unlink(segment.path)
        except FileNotFoundError:
            pass  # an attempt before had an error after its work was done
        self.segments.remove(segment)
        return moved

    def note_damage(self, segment: Segment, damage: Damage) -> bool:
        """Let the segment end where it is damaged; false if that is no news."""
        if segment.damage is not None and segment.damage.offset <= damage.offset:
            return False
        segment.damage = damage
        if segment is self.active:
            self._end_active()
        segment.end = min(segment.end, damage.offset)
        return True

    def close(self) -> None:
        """Close all files; what was not synced is not."""
        if self.active is not None:
            self._end_active()
        self._syncing, self._ended = self._syncing + self._ended, []
        self.synced()

    def _begin(self, sequence: int) -> Segment:
        base = sequence if self._base is None else self._base
        path = self._path(base)
        # Nothing is ever written over: a file of this name would be of another process.
        exclusive = 0 if path == self._reusable else os.O_EXCL
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | exclusive
        try:
            fd = self._disk.open(path, flags, PRIVATE)
        except FileExistsError:
            if self._disk.stat(path).st_size == 0:
                self._reusable = path
            raise
        self._reusable = path
        try:
            write_all(self._disk, fd, encode_segment_head(base, self._now_ns()))
        except OSError:
            release(self._disk, fd)
            raise
        segment = Segment(path, base)
        self.segments.append(segment)
        self.active, self._fd, self._base, self._reusable = segment, fd, None, None
        self._is_folder_new = self._syncs
        return segment

    def _undo(self, segment: Segment) -> None:
        """Take away what a failed write has left; if that fails too, nothing more is written behind it."""
        try:
            self._disk.truncate(self._fd, segment.end)
        except OSError:
            self.abandon()

    def _end_active(self) -> None:
        fd, self._fd, self.active = self._fd, -1, None
        if self._syncs:
            self._ended.append(fd)
        else:
            release(self._disk, fd)

    def _path(self, base: int) -> str:
        return f"{self._folder}/{base:020d}{SUFFIX}"


def _above(folder: str) -> list[str]:
    """The folder of all logs, that of the storage, and the one that holds it."""
    logs = os.path.dirname(folder)
    storage = os.path.dirname(logs)
    return [logs, storage, os.path.dirname(storage) or "."]
