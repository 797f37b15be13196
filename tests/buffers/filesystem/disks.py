"""Disks for tests: what one process has open ends with it, and any step may go wrong."""

from __future__ import annotations

import os
from collections.abc import Iterable

from shipper.disk import SystemDisk
from shipper.testing import FaultKind, FaultyDisk


class ProcessDisk(SystemDisk):
    """The disk as one process sees it; `end` closes what is open, as the system does for a process that was killed."""

    def __init__(self) -> None:
        self.opened: set[int] = set()

    def open(self, path: str, flags: int, mode: int = 0o600) -> int:
        fd = os.open(path, flags, mode)
        self.opened.add(fd)
        return fd

    def close(self, fd: int) -> None:
        self.opened.discard(fd)
        os.close(fd)

    def end(self) -> None:
        while self.opened:
            os.close(self.opened.pop())


class FaultyProcessDisk(FaultyDisk, ProcessDisk):
    """A `FaultyDisk` that knows what is open."""

    def __init__(self, fails_at: int, calls: Iterable[str], error: int, kind: FaultKind) -> None:
        ProcessDisk.__init__(self)
        FaultyDisk.__init__(self, fails_at, calls, error, kind)
