from __future__ import annotations

import asyncio
import logging
from contextlib import suppress
from typing import Any

import pytest

from shipper.config.service import ServiceOptions
from shipper.inputs.fluentbit_metrics import FluentbitMetricsInput, FluentbitMetricsOptions
from shipper.record import RecordBatch
from shipper.testing import ManualClock, context_of, settle

from ..written_options import options_from


class Collected:
    """The input with its clock, and the batches that it emitted."""

    def __init__(self, lines: str, **service: Any) -> None:
        self.clock = ManualClock()
        self.context = context_of("input", "fluentbit_metrics.0", self.clock, service=ServiceOptions(**service))
        options = options_from(FluentbitMetricsOptions, lines, "input")
        self.input = FluentbitMetricsInput(options, self.context)
        self.batches: list[RecordBatch] = []

    async def emit(self, batch: RecordBatch) -> None:
        self.batches.append(batch)

    async def run(self, seconds: float) -> list[dict[str, Any]]:
        """Run it for a while; gives the bodies of the first batch."""
        await self.input.open()
        run = asyncio.ensure_future(self.input.run(self.emit))
        await settle()
        await self.clock.advance(seconds)
        run.cancel()
        with suppress(asyncio.CancelledError):
            await run
        return [record.body for record in self.batches[0]] if self.batches else []


async def test_by_default_outputs_for_logs_get_nothing(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "shipper")
    collected = Collected("")
    await collected.run(100)

    assert collected.batches == []
    assert "no output takes metrics" in caplog.text


@pytest.mark.parametrize(
    ("lines", "seconds", "count"),
    [
        ("", 1.9, 0),
        ("", 2.0, 1),
        ("", 6.5, 3),
        ("Scrape_Interval 10", 9, 0),
        ("Scrape_Interval 10s", 20, 2),
        ("Scrape_On_Start on", 0, 1),
        ("Scrape_On_Start on", 4, 3),
    ],
)
async def test_numbers_are_collected_in_every_interval(lines: str, seconds: float, count: int) -> None:
    collected = Collected(f"As_Records on\n{lines}")
    await collected.run(seconds)

    assert len(collected.batches) == count


async def test_every_number_is_a_record() -> None:
    collected = Collected("As_Records on\nTag m")
    metrics = collected.context.metrics
    metrics.counter("input_records_total", name="app").add(3)
    metrics.gauge("input_lag_seconds", lambda: 1.5, name="app")
    metrics.histogram("output_latency_seconds", (0.5, 1.0), input="app", output="o").observe(0.7)
    bodies = await collected.run(2)

    labels = {"name": "app"}
    assert collected.batches[0].tag == "m"
    assert {"metric": "fluentbit_input_records_total", "type": "counter", "labels": labels, "value": 3} in bodies
    assert {"metric": "shipper_input_lag_seconds", "type": "gauge", "labels": labels, "value": 1.5} in bodies
    latency = next(body for body in bodies if body["metric"] == "fluentbit_output_latency_seconds")
    assert (latency["buckets"], latency["sum"], latency["count"]) == ({"0.5": 0, "1": 1, "+Inf": 1}, 0.7, 1)


@pytest.mark.parametrize("is_served", [True, False])
async def test_the_process_is_described_unless_the_monitoring_api_does_it(is_served: bool) -> None:
    collected = Collected("As_Records on", http_server=is_served)
    collected.context.metrics.counter("input_records_total", name="app")
    bodies = await collected.run(2)

    uptime = [body["value"] for body in bodies if body["metric"] == "fluentbit_uptime"]
    assert uptime == ([] if is_served else [2])
