"""The destination goes away under a steady load and comes back: what is held, and how fast it is delivered then."""

from __future__ import annotations

import time

from bench.cases import Case
from bench.measure import RunFailed
from bench.programs import Program
from bench.results import Sample
from bench.steady import Flow, flow

_LOOK_S = 0.25
_ON_THE_WAY_S = 1.5
"""What was written in so many seconds is on its way at any time, with a flush of one second."""


def catch_up(program: Program, case: Case, outage_s: float) -> Sample:
    """Take the sink away for so long; CPU is that of the time from its return until it has all that was held.

    Lines are written all the time. The program has caught up when every line has arrived that was written before the
    return of the sink, and is level when no more is held than is on its way at any time.
    """
    with flow(program, case) as running:
        running.sink.be_away(outage_s)
        held = _Held(running)
        while running.sink.status().back_ns == 0:
            held.look()
        due, arrived, cpu_s = running.load.written(), running.sink.status().arrived, running.program.cpu_s()
        begin = time.monotonic()
        limit_s = 2 * outage_s + 60
        while running.sink.status().complete_below < due:
            _check(begin, limit_s)
            held.look()
        seconds = time.monotonic() - begin
        cpu_s = running.program.cpu_s() - cpu_s
        caught = running.sink.status().arrived - arrived
        while held.look() > _ON_THE_WAY_S * case.lines_per_s:
            _check(begin, limit_s)
        level_s = time.monotonic() - begin
        running.load.stop()
        lost = running.settle(not program.is_peer, "the return of the sink")
        twice = running.sink.status().taken - running.sink.status().arrived
        peak = running.program.stop().peak_rss_bytes
    if caught <= 0:
        raise RunFailed("nothing was held when the sink came back")
    figures = {
        "outage_s": outage_s,
        "held_at_most": float(max(count for _, count in held.seen)),
        "caught_up_s": seconds,
        "level_s": level_s,
        "lost": float(lost),
        "twice": float(twice),
    }
    return Sample(caught, cpu_s, seconds, peak, figures, tuple(held.seen))


def _check(begin: float, limit_s: float) -> None:
    if time.monotonic() - begin > limit_s:
        raise RunFailed(f"it has not caught up {limit_s:g} s after the return of the sink")


class _Held:
    """How many lines were written and had not arrived, by seconds since the beginning."""

    def __init__(self, running: Flow) -> None:
        self.seen: list[tuple[float, int]] = []
        self._running = running
        self._begin = time.monotonic()

    def look(self) -> int:
        """Note how many are held now, and wait until the next look is due."""
        held = self._running.load.written() - self._running.sink.status().arrived
        self.seen.append((round(time.monotonic() - self._begin, 2), held))
        time.sleep(_LOOK_S)
        return held
