"""What is waited for while everything goes on, before an engine stops to make room for another one at a hot reload.

Outputs that are slow or away are waited for here, so that inputs and the other outputs are held up by nobody's answer.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Sequence

from .assembly import Assembly
from .clock import Clock
from .dispatcher import Dispatcher
from .log import Log

LOOK_S = 0.1
"""How often it is looked whether an engine that makes room still waits for something."""

AWAY_S = 0.5
"""An output that takes nothing for so long is not waited for, if what is owed to it is on disk. An attempt without an
answer is no sign of life."""

LAST_S = 2.0
"""What is left of the time that a reload may take, or half of it, for what the inputs bring last."""

TOLD_EVERY_S = 10.0
"""How often it is told who is waited for."""


class MakingRoom:
    """The wait for the outputs of an engine that still runs; it ends when the process is to end."""

    def __init__(self, assembly: Assembly, is_final: asyncio.Event, patience_s: float, clock: Clock, log: Log) -> None:
        self._assembly = assembly
        self._is_final = is_final
        self._patience_s = patience_s
        self._clock = clock
        self._log = log

    async def wait(self, started: float, limit_s: float) -> None:
        """Wait for outputs that are slow, at most as patience lasts; then nobody waits for them.

        What is in memory alone has to be waited for in any case, as long as a reload may take.
        """
        longest_s = limit_s - min(LAST_S, limit_s / 2)
        most_s = min(self._patience_s, longest_s)
        if {running.kept for running in self._assembly.inputs} <= {"disk"}:
            await self._wait_for_answers(started, most_s)
        else:
            await self._wait_for_deliveries(started, most_s, longest_s)

    async def _wait_for_answers(self, started: float, most_s: float) -> None:
        """Let what is on its way be answered; an output that is slow with that begins nothing else before the next
        engine does, so it gets nothing twice."""
        waiting = list(self._assembly.dispatchers)
        for dispatcher in waiting:
            dispatcher.rest()
        while not self._is_final.is_set():
            waited_s = self._clock.monotonic() - started
            for dispatcher in waiting:
                if not dispatcher.statistics().in_flight and waited_s < AWAY_S:
                    dispatcher.go_on()
            waiting = [dispatcher for dispatcher in waiting if dispatcher.statistics().in_flight]
            if not waiting or not await self._goes_on(waiting, waited_s, most_s):
                return

    async def _wait_for_deliveries(self, started: float, most_s: float, longest_s: float) -> None:
        """Wait until every output that is owed something takes it; those that do not are away."""
        behind = _Behind(self._assembly.dispatchers, self._patience_s)
        for dispatcher in self._assembly.dispatchers:
            dispatcher.flush()
        while not self._is_final.is_set():
            waited_s = self._clock.monotonic() - started
            waiting = behind.found(self._clock.monotonic())
            needed = [dispatcher for dispatcher in waiting if self._is_owed_from_memory(dispatcher)]
            if needed and waited_s < longest_s:
                await self._put_off(needed, waited_s)
                continue
            others = [dispatcher for dispatcher in waiting if dispatcher not in needed]
            if not others:
                return
            if not await self._goes_on(others, waited_s, most_s):
                for dispatcher in others:
                    dispatcher.rest()
                return

    def _is_owed_from_memory(self, dispatcher: Dispatcher) -> bool:
        """Whether it is owed records that nobody would find again."""
        inputs = self._assembly.inputs
        return any(running.kept == "nowhere" and running.buffer.held().get(dispatcher.name) for running in inputs)

    async def _put_off(self, needed: Sequence[Dispatcher], waited_s: float) -> None:
        """Tell who has to have what is in memory alone before there can be a reload, and wait a little."""
        if waited_s >= AWAY_S:
            outputs = ", ".join(dispatcher.name for dispatcher in needed)
            told = (
                "the reload is put off until what is in memory alone is delivered; hot_reload.timeout would limit that"
            )
            self._log.warning(told, every=TOLD_EVERY_S, outputs=outputs)
        await self._clock.wait(self._is_final, LOOK_S)

    async def _goes_on(self, waiting: Sequence[Dispatcher], waited_s: float, most_s: float) -> bool:
        """Tell whom we wait for, and wait a little; false if that was long enough."""
        outputs = ", ".join(dispatcher.name for dispatcher in waiting)
        if waited_s >= most_s:
            self._log.warning("no answer; what is on its way is kept and sent again", outputs=outputs)
            return False
        if waited_s >= AWAY_S:
            told = "waiting for answers while everything else goes on"
            self._log.info(told, every=TOLD_EVERY_S, outputs=outputs, at_most_s=most_s)
        await self._clock.wait(self._is_final, LOOK_S)
        return True


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
