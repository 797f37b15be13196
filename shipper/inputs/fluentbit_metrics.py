"""Our own counters, as an input.

Fluent Bit sends them as metrics, which outputs for logs never get. None of our outputs takes metrics, so by default
nothing is emitted, and a configuration that has this input beside `Match *` sends what it always sent. With
`as_records` every number becomes a record that any output carries.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Annotated

from ..config.options import opt
from ..config.units import Seconds
from ..context import Context, Emit
from ..monitoring.names import Family, collect, describe_process
from ..record import Body, Record, RecordBatch
from .base import Input, InputOptions

_SIZE_OF_RECORD = 120
"""Bytes that a record is taken to have; it was read nowhere."""


class FluentbitMetricsOptions(InputOptions):
    """Options of the input `fluentbit_metrics`."""

    scrape_interval: Annotated[Seconds, opt("Time from one collection to the next.", example="10s")] = Seconds(2)
    scrape_on_start: Annotated[bool, opt("Collect at once instead of after the first interval.")] = False
    as_records: Annotated[
        bool, opt("Emit a record for every number; without it nothing is, because no output takes metrics.")
    ] = False


class FluentbitMetricsInput(Input):
    """Emits the numbers of the registry in every interval, under the names that the monitoring API has."""

    Options = FluentbitMetricsOptions

    def __init__(self, options: FluentbitMetricsOptions, context: Context) -> None:
        self._options = options
        self._context = context
        self._tag = options.tag or context.name

    async def open(self) -> None:
        if not self._context.service.http_server:
            describe_process(self._context.metrics, self._context.clock)

    async def run(self, emit: Emit) -> None:
        """Emit until cancelled; waits for intervals to pass and for the buffers."""
        if not self._options.as_records:
            self._context.log.info(
                "no output takes metrics, so none are sent; the monitoring API has them, as_records makes records"
            )
            await asyncio.Event().wait()
        clock, interval = self._context.clock, max(1.0, float(self._options.scrape_interval))
        if not self._options.scrape_on_start:
            await clock.sleep(interval)
        while True:
            now_ns = clock.time_ns()
            records = [Record(now_ns, body) for family in collect(self._context.metrics) for body in _bodies(family)]
            await emit(RecordBatch(self._tag, records, len(records) * _SIZE_OF_RECORD))
            await clock.sleep(interval)


def _bodies(family: Family) -> Iterator[Body]:
    for labels, number in family.numbers.items():
        yield {"metric": family.name, "type": family.kind, "labels": dict(labels), "value": _plain(number)}
    for labels, histogram in family.histograms.items():
        counts = histogram.cumulative()
        bounds = (*(f"{bound:g}" for bound in histogram.bounds), "+Inf")
        yield {
            "metric": family.name,
            "type": family.kind,
            "labels": dict(labels),
            "buckets": dict(zip(bounds, counts, strict=True)),
            "sum": histogram.sum,
            "count": counts[-1],
        }


def _plain(number: float) -> float:
    return int(number) if number == int(number) else number
