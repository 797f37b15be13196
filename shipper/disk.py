"""The seam for files: what the core does on a disk goes through a `Disk`, so that a test can make it fail."""

from __future__ import annotations

import contextlib
import os
from typing import Protocol


def make_private(path: str) -> None:
    """Make an empty file that nobody else may read, if there is none; a failure shows when it is opened."""
    with contextlib.suppress(OSError):
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))


class Disk(Protocol):
    """The few calls the core needs; `testing.FaultyDisk` fails at a chosen step."""

    def open(self, path: str, flags: int, mode: int = 0o600) -> int: ...

    def close(self, fd: int) -> None: ...

    def pread(self, fd: int, size: int, offset: int) -> bytes: ...

    def write(self, fd: int, data: bytes) -> int: ...

    def fsync(self, fd: int) -> None: ...

    def truncate(self, fd: int, size: int) -> None: ...

    def free(self, path: str) -> int:
        """Bytes that we may still write to the file system of this path."""

    def fstat(self, fd: int) -> os.stat_result: ...

    def stat(self, path: str) -> os.stat_result: ...

    def lstat(self, path: str) -> os.stat_result: ...

    def listdir(self, path: str) -> list[str]: ...

    def readlink(self, path: str) -> str: ...

    def rename(self, old: str, new: str) -> None: ...

    def unlink(self, path: str) -> None: ...

    def mkdirs(self, path: str, mode: int = 0o700) -> None:
        """Make a folder that is not there, for us alone if nothing else is said; those on the way to it are for all."""


class SystemDisk:
    """The disk of the machine; every call raises `OSError` as the operating system gives it."""

    close = staticmethod(os.close)
    pread = staticmethod(os.pread)
    write = staticmethod(os.write)
    fsync = staticmethod(os.fsync)
    fstat = staticmethod(os.fstat)
    stat = staticmethod(os.stat)
    lstat = staticmethod(os.lstat)
    rename = staticmethod(os.rename)
    unlink = staticmethod(os.unlink)
    truncate = staticmethod(os.ftruncate)

    def open(self, path: str, flags: int, mode: int = 0o600) -> int:
        return os.open(path, flags, mode)

    def free(self, path: str) -> int:
        found = os.statvfs(path)
        return found.f_bavail * found.f_frsize

    def listdir(self, path: str) -> list[str]:
        return os.listdir(path)

    def readlink(self, path: str) -> str:
        return os.readlink(path)

    def mkdirs(self, path: str, mode: int = 0o700) -> None:
        os.makedirs(path, mode, exist_ok=True)
