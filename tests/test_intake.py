"""From the input to the buffer: filters that hold records back, and the account of every record."""

from __future__ import annotations

import asyncio

import pytest

from shipper.buffers.base import BatchLimits, Delivery
from shipper.buffers.memory import MemoryBuffer
from shipper.context import Context
from shipper.filters.base import Filter, FilterOptions, HoldingFilter
from shipper.intake import ActiveFilter, Intake
from shipper.ledger import InputAccount, Ledger
from shipper.log import Log
from shipper.record import Receipt, RecordBatch
from shipper.router import Route, Router, match_tag
from shipper.testing import ManualClock, batch_of, context_of, lines_of, settle


class Pairs(HoldingFilter):
    """Joins two records to one; a single one is due a second after it came."""

    Options = FilterOptions

    def __init__(self, clock: ManualClock) -> None:
        self._clock = clock
        self._held: dict[str, tuple[RecordBatch, float]] = {}
        self._ready: dict[str, list[RecordBatch]] = {}

    def take(self, batch: RecordBatch, source: str) -> RecordBatch | None:
        [record] = batch.records
        batch.receipt.share()
        if source not in self._held:
            self._held[source] = (batch, self._clock.monotonic() + 1)
            return None
        before, _ = self._held.pop(source)
        record.body["log"] = before.records[0].body["log"] + record.body["log"]

        def settle_both() -> None:
            before.receipt.settle()
            batch.receipt.settle()

        self._ready.setdefault(source, []).append(RecordBatch(batch.tag, [record], 10, Receipt(settle_both)))
        return None

    def handed_out(self, source: str) -> list[RecordBatch]:
        return self._ready.pop(source, [])

    def held(self, source: str) -> int:
        return len(self._held.keys() & {source})

    def release(self, source: str, now: float | None) -> float | None:
        if source in self._held and (now is None or self._held[source][1] <= now):
            self._ready.setdefault(source, []).append(self._held.pop(source)[0])
        return self._held[source][1] if source in self._held else None


class Marks(Filter):
    """Appends a letter to every record, and drops those that say so."""

    Options = FilterOptions

    def __init__(self, letter: str) -> None:
        self._letter = letter

    def apply(self, batch: RecordBatch) -> RecordBatch | None:
        for record in batch.records:
            record.body["log"] += self._letter
        batch.records = [r for r in batch.records if "drop" not in r.body["log"]]
        return batch if batch.records else None


class Stage:
    """An intake with a buffer for one output, and what comes out of it."""

    def __init__(self, limit: int = 1_000_000, route: str = "*") -> None:
        self.clock = ManualClock()
        self.context = context_of("input", "in.0", clock=self.clock)
        self.buffer = MemoryBuffer("in.0", limit, self.clock, Log(""))
        self.reader = self.buffer.reader("out.0", lambda batch: "", BatchLimits(), lambda: None)
        self.router = Router([Route("out.0", route)], 1)

    def intake(self, *filters: Filter) -> Intake:
        active = [
            ActiveFilter(
                one,
                match_tag("*"),
                Context(
                    kind="filter",
                    name=f"f.{n}",
                    alias=f"f.{n}",
                    log=Log(""),
                    clock=self.clock,
                    metrics=self.context.metrics,
                ),
            )
            for n, one in enumerate(filters)
        ]
        return Intake(self.context, active, self.router, self.buffer, True)

    def take(self) -> list[str]:
        """Deliver everything there is."""
        lines: list[str] = []
        while (delivery := self._next()) is not None:
            lines += [line for batch in delivery.batches for line in lines_of(batch)]
            self.reader.commit(delivery)
        return lines

    def account(self) -> InputAccount:
        return Ledger(self.context.metrics, ["in.0"], []).inputs()[0]

    def _next(self) -> Delivery | None:
        return self.reader.take(self.clock.monotonic(), flush=True)


@pytest.fixture
def stage() -> Stage:
    return Stage()


async def emit(intake: Intake, *lines: str) -> list[Receipt]:
    """Emit each line as a batch of its own."""
    receipts = [Receipt() for _ in lines]
    for line, receipt in zip(lines, receipts, strict=True):
        await intake.emit(batch_of(line, receipt=receipt))
    return receipts


async def run_and_emit(intake: Intake, *lines: str) -> list[Receipt]:
    """Emit each line as a batch of its own while the intake runs."""
    async with asyncio.TaskGroup() as tasks:
        running = tasks.create_task(intake.run())
        receipts = await emit(intake, *lines)
        running.cancel()
    return receipts


async def test_what_is_handed_out_goes_through_all_filters_but_the_one_that_held_it(stage: Stage) -> None:
    intake = stage.intake(Marks("1"), Pairs(stage.clock), Marks("2"))
    await run_and_emit(intake, "a", "b")
    await intake.hand_out()

    assert stage.take() == ["a1b112"]


async def test_receipts_are_settled_when_the_record_made_of_them_is_delivered(stage: Stage) -> None:
    intake = stage.intake(Pairs(stage.clock))
    receipts = await run_and_emit(intake, "a", "b", "c")
    await intake.hand_out()

    assert [r.is_settled for r in receipts] == [False] * 3
    stage.take()
    assert [r.is_settled for r in receipts] == [True] * 3


async def test_the_account_balances_while_records_are_held_and_after(stage: Stage) -> None:
    intake = stage.intake(Pairs(stage.clock), Marks(""))
    await run_and_emit(intake, "a", "b", "c")
    while_held = stage.account()
    await intake.hand_out()

    assert while_held == InputAccount("in.0", read=3, added=0, stored=1, filtered=1, no_route=0, held=1)
    assert while_held.is_balanced
    assert stage.account() == InputAccount("in.0", read=3, added=0, stored=2, filtered=1, no_route=0)
    assert str(while_held).endswith("no_route=0 held=1 balanced")


async def test_records_that_became_a_part_of_another_are_dropped_on_purpose(stage: Stage) -> None:
    intake = stage.intake(Pairs(stage.clock))
    await run_and_emit(intake, "a", "b")
    await intake.hand_out()

    labels = {"name": "f.0", "reason": "joined", "wanted": "yes"}
    assert stage.context.metrics.value("filter_dropped_records_total", **labels) == 1
    assert stage.context.metrics.value("filter_dropped_bytes_total", **labels) == 0


async def test_what_a_later_filter_drops_is_counted_and_settled(stage: Stage) -> None:
    intake = stage.intake(Pairs(stage.clock), Marks(""))
    receipts = await run_and_emit(intake, "dr", "op")
    await intake.hand_out()

    assert stage.account() == InputAccount("in.0", read=2, added=0, stored=0, filtered=2, no_route=0)
    assert all(r.is_settled for r in receipts)


async def test_what_nobody_wants_is_counted_and_settled() -> None:
    stage = Stage(route="other")
    intake = stage.intake(Pairs(stage.clock))
    receipts = await run_and_emit(intake, "a", "b")
    await intake.hand_out()

    assert stage.account() == InputAccount("in.0", read=2, added=0, stored=0, filtered=1, no_route=1)
    assert all(r.is_settled for r in receipts)


async def test_two_holding_filters_behind_each_other_pass_a_record_on_once(stage: Stage) -> None:
    intake = stage.intake(Pairs(stage.clock), Pairs(stage.clock))
    await run_and_emit(intake, "a", "b", "c", "d", "e")
    await intake.hand_out()

    assert stage.take() == ["abcd", "e"]
    assert stage.account().is_balanced
    assert not intake.held()


class TestWhileRunning:
    async def test_finished_records_go_on_at_once(self, stage: Stage) -> None:
        intake = stage.intake(Pairs(stage.clock))
        async with asyncio.TaskGroup() as tasks:
            running = tasks.create_task(intake.run())
            await emit(intake, "a", "b")
            await settle()
            lines = stage.take()
            running.cancel()

        assert lines == ["ab"]

    async def test_a_held_record_goes_on_when_it_is_due(self, stage: Stage) -> None:
        intake = stage.intake(Pairs(stage.clock))
        async with asyncio.TaskGroup() as tasks:
            running = tasks.create_task(intake.run())
            await stage.clock.advance(5)
            await emit(intake, "a")
            await stage.clock.advance(0.9)
            early = stage.take()
            await stage.clock.advance(0.2)
            due = stage.take()
            running.cancel()

        assert (early, due) == ([], ["a"])

    async def test_a_held_record_goes_on_before_it_is_due_if_somebody_asks(self, stage: Stage) -> None:
        intake = stage.intake(Pairs(stage.clock))
        async with asyncio.TaskGroup() as tasks:
            running = tasks.create_task(intake.run())
            await emit(intake, "a")
            await settle()
            intake.hand_out_soon()
            await settle()
            asked = stage.take()
            await emit(intake, "b")
            await settle()
            next_one = stage.take()
            running.cancel()

        assert (asked, next_one) == (["a"], [])

    async def test_the_input_waits_while_handed_out_records_find_no_room(self) -> None:
        stage = Stage(limit=200)
        intake = stage.intake(Pairs(stage.clock))
        async with asyncio.TaskGroup() as tasks:
            running = tasks.create_task(intake.run())
            stage.buffer.put(batch_of("x" * 60), ["out.0"])
            emitting = tasks.create_task(emit(intake, *"abcdef"))
            await settle()
            read_while_full = stage.account()
            stage.take()
            await emitting
            await settle()
            lines = stage.take()
            await settle()
            lines += stage.take()
            running.cancel()

        assert (read_while_full.read, read_while_full.is_balanced) == (0, True)
        assert lines == ["ab", "cd", "ef"]

    async def test_a_cancelled_run_takes_up_what_waited(self) -> None:
        stage = Stage(limit=200)
        intake = stage.intake(Pairs(stage.clock))
        await emit(intake, "a", "b")
        stage.buffer.put(batch_of("x" * 60), ["out.0"])
        running = asyncio.ensure_future(intake.run())
        await settle()
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        held = stage.account()
        first = stage.take()
        await intake.hand_out()

        assert (held.held, held.is_balanced) == (1, True)
        assert first == ["x" * 60]
        assert stage.take() == ["ab"]


async def test_without_holding_filters_there_is_nothing_to_run(stage: Stage) -> None:
    intake = stage.intake(Marks("1"))
    [receipt] = await emit(intake, "a")

    assert not intake.has_holders
    assert stage.take() == ["a1"]
    assert receipt.is_settled
    assert stage.account() == InputAccount("in.0", read=1, added=0, stored=1, filtered=0, no_route=0)
