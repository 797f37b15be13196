"""The way of a batch from its input to the buffer: filters, routing, and the counting of both."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import msgspec

from .buffers.base import Buffer
from .context import Context
from .filters.base import Filter
from .metrics import Counter
from .record import RecordBatch
from .router import Router

TAGS_REMEMBERED = 10_000


class ActiveFilter(msgspec.Struct):
    """A filter, what it matches, and the context that counts for it."""

    filter: Filter
    match: Callable[[str], bool]
    context: Context

    def count(self, before: tuple[int, int], after: int) -> None:
        """Count what went in (records, bytes) and the difference to the records that came out."""
        records, size = before
        self.context.counter("records_total").add(records)
        self.context.counter("bytes_total").add(size)
        if after < records:
            self.context.dropped(records - after, size * (records - after) // records, "filtered", wanted=True)
        elif after > records:
            self.context.counter("add_records_total").add(after - records)


class Intake:
    """Takes the batches of one input through the filters into its buffer.

    Every record that enters is afterwards stored for at least one output, or counted as dropped: by a filter, or
    because no output matches its tag.
    """

    def __init__(
        self, context: Context, filters: Sequence[ActiveFilter], router: Router, buffer: Buffer, is_routable: bool
    ) -> None:
        self._context = context
        self._filters = tuple(filters)
        self._router = router
        self._buffer = buffer
        self._is_routable = is_routable
        self._filters_of: dict[str, tuple[ActiveFilter, ...]] = {}
        self._records, self._bytes = context.counter("records_total"), context.counter("bytes_total")
        self._stored = context.counter("stored_records_total")
        self._filtered = context.counter("filtered_records_total")
        self._added = context.counter("added_records_total")
        self._routed: dict[str, Counter] = {}

    async def emit(self, batch: RecordBatch) -> None:
        """Take over the batch and its receipt; waits while filters wait or the buffer is full.

        If cancelled while waiting, nothing was taken or counted and the receipt stays with the caller.
        """
        await self._buffer.room(batch.size)
        records, size, receipt = len(batch), batch.size, batch.receipt
        left: RecordBatch | None = batch
        passed: list[tuple[ActiveFilter, tuple[int, int], int]] = []
        for active in self._filters_for(batch.tag):
            if left is None:
                break
            await active.filter.prepare(left)
            before = (len(left), left.size)
            left = active.filter.apply(left)
            passed.append((active, before, len(left) if left is not None else 0))
        # From here on nothing waits: the batch is counted and stored as one step.
        for active, before, after in passed:
            active.count(before, after)
        self._records.add(records)
        self._bytes.add(size)
        self._count_difference(len(left) if left is not None else 0, records)
        if left is None or len(left) == 0:
            receipt.settle()
        else:
            self._store(left)

    def _count_difference(self, left: int, records: int) -> None:
        if left < records:
            self._filtered.add(records - left)
        elif left > records:
            self._added.add(left - records)

    def _store(self, batch: RecordBatch) -> None:
        outputs = self._router.outputs_for(batch.tag) if self._is_routable else ()
        if outputs:
            self._stored.add(len(batch))
            for output in outputs:
                self._routed_to(output).add(len(batch))
            self._buffer.put(batch, outputs)
        else:
            self._context.dropped(len(batch), batch.size, "no_route", wanted=not self._is_routable)
            batch.receipt.settle()

    def _routed_to(self, output: str) -> Counter:
        found = self._routed.get(output)
        if found is None:
            name = self._context.alias
            found = self._context.metrics.counter("routing_records_total", input=name, output=output)
            self._routed[output] = found
        return found

    def _filters_for(self, tag: str) -> tuple[ActiveFilter, ...]:
        found = self._filters_of.get(tag)
        if found is None:
            if len(self._filters_of) >= TAGS_REMEMBERED:
                self._filters_of.clear()
            found = self._filters_of[tag] = tuple(f for f in self._filters if f.match(tag))
        return found
