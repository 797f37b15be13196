"""From places in a delivery back to its records, for outputs whose requests hold finished bytes only."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from ..record import Record, RecordBatch


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
