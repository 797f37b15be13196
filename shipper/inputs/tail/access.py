"""Opening and reading what is to be read, and what to do about a file or folder that may not be read."""

from __future__ import annotations

import errno
import os
import stat

from ...disk import Disk

READ_REMEDY = "give the process the capability DAC_READ_SEARCH, or a group that may read it"


def open_regular(disk: Disk, name: str) -> int:
    """A descriptor of a regular file; raises `OSError` for anything else and never waits for it."""
    # Without O_NONBLOCK the opening of a named pipe waits until somebody writes to it, and the event loop with it.
    fd = disk.open(name, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    try:
        is_regular = stat.S_ISREG(disk.fstat(fd).st_mode)
    except OSError:
        disk.close(fd)
        raise
    if not is_regular:
        disk.close(fd)
        raise OSError(errno.EINVAL, "it is no regular file")
    return fd


def read_whole(disk: Disk, fd: int, size: int, offset: int) -> bytes:
    """So many bytes, fewer at the end of the file alone; a network file system may give them in parts."""
    data = disk.pread(fd, size, offset)
    while 0 < len(data) < size and (more := disk.pread(fd, size - len(data), offset + len(data))):
        data += more
    return data


def remedy_of(error: OSError) -> str:
    """What helps against a read error, to be put behind its message; empty if permissions are not the matter."""
    return f"; {READ_REMEDY}" if isinstance(error, PermissionError) else ""
