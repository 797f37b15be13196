from __future__ import annotations

import asyncio
import itertools
import logging
from collections.abc import Callable, Iterator

import pytest

import shipper.engine
from shipper.context import Context, Emit
from shipper.errors import OptionError, RetryLater
from shipper.filters.base import Filter, FilterOptions
from shipper.inputs.base import Input, InputOptions
from shipper.record import RecordBatch
from shipper.testing import ListInput, MemoryOutput, batch_of, settle

from .engine_bench import EndlessInput, EngineBench, running

AWAY = [RetryLater("away")] * 1000


@pytest.fixture(autouse=True)
def untouched_garbage_collector(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shipper.engine, "_settle_memory", lambda: None)


def told(caplog: pytest.LogCaptureFixture, text: str) -> list[str]:
    return [message for message in caplog.messages if text in message]


def numbered() -> Iterator[RecordBatch]:
    return (batch_of(f"{n:0100d}") for n in itertools.count())


class Closing(MemoryOutput):
    """Knows whether it was closed."""

    was_closed = False

    async def close(self) -> None:
        self.was_closed = True


async def test_records_are_delivered_and_the_accounts_balance(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "shipper")
    output = Closing()
    async with running(EngineBench([ListInput([batch_of("a"), batch_of("b", "c")])], [output])) as bench:
        await bench.pass_time(2)
        code = await bench.stop(1)

    assert output.sent == [["a", "b", "c"]]
    assert (code, output.was_closed, bench.accounts_balance()) == (0, True, True)
    assert told(caplog, "ledger") == [
        "[engine] ledger input in.0: read=3 added=0 stored=3 filtered=0 no_route=0 balanced",
        "[engine] ledger output ou.0: routed=3 delivered=3 held=0 dropped=0 balanced",
    ]
    assert told(caplog, "service has stopped") == ["[engine] service has stopped (0 pending records, 3 delivered)"]


async def test_what_waits_for_its_flush_is_delivered_at_the_stop() -> None:
    output = MemoryOutput()
    async with running(EngineBench([ListInput([batch_of("a")])], [output], flush=1000.0)) as bench:
        code = await bench.stop(0.1)

    assert (code, output.sent) == (0, [["a"]])


class Stopping(Input):
    """Stops the service with each of these statuses in turn."""

    Options = InputOptions

    def __init__(self, context: Context, *statuses: int) -> None:
        self._context = context
        self._statuses = statuses

    async def run(self, emit: Emit) -> None:
        await emit(batch_of("a"))
        for status in self._statuses:
            self._context.stop_service(status)


@pytest.mark.parametrize(("statuses", "expected"), [((0,), 0), ((255,), 255), ((3, 0), 3), ((0, 3), 0)])
async def test_a_plugin_that_stops_the_service_may_set_its_exit_status(
    statuses: tuple[int, ...], expected: int
) -> None:
    output = MemoryOutput()
    async with running(EngineBench([lambda context: Stopping(context, *statuses)], [output])) as bench:
        await bench.pass_time(6)
        assert bench.run is not None and bench.run.done()

    assert (bench.run.result(), output.sent) == (expected, [["a"]])


# -- stopping while something is in the way ----------------------------------------------------------------------------


async def test_an_output_that_hangs_does_not_keep_the_engine_longer_than_grace(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO, "shipper")
    batch = batch_of("a")
    async with running(EngineBench([ListInput([batch])], [MemoryOutput(hang=asyncio.Event())], grace=4.0)) as bench:
        await bench.pass_time(2)
        code = await bench.stop(5)

    assert (code, batch.receipt.is_settled, bench.accounts_balance()) == (0, False, True)
    assert told(caplog, "service has stopped (1 pending records, 0 delivered)")


async def test_a_long_back_off_is_cut_short_by_one_immediate_attempt_at_the_stop() -> None:
    output = MemoryOutput([RetryLater("away", after=195)])
    async with running(EngineBench([ListInput([batch_of("a")])], [output])) as bench:
        await bench.pass_time(3)
        attempts_before = output.attempts
        code = await bench.stop(0.2)

    assert (attempts_before, output.attempts, output.sent, code) == (1, 2, [["a"]], 0)


async def test_an_output_that_stays_away_is_tried_every_second_until_grace_ends() -> None:
    output, batch = MemoryOutput(AWAY), batch_of("a")
    async with running(EngineBench([ListInput([batch])], [output], grace=5.0)) as bench:
        await bench.pass_time(1.5)
        attempts_before = output.attempts
        await bench.stop(6)

    assert (attempts_before, output.attempts) == (1, 1 + 5)
    assert not batch.receipt.is_settled
    assert bench.accounts_balance()


async def test_without_grace_a_stop_ends_at_once() -> None:
    async with running(EngineBench([EndlessInput(numbered())], [MemoryOutput(AWAY)], grace=0.0)) as bench:
        await bench.pass_time(2)
        code = await bench.stop(1)

    assert code == 0


async def test_an_input_that_waits_for_room_is_stopped_and_what_it_read_stays_owed() -> None:
    one = EndlessInput(numbered())
    bench = EngineBench([one], [MemoryOutput(AWAY)], input_lines="Mem_Buf_Limit 2k", grace=2.0)
    async with running(bench):
        await bench.pass_time(2)
        held_back_at = len(one.emitted)
        await bench.stop(3)

    assert 0 < held_back_at == len(one.emitted) < 20
    assert (one.settled, one.was_closed, bench.accounts_balance()) == (0, True, True)


class Stubborn(ListInput):
    """Says that it will end soon, and does not."""

    async def run(self, emit: Emit) -> None:
        await super().run(emit)
        await asyncio.Event().wait()

    async def stop(self) -> bool:
        return True


async def test_an_input_that_does_not_end_is_cut_off() -> None:
    output = MemoryOutput()
    async with running(EngineBench([Stubborn([batch_of("a")])], [output], grace=2.0)) as bench:
        code = await bench.stop(2)

    assert (code, output.sent) == (0, [["a"]])


class FailingAtTheEnd(ListInput):
    """Raises when it is asked to stop and when it is closed."""

    async def stop(self) -> bool:
        raise ZeroDivisionError("stop")

    async def close(self) -> None:
        raise ZeroDivisionError("close")


async def test_bugs_in_stop_and_close_keep_nobody_else_from_ending_well(caplog: pytest.LogCaptureFixture) -> None:
    output, other = Closing(), EndlessInput([])
    async with running(EngineBench([FailingAtTheEnd([batch_of("a")]), other], [output])) as bench:
        code = await bench.stop(1)

    assert (code, output.sent, output.was_closed, other.was_closed) == (0, [["a"]], True, True)
    assert bench.metrics.total("engine_restarts_total", component="in.0") == 2
    assert len(told(caplog, "unexpected failure")) == 2


class HangingClose(MemoryOutput):
    async def close(self) -> None:
        await asyncio.Event().wait()


async def test_a_close_that_hangs_is_given_up(caplog: pytest.LogCaptureFixture) -> None:
    other = Closing()
    async with running(EngineBench([ListInput([])], [HangingClose(), other])) as bench:
        code = await bench.stop(1.1)

    assert (code, other.was_closed) == (0, True)
    assert told(caplog, "closing takes too long")


@pytest.mark.parametrize("one", [lambda: Stubborn([batch_of("a")]), lambda: ListInput([batch_of("a")])])
async def test_a_second_signal_ends_at_once(one: Callable[[], Input]) -> None:
    bench = EngineBench([one()], [MemoryOutput(hang=asyncio.Event())], grace=1000.0)
    async with running(bench):
        await bench.pass_time(2)
        bench.engine.request_stop(by_signal=True)
        await settle()
        bench.engine.request_stop(by_signal=True)

        # The clock stands still, so whoever waits for it would wait for ever.
        assert bench.run is not None and await asyncio.wait_for(bench.run, 5) == 0
    assert bench.accounts_balance()


# -- bugs --------------------------------------------------------------------------------------------------------------


class Flaky(Input):
    """Fails before it has emitted anything, the given number of times."""

    Options = InputOptions

    def __init__(self, failures: int) -> None:
        self._left = failures

    async def run(self, emit: Emit) -> None:
        if self._left:
            self._left -= 1
            raise ZeroDivisionError("bug")
        await emit(batch_of("a"))


async def test_an_input_with_a_bug_is_started_again_with_growing_pauses(caplog: pytest.LogCaptureFixture) -> None:
    output = MemoryOutput()
    async with running(EngineBench([Flaky(3)], [output])) as bench:
        await bench.pass_time(1 + 2 + 3.9, steps=69)
        too_early = list(output.sent)
        await bench.pass_time(2)

    assert (too_early, output.sent) == ([], [["a"]])
    assert bench.metrics.total("engine_restarts_total", component="in.0") == 3
    assert told(caplog, "component is started again, pause_s=4.0, reason=bug")


class Poisoned(Filter):
    """Fails on records that say so."""

    Options = FilterOptions

    def __init__(self) -> None:
        pass

    def apply(self, batch: RecordBatch) -> RecordBatch | None:
        for record in batch.records:
            if record.body["log"].startswith("poison"):
                raise ZeroDivisionError("bug")
            record.body["seen"] = record.body.get("seen", 0) + 1
        return batch


async def test_a_filter_that_fails_wedges_nothing_and_its_loss_is_named(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "shipper")
    output, batches = MemoryOutput(), [batch_of("a"), batch_of("poison"), batch_of("b")]
    async with running(EngineBench([ListInput(batches)], [output], [Poisoned()])) as bench:
        await bench.pass_time(2)
        await bench.stop(1)

    assert output.sent == [["a", "b"]]
    assert all(batch.receipt.is_settled for batch in batches)
    assert told(caplog, "ledger input") == [
        "[engine] ledger input in.0: read=3 added=0 stored=2 filtered=0 no_route=0 "
        "dropped=1 dropped.filter_failed=1 balanced"
    ]
    assert bench.metrics.total("filter_dropped_records_total", name="fi.0", reason="failed", wanted="no") == 1
    assert told(caplog, "records dropped because a filter failed, filter=fi.0")


class FailingDispatch(MemoryOutput):
    def lane(self, batch: RecordBatch) -> str:
        if batch.tag == "bad":
            raise ZeroDivisionError("bug")
        return ""


async def test_an_output_that_cannot_name_a_lane_leaves_no_batch_half_stored() -> None:
    healthy, batches = MemoryOutput(), [batch_of("a"), batch_of("b", tag="bad"), batch_of("c")]
    async with running(EngineBench([ListInput(batches)], [healthy, FailingDispatch()])) as bench:
        await bench.pass_time(3)
        code = await bench.stop(1)

    assert code == 0
    assert healthy.sent == [["a"]]
    assert [batch.receipt.is_settled for batch in batches] == [True, False, False]


# -- starting ----------------------------------------------------------------------------------------------------------


class CannotOpen(Closing):
    def __init__(self, error: Exception) -> None:
        super().__init__()
        self._error = error

    async def open(self) -> None:
        raise self._error


async def test_every_instance_that_cannot_open_is_told_with_its_place_and_nothing_runs(
    caplog: pytest.LogCaptureFixture,
) -> None:
    good, bad = Closing(), CannotOpen(OptionError("match", "leads nowhere", "try another"))
    one = EndlessInput([batch_of("a")])
    bench = EngineBench([one], [bad, good, CannotOpen(OSError("no such place"))])
    async with running(bench):
        assert bench.run is not None
        code = await bench.run

    assert code == 255
    assert told(caplog, "[config] ") == [
        "[config] test.conf:2: ou: option 'match' leads nowhere - try another",
        "[config] test.conf:1: ou: the output cannot be opened: no such place",
    ]
    assert (one.emitted, one.was_closed, good.was_closed) == ([], True, True)


async def test_every_instance_that_cannot_be_made_is_told() -> None:
    def impossible(context: Context) -> Input:
        raise OptionError("tag", "is impossible")

    bench = EngineBench([impossible, impossible], [MemoryOutput()])
    async with running(bench):
        assert bench.run is not None

        assert await bench.run == 255


async def test_a_stop_that_is_wanted_before_the_start_is_not_forgotten() -> None:
    bench = EngineBench([EndlessInput(numbered())], [MemoryOutput()])
    bench.engine.request_stop()
    async with running(bench):
        await bench.pass_time(1)

        assert bench.run is not None and bench.run.result() == 0


# -- one output is dead ------------------------------------------------------------------------------------------------


async def test_a_healthy_output_goes_on_beside_a_dead_one_up_to_the_limit_which_is_told(
    caplog: pytest.LogCaptureFixture,
) -> None:
    healthy, dead = MemoryOutput(), MemoryOutput(AWAY)
    bench = EngineBench([EndlessInput(numbered())], [healthy, dead], input_lines="Mem_Buf_Limit 10k")
    async with running(bench):
        await bench.pass_time(5)
        got = sum(map(len, healthy.sent))

        # 100 digits and a newline, three times that in memory, and 64 bytes for the record.
        assert 10_000 // (101 * 3 + 64) == 27 <= got + 1
    (paused,) = told(caplog, "paused")
    assert paused.startswith("[input] in.0 paused (mem buf overlimit - event of size 303B exceeded limit 10000B to 1")
    assert f"waits_for=ou.1:{got}" in paused
    assert "Mem_Buf_Limit" in paused
    assert dead.sent == []


async def test_reading_goes_on_soon_after_the_dead_output_is_back(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "shipper")
    one, back_again = EndlessInput([batch_of(f"{n:0100d}") for n in range(200)]), MemoryOutput(AWAY[:4])
    bench = EngineBench([one], [back_again], input_lines="Mem_Buf_Limit 10k", scheduler_cap=5)
    async with running(bench):
        await bench.pass_time(10, steps=100)
        stalled_at = len(one.emitted)
        await bench.pass_time(30, steps=300)
        await bench.stop(1)

    assert stalled_at < 30
    assert [line for lines in back_again.sent for line in lines] == [f"{n:0100d}" for n in range(200)]
    assert one.settled == 200
    assert told(caplog, "[input] in.0 resume (mem buf overlimit - buf size ")
    assert bench.accounts_balance()
