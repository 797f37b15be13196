"""What is waited for while everything goes on, before an engine stops to make room for another one at a hot reload.

Outputs that are slow or away are waited for here, so that inputs and the other outputs are held up by nobody's answer.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from .assembly import Assembly, RunningInput
from .clock import Clock
from .dispatcher import Dispatcher
from .log import Log
from .stop import Stop

LOOK_S = 0.1
"""How often it is looked whether an engine that makes room still waits for something."""

AWAY_S = 0.5
"""An output that takes nothing for so long is not waited for, if what is owed to it is on disk. An attempt without an
answer is no sign of life."""

TOLD_EVERY_S = 10.0
"""How often it is told who is waited for."""


class MakingRoom:
    """The wait for the outputs of an engine that still runs; it ends when the process is to end."""

    def __init__(self, assembly: Assembly, stop: Stop, patience_s: float, clock: Clock, log: Log) -> None:
        self._assembly = assembly
        self._stop = stop
        self._patience_s = patience_s
        self._clock = clock
        self._log = log
        self._started = clock.monotonic()

    async def wait(self) -> None:
        """Wait for outputs that are slow, at most as patience lasts; then nobody waits for them.

        What is in memory alone has to be waited for in any case, as long as a reload may take.
        """
        if {running.kept for running in self._assembly.inputs} <= {"disk"}:
            await self._wait_for_answers()
        else:
            await self._wait_for_deliveries()

    async def _wait_for_answers(self) -> None:
        """Let what is on its way be answered; an output that is slow with that begins nothing else before the next
        engine does, so it gets nothing twice."""
        waiting = list(self._assembly.dispatchers)
        for dispatcher in waiting:
            dispatcher.rest()
        while not self._stop.is_final.is_set():
            for dispatcher in waiting:
                if not dispatcher.statistics().in_flight and self._waited_s < AWAY_S:
                    dispatcher.go_on()
            waiting = [dispatcher for dispatcher in waiting if dispatcher.statistics().in_flight]
            if not waiting or not await self._goes_on(waiting):
                return

    async def _wait_for_deliveries(self) -> None:
        """Wait until every output that is owed something takes it; those that do not are away."""
        behind = _Behind(self._assembly.dispatchers, self._patience_s)
        has_handed_out = False
        for dispatcher in self._assembly.dispatchers:
            dispatcher.flush()
        while not self._stop.is_final.is_set():
            waiting = behind.found(self._clock.monotonic())
            needed = [dispatcher for dispatcher in waiting if is_owed_from_memory(self._assembly, dispatcher)]
            if self._clock.monotonic() < self._stop.inputs_end_at:
                if needed:
                    has_handed_out = False
                    await self._put_off(needed)
                    continue
                if not has_handed_out and any(running.intake.held() for running in self._in_memory_alone()):
                    has_handed_out = True
                    await self._let_filters_hand_out()
                    continue
            others = [dispatcher for dispatcher in waiting if dispatcher not in needed]
            if not others:
                return
            if not await self._goes_on(others):
                for dispatcher in others:
                    dispatcher.rest()
                return

    def _in_memory_alone(self) -> list[RunningInput]:
        return [running for running in self._assembly.inputs if running.kept == "nowhere"]

    async def _let_filters_hand_out(self) -> None:
        """Let outputs have what filters hold: only then it is seen whether they take it."""
        for running in self._in_memory_alone():
            running.intake.hand_out_soon()
        await self._clock.wait(self._stop.is_final, LOOK_S)
        for dispatcher in self._assembly.dispatchers:
            dispatcher.flush()
        await self._clock.wait(self._stop.is_final, LOOK_S)

    async def _put_off(self, needed: Sequence[Dispatcher]) -> None:
        """Tell who has to have what is in memory alone before there can be a reload, and wait a little."""
        if self._waited_s >= AWAY_S:
            outputs = ", ".join(dispatcher.name for dispatcher in needed)
            told = "the reload is put off until what is in memory alone is delivered"
            remedy = "set hot_reload.timeout and reload again; what is left then is lost"
            self._log.warning(told, every=TOLD_EVERY_S, outputs=outputs, remedy=remedy)
        await self._clock.wait(self._stop.is_final, LOOK_S)

    async def _goes_on(self, waiting: Sequence[Dispatcher]) -> bool:
        """Tell whom we wait for, and wait a little; false if that was long enough."""
        outputs = ", ".join(dispatcher.name for dispatcher in waiting)
        most_s = min(self._patience_s, self._stop.inputs_end_at - self._started)
        if self._waited_s >= most_s:
            self._log.warning("no answer; what is on its way is kept and sent again", outputs=outputs)
            return False
        if self._waited_s >= AWAY_S:
            told = "waiting for answers while everything else goes on"
            self._log.info(told, every=TOLD_EVERY_S, outputs=outputs, at_most_s=round(most_s, 1))
        await self._clock.wait(self._stop.is_final, LOOK_S)
        return True

    @property
    def _waited_s(self) -> float:
        return self._clock.monotonic() - self._started


def is_owed_from_memory(assembly: Assembly, dispatcher: Dispatcher) -> bool:
    """Whether it is owed records that nobody would find again."""
    return any(running.kept == "nowhere" and running.buffer.held().get(dispatcher.name) for running in assembly.inputs)


class _Behind:
    """Which outputs are behind: they take nothing, or did so a moment ago and have still much to do.

    `_away_at` has for each of those when it was seen last that it took nothing.
    """

    def __init__(self, dispatchers: Sequence[Dispatcher], patience_s: float) -> None:
        self._dispatchers = dispatchers
        self._patience_s = patience_s
        self._taken = {dispatcher.name: dispatcher.statistics().taken for dispatcher in dispatchers}
        self._away_at: dict[str, float] = {}

    def found(self, now: float) -> list[Dispatcher]:
        """Those that are behind now. One that takes something again is so until nothing is due, or patience ends."""
        for dispatcher in self._dispatchers:
            state = dispatcher.statistics()
            begun = sum(count for count, _ in state.busy.values())
            is_tried_again = begun > state.in_flight
            if state.held > state.kept and (is_tried_again or state.taken == self._taken[dispatcher.name]):
                self._away_at[dispatcher.name] = now
            elif not begun:
                self._away_at.pop(dispatcher.name, None)
        return [d for d in self._dispatchers if now - self._away_at.get(d.name, -math.inf) < self._patience_s]
