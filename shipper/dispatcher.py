"""Brings deliveries from the buffers to one output: batching, retry, parallelism and counting, written once.

A failed delivery keeps its lane and is tried again, the same bytes, after a back-off of its own; other lanes go on.
When several attempts in a row have failed and none has succeeded, the destination itself is taken to be away: the
circuit opens, and one attempt per back-off step probes it until one succeeds.

An output may keep a delivery that it has taken over (`Delivery.keep`). Its lane goes on then, its memory is free, and
its records are counted, and its receipts settled, when the output says how it ended.
"""

from __future__ import annotations

import asyncio
import heapq
import itertools
import math
from collections.abc import Hashable, Iterable
from functools import partial
from operator import itemgetter
from typing import TYPE_CHECKING

import msgspec

from .buffers.base import BatchLimits, Buffer, Delivery, Reader
from .circuit import Circuit
from .context import Context
from .errors import Counts, Rejected, RetryLater
from .metrics import LATENCY_BOUNDS_S
from .outputs.base import Output
from .record import Record, RecordBatch
from .retry import Backoff
from .supervisor import outcome

if TYPE_CHECKING:
    from .buffers.filesystem import RejectedStore

DELIVERY_DEADLINE_S = 300.0
"""A delivery that is not done after this time is taken for hung and tried again."""

DRAIN_RETRY_S = 1.0
"""Wait before a retry while stopping."""

OPEN_PROBE_S = 8.0
"""The longest wait before a destination that is away is probed: one attempt costs little, and it may be back."""

PROBE_S = 60.0
"""The longest wait for what heals without the data; whoever has mended it should not wait for hours to see that."""


def count_dropped(output: Context, input_name: str, records: int, size: int, reason: str) -> None:
    """Count records of an input that end at an output, or on the way to it."""
    output.dropped(records, size, reason)
    count = output.metrics.counter
    count("routing_drop_records_total", input=input_name, output=output.alias).add(records)
    count("routing_drop_bytes_total", input=input_name, output=output.alias).add(size)


class _Source(msgspec.Struct):
    """One input's buffer as seen by this output; `is_backlog` says that nothing new comes from there."""

    input_name: str
    reader: Reader
    is_backlog: bool = False
    given_up: int = 0
    """Records whose retries are used up while stopping."""
    in_flight: int = 0
    in_flight_size: int = 0


class DispatcherStatistics(msgspec.Struct, frozen=True):
    """How an output is doing.

    `taken` counts deliveries that the output has taken over or delivered; while it moves, there is progress. `held` and
    `size` are records and bytes that are owed to it, `kept` those of the records that it keeps in a place of its own.
    `last_error` is what the last attempt ended with, empty if that went well. `busy` has for each input the deliveries,
    and their bytes, that are on their way or wait for another attempt.
    """

    taken: int
    held: int
    size: int
    kept: int
    in_flight: int
    last_error: str
    busy: dict[str, tuple[int, int]]


class Dispatcher:
    """The deliveries of one output, from all buffers routed to it."""

    def __init__(
        self,
        output: Output,
        context: Context,
        concurrency: int,
        retries: int | None,
        backoff: Backoff,
        rejected: RejectedStore | None = None,
    ) -> None:
        self.name = context.alias
        self._output = output
        self._context = context
        self._log = context.log
        self._clock = context.clock
        self._concurrency = concurrency
        self.is_resting = False
        """Whether it begins no delivery for now."""
        self._retries = retries
        self._backoff = backoff
        self._rejected = rejected
        self._circuit = Circuit(backoff)
        self._sources: list[_Source] = []
        self._waiting: list[tuple[float, int, _Source, Delivery]] = []
        self._given_up: list[tuple[_Source, Delivery]] = []
        self._order = itertools.count()
        self._in_flight = 0
        self._is_hurried = False
        self._is_draining = False
        self._unended = 0
        """Deliveries that the output keeps and has not ended."""
        self._kept_records = 0
        self._taken = 0
        self._last_error = ""
        self._wake = asyncio.Event()
        count = context.counter
        self._proc_records, self._proc_bytes = count("proc_records_total"), count("proc_bytes_total")
        self._errors, self._failures = count("errors_total"), count("failures_total")
        self._retried, self._retried_records = count("retries_total"), count("retried_records_total")
        self._retries_failed = count("retries_failed_total")

    def attach(self, input_name: str, buffer: Buffer, *, is_backlog: bool = False) -> None:
        """Deliver what is put into this buffer for this output; a backlog is left where it is at a stop."""
        flush_s, most = self._context.service.flush, self._output.limits
        limits = BatchLimits(most.size, most.records, flush_s, self._output.flushes_apart * flush_s)
        self._sources.append(
            _Source(input_name, buffer.reader(self.name, self._lane, limits, self._wake.set), is_backlog)
        )

    def held(self) -> tuple[int, int]:
        """Records and bytes that wait for this output or are on their way."""
        held = [s.reader.held() for s in self._sources]
        return sum(records for records, _ in held), sum(size for _, size in held)

    def statistics(self) -> DispatcherStatistics:
        """A snapshot for those who watch."""
        busy = {s.input_name: (s.in_flight, s.in_flight_size) for s in self._sources}
        for _, _, source, delivery in self._waiting:
            count, size = busy[source.input_name]
            busy[source.input_name] = (count + 1, size + delivery.size)
        held, size = self.held()
        return DispatcherStatistics(
            self._taken, held, size, self._kept_records, self._in_flight, self._last_error, busy
        )

    def begin_drain(self) -> None:
        """From now on deliver everything at once, retry shortly, and let `run` return when nothing is left."""
        self._is_draining = True
        if self._is_hurried:
            self._wake.set()
        else:
            self.hurry()

    def hurry(self) -> None:
        """Try everything that waits for its back-off now, and shortly again if that fails; nothing is given up."""
        self._is_hurried = True
        now = self._clock.monotonic()
        self._waiting = [(now, n, source, delivery) for _, n, source, delivery in self._waiting]
        heapq.heapify(self._waiting)
        self._wake.set()

    def rest(self) -> None:
        """Begin no delivery until `go_on`; those that are on their way go on."""
        self.is_resting = True

    def go_on(self) -> None:
        """Deliver again after `rest`."""
        self.is_resting = False
        self._wake.set()

    async def run(self) -> None:
        """Deliver until drained or cancelled; what was taken and not delivered by then is owed again."""
        try:
            await self._run()
        except asyncio.CancelledError:
            self._give_back_rest()
            raise
        self._give_back_rest()

    async def _run(self) -> None:
        async with asyncio.TaskGroup() as attempts:
            work = attempts.create_task(self._output.work())
            while True:
                self._wake.clear()
                now = self._clock.monotonic()
                while not self._is_busy and (found := self._next(now)):
                    self._begin(attempts, *found)
                if self._is_draining and self._in_flight == 0:
                    if self._is_drained():
                        work.cancel()
                        return
                    if self._unended:
                        self._output.flush()
                await self._clock.wait(self._wake, self._sleep_s(now))

    def _give_back_rest(self) -> None:
        for source, delivery in [*self._given_up, *((s, d) for _, _, s, d in self._waiting)]:
            if not self._kept_progress(source, delivery):
                source.reader.give_back(delivery)
        self._given_up.clear()
        self._waiting.clear()

    def _kept_progress(self, source: _Source, delivery: Delivery) -> bool:
        """Whether output and buffer could part what is done of a delivery from the rest, which alone is given back."""
        done = delivery.accepted + delivery.refused_records
        if not done or delivery.filtered is not None:
            return False
        left = self._output.left(delivery)
        if left is None or sum(map(len, left)) != delivery.records - done:
            return False
        if not source.reader.give_back_rest(delivery, left):
            return False
        self._count_done(source, delivery, delivery.accepted)
        return True

    @property
    def _is_busy(self) -> bool:
        """Whether it may begin no delivery until one has ended, or it need not rest any more."""
        return self.is_resting or self._in_flight >= self._concurrency

    def _is_drained(self) -> bool:
        """Whether nothing is left to do at a stop; a backlog that no delivery was taken from does not count."""
        if self._waiting or self._unended:
            return False
        return all(s.reader.held()[0] == s.given_up for s in self._sources if not self._is_left_at_stop(s))

    def _is_left_at_stop(self, source: _Source) -> bool:
        return source.is_backlog and not self._context.service.storage_backlog_flush_on_shutdown

    def _lane(self, batch: RecordBatch) -> Hashable:
        self._output.expect(batch)
        return self._output.lane(batch)

    def _next(self, now: float) -> tuple[_Source, Delivery] | None:
        is_probing = self._circuit.is_open and not self._is_hurried
        if is_probing and (self._in_flight > 0 or now < self._circuit.probe_at):
            return None
        if self._waiting and (self._waiting[0][0] <= now or is_probing):
            _, _, source, delivery = heapq.heappop(self._waiting)
            return source, delivery
        for position, source in enumerate(self._sources):
            if self._is_draining and self._is_left_at_stop(source):
                continue
            taken = source.reader.take(now, flush=self._is_draining)
            if taken is not None:
                # The next search begins behind this source, so that no input can starve the others.
                self._sources = self._sources[position + 1 :] + self._sources[: position + 1]
                return source, taken
        return None

    def _sleep_s(self, now: float) -> float | None:
        if self._is_busy:
            return None
        if self._circuit.is_open and not self._is_hurried:
            if self._in_flight:
                return None
            if now < self._circuit.probe_at:
                return self._circuit.probe_at - now
        times = [due for s in self._sources if (due := s.reader.due_in(now)) is not None]
        if self._waiting:
            times.append(max(0.0, self._waiting[0][0] - now))
        return min(times, default=None)

    def _begin(self, attempts: asyncio.TaskGroup, source: _Source, delivery: Delivery) -> None:
        self._in_flight += 1
        source.in_flight += 1
        source.in_flight_size += delivery.size
        # A task that is cancelled before its first step gets to no `finally` of its own.
        attempts.create_task(self._attempt(source, delivery)).add_done_callback(partial(self._over, source, delivery))

    def _over(self, source: _Source, delivery: Delivery, attempt: asyncio.Task[None]) -> None:
        self._in_flight -= 1
        source.in_flight -= 1
        source.in_flight_size -= delivery.size
        if attempt.cancelled():
            source.reader.give_back(delivery)
        self._wake.set()

    async def _attempt(self, source: _Source, delivery: Delivery) -> None:
        started = self._clock.monotonic()
        error = await outcome(self._send(delivery), self._log, self._failures)
        self._last_error = "" if error is None else str(error) or type(error).__name__
        if error is None:
            self._delivered(source, delivery)
        elif isinstance(error, Rejected):
            self._circuit.succeeded()
            self._errors.add()
            self._finish(source, delivery, delivery.accepted, error.reason)
        else:
            self._failed(source, delivery, error, started)

    async def _send(self, delivery: Delivery) -> None:
        try:
            async with asyncio.timeout(DELIVERY_DEADLINE_S):
                await self._output.send(delivery)
        except TimeoutError as error:
            raise RetryLater(f"no end after {DELIVERY_DEADLINE_S:g} seconds") from error

    def _delivered(self, source: _Source, delivery: Delivery) -> None:
        if self._circuit.succeeded():
            self._log.info("destination answers again")
            self._waiting = [(0.0, n, s, d) for _, n, s, d in self._waiting]
            heapq.heapify(self._waiting)
        if delivery.attempts:
            self._log.info(f"flush chunk succeeded at retry {delivery.attempts}: {self._told(source, delivery)}")
        self._taken += 1
        if delivery.kept is None:
            self._finish(source, delivery, delivery.records - delivery.refused_records, None)
            return
        self._unended += 1
        self._kept_records += delivery.records
        self._keep_refused(delivery)
        source.reader.keep(delivery)
        delivery.kept.when_ended(partial(self._ended, source, delivery))

    def _ended(self, source: _Source, delivery: Delivery, refusal: str | None) -> None:
        """The output has ended what it kept; with a reason, nothing of it was delivered."""
        self._unended -= 1
        self._kept_records -= delivery.records
        accepted = delivery.records - delivery.refused_records if refusal is None else delivery.accepted
        self._finish(source, delivery, accepted, refusal)
        self._wake.set()

    def _finish(self, source: _Source, delivery: Delivery, accepted: int, refusal: str | None, words: str = "") -> None:
        """Count every record of the delivery once, as delivered or as dropped for a reason, and commit it.

        `words` are what the destination said last, for the store of rejected records.
        """
        self._count_done(source, delivery, accepted)
        rest = delivery.records - delivery.refused_records - accepted
        if rest and refusal is not None:
            size = delivery.size * rest // delivery.records
            count_dropped(self._context, source.input_name, rest, size, refusal)
            self._keep_rest(delivery, refusal, words)
            self._log.error("records dropped", records=rest, reason=refusal, of=self._told(source, delivery))
        source.reader.commit(delivery)

    def _count_done(self, source: _Source, delivery: Delivery, accepted: int) -> None:
        """Count what of the delivery is delivered, and what was refused or taken out."""
        self._keep_refused(delivery)
        for reason, (records, size) in delivery.refused.items():
            count_dropped(self._context, source.input_name, records, size, reason)
        if filtered := delivery.filtered:
            self._count_filtered(filtered, delivery)
        if accepted:
            latency = self._clock.monotonic() - delivery.started
            self._context.metrics.histogram(
                "output_latency_seconds", LATENCY_BOUNDS_S, input=source.input_name, output=self.name
            ).observe(latency)
        self._proc_records.add(accepted)
        self._proc_bytes.add(delivery.size * accepted // max(1, delivery.records))

    def _count_filtered(self, filtered: int, delivery: Delivery) -> None:
        """Count what the processors of the output took out, or have made more."""
        if filtered > 0:
            self._context.dropped(filtered, delivery.size * filtered // delivery.records, "filtered", wanted=True)
        else:
            self._context.counter("added_records_total").add(-filtered)

    def _keep_refused(self, delivery: Delivery) -> None:
        """Hand what the destination has refused alone over to the store of rejected records."""
        if self._rejected is not None:
            for refusal in delivery.refusals:
                self._keep_records(refusal.which(), refusal.status or refusal.reason, refusal.message)
        delivery.refusals.clear()

    def _keep_rest(self, delivery: Delivery, reason: str, words: str) -> None:
        """The same for a delivery that has failed; which records a part had that was accepted is not known."""
        if self._rejected is not None:
            if delivery.accepted or delivery.refused:
                words = f"{words} (some of the {delivery.records} records may have been delivered)".lstrip()
            self._keep_records(((b.tag, r) for b in delivery.batches for r in b.content.records()), reason, words)

    def _keep_records(self, records: Iterable[tuple[str, Record]], status: str, words: str) -> None:
        assert self._rejected is not None
        for tag, run in itertools.groupby(records, key=itemgetter(0)):
            self._rejected.keep(self.name, status, words, tag, [record for _, record in run])

    def _failed(self, source: _Source, delivery: Delivery, error: Exception, started: float) -> None:
        now = self._clock.monotonic()
        wish = error.after or 0.0 if isinstance(error, RetryLater) else 0.0
        most = max(PROBE_S, wish) if isinstance(error, RetryLater) and error.counts is Counts.NEVER else math.inf
        # Where the number of attempts is limited, they may not be used up faster than the back-off does it.
        may_probe_soon = self._retries is None and most == math.inf
        self._circuit.failed(now, started, wish, max(OPEN_PROBE_S, wish) if may_probe_soon else most)
        counts = self._counts(delivery, error)
        is_last = counts and self._retries is not None and delivery.counted >= self._retries
        delivery.counted += counts
        if self._is_hurried:
            # Nothing is dropped because the service stops: what may not be tried again stays owed to its input.
            if is_last:
                source.given_up += delivery.records
                self._given_up.append((source, delivery))
            else:
                delivery.attempts += 1
                self._wait(now + DRAIN_RETRY_S, source, delivery)
            return
        if is_last:
            self._retries_failed.add()
            self._log.error(f"chunk cannot be retried: {self._told(source, delivery)}", reason=error)
            refusal = "no_retries" if self._retries == 0 else "retries_exhausted"
            self._finish(source, delivery, delivery.accepted, refusal, str(error))
            return
        delivery.attempts += 1
        self._retried.add()
        self._retried_records.add(delivery.records)
        pause = min(self._backoff.wait(delivery.attempts, wish), most)
        shown = f"failed to flush chunk, retry in {pause:g} seconds: {self._told(source, delivery)}"
        self._log.warning(shown, reason=error)
        self._wait(now + pause, source, delivery)

    def _counts(self, delivery: Delivery, error: Exception) -> bool:
        """Whether the failure counts against `retry_limit`."""
        before, delivery.reached = delivery.reached, (self._taken, delivery.accepted)
        if not isinstance(error, RetryLater) or error.counts is Counts.ALWAYS:
            return True
        return error.counts is Counts.WITHOUT_PROGRESS and delivery.reached == before

    def _wait(self, until: float, source: _Source, delivery: Delivery) -> None:
        heapq.heappush(self._waiting, (until, next(self._order), source, delivery))

    def _told(self, source: _Source, delivery: Delivery) -> str:
        return f"input={source.input_name} > output={self._context.alias}, records={delivery.records}"

    def __repr__(self) -> str:
        return f"Dispatcher({self.name}, in flight {self._in_flight}, waiting {len(self._waiting)}, held {self.held()})"
