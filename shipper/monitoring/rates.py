"""How many records and bytes a second the inputs have brought in the last while."""

from __future__ import annotations

from collections import deque
from functools import partial
from typing import Literal

from ..clock import Clock
from ..metrics import Metrics
from .view import SeenInput, View

What = Literal["records", "bytes"]

_MOST_SAMPLES = 120

_OF_GATES = ("limited", "busy_chunks", "retry_attempts")
"""What dashboards of Fluent Bit ask of rate gates; there are none."""


class InputRates:
    """Exports the rates of all inputs of a pipeline, each over its `rate_window`; `sample` is called now and then."""

    def __init__(self, view: View, clock: Clock) -> None:
        self._rates = [_Rate(seen, view.metrics, clock) for seen in view.inputs]
        for rate in self._rates:
            view.metrics.gauge("input_rate_bytes", partial(rate.per_second, "bytes"), name=rate.name)
            view.metrics.gauge("input_rate_records", partial(rate.per_second, "records"), name=rate.name)
            for what in _OF_GATES:
                view.metrics.gauge(f"input_rate_gate_{what}", lambda: 0, name=rate.name)

    def sample(self) -> None:
        """Note what has been counted so far."""
        for rate in self._rates:
            rate.sample()


class _Rate:
    """The rates of one input, from the samples of its window: when each was taken, and both counts then.

    The first one is the youngest that is as old as the window, if there is any, so they span it.
    """

    def __init__(self, seen: SeenInput, metrics: Metrics, clock: Clock) -> None:
        self.name = seen.name
        self._metrics = metrics
        self._clock = clock
        self._window_s = seen.rate_window_s
        self._apart_s = self._window_s / _MOST_SAMPLES
        self._samples: deque[tuple[float, dict[What, float]]] = deque([self._now()])

    def sample(self) -> None:
        samples, newest = self._samples, self._now()
        if len(samples) > 1 and newest[0] - samples[-2][0] < self._apart_s:
            samples.pop()
        samples.append(newest)
        while len(samples) > 2 and newest[0] - samples[1][0] >= self._window_s:
            samples.popleft()

    def per_second(self, what: What) -> float:
        """The average of the window, as of the newest sample."""
        (began, before), (ended, after) = self._samples[0], self._samples[-1]
        return round((after[what] - before[what]) / (ended - began), 3) if ended > began else 0.0

    def _now(self) -> tuple[float, dict[What, float]]:
        count = self._metrics.value
        counts: dict[What, float] = {
            "records": count("input_records_total", name=self.name),
            "bytes": count("input_bytes_total", name=self.name),
        }
        return self._clock.monotonic(), counts
