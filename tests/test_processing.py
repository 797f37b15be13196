"""Processors of an output: what they make of a delivery, and how it is counted."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from shipper.buffers.base import Delivery
from shipper.buffers.filesystem import RejectedStore
from shipper.buffers.memory import MemoryBuffer
from shipper.disk import SystemDisk
from shipper.dispatcher import Dispatcher
from shipper.errors import RetryLater
from shipper.filters.base import Filter
from shipper.intake import ActiveFilter
from shipper.ledger import Ledger
from shipper.log import Log
from shipper.outputs.base import Output
from shipper.processing import ProcessedOutput
from shipper.record import Origin, Receipt, Record, RecordBatch
from shipper.retry import Backoff
from shipper.testing import BlockContent, ManualClock, MemoryOutput, batch_of, context_of, lines_of

from .test_dispatcher import Bench, running


class Each(Filter):
    """Makes records of each record's line, as the function says; `calls` counts the batches."""

    def __init__(self, make: Callable[[str], list[str]]) -> None:
        self._make = make
        self.calls = 0

    def apply(self, batch: RecordBatch) -> RecordBatch | None:
        self.calls += 1
        made = []
        for record in batch.records:
            lines = self._make(record.body["log"])
            record.body["log"] = "changed"
            made += [Record(record.time_ns, {"log": line}) for line in lines]
        batch.records = made
        return batch if made else None


def without_b(line: str) -> list[str]:
    return [] if line == "b" else [line]


def failing_at_b(line: str) -> list[str]:
    if line == "b":
        raise ValueError("b")
    return [line]


def doubled(line: str) -> list[str]:
    return [line, line]


class ProcessedBench(Bench):
    """A dispatcher whose output has one processor."""

    def __init__(self, output: MemoryOutput, one: Filter, rejected: Path | None = None) -> None:
        super().__init__(output)
        self.clock = ManualClock()
        self.context = context_of("output", "out.0", self.clock)
        self.processor = context_of("filter", "out.0/each.0", self.clock)
        processed = ProcessedOutput(output, [ActiveFilter(one, lambda tag: True, self.processor)], self.context)
        store = None
        if rejected is not None:
            store = RejectedStore(str(rejected), 0, self.clock, Log(""), SystemDisk(), self.context.metrics)
            store.open()
        self.dispatcher = Dispatcher(processed, self.context, 1, None, Backoff(1, 8, min), store)
        self.buffer = MemoryBuffer("in.0", 1_000_000, self.clock, Log(""))
        self.dispatcher.attach("in.0", self.buffer)

    def put(self, *lines: str, tag: str = "test") -> None:
        self.context.metrics.counter("routing_records_total", input="in.0", output="out.0").add(len(lines))
        super().put(*lines, tag=tag)

    def balance(self) -> tuple[int, int, int, dict[str, int]]:
        """Delivered, added, held, dropped; the account must balance."""
        (account,) = Ledger(self.context.metrics, [], [self.dispatcher]).outputs()
        assert account.is_balanced, account
        return account.delivered, account.added, account.held, account.dropped


@pytest.mark.parametrize("make", [without_b, failing_at_b])
async def test_what_is_left_comes_from_where_it_was_read(make: Callable[[str], list[str]]) -> None:
    class Noting(MemoryOutput):
        async def send(self, delivery: Delivery) -> None:
            found.extend(batch.receipt.origin for batch in delivery.batches)

    found: list[Origin | None] = []
    place = Origin("file", 0, 5)
    async with running(ProcessedBench(Noting(), Each(make))) as bench:
        assert isinstance(bench, ProcessedBench)
        bench.buffer.put(batch_of("a", "b", receipt=Receipt(origin=place)), ["out.0"])
        await bench.clock.advance(1)

    assert found == [place]


@pytest.mark.parametrize(
    ("make", "sent", "balance"),
    [
        (without_b, [["a", "c"]], (2, 0, 0, {"filtered": 1})),
        (doubled, [["a", "a", "b", "b", "c", "c"]], (6, 3, 0, {})),
        (failing_at_b, [["a", "c"]], (2, 0, 0, {"processor_failed": 1})),
        (lambda line: [], [], (0, 0, 0, {"filtered": 3})),
    ],
)
async def test_every_record_is_delivered_or_counted_as_dropped(
    make: Callable[[str], list[str]], sent: list[list[str]], balance: tuple[int, int, int, dict[str, int]]
) -> None:
    async with running(ProcessedBench(MemoryOutput(), Each(make))) as bench:
        assert isinstance(bench, ProcessedBench)
        bench.put("a", "b", "c")
        await bench.clock.advance(1)

        assert bench.output.sent == sent
        assert bench.balance() == balance


async def test_what_a_processor_takes_out_is_wanted_and_a_failure_is_not() -> None:
    def take_a_fail_b(line: str) -> list[str]:
        return [] if line == "a" else failing_at_b(line)

    async with running(ProcessedBench(MemoryOutput(), Each(take_a_fail_b))) as bench:
        bench.put("a", "b", "c")
        await bench.clock.advance(1)

        assert bench.count("dropped_records_total", reason="filtered", wanted="yes") == 1
        assert bench.count("dropped_records_total", reason="processor_failed", wanted="no") == 1


async def test_a_retry_sends_the_same_and_does_not_process_again() -> None:
    each = Each(without_b)
    async with running(ProcessedBench(MemoryOutput([RetryLater("no"), None]), each)) as bench:
        assert isinstance(bench, ProcessedBench)
        bench.put("a", "b")
        await bench.clock.advance(10)

        assert (bench.output.attempts, bench.output.sent, each.calls) == (2, [["a"]], 1)
        assert bench.balance() == (1, 0, 0, {"filtered": 1})


async def test_a_delivery_that_was_given_back_is_processed_from_what_was_stored() -> None:
    bench = ProcessedBench(MemoryOutput([RetryLater("no")] * 9), Each(without_b))
    async with running(bench):
        bench.put("a", "b")
        await bench.clock.advance(1)
    assert bench.balance() == (0, 0, 2, {})

    reader = bench.dispatcher._sources[0].reader
    delivery = reader.take(bench.clock.monotonic(), flush=True)

    assert delivery is not None
    assert [lines_of(batch) for batch in delivery.batches] == [["a", "b"]]


@pytest.mark.parametrize("is_block", [False, True])
async def test_what_is_stored_is_not_changed(is_block: bool) -> None:
    stored = RecordBatch("t", BlockContent([{"log": "a"}]), 2) if is_block else batch_of("a")
    context = context_of("output")
    output = ProcessedOutput(MemoryOutput(), [ActiveFilter(Each(doubled), lambda tag: True, context)], context)
    delivery = Delivery("", [stored])

    await output.send(delivery)

    assert lines_of(stored) == ["a"]
    assert [lines_of(batch) for batch in delivery.batches] == [["a", "a"]]


async def test_maps_within_a_record_are_not_changed_either() -> None:
    class Inside(Filter):
        def __init__(self) -> None: ...

        def apply(self, batch: RecordBatch) -> RecordBatch | None:
            for record in batch.records:
                record.body["m"]["l"].append(2)
                record.body["m"]["k"] = "new"
            return batch

    stored = RecordBatch("t", [Record(0, {"log": "x", "m": {"l": [1]}})], 2)
    context = context_of("output")
    output = ProcessedOutput(MemoryOutput(), [ActiveFilter(Inside(), lambda tag: True, context)], context)

    await output.send(Delivery("", [stored]))

    assert stored.records[0].body == {"log": "x", "m": {"l": [1]}}


async def test_records_that_a_processor_cannot_cope_with_are_kept_as_they_were(tmp_path: Path) -> None:
    async with running(ProcessedBench(MemoryOutput(), Each(failing_at_b), rejected=tmp_path)) as bench:
        bench.put("a", "b")
        await bench.clock.advance(1)

    (file,) = [path for path in tmp_path.rglob("*") if path.is_file()]
    kept = msgspec.json.decode(file.read_bytes().splitlines()[0])
    assert kept["record"]["log"] == "b"


async def test_the_processor_has_counters_of_its_own() -> None:
    async with running(ProcessedBench(MemoryOutput(), Each(without_b))) as bench:
        assert isinstance(bench, ProcessedBench)
        bench.put("a", "b")
        await bench.clock.advance(1)

        total = bench.processor.metrics.total
        assert total("filter_records_total", name="out.0/each.0") == 2
        assert total("filter_dropped_records_total", name="out.0/each.0", reason="filtered", wanted="yes") == 1


def test_everything_that_an_output_can_be_asked_goes_to_the_one_inside() -> None:
    asked = {name for name, _ in inspect.getmembers(Output, inspect.isfunction)} - {"__init__"}

    assert asked <= set(vars(ProcessedOutput))
