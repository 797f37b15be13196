"""From places in a delivery back to its records, for outputs whose requests hold finished bytes only."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Sequence
from itertools import accumulate

from ..record import Record, RecordBatch


def located(batches: Sequence[RecordBatch], places: Iterable[int]) -> list[tuple[int, int]]:
    """For each place the number of its batch and the row in it."""
    starts = list(accumulate((len(batch) for batch in batches), initial=0))
    numbers = [(bisect_right(starts, place) - 1, place) for place in places]
    return [(number, place - starts[number]) for number, place in numbers]


def rows_of(batches: Sequence[RecordBatch], places: Iterable[int]) -> list[list[int]]:
    """The places by batch, as rows of each, in their order and each once."""
    rows: list[list[int]] = [[] for _ in batches]
    for number, row in located(batches, sorted(set(places))):
        rows[number].append(row)
    return rows


class RecordsOf:
    """The records of a delivery by their places, counted over all its batches; looked into when it is first asked."""

    def __init__(self, batches: Sequence[RecordBatch]) -> None:
        self._batches = batches
        self._records: list[tuple[str, Record]] | None = None

    def at(self, places: Iterable[int]) -> list[tuple[str, Record]]:
        """The records at these places, with their tags."""
        if self._records is None:
            self._records = [(batch.tag, record) for batch in self._batches for record in batch.content.records()]
        return [self._records[place] for place in places]
