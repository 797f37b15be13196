"""How an engine stops: in the direction of the flow, within Grace, and at once if it is asked twice.

An engine that makes room for another one, at a hot reload, waits until everything is delivered, however long Grace is.
What it does not wait for is an output that is away, as soon as what is owed to it is on disk or will be read again. For
outputs that are slow, or are away and owed what is in memory alone, it waits while all goes on (`making_room.py`).
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, Callable, Sequence
from functools import partial

from .assembly import Assembly, Kept, RunningInput
from .clock import Clock
from .config.service import ServiceOptions
from .context import Context
from .dispatcher import Dispatcher
from .inputs.base import Input
from .log import Log
from .making_room import AWAY_S, LOOK_S, TOLD_EVERY_S, MakingRoom
from .metrics import Metrics
from .supervisor import outcome

LAST_LOOK_S = 0.1
"""Asked to stop by a signal, inputs look for so long at least whether there is something new."""

QUIET_S = 0.5
"""Asked to stop by a signal, inputs go on until they have brought nothing for so long, at most for half of Grace: what
runs beside us may be told to stop at the same time, and its last records are those that matter."""

INPUT_STOP_S = 0.5
"""Longest wait for an input, and then for its filters, to hand out what they hold; the rest is still in its source."""

CLOSE_S = 1.0
"""Longest wait for an instance to close."""


class Stop:
    """What an engine was told about its end.

    `wanted` says that it is to end, `is_final` that no other one takes its place, `end_now` that nothing may be waited
    for.
    """

    def __init__(self) -> None:
        self.wanted = asyncio.Event()
        self.is_final = asyncio.Event()
        self.end_now = asyncio.Event()
        self.is_asked_by_signal = False

    def ask(self, *, by_signal: bool = False) -> None:
        """Stop gracefully; asked a second time by a signal, at once."""
        if by_signal:
            if self.is_final.is_set():
                self.end_now.set()
            self.is_asked_by_signal = True
        self.is_final.set()
        self.wanted.set()

    def retire(self) -> None:
        """Stop gracefully, to make room for another engine."""
        self.wanted.set()


class Stopping:
    """The stop of what was made of a pipeline, and its closing."""

    def __init__(self, assembly: Assembly, stop: Stop, service: ServiceOptions, clock: Clock, metrics: Metrics) -> None:
        self._assembly = assembly
        self._stop = stop
        self._service = service
        self._grace = float(service.grace)
        self._clock = clock
        self._metrics = metrics
        self._log = Log("[engine] ")

    async def run(self, dispatching: Sequence[asyncio.Task[None]]) -> None:
        """Stop inputs, then wait for the deliveries of what is held, at most for Grace or as long as a reload may."""
        limit_s, assembly = self._limit_s(), self._assembly
        self._tell_limit(limit_s)
        started = self._clock.monotonic()
        if not self._stop.is_final.is_set():
            making_room = MakingRoom(self._assembly, self._stop.is_final, self._most_patience_s, self._clock, self._log)
            await making_room.wait(started, math.inf if limit_s is None else limit_s)
            if self._stop.is_final.is_set():
                self._let_all_go_on()
                started, limit_s = self._clock.monotonic(), self._limit_s()
                self._tell_limit(limit_s)
        for dispatcher in assembly.dispatchers:
            dispatcher.hurry()
        if self._stop.is_asked_by_signal:
            await self._wait_until_quiet(started)
        self._log.info("pausing all inputs..")
        await asyncio.gather(*(self._stop_input(running) for running in assembly.inputs))
        await self._hand_out_held()
        for dispatcher in assembly.dispatchers:
            dispatcher.begin_drain()
        left = None if limit_s is None else max(0.0, limit_s - (self._clock.monotonic() - started))
        if self._stop.is_final.is_set():
            await self._end_within(left, dispatching)
        else:
            await self._end_within(
                left, dispatching, self._grace_after_all, partial(self._nothing_to_wait_for, dispatching)
            )

    async def close(self) -> None:
        """Close all instances, against whatever the others do; also those that were never opened."""
        assembly = self._assembly
        for running in assembly.inputs:
            running.input.is_succeeded = not self._stop.is_final.is_set()
        await asyncio.gather(*(self._close(running.input.close, running.context) for running in assembly.inputs))
        await self.close_filters()
        outputs = zip(assembly.outputs, assembly.output_contexts, strict=True)
        await asyncio.gather(*(self._close(output.close, context) for output, context in outputs))

    async def close_filters(self) -> None:
        """Close the filters and processors alone."""
        filters = (*self._assembly.all_processors(), *self._assembly.filters)
        await asyncio.gather(*(self._close(active.filter.close, active.context) for active in filters))

    def _limit_s(self) -> float | None:
        """Longest time that deliveries are waited for; None is for ever."""
        service, grace = self._service, None if self._grace < 0 else self._grace
        if self._stop.is_final.is_set():
            return grace
        limits = [float(service.reload_timeout)] if service.reload_timeout else []
        if not service.reload_thread_safety and grace is not None:
            limits.append(grace)
        return min(limits, default=None)

    def _tell_limit(self, limit_s: float | None) -> None:
        if limit_s is None:
            self._log.info("service will shutdown when all remaining tasks are flushed")
        else:
            self._log.warning(f"service will shutdown in max {limit_s:g} seconds")

    def _let_all_go_on(self) -> None:
        for dispatcher in self._assembly.dispatchers:
            dispatcher.go_on()

    async def _grace_after_all(self) -> None:
        """Wait until the process is to end while another engine was to begin, and then for Grace."""
        await self._stop.is_final.wait()
        self._let_all_go_on()
        self._tell_limit(self._limit_s())
        if self._grace < 0:
            await self._stop.end_now.wait()
        await self._clock.sleep(self._grace)

    async def _nothing_to_wait_for(self, dispatching: Sequence[asyncio.Task[None]]) -> None:
        """Wait until every output that is left is away, and what is owed to it will be found again."""
        progress = _Progress()
        while True:
            waiting = [
                dispatcher
                for dispatcher, task in zip(self._assembly.dispatchers, dispatching, strict=True)
                if not task.done()
            ]
            away_s = progress.away_s(waiting, self._clock.monotonic())
            outputs = ", ".join(dispatcher.name for dispatcher in waiting)
            patience_s = self._patience_s(waiting)
            if patience_s is not None and away_s >= patience_s:
                self._tell_left(outputs)
                return
            if patience_s is None and away_s >= AWAY_S:
                told = "what is left is in memory alone and waited for; hot_reload.timeout would limit that"
                self._log.warning(told, every=TOLD_EVERY_S, outputs=outputs)
            await self._clock.sleep(LOOK_S)

    def _tell_left(self, outputs: str) -> None:
        """Tell what becomes of what is not delivered and not waited for."""
        if self._kept() <= {"disk"} or len(self._assembly.dispatchers) == 1:
            self._log.info("what is left is kept and not waited for", outputs=outputs)
        else:
            told = "what is left is read again and not waited for; outputs that have it already get it twice"
            self._log.warning(told, outputs=outputs, remedy="with storage.path nothing comes twice")

    def _kept(self) -> set[Kept]:
        """Where what the buffers hold is found again."""
        return {running.kept for running in self._assembly.inputs if running.buffer.statistics().records}

    def _patience_s(self, waiting: Sequence[Dispatcher]) -> float | None:
        """How long an output may be away until what is left is not waited for; None if it must not be given up.

        What will be read again comes once more to the outputs that have it, so that is worth some time. So is an upload
        that an output is busy with.
        """
        kept = self._kept()
        if "nowhere" in kept:
            return None
        states = [dispatcher.statistics() for dispatcher in waiting]
        is_uploading = any(state.kept and not state.last_error for state in states)
        return self._most_patience_s if "source" in kept or is_uploading else AWAY_S

    @property
    def _most_patience_s(self) -> float:
        return max(AWAY_S, abs(self._grace))

    async def _wait_until_quiet(self, started: float) -> None:
        """Let the inputs go on while they bring records, at most for half of Grace."""
        end = started + abs(self._grace) / 2
        while not self._stop.end_now.is_set():
            quiet_at = [running.intake.last_taken_at + QUIET_S for running in self._assembly.inputs]
            # What was written just before the signal may not have been noticed yet.
            left = min(max([started + LAST_LOOK_S, *quiet_at]), end) - self._clock.monotonic()
            if left <= 0:
                return
            await self._clock.wait(self._stop.end_now, left)

    async def _stop_input(self, running: RunningInput) -> None:
        """Let the input hand out what it holds; waits a little for that."""
        task = running.task
        if task is None:
            return
        asked = asyncio.ensure_future(self._watched(partial(_ask_to_end, running.input, task), running.context))
        await self._end_within(INPUT_STOP_S, [asked])
        await cancel([task])

    async def _hand_out_held(self) -> None:
        """Let filters hand out what they hold; what finds no room in the buffer in time is still owed to its input."""
        holding = [(running, running.holding) for running in self._assembly.inputs if running.holding]
        await cancel([task for _, task in holding])
        await self._end_within(
            INPUT_STOP_S,
            [asyncio.ensure_future(self._watched(r.intake.hand_out, r.context)) for r, _ in holding],
        )

    async def _end_within(
        self, seconds: float | None, tasks: Sequence[asyncio.Future[None]], *reasons: Callable[[], Awaitable[None]]
    ) -> None:
        """Wait until all tasks have ended, the time is over, a second signal comes, or there is another reason to end.

        Then cancel what is left.
        """
        if tasks and not self._stop.end_now.is_set():
            ended = asyncio.Event()
            waits: list[Callable[[], Awaitable[object]]] = [partial(asyncio.wait, tasks), self._stop.end_now.wait]
            watches = [asyncio.ensure_future(_tell_end_of(wait, ended)) for wait in (*waits, *reasons)]
            await self._clock.wait(ended, seconds)
            await cancel(watches)
        await cancel(tasks)

    async def _watched(self, work: Callable[[], Awaitable[None]], context: Context) -> None:
        """Wait for a step of the stop; a bug in it is logged and counted, and the stop goes on."""
        failures = self._metrics.counter("engine_restarts_total", component=context.alias)
        await outcome(work(), context.log, failures)

    async def _close(self, close: Callable[[], Awaitable[None]], context: Context) -> None:
        """Wait for an instance to close, for a while."""
        ended = asyncio.Event()
        task = asyncio.ensure_future(_tell_end_of(lambda: self._watched(close, context), ended))
        if not await self._clock.wait(ended, CLOSE_S):
            context.log.error("closing takes too long and is given up", after_s=CLOSE_S)
        await cancel([task])


class _Progress:
    """Since when outputs have taken nothing; has for each what it had taken, what it was owed, and since when."""

    def __init__(self) -> None:
        self._seen: dict[str, tuple[int, int, float]] = {}

    def away_s(self, dispatchers: Sequence[Dispatcher], now: float) -> float:
        """For how long none of these has taken anything; those that rest until the next engine are not looked at."""
        active = [dispatcher for dispatcher in dispatchers if not dispatcher.is_resting]
        for dispatcher in active:
            state = dispatcher.statistics()
            if self._seen.get(dispatcher.name, (-1, -1))[:2] != (state.taken, state.held):
                self._seen[dispatcher.name] = (state.taken, state.held, now)
        return min((now - self._seen[dispatcher.name][2] for dispatcher in active), default=math.inf)


async def cancel(tasks: Sequence[asyncio.Future[None]]) -> None:
    """Cancel the tasks and wait until they have ended."""
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def _ask_to_end(one: Input, task: asyncio.Task[None]) -> None:
    """Ask the input to stop, and wait until it has if it wants to."""
    if await one.stop():
        await asyncio.wait([task])


async def _tell_end_of(work: Callable[[], Awaitable[object]], ended: asyncio.Event) -> None:
    await work()
    ended.set()
