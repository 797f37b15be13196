"""Whole files and whole writes, made of the steps of a `Disk`."""

from __future__ import annotations

import contextlib
import os

from ...disk import Disk

PRIVATE = 0o600
"""The mode of every file with records in it."""

_PIECE = 1 << 24


def write_all(disk: Disk, fd: int, data: bytes) -> None:
    """Write all of the bytes, however many the disk takes at a time; raises `OSError`."""
    written = disk.write(fd, data)
    while written < len(data):
        data = data[written:]
        written = disk.write(fd, data)


def read_all(disk: Disk, path: str) -> bytes:
    """The bytes of a file; raises `OSError`."""
    fd = disk.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        parts, offset = list[bytes](), 0
        while part := disk.pread(fd, _PIECE, offset):
            parts.append(part)
            offset += len(part)
        return b"".join(parts)
    finally:
        release(disk, fd)


def release(disk: Disk, fd: int) -> None:
    """Close a file; an error changes nothing, because what must be safe was synced before."""
    with contextlib.suppress(OSError):
        disk.close(fd)
