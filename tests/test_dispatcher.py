from __future__ import annotations

import asyncio
import itertools
import re
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest

from shipper.buffers.base import BatchLimits, Delivery, Kept
from shipper.buffers.filesystem import RejectedStore
from shipper.buffers.memory import MemoryBuffer
from shipper.disk import SystemDisk
from shipper.dispatcher import OPEN_PROBE_S, PROBE_S, Dispatcher
from shipper.errors import Counts, Rejected, RetryLater
from shipper.log import Log
from shipper.metrics import Metrics
from shipper.retry import Backoff
from shipper.testing import ManualClock, MemoryOutput, batch_of, context_of, settle


class Bench:
    """A dispatcher over one buffer, with a clock by hand and back-offs of their shortest length."""

    def __init__(
        self,
        output: MemoryOutput,
        concurrency: int = 8,
        retries: int | None = None,
        cap: int = 8,
        pick: Callable[[int, int], int] = min,
        rejected: Path | None = None,
    ) -> None:
        self.clock = ManualClock()
        self.output = output
        self.context = context_of("output", "out.0", self.clock)
        backoff = Backoff(1, cap, pick)
        store = RejectedStore(str(rejected), 0, self.clock, Log(""), SystemDisk(), Metrics()) if rejected else None
        if store is not None:
            store.open()
        self.dispatcher = Dispatcher(output, self.context, concurrency, retries, backoff, store)
        self.buffer = MemoryBuffer("in.0", 1_000_000, self.clock, Log(""))
        self.dispatcher.attach("in.0", self.buffer)

    def put(self, *lines: str, tag: str = "test") -> None:
        self.buffer.put(batch_of(*lines, tag=tag), ["out.0"])

    def count(self, name: str, **labels: str) -> int:
        return self.context.metrics.total(f"output_{name}", name="out.0", **labels)


@asynccontextmanager
async def running(bench: Bench) -> AsyncIterator[Bench]:
    task = asyncio.ensure_future(bench.dispatcher.run())
    await settle()
    try:
        yield bench
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def test_records_are_delivered_when_they_have_waited_for_flush() -> None:
    async with running(Bench(MemoryOutput())) as bench:
        bench.put("a", "b")
        await bench.clock.advance(0.9)
        before = list(bench.output.sent)
        await bench.clock.advance(0.2)

        assert before == []
        assert bench.output.sent == [["a", "b"]]
        assert bench.count("proc_records_total") == 2


async def test_a_delivery_is_tried_again_after_the_back_off_and_counted_once() -> None:
    async with running(Bench(MemoryOutput([RetryLater("busy"), None]))) as bench:
        bench.put("a")
        await bench.clock.advance(1)
        failed_at_first = list(bench.output.sent)
        await bench.clock.advance(2.1)

        assert failed_at_first == []
        assert bench.output.sent == [["a"]]
        assert (bench.count("retries_total"), bench.count("proc_records_total")) == (1, 1)


async def test_the_destination_may_ask_for_a_longer_wait() -> None:
    async with running(Bench(MemoryOutput([RetryLater("slow down", after=30), None]), cap=60)) as bench:
        bench.put("a")
        await bench.clock.advance(29)
        before = list(bench.output.sent)
        await bench.clock.advance(3)

        assert before == []
        assert bench.output.sent == [["a"]]


async def test_a_refused_delivery_is_dropped_and_counted_with_the_reason() -> None:
    async with running(Bench(MemoryOutput([Rejected("too_old")]))) as bench:
        bench.put("a", "b")
        await bench.clock.advance(1)

        assert bench.count("dropped_records_total", reason="too_old") == 2
        assert bench.dispatcher.held() == (0, 0)


@pytest.mark.parametrize(("retries", "reason"), [(0, "no_retries"), (2, "retries_exhausted")])
async def test_retries_end_where_the_configuration_says_so(retries: int, reason: str) -> None:
    bench = Bench(MemoryOutput([RetryLater("no")] * 10), retries=retries)
    async with running(bench):
        bench.put("a")
        await bench.clock.advance(60)

        assert bench.output.attempts == retries + 1
        assert bench.count("dropped_records_total", reason=reason) == 1
        of_route = {"input": "in.0", "output": "out.0"}
        assert bench.context.metrics.total("routing_drop_records_total", **of_route) == 1
        assert bench.context.metrics.total("routing_drop_bytes_total", **of_route) == bench.count("dropped_bytes_total")


async def test_what_heals_without_the_data_uses_up_no_retries_and_is_looked_at_each_minute() -> None:
    denied = RetryLater("not allowed", counts=Counts.NEVER)
    bench = Bench(MemoryOutput([denied] * 30), retries=0, cap=2000, pick=max)
    async with running(bench):
        bench.put("a")
        await bench.clock.advance(60 * 20)
        attempts, held = bench.output.attempts, bench.dispatcher.held()
        await bench.clock.advance(60 * 20)

        assert (held[0], bench.dispatcher.held()[0]) == (1, 0)
        assert 20 <= attempts <= 30
        assert bench.output.sent == [["a"]]


@pytest.mark.parametrize(("retries", "is_soon"), [(None, True), (1000, False)])
async def test_z1_a_destination_that_was_away_for_long_is_found_within_seconds_if_retries_have_no_limit(
    retries: int | None, is_soon: bool
) -> None:
    away = [RetryLater("refused")]
    output = MemoryOutput((away[0] if away else None for _ in itertools.count()), by_tag=True)
    bench = Bench(output, retries=retries, cap=2000, pick=max)
    async with running(bench):
        for n in range(20):
            bench.put("a", tag=f"t{n}")
        for _ in range(360):
            await bench.clock.advance(10)
        attempts = output.attempts
        away.clear()
        for _ in range(10):
            await bench.clock.advance(1)

        assert (bench.dispatcher.held()[0] == 0) is is_soon
        assert attempts <= 3600 / OPEN_PROBE_S + 60


async def test_a_slow_destination_uses_up_retries_only_when_nothing_is_delivered_at_all() -> None:
    def slow() -> RetryLater:
        return RetryLater("slower", counts=Counts.WITHOUT_PROGRESS)

    class SlowForOne(MemoryOutput):
        async def send(self, delivery: Delivery) -> None:
            if delivery.lane == "slow":
                raise slow()
            await super().send(delivery)

    bench = Bench(SlowForOne(by_tag=True), retries=2)
    async with running(bench):
        bench.put("a", tag="slow")
        for n in range(60):
            bench.put(f"{n}", tag="quick")
            await bench.clock.advance(1)
        held_while_others_go = bench.dispatcher.held()[0]
        await bench.clock.advance(100)

        assert held_while_others_go >= 1
        assert bench.count("dropped_records_total", reason="retries_exhausted") == 1
        assert len(bench.output.sent) > 30


async def test_transient_errors_are_retried_without_end_by_default() -> None:
    async with running(Bench(MemoryOutput([RetryLater("no")] * 50))) as bench:
        bench.put("a")
        await bench.clock.advance(2000)

        assert bench.output.sent == [["a"]]


async def test_an_outage_makes_one_attempt_a_step_and_not_one_for_every_delivery() -> None:
    bench = Bench(MemoryOutput([RetryLater("away")] * 1000, by_tag=True))
    async with running(bench):
        for n in range(100):
            bench.put("a", tag=f"t{n}")
        await bench.clock.advance(100)

        assert bench.output.attempts < 8 + 100 / 2
        assert bench.dispatcher.held()[0] == 100


async def test_everything_is_delivered_soon_after_an_outage() -> None:
    bench = Bench(MemoryOutput([RetryLater("away")] * 20, by_tag=True))
    async with running(bench):
        for n in range(100):
            bench.put("a", tag=f"t{n}")
        await bench.clock.advance(200)

        assert len(bench.output.sent) == 100


async def test_attempts_that_fail_together_are_one_step_of_the_back_off() -> None:
    bench = Bench(MemoryOutput([RetryLater("away")] * 8, by_tag=True), cap=2000, pick=max)
    async with running(bench):
        for n in range(8):
            bench.put("a", tag=f"t{n}")
        await bench.clock.advance(1)
        failed_at_once = bench.output.attempts
        # The first step after the outage has begun; with all eight taken for steps of their own it would be the sixth.
        bounds = Backoff(1, 2000).bounds(1)
        await bench.clock.advance(bounds[1])

    assert failed_at_once == 8
    assert len(bench.output.sent) == 8


async def test_the_wish_of_a_destination_is_bounded_by_the_cap() -> None:
    async with running(Bench(MemoryOutput([RetryLater("slow down", after=1e9), None]), cap=60)) as bench:
        bench.put("a")
        await bench.clock.advance(62)

        assert bench.output.sent == [["a"]]


async def test_one_failing_lane_does_not_hold_up_the_others() -> None:
    class OneBadTag(MemoryOutput):
        async def send(self, delivery):  # type: ignore[no-untyped-def]
            if delivery.lane == "bad":
                raise RetryLater("bad stream")
            await super().send(delivery)

    bench = Bench(OneBadTag(by_tag=True))
    async with running(bench):
        for round_number in range(20):
            bench.put("x", tag="bad")
            for n in range(5):
                bench.put(f"{round_number}", tag=f"good{n}")
            await bench.clock.advance(1)
        await bench.clock.advance(1)

        assert len(bench.output.sent) == 100


async def test_a_lane_that_heals_without_the_data_is_looked_at_each_minute_beside_healthy_ones() -> None:
    attempts: list[float] = []

    class OneDenied(MemoryOutput):
        async def send(self, delivery: Delivery) -> None:
            if delivery.lane == "denied":
                attempts.append(bench.clock.monotonic())
                raise RetryLater("not allowed", counts=Counts.NEVER)
            await super().send(delivery)

    bench = Bench(OneDenied(by_tag=True), cap=2000, pick=max)
    async with running(bench):
        bench.put("x", tag="denied")
        for _ in range(120):
            bench.put("y", tag="healthy")
            await bench.clock.advance(10)

        assert len(attempts) >= 15
        assert max(later - earlier for earlier, later in itertools.pairwise(attempts)) <= PROBE_S + 10


async def test_order_within_a_lane_survives_failures() -> None:
    script: list[Exception | None] = [None, RetryLater("x"), None, RetryLater("y"), RetryLater("z"), None]
    async with running(Bench(MemoryOutput(script))) as bench:
        for n in range(30):
            bench.put(f"{n}")
            await bench.clock.advance(1)
        await bench.clock.advance(60)

        assert [line for lines in bench.output.sent for line in lines] == [str(n) for n in range(30)]


async def test_a_bug_in_an_output_is_logged_and_its_records_stay_owed() -> None:
    async with running(Bench(MemoryOutput([ZeroDivisionError("bug"), None]))) as bench:
        bench.put("a")
        await bench.clock.advance(60)

        assert bench.output.sent == [["a"]]
        assert bench.count("failures_total") == 1


async def test_a_hanging_send_is_cut_off_and_tried_again() -> None:
    hang = asyncio.Event()
    bench = Bench(MemoryOutput(hang=hang))
    async with running(bench):
        bench.put("a")
        await bench.clock.advance(1)
        in_flight = bench.dispatcher.held()
        hang.set()
        await settle()

        assert in_flight == (1, 2)
        assert bench.output.sent == [["a"]]


async def test_draining_tries_waiting_deliveries_at_once_and_ends_when_nothing_is_left() -> None:
    bench = Bench(MemoryOutput([RetryLater("away", after=1000)]))
    task = asyncio.ensure_future(bench.dispatcher.run())
    bench.put("a")
    await bench.clock.advance(2)
    bench.put("b")

    bench.dispatcher.begin_drain()
    await bench.clock.advance(1)

    assert bench.output.sent == [["a"], ["b"]]
    assert task.done()


@pytest.mark.parametrize("retries", [0, 1])
async def test_attempts_made_while_stopping_use_up_no_retries_and_go_on_each_second(retries: int) -> None:
    """The second record waits in the same lane: it can come only behind the first."""
    bench = Bench(MemoryOutput([RetryLater("away")] * 9), retries=retries, cap=1000)
    bench.dispatcher.hurry()
    task = asyncio.ensure_future(bench.dispatcher.run())
    bench.put("a")
    await bench.clock.advance(5)
    bench.put("b")
    bench.dispatcher.begin_drain()
    while_away = (bench.output.attempts, task.done())
    await bench.clock.advance(10)

    assert while_away[0] > retries + 1
    assert not while_away[1]
    assert bench.output.sent == [["a"], ["b"]]
    assert task.done()
    assert bench.count("dropped_records_total") == 0


async def test_an_attempt_that_was_on_its_way_when_the_stop_began_uses_up_no_retries_either() -> None:
    hang = asyncio.Event()
    bench = Bench(MemoryOutput([RetryLater("away")], hang=hang), retries=0)
    task = asyncio.ensure_future(bench.dispatcher.run())
    bench.put("a")
    await bench.clock.advance(1)
    bench.dispatcher.begin_drain()
    hang.set()
    await bench.clock.advance(5)

    assert bench.output.sent == [["a"]]
    assert task.done()


async def test_a_cancelled_dispatcher_still_owes_what_was_in_flight() -> None:
    bench = Bench(MemoryOutput(hang=asyncio.Event()))
    async with running(bench):
        bench.put("a")
        await bench.clock.advance(2)

    assert bench.dispatcher.held() == (1, 2)
    assert bench.output.sent == []


async def test_an_input_that_floods_its_buffer_does_not_starve_the_others() -> None:
    bench = Bench(MemoryOutput(limits=BatchLimits(10, 100, 1.0)), concurrency=1)
    other = MemoryBuffer("in.1", 1_000_000, bench.clock, Log(""))
    bench.dispatcher.attach("in.1", other)
    for number in range(20):
        bench.put(f"flood {number:04d}")
    other.put(batch_of("the quiet one"), ["out.0"])
    async with running(bench):
        await bench.clock.advance(2)

        assert bench.output.sent.index(["the quiet one"]) <= 1
        assert len(bench.output.sent) == 21


class KeepingOutput(MemoryOutput):
    """Keeps every delivery; `kept` are those it has not ended. `flush` ends them all."""

    def __init__(self) -> None:
        super().__init__()
        self.kept: list[Kept] = []
        self.is_working = False

    async def send(self, delivery: Delivery) -> None:
        await super().send(delivery)
        self.kept.append(delivery.keep())

    async def work(self) -> None:
        self.is_working = True
        try:
            await asyncio.Event().wait()
        finally:
            self.is_working = False

    def flush(self) -> None:
        while self.kept:
            self.kept.pop().settle()


async def test_what_an_output_keeps_is_held_until_it_says_that_it_is_delivered() -> None:
    output = KeepingOutput()
    async with running(Bench(output)) as bench:
        bench.put("a")
        await bench.clock.advance(1)
        bench.put("b")
        await bench.clock.advance(1)
        before = (bench.dispatcher.held()[0], bench.count("proc_records_total"), bench.buffer.statistics().records)
        output.kept[1].settle()
        output.kept[1].settle()
        between = (bench.dispatcher.held()[0], bench.count("proc_records_total"))
        kept = bench.dispatcher.statistics().kept
        output.kept[0].settle()

        assert output.sent == [["a"], ["b"]]
        assert before == (2, 0, 0)
        assert between == (1, 1)
        assert (kept, bench.dispatcher.statistics().kept) == (1, 0)
        assert bench.dispatcher.held() == (0, 0)
        assert bench.count("proc_records_total") == 2


async def test_what_an_output_keeps_may_end_in_a_drop() -> None:
    output = KeepingOutput()
    async with running(Bench(output)) as bench:
        bench.put("a", "b")
        await bench.clock.advance(1)
        output.kept[0].drop("refused")

        assert bench.count("proc_records_total") == 0
        assert bench.count("dropped_records_total", reason="refused") == 2
        assert bench.dispatcher.held() == (0, 0)


async def test_a_delivery_may_be_ended_before_its_send_returns() -> None:
    class AtOnce(KeepingOutput):
        async def send(self, delivery: Delivery) -> None:
            await super().send(delivery)
            self.flush()

    async with running(Bench(AtOnce())) as bench:
        bench.put("a")
        await bench.clock.advance(1)

        assert bench.count("proc_records_total") == 1
        assert bench.dispatcher.held() == (0, 0)


async def test_draining_asks_the_output_to_complete_what_it_keeps_and_ends_its_work() -> None:
    output = KeepingOutput()
    bench = Bench(output)
    task = asyncio.ensure_future(bench.dispatcher.run())
    bench.put("a")
    await bench.clock.advance(2)
    working = output.is_working

    bench.dispatcher.begin_drain()
    await bench.clock.advance(1)

    assert working
    assert task.done()
    assert not output.is_working
    assert bench.count("proc_records_total") == 1


@pytest.mark.parametrize(
    ("failures", "bounds"),
    [
        (1, (6, 11)),
        (2, (6, 21)),
        (3, (6, 41)),
        (4, (6, 81)),
        (5, (6, 161)),
        (8, (6, 1281)),
        (9, (6, 2001)),
        (50, (6, 2001)),
    ],
)
def test_back_off_has_the_bounds_of_fluent_bit(failures: int, bounds: tuple[int, int]) -> None:
    assert Backoff(5, 2000).bounds(failures) == bounds


@pytest.mark.parametrize("pick", [min, max])
def test_a_wait_lies_within_its_bounds(pick: Callable[[int, int], int]) -> None:
    backoff = Backoff(1, 1, pick)

    assert backoff.wait(7) == 2


def test_a_cap_below_the_base_is_refused() -> None:
    with pytest.raises(ValueError, match=r"scheduler\.cap"):
        Backoff(5, 3)


# -- the store of rejected records -------------------------------------------------------------------------------------


def kept_in(folder: Path) -> list[dict[str, Any]]:
    return [msgspec.json.decode(line) for line in (folder / "out.0" / "rejected.jsonl").read_bytes().splitlines()]


class RefusingSecond(MemoryOutput):
    """Refuses the second record of each delivery alone."""

    async def send(self, delivery: Delivery) -> None:
        (batch,) = delivery.batches
        refused = [(batch.tag, batch.records[1])]
        delivery.refuse(1, "bad", lambda: refused, size=2, status="400", message="it is bad")


async def test_a_record_that_is_refused_alone_is_kept_with_the_words_of_the_destination(tmp_path: Path) -> None:
    async with running(Bench(RefusingSecond(), rejected=tmp_path)) as bench:
        bench.put("a", "b", "c", tag="shop")
        await bench.clock.advance(1)

        (kept,) = kept_in(tmp_path)
        assert bench.count("proc_records_total") == 2
        assert (kept["output"], kept["status"], kept["message"]) == ("out.0", "400", "it is bad")
        assert (kept["tag"], kept["record"]) == ("shop", {"log": "b"})


@pytest.mark.parametrize(
    ("error", "retries", "reason", "words"),
    [
        (Rejected("too old"), None, "too old", ""),
        (RetryLater("busy"), 0, "no_retries", "busy"),
        (RetryLater("busy"), 1, "retries_exhausted", "busy"),
    ],
)
async def test_a_delivery_that_is_given_up_is_kept(
    error: Exception, retries: int | None, reason: str, words: str, tmp_path: Path
) -> None:
    async with running(Bench(MemoryOutput([error] * 2), retries=retries, rejected=tmp_path)) as bench:
        bench.put("a", tag="one")
        bench.put("b", "c", tag="two")
        await bench.clock.advance(5)

        kept = kept_in(tmp_path)
        assert bench.count("dropped_records_total", reason=reason) == 3
        assert [(k["tag"], k["record"]["log"]) for k in kept] == [("one", "a"), ("two", "b"), ("two", "c")]
        assert {(k["status"], k["message"]) for k in kept} == {(reason, words)}


class PartlyTaken(MemoryOutput):
    """Takes one record and then fails."""

    async def send(self, delivery: Delivery) -> None:
        delivery.accepted = 1
        raise Rejected("no more")


async def test_of_a_delivery_that_was_taken_in_part_all_is_kept_and_the_doubt_is_told(tmp_path: Path) -> None:
    async with running(Bench(PartlyTaken(), rejected=tmp_path)) as bench:
        bench.put("a", "b")
        await bench.clock.advance(1)

        kept = kept_in(tmp_path)
        assert (bench.count("proc_records_total"), bench.count("dropped_records_total")) == (1, 1)
        assert [k["message"] for k in kept] == ["(some of the 2 records may have been delivered)"] * 2


class TakenUpTo(MemoryOutput):
    """Takes a first part, refuses one record and then fails; it knows what is left."""

    async def send(self, delivery: Delivery) -> None:
        delivery.accepted = 2
        delivery.refuse(1, "bad", size=2)
        raise RetryLater("no more")

    def left(self, delivery: Delivery) -> list[list[int]] | None:
        return [[], [1]]


async def test_of_a_delivery_that_was_taken_in_part_only_what_is_left_is_kept_where_that_is_known(
    tmp_path: Path,
) -> None:
    async with running(Bench(TakenUpTo(), retries=0, rejected=tmp_path)) as bench:
        bench.put("a", "b", tag="one")
        bench.put("c", "d", tag="two")
        await bench.clock.advance(1)

        (kept,) = kept_in(tmp_path)
        assert (bench.count("proc_records_total"), bench.count("dropped_records_total")) == (2, 2)
        assert (kept["tag"], kept["record"], kept["message"]) == ("two", {"log": "d"}, "no more")


# -- what is told of deliveries, as people search for it ---------------------------------------------------------------

CHUNK = r"'\d+-\d+\.\d+\.flb'"
ROUTE = r"input=in\.0 > output=out\.0 \(out_id=0\)"


def the_line(caplog: pytest.LogCaptureFixture, pattern: str) -> re.Match[str]:
    """The only line that has this."""
    (found,) = [m for record in caplog.records if (m := re.search(pattern, record.getMessage()))]
    return found


async def test_a_delivery_is_called_the_same_in_all_lines_about_it(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", "shipper")
    async with running(Bench(MemoryOutput([RetryLater("busy"), None]))) as bench:
        bench.put("a", "b")
        await bench.clock.advance(10)

    failed = the_line(caplog, rf"failed to flush chunk ({CHUNK}), retry in 2 seconds: task_id=(\d+), {ROUTE}")
    made = the_line(caplog, rf"flush chunk ({CHUNK}) succeeded at retry 1: task_id=(\d+), {ROUTE}, records=2")
    assert failed.groups() == made.groups()


async def test_the_time_that_is_told_is_that_of_the_next_attempt(caplog: pytest.LogCaptureFixture) -> None:
    bench = Bench(MemoryOutput([RetryLater("away")] * 50), cap=2000, pick=max)
    bench.put("a")
    bench.dispatcher.flush()
    async with running(bench):
        for attempts in range(1, 12):
            (*_, told) = re.findall(r"retry in (\d+) seconds", caplog.text)
            await bench.clock.advance(int(told) - 0.5)
            before = bench.output.attempts
            await bench.clock.advance(0.5)

            assert (before, bench.output.attempts) == (attempts, attempts + 1)


async def test_a_delivery_whose_retries_are_used_up_is_told_with_what_is_lost(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with running(Bench(MemoryOutput([RetryLater("busy")] * 2), retries=1)) as bench:
        bench.put("a", "b", tag="app.web")
        await bench.clock.advance(10)

    the_line(caplog, rf"chunk {CHUNK} cannot be retried: task_id=\d+, {ROUTE}, records=2, reason=busy")
    the_line(caplog, r"records dropped, records=2, tag=app\.web, reason=retries_exhausted")


async def test_a_delivery_that_must_not_be_tried_again_is_told_so(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", "shipper")
    async with running(Bench(MemoryOutput([RetryLater("busy")]), retries=0)) as bench:
        bench.put("a", tag="app.web")
        await bench.clock.advance(10)

    the_line(caplog, rf"chunk {CHUNK} is not retried \(no retry config\): task_id=\d+, {ROUTE}")
    the_line(caplog, r"records dropped, records=1, tag=app\.web, reason=no_retries")
    assert not [r for r in caplog.records if "cannot be retried" in r.getMessage()]


async def test_attempts_of_a_stop_are_told_once_of_each_delivery(caplog: pytest.LogCaptureFixture) -> None:
    bench = Bench(MemoryOutput([RetryLater("busy")] * 20), retries=1)
    bench.dispatcher.begin_drain()
    bench.put("a")
    async with running(bench):
        await bench.clock.advance(10)

    the_line(caplog, rf"failed to flush chunk {CHUNK}, retry in 1 seconds: task_id=\d+, {ROUTE}")
    assert bench.output.attempts > 5


# -- a backlog at the stop ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("flushes", "sent"), [(False, [["new"]]), (True, [["new"], ["old"]])])
async def test_a_backlog_stays_where_it_is_at_a_stop_unless_it_is_to_be_flushed(
    flushes: bool, sent: list[list[str]]
) -> None:
    bench = Bench(MemoryOutput())
    bench.context.service.storage_backlog_flush_on_shutdown = flushes
    backlog = MemoryBuffer("old.0", 1_000_000, bench.clock, Log(""))
    bench.dispatcher.attach("old.0", backlog, is_backlog=True)
    backlog.put(batch_of("old"), ["out.0"])
    bench.put("new")
    bench.dispatcher.begin_drain()
    async with running(bench):
        pass

    assert bench.output.sent == sent
