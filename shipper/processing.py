"""An output with processors: filters that change what this output alone is given, just before it is sent.

They run once for each delivery, over copies, because the buffer shares its batches between outputs. What they made
stays with the delivery, so a retry sends the same. A delivery that was given back is taken and processed anew.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from functools import partial
from typing import Any

from .buffers.base import Delivery
from .context import Context
from .intake import ActiveFilter
from .outputs.base import Output, OutputOptions
from .record import Receipt, Record, RecordBatch, RecordList
from .supervisor import outcome

PROCESSOR_FAILED = "processor_failed"
"""Why records are dropped that a processor could not cope with."""

_REMARK_EVERY_S = 60.0


class _Passage:
    """A batch on its way through the processors; `passed` is what each was given and made of it."""

    __slots__ = ("left", "passed")

    def __init__(self, batch: RecordBatch) -> None:
        self.left: RecordBatch | None = batch
        self.passed: list[tuple[ActiveFilter, tuple[int, int], int]] = []


class ProcessedOutput(Output):
    """Hands on to another output what its processors leave of each delivery."""

    Options = OutputOptions

    def __init__(self, inner: Output, processors: Sequence[ActiveFilter], context: Context) -> None:
        self._inner = inner
        self._processors = tuple(processors)
        self._log = context.log
        self._failures = context.counter("processor_failures_total")
        self.limits = inner.limits
        self.concurrency = inner.concurrency
        self.flushes_apart = inner.flushes_apart

    def lane(self, batch: RecordBatch) -> Hashable:
        """As the other output names it, from what was stored: processors do not change the tag."""
        return self._inner.lane(batch)

    def expect(self, batch: RecordBatch) -> None:
        """Nothing: what the other output will encode is what the processors make of it."""

    async def open(self) -> None:
        await self._inner.open()

    async def send(self, delivery: Delivery) -> None:
        """Process a delivery that is new, and deliver what is left of it."""
        if delivery.filtered is None:
            await self._process(delivery)
        if delivery.batches:
            await self._inner.send(delivery)

    async def work(self) -> None:
        """As the other output does."""
        await self._inner.work()

    def overdue_s(self) -> float:
        return self._inner.overdue_s()

    def trouble(self) -> str:
        return self._inner.trouble()

    def flush(self) -> None:
        self._inner.flush()

    def left(self, delivery: Delivery) -> None:
        """Rows of what processors made are not those of what is stored."""
        return None

    async def close(self) -> None:
        await self._inner.close()

    async def _process(self, delivery: Delivery) -> None:
        """Replace the batches of a delivery, and note what that took out; if cancelled, nothing is changed."""
        passages: list[_Passage] = []
        failed: list[RecordBatch] = []
        for batch in delivery.batches:
            passage = _Passage(_copy_of(batch))
            if await self._has_passed(passage):
                passages.append(passage)
            else:
                await self._one_by_one(batch, passages, failed)
        filtered = delivery.records - sum(map(len, failed))
        for passage in passages:
            filtered -= len(passage.left) if passage.left is not None else 0
            for active, before, after in passage.passed:
                active.count(before, after)
        for batch in failed:
            delivery.refuse(len(batch), PROCESSOR_FAILED, partial(_records_of, batch), size=batch.size)
        delivery.batches = [p.left for p in passages if p.left is not None]
        delivery.filtered = filtered

    async def _one_by_one(self, batch: RecordBatch, passages: list[_Passage], failed: list[RecordBatch]) -> None:
        """Take the records of a batch through each alone, so that only those that make a processor fail are lost."""
        size = batch.size // len(batch)
        for record in batch.content.records():
            alone = RecordBatch(batch.tag, [record], size, Receipt(origin=batch.receipt.origin))
            passage = _Passage(_copy_of(alone))
            if await self._has_passed(passage):
                passages.append(passage)
            else:
                failed.append(alone)
        if failed:
            self._log.error("records dropped because a processor failed", every=_REMARK_EVERY_S, records=len(failed))

    async def _has_passed(self, passage: _Passage) -> bool:
        error = await outcome(
            self._pass(passage), self._log, self._failures, "a processor failed", every=_REMARK_EVERY_S
        )
        return error is None

    async def _pass(self, passage: _Passage) -> None:
        for active in self._processors:
            batch = passage.left
            if batch is None:
                return
            before = (len(batch), batch.size)
            await active.filter.prepare(batch)
            made = active.filter.apply(batch)
            passage.left = made if made is not None and len(made) else None
            passage.passed.append((active, before, len(made) if made is not None else 0))


def _records_of(batch: RecordBatch) -> list[tuple[str, Record]]:
    return [(batch.tag, record) for record in batch.content.records()]


def _copy_of(batch: RecordBatch) -> RecordBatch:
    """A batch that may be changed; content that is no list makes its records anew for whoever asks."""
    content, receipt = batch.content, Receipt(origin=batch.receipt.origin)
    if not isinstance(content, RecordList):
        return RecordBatch(batch.tag, content, batch.size, receipt)
    records = [Record(r.time_ns, _copied(r.body), _copied(r.metadata)) for r in content.records()]
    return RecordBatch(batch.tag, records, batch.size, receipt)


def _copied(value: Any) -> Any:
    """Maps and arrays anew; what else records hold is never changed."""
    if isinstance(value, dict):
        return {key: _copied(v) if isinstance(v, dict | list) else v for key, v in value.items()}
    if isinstance(value, list):
        return [_copied(v) if isinstance(v, dict | list) else v for v in value]
    return value
