"""The files that a configuration consists of."""

from __future__ import annotations

import errno
import os
import stat


def read_file(path: str, *, may_be_pipe: bool = False) -> bytes:
    """What the file holds; raises `OSError`.

    A pipe or a socket is refused, because it may have its end never, unless it is somebody's own doing to name one:
    the main file may come from another program.
    """
    mode = os.stat(path).st_mode
    if (stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode)) and not may_be_pipe:
        raise OSError(errno.EINVAL, "it is a pipe or a socket, not a regular file")
    with open(path, "rb") as file:
        return file.read()
