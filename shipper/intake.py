"""The way of a batch from its input to the buffer: filters, routing, and the counting of both.

A filter that keeps records back hands them out as batches of its own. Those wait in a line until `run` takes them
through the filters again; an input that emits meanwhile waits until that line is empty. So a full buffer slows the
input down as it would without the filter, and nothing has to be thrown away.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import msgspec

from .buffers.base import Buffer
from .context import Context
from .filters.base import Filter, HoldingFilter
from .metrics import LATENCY_BOUNDS_S, Counter
from .record import Content, RecordBatch, RecordList
from .router import Router
from .supervisor import outcome

if TYPE_CHECKING:
    from .buffers.filesystem import RejectedStore

TAGS_REMEMBERED = 10_000

NO_ROUTE = "no_route"
FILTER_FAILED = "filter_failed"
"""Why records that an input has emitted may end here; other reasons are of the input itself, before it emits."""

_REMARK_EVERY_S = 60.0

_SHORTEST_WAIT_S = 0.001
"""What takes less was no wait."""


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

    def count_joined(self, records: int) -> None:
        """Count records that live on as a part of others, or, below zero, those that were made beside them."""
        if records > 0:
            self.context.dropped(records, 0, "joined", wanted=True)
        else:
            self.context.counter("add_records_total").add(-records)


class _Holder:
    """A filter that keeps records of this input back, and what it holds of those that have one way behind them.

    `skipped` are the filters that handed out before what comes here, in their order; what this one hands out skips them
    and itself, so that no record goes round in circles. The filter knows this as a source of its own. `due` is when it
    wants to be asked, None if it holds nothing.
    """

    __slots__ = ("active", "due", "filter", "ready", "skipped", "source")

    def __init__(
        self, active: ActiveFilter, filter: HoldingFilter, input_name: str, skipped: tuple[ActiveFilter, ...]
    ) -> None:
        self.active = active
        self.filter = filter
        self.source = " > ".join((input_name, *(f.context.name for f in skipped)))
        self.skipped = (*skipped, active)
        self.due: float | None = None
        self.ready: list[RecordBatch] = []

    def held(self) -> int:
        return self.filter.held(self.source)

    def step(self, batch: RecordBatch | None, now: float | None) -> tuple[RecordBatch | None, int]:
        """Let it take a batch, or release what is due; gives what goes on at once, and how many records vanished.

        Records that go in or were held come out, are held, or have become a part of another one.
        """
        before = self.held() + (len(batch) if batch is not None else 0)
        left = None
        if batch is not None:
            left = self.filter.take(batch, self.source)
        else:
            self.due = self.filter.release(self.source, now)
        ready = self.filter.handed_out(self.source)
        self.ready += ready
        after = self.held() + sum(map(len, ready)) + (len(left) if left is not None else 0)
        return left, before - after


class _Passage:
    """A batch on its way through the filters. It may stop while one of them waits, and go on from there later.

    `entering` is what the filter at `position` was given, in records and bytes; `has_failed` says that it raised.
    """

    __slots__ = (
        "entering",
        "filters",
        "has_failed",
        "left",
        "passed",
        "position",
        "receipt",
        "size",
        "skipped",
        "vanished",
    )

    def __init__(
        self, batch: RecordBatch, filters: tuple[ActiveFilter, ...], skipped: tuple[ActiveFilter, ...] = ()
    ) -> None:
        self.left: RecordBatch | None = batch
        self.receipt = batch.receipt
        self.size = batch.size
        self.filters = filters
        self.skipped = skipped
        self.position = 0
        self.entering = (len(batch), batch.size)
        self.has_failed = False
        self.passed: list[tuple[ActiveFilter, tuple[int, int], int]] = []
        self.vanished = 0


class Intake:
    """Takes the batches of one input through the filters into its buffer.

    Every record that enters is afterwards stored for at least one output, held by a filter, or counted as dropped: by a
    filter, or because no output matches its tag.
    """

    def __init__(
        self,
        context: Context,
        filters: Sequence[ActiveFilter],
        router: Router,
        buffer: Buffer,
        is_routable: bool,
        rejected: RejectedStore | None = None,
    ) -> None:
        self._context = context
        self._rejected = rejected
        self._filters = tuple(filters)
        self._router = router
        self._buffer = buffer
        self._is_routable = is_routable
        self._filters_of: dict[str, tuple[ActiveFilter, ...]] = {}
        self._records, self._bytes = context.counter("records_total"), context.counter("bytes_total")
        self._stored = context.counter("stored_records_total")
        self._filtered = context.counter("filtered_records_total")
        self._added = context.counter("added_records_total")
        self._failures = context.counter("filter_failures_total")
        self._routed: dict[str, tuple[Counter, Counter]] = {}
        self.last_taken_at = float("-inf")
        """When the input brought something for the last time."""
        self.has_holders = any(isinstance(f.filter, HoldingFilter) for f in self._filters)
        """Whether a filter may keep records back, so that `run` has something to do."""
        self._holders: dict[tuple[int, ...], _Holder] = {}
        self._returning: deque[_Passage] = deque()
        self._all_returned = asyncio.Event()
        self._wake = asyncio.Event()
        self._is_to_hand_out = False
        if self.has_holders:
            context.metrics.gauge("input_held_records", self.held, name=context.alias)

    def held(self) -> int:
        """Records that filters keep back, and those that they have handed out and that wait to go on."""
        kept = sum(holder.held() for holder in self._holders.values())
        return kept + sum(len(p.left) for p in self._returning if p.left is not None)

    async def emit(self, batch: RecordBatch) -> None:
        """Take over the batch and its receipt; waits while filters wait or the buffer is full.

        If cancelled while waiting, nothing was taken or counted and the receipt stays with the caller.
        """
        while self._returning:
            await self._all_returned.wait()
        await self._room(batch.size)
        records, size, content = len(batch), batch.size, batch.content
        passage = _Passage(batch, self._filters_for(batch.tag))
        parts = [passage]
        if not await self._has_passed(passage):
            parts = await self._one_by_one(batch.tag, content, passage)
        # From here on nothing waits: the batch is counted and stored as one step.
        self._records.add(records)
        self._bytes.add(size)
        self.last_taken_at = self._context.clock.monotonic()
        for part in parts:
            self._finish(part)

    async def run(self) -> None:
        """Ask for the held records that are due, and take what is handed out through the filters, until cancelled."""
        clock = self._context.clock
        while True:
            self._wake.clear()
            now = clock.monotonic()
            is_to_hand_out, self._is_to_hand_out = self._is_to_hand_out, False
            for holder in list(self._holders.values()):
                if is_to_hand_out:
                    self._release(holder, None)
                elif holder.due is None or holder.due <= now:
                    self._release(holder, now)
            await self._go_on_returning()
            due = min((h.due for h in self._holders.values() if h.due is not None), default=None)
            await clock.wait(self._wake, None if due is None else max(0.0, due - clock.monotonic()))

    def hand_out_soon(self) -> None:
        """Let `run` make the filters hand out everything that they hold now, whether it is due or not."""
        self._is_to_hand_out = True
        self._wake.set()

    async def hand_out(self) -> None:
        """Make the filters hand out everything, and wait until it is in the buffer; `run` has ended before."""
        while self.held():
            for holder in list(self._holders.values()):
                self._release(holder, None)
            await self._go_on_returning()

    async def _has_passed(self, passage: _Passage) -> bool:
        """Take it through the filters that are left; false if one raised, and then nothing of it may go on."""
        if not passage.filters:
            return True
        error = await outcome(
            self._go_on(passage), self._context.log, self._failures, "a filter failed", every=_REMARK_EVERY_S
        )
        if error is None:
            return True
        if isinstance(passage.filters[passage.position].filter, HoldingFilter):
            raise error  # what it has kept of the batch is not known, so all of it stays owed
        passage.has_failed = True
        return False

    async def _one_by_one(self, tag: str, content: Content, failed: _Passage) -> list[_Passage]:
        """Take the records through the filters again, each alone, so that only those that make a filter fail are lost.

        That needs records as they were: content that is a plain list may be half changed, and a filter that keeps
        records back would get them twice. Then the batch is lost as a whole.
        """
        count = len(content)
        has_holders = any(isinstance(active.filter, HoldingFilter) for active in failed.filters)
        if count < 2 or has_holders or isinstance(content, RecordList):
            return [failed]
        size, receipt = failed.size // count, failed.receipt
        sizes = [failed.size - size * (count - 1), *[size] * (count - 1)]
        alone = [RecordBatch(tag, [r], n, receipt) for r, n in zip(content.records(), sizes, strict=True)]
        parts = [_Passage(batch, failed.filters) for batch in alone]
        for part in parts:
            await self._has_passed(part)
        receipt.share(len(parts) - 1)
        return parts

    async def _go_on(self, passage: _Passage) -> None:
        filters = passage.filters
        while passage.left and passage.position < len(filters):
            active, batch = filters[passage.position], passage.left
            before = passage.entering = (len(batch), batch.size)
            await active.filter.prepare(batch)
            if self.has_holders and isinstance(active.filter, HoldingFilter):
                passage.left = self._take(self._holder(active, active.filter, passage.skipped), passage)
                passage.passed.append((active, before, before[0]))
            else:
                passage.left = active.filter.apply(batch)
                passage.passed.append((active, before, len(passage.left) if passage.left is not None else 0))
            if passage.left is not None:
                passage.receipt = passage.left.receipt
            passage.position += 1

    def _holder(self, active: ActiveFilter, filter: HoldingFilter, skipped: tuple[ActiveFilter, ...]) -> _Holder:
        key = (id(active), *map(id, skipped))
        found = self._holders.get(key)
        if found is None:
            found = self._holders[key] = _Holder(active, filter, self._context.alias, skipped)
        return found

    def _take(self, holder: _Holder, passage: _Passage) -> RecordBatch | None:
        left, joined = holder.step(passage.left, None)
        passage.vanished += joined
        if joined:
            holder.active.count_joined(joined)
        self._line_up(holder)
        if self._returning or holder.due is None:
            self._wake.set()
        return left

    def _release(self, holder: _Holder, now: float | None) -> None:
        _, joined = holder.step(None, now)
        if joined:
            holder.active.count_joined(joined)
            self._filtered.add(joined)
        self._line_up(holder)

    def _line_up(self, holder: _Holder) -> None:
        """Let what the filter has handed out wait for its way through the filters that it does not skip."""
        if not holder.ready:
            return
        skipped = holder.skipped
        for batch in holder.ready:
            filters = self._filters_for(batch.tag)
            for active in skipped:
                if isinstance(active.filter, HoldingFilter) and any(active is f for f in filters):
                    active.filter.passed_by(batch)
            filters = tuple(f for f in filters if not any(f is s for s in skipped))
            self._returning.append(_Passage(batch, filters, skipped))
        holder.ready.clear()
        self._all_returned.clear()

    async def _room(self, size: int) -> None:
        """Wait for room in the buffer, and count the wait for the output that holds the most."""
        clock = self._context.clock
        began = clock.monotonic()
        await self._buffer.room(size)
        waited_s = clock.monotonic() - began
        if waited_s >= _SHORTEST_WAIT_S:
            held = self._buffer.held()
            output = max(held, key=held.__getitem__)
            metrics = self._context.metrics
            metrics.histogram("output_backpressure_wait_seconds", LATENCY_BOUNDS_S, output=output).observe(waited_s)

    async def _go_on_returning(self) -> None:
        while self._returning:
            passage = self._returning[0]
            await self._room(passage.size)
            await self._has_passed(passage)
            self._returning.popleft()
            self._finish(passage)
        self._all_returned.set()

    def _finish(self, passage: _Passage) -> None:
        """Count what the filters did, and store what is left."""
        vanished, left = passage.vanished, passage.left
        for active, before, after in passage.passed:
            active.count(before, after)
            vanished += before[0] - after
        if vanished > 0:
            self._filtered.add(vanished)
        elif vanished < 0:
            self._added.add(-vanished)
        if passage.has_failed:
            self._drop(passage)
        elif left is None or len(left) == 0:
            passage.receipt.settle()
        else:
            self._store(left)

    def _drop(self, passage: _Passage) -> None:
        """Count what a filter could not cope with as lost, in its account and in ours."""
        active, (records, size) = passage.filters[passage.position], passage.entering
        active.context.counter("records_total").add(records)
        active.context.counter("bytes_total").add(size)
        active.context.dropped(records, size, "failed")
        self._context.dropped(records, size, FILTER_FAILED)
        name = active.context.alias
        self._context.log.error("records dropped because a filter failed", every=_REMARK_EVERY_S, filter=name)
        if self._rejected is not None and passage.left is not None:
            self._rejected.keep(name, FILTER_FAILED, "the log has the error", passage.left.tag, passage.left)
        passage.receipt.settle()

    def _store(self, batch: RecordBatch) -> None:
        outputs = self._router.outputs_for(batch.tag) if self._is_routable else ()
        if outputs:
            self._buffer.put(batch, outputs)
            self._stored.add(len(batch))
            for output in outputs:
                records, size = self._routed_to(output)
                records.add(len(batch))
                size.add(batch.size)
        else:
            self._context.dropped(len(batch), batch.size, NO_ROUTE, wanted=not self._is_routable)
            batch.receipt.settle()

    def _routed_to(self, output: str) -> tuple[Counter, Counter]:
        """The counters of records and bytes that went to an output."""
        found = self._routed.get(output)
        if found is None:
            name, counter = self._context.alias, self._context.metrics.counter
            found = self._routed[output] = (
                counter("routing_records_total", input=name, output=output),
                counter("routing_bytes_total", input=name, output=output),
            )
        return found

    def _filters_for(self, tag: str) -> tuple[ActiveFilter, ...]:
        found = self._filters_of.get(tag)
        if found is None:
            if len(self._filters_of) >= TAGS_REMEMBERED:
                self._filters_of.clear()
            found = self._filters_of[tag] = tuple(f for f in self._filters if f.match(tag))
        return found
