"""Keeps a second process out of a storage folder: two writers of one log would damage it, two readers send it twice."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os

LOCK_NAME = "shipper.lock"

_NOT_SUPPORTED = (errno.ENOTSUP, errno.ENOSYS, errno.ENOLCK, errno.EINVAL)


class FolderInUse(Exception):
    """Another process has the folder; the text names it if it is known."""


class FolderLock:
    """An advisory lock (`flock`) on a file in the folder, which has the id of the process that holds it.

    The system releases it when the process ends, in whatever way. A file system that has no locks is used without, and
    so is one where the file cannot be made: nothing can be stored there anyway.
    """

    def __init__(self, folder: str) -> None:
        self._path = f"{folder}/{LOCK_NAME}"
        self._fd = -1

    def acquire(self) -> None:
        """Take the folder, which must exist; raises `FolderInUse`, or `OSError` if it cannot be told."""
        fd, is_writable = self._open()
        if fd < 0:
            return
        self._fd = fd
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            holder = os.pread(fd, 32, 0).decode("ascii", "replace").strip()
            self.release()
            raise FolderInUse(f"process {holder}" if holder else "another process") from error
        except OSError as error:
            if error.errno not in _NOT_SUPPORTED:
                self.release()
                raise
        if is_writable:
            os.ftruncate(fd, 0)
            with contextlib.suppress(OSError):  # a full disk; the id is only told to people
                os.write(fd, f"{os.getpid()}\n".encode())

    def _open(self) -> tuple[int, bool]:
        """The file and whether it can be written; a negative number if it cannot be had at all."""
        for flags in (os.O_RDWR | os.O_CREAT, os.O_RDONLY):
            with contextlib.suppress(OSError):
                return os.open(self._path, flags | os.O_CLOEXEC, 0o600), flags != os.O_RDONLY
        return -1, False

    def release(self) -> None:
        """Give the folder free; the file stays, for removing it would let two processes hold two files of one name."""
        if self._fd >= 0:
            os.close(self._fd)
        self._fd = -1
