"""How many files the process may hold open.

Many systems give a process 1,024 descriptors and let it have more for the asking. A node with many containers needs
more, so all that may be had is asked for. What follows files leaves some to the rest of the process: without a
descriptor for its connections nothing would be delivered, and no file ever be read to its end and closed.
"""

from __future__ import annotations

import contextlib
import errno
import resource

MOST_WANTED = 1_048_576
RESERVED = 64


def raise_limit() -> int:
    """Allow the process as many open files as it may have; gives that number."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = MOST_WANTED if hard == resource.RLIM_INFINITY else min(hard, MOST_WANTED)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        with contextlib.suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    return limit()


def limit() -> int:
    """The number of files that may be open at one time."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return MOST_WANTED if soft == resource.RLIM_INFINITY else soft


def is_reserved(fd: int) -> bool:
    """Whether a new descriptor is one of the last, which a followed file may not take.

    A new descriptor is always the smallest number that is free.
    """
    most = limit()
    return fd >= most - min(RESERVED, most // 4)


def is_lack(error: OSError) -> bool:
    """Whether too few descriptors, and not the file, are the reason."""
    return error.errno in (errno.EMFILE, errno.ENFILE)
