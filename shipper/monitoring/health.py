"""Health that means progress: what an output owes must get smaller or move, and nothing must be given up too often.

Two rules make the health bad. The first is Fluent Bit's: within the last `hc_period` seconds the outputs have had more
errors, or have given up more deliveries, than the configuration allows. The second is ours, because a destination that
only hangs makes no error: an output has owed records for a while, and its destination has accepted none. What an output
keeps because its time has not come (an object that is still filling) counts only when the output says it is overdue.

Everything is told with its reason. What is wrong but stops no delivery is a warning and leaves the health good.
"""

from __future__ import annotations

from collections import deque

import msgspec

from ..clock import Clock
from ..config.service import ServiceOptions
from .view import SeenOutput, View

STALLED_AFTER_S = 45.0
"""Time without progress after which the health is bad, if `hc_period` asks for no shorter one: an operator is to know
within a minute."""

MOST_SAMPLES = 600
"""Samples that are kept of a period; those of a longer one lie further apart."""

PART_OF_PERIOD = 0.75
"""The same as a part of `hc_period`."""

READ_AGAIN_S = 5.0
"""After a hot reload, time for inputs to bring again what an output is owed."""


class Verdict(msgspec.Struct, frozen=True):
    """How it goes: the counts of the period, why the health is bad (nothing: it is good), and what else is wrong."""

    errors: int
    retries_failed: int
    reasons: tuple[str, ...]
    warnings: tuple[str, ...]
    stalled_s: dict[str, float]

    @property
    def is_good(self) -> bool:
        return not self.reasons


class _Sample(msgspec.Struct, frozen=True):
    """What had been counted at one moment: errors and given up deliveries, losses by component and reason, restarts."""

    errors: int = 0
    retries_failed: int = 0
    lost: dict[tuple[str, str], int] = {}
    restarts: dict[str, int] = {}

    def as_seen_from(self, end: _Sample) -> _Sample:
        """The same for counters that begin anew, with nothing, where these have come to an end."""
        return _Sample(
            self.errors - end.errors,
            self.retries_failed - end.retries_failed,
            {key: self.lost.get(key, 0) - lost for key, lost in end.lost.items()},
            {name: self.restarts.get(name, 0) - restarts for name, restarts in end.restarts.items()},
        )


class _Progress(msgspec.Struct):
    """When an output got on for the last time, or owed nothing; before `known_at` nobody can tell what it owes."""

    moved_at: float
    taken: int = 0
    known_at: float = 0.0


class Health:
    """Watches a pipeline; `sample` is called once a second."""

    def __init__(self, service: ServiceOptions, clock: Clock) -> None:
        self._service = service
        self._clock = clock
        self._view: View | None = None
        period = max(1, service.hc_period)
        self._stride = -(-period // MOST_SAMPLES)
        self._samples: deque[_Sample] = deque(maxlen=-(-period // self._stride))
        self._taken = 0
        self._progress: dict[str, _Progress] = {}
        self.stalled_after_s = min(STALLED_AFTER_S, PART_OF_PERIOD * period) + service.flush
        """Records may wait for company as long as `flush` says, and that is no lack of progress."""

    def watch(self, view: View, before: Health | None = None) -> None:
        """Watch this pipeline from now on; `before` has watched the one whose place it takes.

        Nothing becomes good by that: what was wrong is so until it has got better, or is over for the period.
        """
        self._view = view
        self._samples.clear()
        self._taken = 0
        now = self._clock.monotonic()
        self._progress = {output.name: _Progress(now) for output in view.outputs}
        if before is None:
            return
        if before._samples:
            end = before._samples[-1]
            self._samples.extend(sample.as_seen_from(end) for sample in before._samples)
        for name, known in before._progress.items():
            if name in self._progress:
                self._progress[name] = _Progress(known.moved_at, 0, now + READ_AGAIN_S)

    def sample(self) -> None:
        """Note what has been counted so far."""
        view = self._view
        if view is None:
            return
        count = view.metrics
        lost: dict[tuple[str, str], int] = {}
        for kind, name in (*(("input", i.name) for i in view.inputs), *(("output", o.name) for o in view.outputs)):
            reasons = count.by_label(f"{kind}_dropped_records_total", "reason", name=name, wanted="no")
            lost.update({(f"{kind} {name}", reason): records for reason, records in reasons.items()})
        for output in view.outputs:
            self.stalled_s(output)
        if self._taken % self._stride and self._samples:
            self._samples.pop()  # the newest one is always that of now
        self._taken += 1
        self._samples.append(
            _Sample(
                count.total("output_errors_total"),
                count.total("output_retries_failed_total"),
                lost,
                count.by_label("engine_restarts_total", "component"),
            )
        )

    def verdict(self) -> Verdict:
        """How it goes now."""
        view = self._view
        if view is None:
            return Verdict(0, 0, (), (), {})
        first, last = (self._samples[0], self._samples[-1]) if self._samples else (_Sample(), _Sample())
        errors, failed = last.errors - first.errors, last.retries_failed - first.retries_failed
        stalled = {output.name: self.stalled_s(output) for output in view.outputs}
        reasons = self._too_many(errors, failed)
        reasons += [_stall(o, stalled[o.name]) for o in view.outputs if stalled[o.name] >= self.stalled_after_s]
        warnings = [*_pauses(view), *self._losses(first, last), *self._unsaved(view), *_unopened(view)]
        return Verdict(errors, failed, tuple(reasons), tuple(warnings), stalled)

    def stalled_s(self, output: SeenOutput) -> float:
        """Seconds for which the output has owed records and its destination has accepted none."""
        now, known = self._clock.monotonic(), self._progress[output.name]
        state = output.dispatcher.statistics()
        owes = state.held > state.kept
        if state.taken != known.taken or (not owes and now >= known.known_at):
            known.moved_at, known.taken = now, state.taken
        return max(now - known.moved_at if owes else 0.0, output.output.overdue_s())

    def _too_many(self, errors: int, failed: int) -> list[str]:
        service, period = self._service, self._service.hc_period
        found = []
        if errors > service.hc_errors_count:
            found.append(f"outputs: {errors} errors in {period} s, more than hc_errors_count {service.hc_errors_count}")
        if failed > service.hc_retry_failure_count:
            limit = service.hc_retry_failure_count
            found.append(
                f"outputs: {failed} deliveries given up in {period} s, more than hc_retry_failure_count {limit}"
            )
        return found

    def _losses(self, first: _Sample, last: _Sample) -> list[str]:
        period = self._service.hc_period
        lost = {key: n for key, total in last.lost.items() if (n := total - first.lost.get(key, 0))}
        found = [f"{name}: {n} records lost in {period} s: {why}" for (name, why), n in sorted(lost.items())]
        for name, total in sorted(last.restarts.items()):
            if times := total - first.restarts.get(name, 0):
                found.append(f"{name}: failed unexpectedly {times} times in {period} s; the log has the errors")
        return found

    def _unsaved(self, view: View) -> list[str]:
        ages = ((i.name, view.metrics.value("input_offset_persist_age_seconds", name=i.name)) for i in view.inputs)
        return [
            f"input {name}: positions could not be saved for {age:.0f} s; the log has the reason"
            for name, age in ages
            if age >= self.stalled_after_s
        ]


def _unopened(view: View) -> list[str]:
    counts = ((i.name, int(view.metrics.value("input_files_unopened", name=i.name))) for i in view.inputs)
    return [
        f"input {name}: {count} files wait because too many are open; raise that limit"
        for name, count in counts
        if count
    ]


def _stall(output: SeenOutput, seconds: float) -> str:
    state = output.dispatcher.statistics()
    why = f"last error: {state.last_error}" if state.last_error else f"{state.in_flight} deliveries without an answer"
    if state.held <= state.kept:
        trouble = output.output.trouble()
        why = f"last error: {trouble}" if trouble else "what it keeps is due and does not get through"
    waiting = f"{state.held} records ({state.size} bytes) wait"
    return f"output {output.name}: nothing accepted for {seconds:.0f} s, {waiting}; {why}"


def _pauses(view: View) -> list[str]:
    """Inputs that wait for room: which limit acts, which output has the records, and what to do about it."""
    found = []
    held = sorted(((o.dispatcher.held()[0], o.name) for o in view.outputs), reverse=True)
    owing = ", ".join(f"{name} {records} records" for records, name in held if records)
    for seen in view.inputs:
        if seen.buffer.statistics().is_full:
            limit = seen.limit
            found.append(
                f"input {seen.name}: paused at its limit {limit.size} bytes ({limit.source}), "
                f"waits for output {owing or 'of what was put last'}; {limit.remedy}"
            )
    return found
