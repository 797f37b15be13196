"""How an engine stops: in the direction of the flow, within Grace, and at once if it is asked twice.

An engine that makes room for another one, at a hot reload, goes on whole while it waits for outputs that are slow, or
are away and owed what is in memory alone (`making_room.py`). As soon as its inputs are stopped it waits only while
outputs take something, and at most for Grace after they have taken the last.

One watch over the time runs beside all of that. Whenever the process is to end, the rest of the stop is one that is
final: outputs that rest go on, and Grace begins.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, Callable, Collection, Hashable, Sequence
from functools import partial

from .assembly import Assembly, Kept, RunningInput
from .clock import Clock
from .config.service import ServiceOptions
from .context import Context
from .dispatcher import Dispatcher
from .inputs.base import Input
from .log import Log
from .making_room import AWAY_S, LOOK_S, MakingRoom, is_owed_from_memory
from .metrics import Metrics
from .stop import Stop
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
        self._is_over = asyncio.Event()
        """The stop has taken as long as it may."""

    async def run(self, dispatching: Sequence[asyncio.Task[None]]) -> None:
        """Stop inputs, then wait for the deliveries of what is held, at most for Grace or as long as a reload may."""
        self._tell_limit()
        watching = asyncio.ensure_future(self._watch_time())
        try:
            if not self._stop.is_final.is_set():
                await MakingRoom(self._assembly, self._stop, self._patience_s, self._clock, self._log).wait()
            await self._stop_flow(dispatching)
        finally:
            await cancel([watching])

    async def _stop_flow(self, dispatching: Sequence[asyncio.Task[None]]) -> None:
        dispatchers, assembly = self._assembly.dispatchers, self._assembly
        for dispatcher in dispatchers:
            dispatcher.hurry()
        if self._stop.is_asked_by_signal:
            await self._wait_until_quiet()
        self._log.info("pausing all inputs..")
        await asyncio.gather(*(self._stop_input(running) for running in assembly.inputs))
        await self._hand_out_held()
        for dispatcher in dispatchers:
            if is_owed_from_memory(assembly, dispatcher):
                dispatcher.go_on()  # what has come at last would not be found by the next engine
            dispatcher.begin_drain()
        nothing_left = partial(self._nothing_to_wait_for, dispatching)
        await self._end_within(None, dispatching, self._is_over.wait, nothing_left)
        if not self._stop.is_final.is_set():
            self._tell_left()

    async def close(self, succeeded: Collection[Hashable]) -> None:
        """Close all instances, against whatever the others do; also those that were never opened.

        `succeeded` are the sources of inputs from which another input goes on.
        """
        assembly = self._assembly
        for running in assembly.inputs:
            running.input.is_succeeded = running.input.source in succeeded
        await asyncio.gather(*(self._close(running.input.close, running.context) for running in assembly.inputs))
        await self.close_filters()
        outputs = zip(assembly.outputs, assembly.output_contexts, strict=True)
        await asyncio.gather(*(self._close(output.close, context) for output, context in outputs))

    async def close_filters(self) -> None:
        """Close the filters and processors alone."""
        filters = (*self._assembly.all_processors(), *self._assembly.filters)
        await asyncio.gather(*(self._close(active.filter.close, active.context) for active in filters))

    async def _watch_time(self) -> None:
        """Tell when the stop has taken as long as it may, whatever the engine is told meanwhile."""
        stop, told_s = self._stop, self._limit_s()
        while not stop.is_final.is_set() and (limit_s := self._limit_s()) > 0:
            if limit_s < told_s:
                self._tell_limit()
            stop.is_told_anew.clear()
            told_s = limit_s
            await self._clock.wait(stop.is_told_anew, None if limit_s == math.inf else limit_s)
        if stop.is_final.is_set():
            await self._grace_after_all(told_s)
        self._is_over.set()

    async def _grace_after_all(self, told_s: float) -> None:
        """Wait for Grace, which is what is left from now on, whatever a reload would have waited for."""
        limit_s = self._limit_s()
        if limit_s != told_s:
            self._tell_limit()
        for dispatcher in self._assembly.dispatchers:
            dispatcher.go_on()
            dispatcher.hurry()
        await self._clock.wait(self._stop.end_now, None if limit_s == math.inf else limit_s)

    def _limit_s(self) -> float:
        """Longest time from now on that deliveries are waited for."""
        if self._stop.is_final.is_set():
            return math.inf if self._grace < 0 else self._grace
        return max(0.0, self._stop.ends_at - self._clock.monotonic())

    def _tell_limit(self) -> None:
        limit_s = self._limit_s()
        if limit_s == math.inf:
            self._log.info("service will shutdown when all remaining tasks are flushed")
        else:
            shown = limit_s if self._stop.is_final.is_set() else math.ceil(limit_s)
            self._log.warning(f"service will shutdown in max {shown:g} seconds")

    async def _nothing_to_wait_for(self, dispatching: Sequence[asyncio.Task[None]]) -> None:
        """At a reload, wait until every output that is left is away; nobody may be kept waiting for those."""
        progress = _Progress()
        while not self._stop.is_final.is_set():
            waiting = [
                dispatcher
                for dispatcher, task in zip(self._assembly.dispatchers, dispatching, strict=True)
                if not task.done()
            ]
            if progress.away_s(waiting, self._clock.monotonic()) >= self._longest_away_s(waiting):
                return
            await self._clock.sleep(LOOK_S)
        await self._is_over.wait()

    def _tell_left(self) -> None:
        """Tell what becomes of what was not delivered before a reload."""
        left = [dispatcher for dispatcher in self._assembly.dispatchers if dispatcher.held()[0]]
        outputs = ", ".join(dispatcher.name for dispatcher in left)
        kept = self._kept()
        if not left or not kept:
            return
        if "nowhere" in kept:
            told, remedy = (
                "what is left was in memory alone; what cannot be read again is lost",
                "storage.path keeps it on disk",
            )
            self._log.error(told, outputs=outputs, remedy=remedy)
        elif "ring" in kept:
            self._log.warning("what is left in memory by inputs with storage.type memrb is dropped", outputs=outputs)
        elif kept == {"disk"} or len(self._assembly.dispatchers) == 1:
            self._log.info("what is left is kept and not waited for", outputs=outputs)
        else:
            told = "what is left is read again and not waited for; outputs that have it already get it twice"
            self._log.warning(told, outputs=outputs, remedy="with storage.path nothing comes twice")

    def _kept(self) -> set[Kept]:
        """Where what the buffers hold is found again."""
        return {running.kept for running in self._assembly.inputs if running.buffer.statistics().records}

    def _longest_away_s(self, waiting: Sequence[Dispatcher]) -> float:
        """How long an output may be away until what is left is not waited for.

        What would be lost is worth some time; so is what comes once more to the outputs that have it, and an upload
        that an output is busy with.
        """
        states = [dispatcher.statistics() for dispatcher in waiting]
        is_uploading = any(state.kept and not state.last_error for state in states)
        is_worth_it = is_uploading or not self._kept().isdisjoint(("source", "nowhere"))
        return self._patience_s if is_worth_it else AWAY_S

    @property
    def _patience_s(self) -> float:
        """Longest wait for an output that takes nothing."""
        return max(AWAY_S, abs(self._grace))

    async def _wait_until_quiet(self) -> None:
        """Let the inputs go on while they bring records, at most for half of Grace."""
        started = self._clock.monotonic()
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
        self, seconds: float | None, tasks: Sequence[asyncio.Future[None]], *reasons: Callable[[], Awaitable[object]]
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


def reload_limit_s(service: ServiceOptions) -> float:
    """Longest time that a reload may take by these options."""
    limits = [float(service.reload_timeout)] if service.reload_timeout else []
    if not service.reload_thread_safety and service.grace >= 0:
        limits.append(float(service.grace))
    return min(limits, default=math.inf)


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
