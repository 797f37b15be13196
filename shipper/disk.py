"""The seam for files: what the core does on a disk goes through a `Disk`, so that a test can make it fail."""

from __future__ import annotations

import os
from typing import Protocol


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

    def mkdirs(self, path: str) -> None: ...


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

    def mkdirs(self, path: str) -> None:
        os.makedirs(path, mode=0o755, exist_ok=True)
