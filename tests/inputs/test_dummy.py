"""dummy: what it emits, when, and with which time."""

from __future__ import annotations

import asyncio
import logging

import pytest

from shipper.inputs.dummy import DummyInput, DummyOptions
from shipper.record import Body, RecordBatch
from shipper.testing import ManualClock, context_of

from ..written_options import options_from

START = 1_700_000_000_000_000_000


class Run:
    """A running input and what it has emitted."""

    def __init__(self, lines: str = "") -> None:
        self.clock = ManualClock(START)
        self.batches: list[RecordBatch] = []
        options = options_from(DummyOptions, lines, "input")
        self._input = DummyInput(options, context_of("input", "dummy.0", self.clock))
        self.task = asyncio.ensure_future(self._input.run(self._emit))

    async def _emit(self, batch: RecordBatch) -> None:
        self.batches.append(batch)

    async def after(self, seconds: float) -> list[Body]:
        await self.clock.advance(seconds)
        return [r.body for b in self.batches for r in b]

    def times_ns(self) -> list[int]:
        return [r.time_ns for b in self.batches for r in b]

    async def __aenter__(self) -> Run:
        return self

    async def __aexit__(self, *_: object) -> None:
        self.task.cancel()
        await asyncio.gather(self.task, return_exceptions=True)


async def test_one_default_record_a_second_under_the_name_of_the_instance() -> None:
    async with Run() as run:
        assert await run.after(0.9) == []
        assert await run.after(2.2) == [{"message": "dummy"}] * 3

    assert {b.tag for b in run.batches} == {"dummy.0"}
    assert [b.size for b in run.batches] == [19, 19, 19]


@pytest.mark.parametrize(
    ("lines", "seconds", "expected"),
    [
        ("Rate 10", 1.05, 10),
        ("Rate 0", 1.05, 1),
        ("Interval_Sec 2", 5, 2),
        ("Interval_NSec 500000000", 1.1, 2),
        ("Interval_Sec 1\nInterval_NSec 500000000\nRate 100", 3.1, 2),
        ("Flush_on_startup on", 0, 1),
        ("Flush_on_startup on\nRate 2", 1.1, 3),
        ("Copies 3", 1, 3),
        ("Copies 0", 3, 0),
        ("Samples 2\nRate 10", 5, 2),
    ],
)
async def test_the_number_of_records_follows_rate_interval_and_samples(
    lines: str, seconds: float, expected: int
) -> None:
    async with Run(lines) as run:
        bodies = await run.after(seconds)

    assert len(bodies) == expected


async def test_a_high_rate_is_kept_with_few_batches() -> None:
    async with Run("Rate 5000") as run:
        bodies = await run.after(1)

    assert 4900 <= len(bodies) <= 5000
    assert len(run.batches) <= 100


async def test_copies_repeat_all_objects_in_their_order() -> None:
    async with Run('Dummy {"a":1}{"b":2}\nCopies 2\nTag t') as run:
        assert await run.after(1) == [{"a": 1}, {"b": 2}, {"a": 1}, {"b": 2}]

    assert run.batches[0].tag == "t"


async def test_run_returns_when_the_samples_are_used_up() -> None:
    async with Run("Samples 2\nCopies 3") as run:
        assert len(await run.after(10)) == 6
        assert run.task.done()
        assert run.task.exception() is None


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('{"a":1} {"b":{"c":[1.5,null]}}', [{"a": 1}, {"b": {"c": [1.5, None]}}]),
        ('{"a":1,"a":2}', [{"a": 2}]),
        ('[1] {"a":1} "x"', [{"a": 1}]),
    ],
)
async def test_every_object_of_the_text_becomes_a_record(text: str, expected: list[Body]) -> None:
    async with Run(f"Dummy {text}") as run:
        assert await run.after(1) == expected


@pytest.mark.parametrize("text", ["{oops", '{"a":1} oops', "[1]", "plain"])
async def test_a_text_without_an_object_is_told_and_replaced_by_the_default(
    text: str, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING, "shipper"):
        async with Run(f"Dummy {text}") as run:
            assert await run.after(1) == [{"message": "dummy"}]

    assert "the default is used" in caplog.text


@pytest.mark.parametrize(
    ("lines", "expected_ns"),
    [
        ("", [START, START + 10**9]),
        ("Fixed_timestamp on", [START, START]),
        ("Start_time_sec 5\nStart_time_nsec 123", [5_000_000_123, 6_000_000_123]),
        ("Start_time_sec 5\nFixed_timestamp on", [5_000_000_000, 5_000_000_000]),
        ("Start_time_nsec 7\nFixed_timestamp on", [7, 7]),
    ],
)
async def test_times_begin_at_the_start_time_and_stand_still_if_fixed(lines: str, expected_ns: list[int]) -> None:
    async with Run(f"Flush_on_startup on\n{lines}") as run:
        await run.after(1)

    assert run.times_ns() == expected_ns


async def test_metadata_goes_with_every_record() -> None:
    async with Run('Metadata {"level":"warn","n":5}\nDummy {"a":1}{"b":1}') as run:
        await run.after(1)

    assert [r.metadata for r in run.batches[0]] == [{"level": "warn", "n": 5}] * 2


async def test_a_record_that_a_filter_changes_does_not_change_the_next_one() -> None:
    async with Run('Dummy {"m":{"x":1}}') as run:
        (body,) = await run.after(1)
        body["m"]["x"] = 2
        bodies = await run.after(1)

    assert bodies[1] == {"m": {"x": 1}}


async def test_a_wait_for_full_buffers_is_made_up_for_one_second_only() -> None:
    gate = asyncio.Event()
    clock = ManualClock(START)
    emitted: list[int] = []

    async def emit(batch: RecordBatch) -> None:
        await gate.wait()
        emitted.append(len(batch))

    run = asyncio.ensure_future(
        DummyInput(options_from(DummyOptions, "Rate 10", "input"), context_of("input", clock=clock)).run(emit)
    )
    await clock.advance(60)
    gate.set()
    await clock.advance(0)
    run.cancel()
    await asyncio.gather(run, return_exceptions=True)

    assert emitted[0] == 1
    assert 0 < sum(emitted[1:]) <= 610
