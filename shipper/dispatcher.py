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
from collections.abc import Hashable
from functools import partial
from typing import TYPE_CHECKING

import msgspec

from .accounts import Accounts, rows_left
from .buffers.base import BatchLimits, Buffer, Delivery, Reader
from .circuit import Circuit
from .context import Context
from .errors import Counts, Rejected, RetryLater
from .flush_log import FlushLog
from .outputs.base import Output
from .record import RecordBatch
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


class _Source(msgspec.Struct):
    """One input's buffer as seen by this output; `is_backlog` says that nothing new comes from there."""

    input_name: str
    reader: Reader
    is_backlog: bool = False
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
        out_id: int = 0,
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
        self._accounts = Accounts(output, context, rejected)
        self._told = FlushLog(context, out_id)
        self._circuit = Circuit(backoff)
        self._sources: list[_Source] = []
        self._waiting: list[tuple[float, int, _Source, Delivery]] = []
        self._order = itertools.count()
        self._in_flight = 0
        self._is_hurried = False
        self._is_draining = False
        self._is_flushing = False
        self._unended = 0
        """Deliveries that the output keeps and has not ended."""
        self._kept_records = 0
        self._taken = 0
        self._last_error = ""
        self._wake = asyncio.Event()
        count = context.counter
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
        """Try everything that waits for its back-off now, and shortly again if that fails.

        From now on failed attempts do not count against `retry_limit`: nothing is dropped because the service stops.
        """
        self._is_hurried = True
        now = self._clock.monotonic()
        self._waiting = [(now, n, source, delivery) for _, n, source, delivery in self._waiting]
        heapq.heapify(self._waiting)
        self._wake.set()

    def flush(self) -> None:
        """Deliver what is held now, also what is not due yet."""
        self._is_flushing = True
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
        for _, _, source, delivery in self._waiting:
            if not self._kept_progress(source, delivery):
                source.reader.give_back(delivery)
        self._waiting.clear()

    def _kept_progress(self, source: _Source, delivery: Delivery) -> bool:
        """Whether output and buffer could part what is done of a delivery from the rest, which alone is given back."""
        if not delivery.accepted and not delivery.refused:
            return False
        left = rows_left(self._output, delivery)
        if left is None or not source.reader.give_back_rest(delivery, left):
            return False
        self._accounts.count_done(source.input_name, delivery, delivery.accepted)
        return True

    @property
    def _is_busy(self) -> bool:
        """Whether it may begin no delivery until one has ended, or it need not rest any more."""
        return self.is_resting or self._in_flight >= self._concurrency

    def _is_drained(self) -> bool:
        """Whether nothing is left to do at a stop; a backlog that no delivery was taken from does not count."""
        if self._waiting or self._unended:
            return False
        return not any(s.reader.held()[0] for s in self._sources if not self._is_left_at_stop(s))

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
            taken = source.reader.take(now, flush=self._is_draining or self._is_flushing)
            if taken is not None:
                # The next search begins behind this source, so that no input can starve the others.
                self._sources = self._sources[position + 1 :] + self._sources[: position + 1]
                return source, taken
        self._is_flushing = False
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
            # What is done of it stays known: at a stop, and if the work beside has failed and all begins anew.
            self._wait(self._clock.monotonic(), source, delivery)
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
        self._told.delivered(source.input_name, delivery)
        self._taken += 1
        if delivery.kept is None:
            self._finish(source, delivery, delivery.records - delivery.refused_records, None)
            return
        self._unended += 1
        self._kept_records += delivery.records
        self._accounts.keep_refused(delivery)
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

        `words` are what the destination said last.
        """
        dropped = self._accounts.finish(source.input_name, delivery, accepted, refusal, words)
        if dropped and refusal is not None:
            self._told.dropped(source.input_name, delivery, dropped, refusal)
        source.reader.commit(delivery)

    def _failed(self, source: _Source, delivery: Delivery, error: Exception, started: float) -> None:
        now = self._clock.monotonic()
        wish = error.after or 0.0 if isinstance(error, RetryLater) else 0.0
        most = max(PROBE_S, wish) if isinstance(error, RetryLater) and error.counts is Counts.NEVER else math.inf
        # Where the number of attempts is limited, they may not be used up faster than the back-off does it.
        may_probe_soon = self._retries is None and most == math.inf
        self._circuit.failed(now, started, wish, max(OPEN_PROBE_S, wish) if may_probe_soon else most)
        if not self._is_hurried and self._counts(delivery, error):
            if self._retries is not None and delivery.counted >= self._retries:
                self._give_up(source, delivery, error)
                return
            delivery.counted += 1
        delivery.attempts += 1
        self._retried.add()
        self._retried_records.add(delivery.records)
        pause = min(self._backoff.wait(delivery.attempts, wish), most)
        told = self._circuit.next_in(now, pause)
        if self._is_hurried:
            told = pause = DRAIN_RETRY_S
        # What is tried each second is told once of each delivery, as there may be many.
        if not self._is_hurried or delivery.attempts == 1:
            self._told.retried(source.input_name, delivery, told, error)
        self._wait(now + pause, source, delivery)

    def _give_up(self, source: _Source, delivery: Delivery, error: Exception) -> None:
        """Drop what is left of a delivery whose retries are used up."""
        self._retries_failed.add()
        if self._retries == 0:
            refusal = "no_retries"
            self._told.not_retried(source.input_name, delivery, error)
        else:
            refusal = "retries_exhausted"
            self._told.given_up(source.input_name, delivery, error)
        self._finish(source, delivery, delivery.accepted, refusal, str(error))

    def _counts(self, delivery: Delivery, error: Exception) -> bool:
        """Whether the failure counts against `retry_limit`."""
        before, delivery.reached = delivery.reached, (self._taken, delivery.accepted)
        if not isinstance(error, RetryLater) or error.counts is Counts.ALWAYS:
            return True
        return error.counts is Counts.WITHOUT_PROGRESS and delivery.reached == before

    def _wait(self, until: float, source: _Source, delivery: Delivery) -> None:
        heapq.heappush(self._waiting, (until, next(self._order), source, delivery))

    def __repr__(self) -> str:
        return f"Dispatcher({self.name}, in flight {self._in_flight}, waiting {len(self._waiting)}, held {self.held()})"
