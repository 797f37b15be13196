"""Limits: what an output may owe on disk, how much of all may wait, and how much space stays free."""

from __future__ import annotations

from collections.abc import Callable

from ...disk import Disk
from ...log import Log
from .log_source import LogSource

PIECE = 2_048_000
"""Bytes on disk that count as one chunk of Fluent Bit, which never makes larger ones if it can help it."""

_REMARK_EVERY_S = 60.0
_MOST_BETWEEN_CHECKS = 64 << 20


class StorageLimit:
    """`storage.total_limit_size` of one output, over the buffers of all inputs.

    When a batch would exceed it the oldest ones that are not being delivered are skipped for this output alone. With
    `pauses` nothing is skipped, and inputs that store for this output wait instead.
    """

    def __init__(self, output: str, limit: int, log: Log, *, pauses: bool = False) -> None:
        self._output = output
        self.limit = limit
        self.pauses = pauses
        self._log = log
        self._sources: list[LogSource] = []

    def watch(self, source: LogSource) -> None:
        """Count what this source holds; it must be of the limit's output."""
        self._sources.append(source)

    def used(self) -> int:
        """Bytes on disk that wait for this output."""
        return sum(source.held.stored for source in self._sources)

    def make_room(self, stored: int) -> None:
        """Skip so many of the oldest entries that this number of bytes may be added."""
        excess = self.used() + stored - self.limit
        if excess <= 0 or self.pauses:
            return
        skipped = 0
        while excess > 0 and (source := self._oldest()) is not None:
            excess -= source.skip_oldest()
            skipped += 1
        if skipped:
            self._log.error(
                "oldest stored batches are skipped, storage.total_limit_size is reached",
                every=_REMARK_EVERY_S,
                output=self._output,
                limit=self.limit,
                remedy="see to that output, or raise its storage.total_limit_size",
            )

    def _oldest(self) -> LogSource | None:
        aged = [(age, n) for n, s in enumerate(self._sources) if (age := s.oldest_ns()) is not None]
        return self._sources[min(aged)[1]] if aged else None


class ChunkBudget:
    """`storage.pause_on_chunks_overlimit`: inputs wait while so many pieces of data are stored and not delivered."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self._stored: list[Callable[[], int]] = []

    def watch(self, stored: Callable[[], int]) -> None:
        """Count the bytes that this function tells."""
        self._stored.append(stored)

    def used(self) -> int:
        """Pieces that are stored now."""
        return sum(-(-ask() // PIECE) for ask in self._stored)

    @property
    def is_used_up(self) -> bool:
        return self.used() >= self.limit


class FreeSpace:
    """Keeps `floor` bytes of the file system free; the disk is asked only now and then while there is plenty."""

    def __init__(self, disk: Disk, folder: str, floor: int) -> None:
        self._disk = disk
        self._folder = folder
        self._floor = floor
        self._allowance = 0
        self.free = 0
        """What was free when the disk was last asked."""

    def allows(self, size: int) -> bool:
        """Whether so many bytes may be written; raises `OSError` if the disk cannot tell."""
        if not self._floor:
            return True
        if self._allowance < size:
            self.free = self._disk.free(self._folder)
            if self.free - size < self._floor:
                return False
            # Others write to the disk, too: what they may take until we ask again is a part of what is left.
            self._allowance = min(_MOST_BETWEEN_CHECKS, max(size, (self.free - self._floor) // 8))
        self._allowance -= size
        return True
