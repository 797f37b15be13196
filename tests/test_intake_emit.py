from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from shipper.buffers.base import BatchLimits
from shipper.buffers.memory import MemoryBuffer
from shipper.context import Context
from shipper.filters.base import Filter, FilterOptions
from shipper.intake import ActiveFilter, Intake
from shipper.ledger import Ledger
from shipper.log import Log
from shipper.record import Receipt, Record, RecordBatch
from shipper.router import Route, Router, match_tag
from shipper.testing import BlockContent, ManualClock, batch_of, context_of, lines_of, settle

LIMITS = BatchLimits(1_000_000, 1_000_000, 0.0)


def block_of(*lines: str) -> RecordBatch:
    return RecordBatch("test", BlockContent({"log": line} for line in lines), sum(len(line) + 1 for line in lines))


class Step(Filter):
    """Marks each record; drops, doubles or fails at those that say `drop`, `twice` or `fail`."""

    Options = FilterOptions

    def __init__(self, fails_in: str = "apply") -> None:
        self._fails_in = fails_in

    async def prepare(self, batch: RecordBatch) -> None:
        if self._fails_in == "prepare":
            self._fail(batch.records)

    def apply(self, batch: RecordBatch) -> RecordBatch | None:
        left: list[Record] = []
        for record in batch.records:
            if self._fails_in == "apply":
                self._fail([record])
            record.body["log"] += "!"
            left += {"drop!": [], "twice!": [record, record]}.get(record.body["log"], [record])
        batch.records = left
        return batch if left else None

    def _fail(self, records: Sequence[Record]) -> None:
        if any("fail" in r.body["log"] for r in records):
            raise ZeroDivisionError("bug")


class Bench:
    """An intake over a buffer with one output, which takes everything that is not tagged `nowhere`."""

    def __init__(self, *filters: Filter, match: str = "*", limit: int = 1_000_000, is_routable: bool = True) -> None:
        self.clock = ManualClock()
        self.context = context_of("input", "in.0", self.clock)
        active = [ActiveFilter(f, match_tag(match), self._context_of(n)) for n, f in enumerate(filters)]
        self.buffer = MemoryBuffer("in.0", limit, self.clock, Log(""))
        self.reader = self.buffer.reader("out.0", lambda batch: batch.tag, LIMITS, lambda: None)
        self.intake = Intake(self.context, active, Router([Route("out.0", "t*")], 1), self.buffer, is_routable)

    def _context_of(self, number: int) -> Context:
        return Context(
            kind="filter",
            name=f"f.{number}",
            alias=f"f.{number}",
            log=Log("[f] "),
            clock=self.clock,
            metrics=self.context.metrics,
        )

    def stored(self) -> list[str]:
        taken = self.reader.take(0.0, flush=True)
        return [line for batch in taken.batches for line in lines_of(batch)] if taken else []

    def deliver(self) -> list[str]:
        """Take and commit everything."""
        lines = []
        while taken := self.reader.take(0.0, flush=True):
            lines += [line for batch in taken.batches for line in lines_of(batch)]
            self.reader.commit(taken)
        return lines

    def ledger_line(self) -> str:
        return str(Ledger(self.context.metrics, ["in.0"], []).inputs()[0])

    def lost(self, filter_name: str) -> dict[str, int]:
        return self.context.metrics.by_label("filter_dropped_records_total", "reason", name=filter_name, wanted="no")


async def test_a_batch_goes_through_all_filters_that_match_its_tag_in_their_order() -> None:
    bench = Bench(Step(), Step())
    await bench.intake.emit(batch_of("a"))

    assert bench.stored() == ["a!!"]


async def test_what_goes_to_an_output_is_counted_for_the_pair_in_records_and_bytes() -> None:
    bench, batches = Bench(), [batch_of("a", "bc"), batch_of("d"), batch_of("e", tag="nowhere")]
    for batch in batches:
        await bench.intake.emit(batch)

    count = bench.context.metrics.total
    assert count("routing_records_total", input="in.0", output="out.0") == 3
    assert count("routing_bytes_total", input="in.0", output="out.0") == batches[0].size + batches[1].size


async def test_a_filter_that_does_not_match_is_passed_by() -> None:
    bench = Bench(Step(), match="other")
    await bench.intake.emit(batch_of("a"))

    assert bench.stored() == ["a"]


async def test_a_batch_that_filters_empty_is_settled_at_once_and_counted() -> None:
    bench, batch = Bench(Step()), batch_of("drop", "drop")
    await bench.intake.emit(batch)

    assert batch.receipt.is_settled
    assert bench.ledger_line() == "input in.0: read=2 added=0 stored=0 filtered=2 no_route=0 balanced"


async def test_records_that_filters_add_are_in_the_account() -> None:
    bench = Bench(Step())
    await bench.intake.emit(batch_of("twice", "a"))

    assert bench.ledger_line() == "input in.0: read=2 added=1 stored=3 filtered=0 no_route=0 balanced"


@pytest.mark.parametrize(("is_routable", "wanted"), [(True, "no"), (False, "yes")])
async def test_a_batch_without_a_route_is_settled_and_counted(is_routable: bool, wanted: str) -> None:
    bench, batch = Bench(is_routable=is_routable), batch_of("a", tag="nowhere")
    await bench.intake.emit(batch)

    assert batch.receipt.is_settled
    assert bench.context.metrics.total("input_dropped_records_total", reason="no_route", wanted=wanted) == 1
    assert bench.ledger_line() == "input in.0: read=1 added=0 stored=0 filtered=0 no_route=1 balanced"


async def test_an_empty_batch_is_settled_and_neither_filtered_nor_stored() -> None:
    class Unasked(Step):
        def apply(self, batch: RecordBatch) -> RecordBatch | None:
            raise AssertionError("there is nothing to filter")

    bench, batch = Bench(Unasked()), RecordBatch("test", [], 0)
    await bench.intake.emit(batch)

    assert batch.receipt.is_settled
    assert bench.buffer.statistics().batches == 0
    assert bench.context.metrics.total("input_filter_failures_total") == 0


# -- filters that fail -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("fails_in", ["apply", "prepare"])
async def test_of_a_block_only_the_records_that_a_filter_fails_at_are_lost(fails_in: str) -> None:
    bench, batch = Bench(Step(""), Step(fails_in)), block_of("a", "fail", "b", "drop", "c")
    await bench.intake.emit(batch)
    owed_until_delivered = not batch.receipt.is_settled

    assert bench.deliver() == ["a!!", "b!!", "c!!"]
    assert owed_until_delivered and batch.receipt.is_settled
    assert (bench.lost("f.0"), bench.lost("f.1")) == ({}, {"failed": 1})
    assert bench.ledger_line() == (
        "input in.0: read=5 added=0 stored=3 filtered=1 no_route=0 dropped=1 dropped.filter_failed=1 balanced"
    )


async def test_a_list_of_records_may_be_half_changed_so_it_is_lost_as_a_whole_and_counted() -> None:
    bench, batch = Bench(Step()), batch_of("a", "fail", "b")
    await bench.intake.emit(batch)
    await bench.intake.emit(batch_of("c"))

    assert bench.deliver() == ["c!"]
    assert batch.receipt.is_settled
    assert bench.lost("f.0") == {"failed": 3}
    assert bench.ledger_line() == (
        "input in.0: read=4 added=0 stored=1 filtered=0 no_route=0 dropped=3 dropped.filter_failed=3 balanced"
    )


async def test_the_bytes_of_a_block_are_the_same_whether_a_filter_fails_or_not() -> None:
    bench = Bench(Step())
    await bench.intake.emit(block_of("a", "bb", "fail", "ccc"))

    kept, lost = bench.buffer.statistics().size, bench.context.metrics.total("input_dropped_bytes_total")
    assert kept + lost == len("a\nbb\nfail\nccc\n")


async def test_a_filter_that_fails_often_is_told_once_a_minute(caplog: pytest.LogCaptureFixture) -> None:
    bench = Bench(Step())
    for _ in range(50):
        await bench.intake.emit(block_of("fail", "a", "fail"))

    assert len([m for m in caplog.messages if "a filter failed" in m]) == 2  # with its traceback, and what was lost
    assert bench.context.metrics.total("input_filter_failures_total") == 50 * 3


# -- waiting -----------------------------------------------------------------------------------------------------------


async def test_an_emit_that_is_cancelled_while_it_waits_has_taken_nothing() -> None:
    bench, batch = Bench(Step(), limit=100), batch_of("b" * 20)
    await bench.intake.emit(batch_of("a" * 20))
    waiting = asyncio.ensure_future(bench.intake.emit(batch))
    await settle()
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)

    assert bench.deliver() == ["a" * 20 + "!"]
    assert lines_of(batch) == ["b" * 20]
    assert not batch.receipt.is_settled
    assert bench.ledger_line() == "input in.0: read=1 added=0 stored=1 filtered=0 no_route=0 balanced"


async def test_emits_that_wait_for_room_all_go_on_although_some_leave_nothing_to_store() -> None:
    bench = Bench(Step(), limit=100)
    await bench.intake.emit(batch_of("a" * 20))
    emits = [asyncio.ensure_future(bench.intake.emit(batch_of(line))) for line in ("drop", "drop", "b")]
    await settle()
    were_waiting = not any(emit.done() for emit in emits)
    bench.deliver()
    await settle()

    assert were_waiting and all(emit.done() for emit in emits)
    assert bench.deliver() == ["b!"]


async def test_a_receipt_tells_its_input_once_when_all_is_delivered() -> None:
    told: list[str] = []
    bench = Bench(Step())
    batch = block_of("a", "fail", "b")
    batch.receipt = Receipt(lambda: told.append("settled"))
    await bench.intake.emit(batch)
    before = list(told)
    bench.deliver()

    assert (before, told) == ([], ["settled"])
