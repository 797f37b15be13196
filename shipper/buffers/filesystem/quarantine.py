"""Where files go that cannot be delivered as a whole: moved, never deleted, each with a note that says why."""

from __future__ import annotations

import os

import msgspec

from ...clock import Clock
from ...disk import Disk
from .files import PRIVATE, release, write_all


class _Note(msgspec.Struct):
    """What is written beside a file in quarantine."""

    time_ns: int
    moved_from: str
    intact_bytes: int
    reason: str


class Quarantine:
    """A folder for damaged files; they keep their names."""

    def __init__(self, disk: Disk, folder: str, clock: Clock) -> None:
        self._disk = disk
        self.folder = folder
        self._clock = clock

    def move(self, path: str, intact: int, reason: str) -> str:
        """Move a file here and give its new path; the note says that its first `intact` bytes were read.

        Raises `OSError`; the file then is where it was.
        """
        self._disk.mkdirs(self.folder)
        target = self._free_name(os.path.basename(path))
        note = _Note(self._clock.time_ns(), path, intact, reason)
        fd = self._disk.open(f"{target}.reason", os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, PRIVATE)
        try:
            write_all(self._disk, fd, msgspec.json.encode(note) + b"\n")
        finally:
            release(self._disk, fd)
        self._disk.rename(path, target)
        return target

    def _free_name(self, name: str) -> str:
        target, number = f"{self.folder}/{name}", 0
        while self._exists(target):
            number += 1
            target = f"{self.folder}/{name}.{number}"
        return target

    def _exists(self, path: str) -> bool:
        try:
            self._disk.lstat(path)
        except FileNotFoundError:
            return False
        return True
