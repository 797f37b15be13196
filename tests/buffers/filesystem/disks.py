"""Disks for tests: what one process has open ends with it, and any step may go wrong."""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import TYPE_CHECKING

from shipper.disk import SystemDisk
from shipper.testing import FaultKind, FaultyDisk

if TYPE_CHECKING:
    from _typeshed import HasFileno


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


class NotingDisk(ProcessDisk):
    """Notes what `fsync` and `rename` were called for, in their order."""

    def __init__(self) -> None:
        super().__init__()
        self.steps: list[tuple[str, str]] = []
        self._paths: dict[int | HasFileno, str] = {}

    def open(self, path: str, flags: int, mode: int = 0o600) -> int:
        fd = super().open(path, flags, mode)
        self._paths[fd] = path
        return fd

    def fsync(self, fd: int | HasFileno) -> None:
        os.fsync(fd)
        self.steps.append(("fsync", self._paths[fd]))

    def rename(self, old: str, new: str) -> None:  # type: ignore[override]
        os.rename(old, new)
        self.steps.append(("rename", old))
