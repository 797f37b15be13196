from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from shipper.config.service import ServiceOptions
from shipper.inputs.fluentbit_logs import LINES_A_SECOND, FluentbitLogsInput, FluentbitLogsOptions
from shipper.log import Log
from shipper.record import RecordBatch
from shipper.testing import ManualClock, context_of, settle

from ..written_options import options_from


class Collected:
    """The input with its clock, and the records that it emitted."""

    def __init__(self, **service: Any) -> None:
        self.clock = ManualClock()
        self.context = context_of("input", "fluentbit_logs.0", self.clock, service=ServiceOptions(**service))
        self.input = FluentbitLogsInput(options_from(FluentbitLogsOptions, "", "input"), self.context)
        self.batches: list[RecordBatch] = []

    async def emit(self, batch: RecordBatch) -> None:
        self.batches.append(batch)

    @property
    def bodies(self) -> list[dict[str, Any]]:
        return [record.body for batch in self.batches for record in batch]


@asynccontextmanager
async def collecting(collected: Collected | None = None, **service: Any) -> AsyncIterator[Collected]:
    collected = collected or Collected(**service)
    await collected.input.open()
    run = asyncio.ensure_future(collected.input.run(collected.emit))
    await settle()
    try:
        yield collected
    finally:
        await collected.input.stop()
        await settle()
        assert run.done()
        await collected.input.close()


@pytest.fixture(autouse=True)
def every_level(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(1, "shipper")


@pytest.mark.parametrize("level", ["error", "info", "debug", "trace"])
async def test_a_line_becomes_a_record_with_level_and_text(level: str) -> None:
    async with collecting(log_level="trace") as collected:
        getattr(Log("[engine] "), level)("something happened", count=3)
        await collected.clock.advance(1)

    assert collected.bodies == [{"level": level, "message": "[engine] something happened, count=3"}]
    assert collected.batches[0].tag == "fluentbit_logs.0"


async def test_a_warning_is_called_as_in_fluent_bit() -> None:
    async with collecting() as collected:
        Log("").warning("careful")
        await collected.clock.advance(1)

    assert collected.bodies == [{"level": "warn", "message": "careful"}]


async def test_the_record_has_the_time_of_the_line() -> None:
    async with collecting() as collected:
        logging.getLogger("shipper").handle(
            logging.makeLogRecord({"levelno": logging.INFO, "msg": "x", "created": 1700000000.5})
        )
        await collected.clock.advance(1)

    assert [record.time_ns for record in collected.batches[0]] == [1_700_000_000_500_000_000]


async def test_lines_below_the_level_of_the_service_do_not_appear() -> None:
    async with collecting(log_level="warn") as collected:
        Log("").info("for nobody")
        await collected.clock.advance(1)

    assert collected.bodies == []


async def test_a_traceback_stays_with_its_line() -> None:
    async with collecting() as collected:
        try:
            raise RuntimeError("a bug")
        except RuntimeError:
            Log("").exception("failed")
        await collected.clock.advance(1)

    (body,) = collected.bodies
    assert body["message"].startswith("failed\nTraceback") and body["message"].endswith("RuntimeError: a bug")


async def test_lines_that_come_too_fast_are_counted_and_not_taken() -> None:
    async with collecting() as collected:
        for n in range(LINES_A_SECOND + 50):
            Log("").info(f"line {n}")
        await collected.clock.advance(1)
        Log("").info("later")
        await collected.clock.advance(1)

    assert len(collected.bodies) == LINES_A_SECOND + 1
    assert collected.bodies[-1]["message"] == "later"
    dropped = collected.context.metrics.by_label("input_dropped_records_total", "reason")
    assert dropped == {"too_many_own_lines": 50}


async def test_what_delivering_its_records_makes_us_say_does_not_grow() -> None:
    collected = Collected()

    async def complain(batch: RecordBatch) -> None:
        collected.batches.append(batch)
        for _ in batch:
            Log("").error("cannot deliver")
            Log("").error("will try again")

    collected.emit = complain  # type: ignore[method-assign]
    async with collecting(collected):
        Log("").error("first")
        for _ in range(30):
            await collected.clock.advance(1)

    assert [len(batch) for batch in collected.batches[:4]] == [1, 2, 4, 8]
    assert max(len(batch) for batch in collected.batches) == LINES_A_SECOND


async def test_what_was_logged_last_is_emitted_at_the_stop() -> None:
    async with collecting() as collected:
        Log("").info("good bye")

    assert [body["message"] for body in collected.bodies] == ["good bye"]


async def test_after_the_close_nothing_listens() -> None:
    async with collecting() as collected:
        pass
    Log("").info("nobody hears")

    assert collected.bodies == []
    assert not [h for h in logging.getLogger("shipper").handlers if type(h).__name__ == "_Lines"]
