"""Batches that are stored and in memory, too, as long as there is room: the oldest leave first."""

from __future__ import annotations

from ...record import RecordBatch
from ..base import MEMORY_FACTOR
from .encoding import StoredBodies, StoredLines
from .entry import Entry


def weight_of(batch: RecordBatch, stored: int) -> int:
    """Resident bytes that a batch is taken to have which has so many on disk."""
    return stored * (2 if isinstance(batch.content, (StoredLines, StoredBodies)) else MEMORY_FACTOR)


class BatchCache:
    """Bounds the resident bytes of the batches that entries keep; an entry without one reads it from the disk."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._weights: dict[Entry, int] = {}
        self.weight = 0
        """Resident bytes that the batches are taken to have."""

    def add(self, entry: Entry) -> None:
        """Keep the batch of this entry; others may lose theirs, but none that is not stored."""
        batch = entry.batch
        if batch is None:
            return
        weight = self._weights[entry] = weight_of(batch, entry.stored)
        self.weight += weight
        if self.weight > self._limit:
            self._shrink()

    def remove(self, entry: Entry) -> None:
        """The entry is finished; whoever still delivers it has the batch in its hands."""
        self.weight -= self._weights.pop(entry, 0)
        entry.batch = None

    def _shrink(self) -> None:
        gone = []
        for entry, weight in self._weights.items():
            if self.weight <= self._limit:
                break
            if entry.path is not None:
                entry.batch = None
                self.weight -= weight
                gone.append(entry)
        for entry in gone:
            del self._weights[entry]
