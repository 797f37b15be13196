"""Limits: what an output may owe on disk, how much of all may wait, and how much space stays free."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

from ...disk import Disk
from .log_source import LogSource

PIECE = 2_048_000
"""Bytes on disk that count as one chunk of Fluent Bit, which never makes larger ones if it can help it."""

OnFull = Literal["pause", "drop_oldest", "drop_newest"]

_MOST_BETWEEN_CHECKS = 64 << 20


class StorageLimit:
    """`storage.total_limit_size` of one output, over the buffers of all inputs, and what happens when it is reached.

    `drop_oldest` skips, for this output alone, the oldest batches that are not being delivered; `drop_newest` does not
    store what comes new for it; with `pause` inputs that store for it wait. Without a choice those inputs wait whose
    source keeps what was not read, as a file does, and for others the oldest is skipped.
    """

    def __init__(self, limit: int, on_full: OnFull | None = None) -> None:
        self.limit = limit
        self._on_full = on_full
        self._sources: list[LogSource] = []
        self._may_be_skipped: list[LogSource] = []

    def on_full(self, *, keeps_source: bool) -> OnFull:
        """What is done when an input of this kind brings more than there is room for."""
        return self._on_full or ("pause" if keeps_source else "drop_oldest")

    def watch(self, source: LogSource, *, keeps_source: bool) -> None:
        """Count what this source holds; it must be of the limit's output."""
        self._sources.append(source)
        if self.on_full(keeps_source=keeps_source) == "drop_oldest":
            self._may_be_skipped.append(source)

    def used(self) -> int:
        """Bytes on disk that wait for this output."""
        return sum(source.held.stored for source in self._sources)

    def has_room(self, stored: int) -> bool:
        """Whether so many bytes may be added; something may always be stored if there is nothing yet."""
        used = self.used()
        return not used or used + stored <= self.limit

    def takes(self, stored: int, *, keeps_source: bool) -> bool:
        """Whether so many bytes may be added at once, from an input of this kind; if it waits at the limit, all fit."""
        is_patient = self.on_full(keeps_source=keeps_source) == "pause"
        return self.used() + stored <= self.limit if is_patient else self.has_room(stored)

    def refuses(self, stored: int, *, keeps_source: bool) -> bool:
        """Whether a new batch is not to be stored for the output."""
        return self.on_full(keeps_source=keeps_source) == "drop_newest" and not self.has_room(stored)

    def make_room(self, stored: int) -> None:
        """Skip so many of the oldest entries that this number of bytes may be added."""
        excess = self.used() + stored - self.limit
        while excess > 0 and (source := self._oldest()) is not None:
            excess -= source.skip_oldest()

    def _oldest(self) -> LogSource | None:
        aged = [(age, n) for n, s in enumerate(self._may_be_skipped) if (age := s.oldest_ns()) is not None]
        return self._may_be_skipped[min(aged)[1]] if aged else None


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
