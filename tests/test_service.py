"""Hot reload and signals without a process: engines over plugins of the test, one after the other."""

from __future__ import annotations

import asyncio
import itertools
import logging
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import shipper.engine
from shipper.buffers.base import Delivery
from shipper.config.units import Seconds
from shipper.context import Context, Emit
from shipper.errors import RetryLater
from shipper.inputs.base import Input, InputOptions
from shipper.inputs.stdin import StdinInput, StdinOptions
from shipper.outputs.base import Output
from shipper.pipeline import Pipeline
from shipper.record import RecordBatch
from shipper.service import FAILED
from shipper.testing import ListInput, MemoryOutput, batch_of, settle

from .engine_bench import EndlessInput
from .service_bench import ServiceBench, Unopenable, Watched, mistake, pipeline_of, running, told

AWAY = [RetryLater("away")] * 1000


@pytest.fixture(autouse=True)
def untouched_garbage_collector(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shipper.engine, "_settle_memory", lambda: None)


@pytest.fixture(autouse=True)
def every_log_line(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "shipper")


def numbered() -> Iterator[RecordBatch]:
    return (batch_of(f"{n:0100d}") for n in itertools.count())


# -- from one to the next ----------------------------------------------------------------------------------------------


async def test_the_new_configuration_takes_the_place_of_the_old_one(caplog: pytest.LogCaptureFixture) -> None:
    first, second = MemoryOutput(), MemoryOutput()
    old = pipeline_of(ListInput([batch_of("a")]), first)
    async with running(ServiceBench(old, pipeline_of(ListInput([batch_of("b")]), second))) as bench:
        await bench.reload()
        await bench.pass_time(2)
        code = await bench.stop()

    assert (first.sent, second.sent, code) == ([["a"]], [["b"]], 0)
    steps = ("reloading instance", "stop everything of the old", "start everything", "successful reload done")
    assert [told(caplog, f"[reload] {step}") for step in steps] == [1] * 4
    assert told(caplog, "remark 1") == 1


async def test_without_hot_reload_a_signal_changes_nothing(caplog: pytest.LogCaptureFixture) -> None:
    async with running(ServiceBench(pipeline_of(ListInput([]), MemoryOutput(), hot_reload=False))) as bench:
        await bench.reload()
        await bench.reload()
        await bench.stop()

    assert (bench.loads, told(caplog, "hot reloading is not enabled")) == (0, 2)


async def test_a_new_configuration_may_switch_reloading_off(caplog: pytest.LogCaptureFixture) -> None:
    first, second = (pipeline_of(ListInput([]), MemoryOutput(), hot_reload=is_on) for is_on in (True, False))
    async with running(ServiceBench(first, second)) as bench:
        await bench.reload()
        await bench.reload()
        await bench.stop()

    assert (bench.loads, told(caplog, "hot reloading is not enabled")) == (1, 1)


async def test_signals_during_a_reload_that_waits_put_the_newest_files_into_its_place() -> None:
    pipelines = [pipeline_of(ListInput([]), MemoryOutput(), Watched()) for _ in range(3)]
    old = pipeline_of(ListInput([batch_of("a")]), slow_output())
    async with running(ServiceBench(old, pipelines[0], mistake(), *pipelines[1:])) as bench:
        await bench.pass_time(2)
        for _ in range(4):
            bench.service.request_reload("SIGHUP")
            await settle()
        loads, before = bench.loads, bench.service.engine.pipeline
        await bench.pass_time(100)
        pipeline, failed = bench.service.engine.pipeline, bench.value(FAILED)
        await bench.stop()

    assert (loads, bench.loads, failed) == (4, 4, 1)
    assert before is old
    assert pipeline is pipelines[2]


async def test_signals_while_the_files_are_read_are_answered_by_one_more_reading() -> None:
    pipelines = [pipeline_of(ListInput([]), MemoryOutput()) for _ in range(2)]
    async with running(ServiceBench(pipeline_of(ListInput([]), MemoryOutput()), *pipelines)) as bench:
        bench.service.request_reload("SIGHUP")
        await asyncio.sleep(0)
        for _ in range(10):
            bench.service.request_reload("SIGHUP")
        await bench.pass_time(100)
        pipeline = bench.service.engine.pipeline
        await bench.stop()

    assert 1 <= bench.loads <= 2
    assert pipeline is pipelines[bench.loads - 1]


async def test_what_waits_for_its_place_and_is_not_needed_any_more_is_closed() -> None:
    first, second = Watched(), Watched()
    old = pipeline_of(ListInput([batch_of("a")]), slow_output())
    news = [pipeline_of(ListInput([]), MemoryOutput(), one) for one in (first, second)]
    async with running(ServiceBench(old, *news)) as bench:
        await bench.pass_time(2)
        for _ in range(2):
            bench.service.request_reload("SIGHUP")
            await settle()

        assert (first.is_open, second.is_open) == (False, True)


def slow_output() -> Output:
    """Takes a delivery at its third attempt, so that a reload waits for a while."""
    return MemoryOutput([RetryLater("away")] * 3)


async def test_who_can_ask_again_is_told_that_a_reload_goes_on() -> None:
    old, new = pipeline_of(ListInput([batch_of("a")]), slow_output()), pipeline_of(ListInput([]), MemoryOutput())
    async with running(ServiceBench(old, new)) as bench:
        await bench.pass_time(2)
        answers = [bench.service.ask_for_reload(), bench.service.ask_for_reload()]
        await settle()
        answers.append(bench.service.ask_for_reload())
        await bench.pass_time(100)
        await bench.stop()

    assert (answers, bench.loads) == ([True, False, False], 1)


# -- what stays as it was ----------------------------------------------------------------------------------------------


def bad_file(output: Output) -> Pipeline | Exception:
    return mistake()


def bad_option(output: Output) -> Pipeline | Exception:
    def cannot_be_made(context: Context) -> Output:
        raise mistake()

    return pipeline_of(ListInput([]), cannot_be_made)


def bad_script(output: Output) -> Pipeline | Exception:
    return pipeline_of(ListInput([]), output, Watched(fails=True))


def a_bug(output: Output) -> Pipeline | Exception:
    return ZeroDivisionError("bug")


@pytest.mark.parametrize("bad", [bad_file, bad_option, bad_script, a_bug])
async def test_a_bad_configuration_leaves_the_engine_alone(bad: Callable[[Output], Pipeline | Exception]) -> None:
    output = MemoryOutput()
    async with running(ServiceBench(pipeline_of(ListInput([batch_of("a")]), output), bad(MemoryOutput()))) as bench:
        engine = bench.service.engine
        await bench.reload()
        is_same, failed = bench.service.engine is engine, bench.value(FAILED)
        await bench.pass_time(2)
        await bench.stop()

    assert (is_same, failed) == (True, 1)
    assert output.sent == [["a"]]


async def test_filters_of_a_configuration_that_is_refused_are_closed_again() -> None:
    good, bad = Watched(), Watched(fails=True)
    new = pipeline_of(ListInput([]), MemoryOutput(), good, bad)
    async with running(ServiceBench(pipeline_of(ListInput([]), MemoryOutput()), new)) as bench:
        await bench.reload()

        assert not good.is_open


async def test_filters_are_open_before_the_old_one_stops() -> None:
    one = Watched()
    old = pipeline_of(ListInput([batch_of("a")]), MemoryOutput(AWAY), grace=1.0)
    async with running(ServiceBench(old, pipeline_of(ListInput([]), MemoryOutput(), one))) as bench:
        await bench.pass_time(2)
        bench.service.request_reload("SIGHUP")
        await settle()
        was_open, engine = one.is_open, bench.service.engine
        # The process is to end instead.
        code = await bench.stop(within=2)

    assert (was_open, engine.pipeline is old) == (True, True)
    assert (code, one.is_open) == (0, False)


async def test_if_the_new_one_cannot_be_opened_the_old_one_is_started_again(caplog: pytest.LogCaptureFixture) -> None:
    output = MemoryOutput()
    old = pipeline_of(lambda context: ListInput([batch_of("a")]), output)
    async with running(ServiceBench(old, pipeline_of(ListInput([]), Unopenable()))) as bench:
        await bench.reload()
        await bench.pass_time(2)
        failed, count = bench.value(FAILED), bench.service.engine.reloads
        code = await bench.stop()

    assert output.sent == [["a"], ["a"]], "this input begins again"
    assert (failed, count, code) == (1, 0, 0)
    assert told(caplog, "the port is taken") == 1
    assert told(caplog, "going back to the one before it") == 1
    assert told(caplog, "successful reload done") == 0


async def test_the_process_ends_if_the_old_one_cannot_be_started_either(caplog: pytest.LogCaptureFixture) -> None:
    old = pipeline_of(ListInput([]), Unopenable(times=1))
    async with running(ServiceBench(old, pipeline_of(ListInput([]), Unopenable()))) as bench:
        await bench.reload()

        assert bench.run is not None and bench.run.result() == 255
    assert told(caplog, "[reload] reloading is aborted and exit") == 1


async def test_the_count_of_failures_outlives_the_engine() -> None:
    new = pipeline_of(ListInput([]), MemoryOutput())
    old = pipeline_of(ListInput([]), MemoryOutput())
    async with running(ServiceBench(old, mistake(), new)) as bench:
        await bench.reload()
        await bench.reload()

        assert (bench.service.engine.pipeline is new, bench.value(FAILED)) == (True, 1)
        assert bench.service.engine.reloads == 1


# -- how long it waits -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("service", "after_s", "is_done"),
    [
        ({"grace": 1.0}, 500, False),
        ({"grace": 5.0, "reload_thread_safety": False}, 4, False),
        ({"grace": 5.0, "reload_thread_safety": False}, 8, True),
        ({"grace": -1.0, "reload_thread_safety": False}, 500, False),
        ({"grace": 1.0, "reload_timeout": Seconds(20)}, 18, False),
        ({"grace": 1.0, "reload_timeout": Seconds(20)}, 24, True),
        ({"grace": 30.0, "reload_timeout": Seconds(5), "reload_thread_safety": False}, 8, True),
    ],
)
async def test_what_would_be_lost_is_waited_for_as_long_as_the_options_say(
    service: dict[str, Any], after_s: float, is_done: bool
) -> None:
    new = pipeline_of(ListInput([]), MemoryOutput())
    old = pipeline_of(ListInput([batch_of("a")]), MemoryOutput(AWAY), **service)
    async with running(ServiceBench(old, new)) as bench:
        await bench.pass_time(2)
        bench.service.request_reload("SIGHUP")
        await settle()
        await bench.pass_time(after_s)

        assert (bench.service.engine.pipeline is new) == is_done


class Patient(Input):
    """Emits a record of each tag, and knows whether it was asked to stop."""

    Options = InputOptions

    def __init__(self, *tags: str) -> None:
        self._tags = tags or ("a",)
        self.is_stopped = False

    async def run(self, emit: Emit) -> None:
        for tag in self._tags:
            await emit(batch_of(tag, tag=tag))
        await asyncio.Event().wait()

    async def stop(self) -> bool:
        self.is_stopped = True
        return False


@pytest.mark.parametrize(("timeout_s", "after_s", "is_stopped"), [(0, 500, False), (20, 17, False), (20, 19, True)])
async def test_inputs_go_on_while_what_would_be_lost_is_waited_for(
    timeout_s: float, after_s: float, is_stopped: bool, caplog: pytest.LogCaptureFixture
) -> None:
    one = Patient()
    old = pipeline_of(one, MemoryOutput(AWAY), grace=1.0, reload_timeout=Seconds(timeout_s))
    async with running(ServiceBench(old, pipeline_of(ListInput([]), MemoryOutput()))) as bench:
        await bench.pass_time(2)
        bench.service.request_reload("SIGHUP")
        await settle()
        await bench.pass_time(after_s)

        assert (one.is_stopped, bench.service.engine.pipeline is old) == (is_stopped, True)
        assert told(caplog, "the reload is put off until what is in memory alone is delivered") >= 1


class Last(Input):
    """Knows whether another input may go on from what it leaves."""

    Options = InputOptions

    def __init__(self, name: str) -> None:
        self._name = name
        self.closed: list[bool] = []

    @property
    def source(self) -> str:
        return self._name

    async def run(self, emit: Emit) -> None:
        await asyncio.Event().wait()

    async def close(self) -> None:
        self.closed.append(self.is_succeeded)


@pytest.mark.parametrize(("name", "is_succeeded"), [("a", True), ("b", False)])
async def test_an_input_knows_at_its_end_whether_another_one_may_go_on(name: str, is_succeeded: bool) -> None:
    first, second = Last("a"), Last(name)
    old, new = pipeline_of(first, MemoryOutput()), pipeline_of(second, MemoryOutput())
    async with running(ServiceBench(old, new)) as bench:
        await bench.reload()
        await bench.stop()

    assert (first.closed, second.closed) == ([is_succeeded], [False])


@pytest.mark.parametrize(("is_read_on", "dropped"), [(True, {}), (False, {"cut_off": 1})])
async def test_half_a_value_is_lost_and_counted_only_if_nobody_reads_on(
    is_read_on: bool, dropped: dict[str, int]
) -> None:
    read_end, write_end = os.pipe()

    def stdin(context: Context) -> Input:
        return StdinInput(StdinOptions(), context, read_end)

    output = MemoryOutput()
    old = pipeline_of(stdin, output)
    new = pipeline_of(stdin if is_read_on else ListInput([]), MemoryOutput())
    async with running(ServiceBench(old, new)) as bench:
        engine = bench.service.engine
        os.write(write_end, b'{"log":"a"}{"log":"b')
        while not output.sent:
            await bench.pass_time(1)
        while bench.service.engine is engine:
            await bench.reload()
        account = engine.ledger.inputs()[0]
    os.close(read_end)
    os.close(write_end)

    assert (account.dropped, account.is_balanced) == (dropped, True)


async def test_what_is_not_due_when_a_reload_is_asked_for_is_delivered_at_once() -> None:
    output = MemoryOutput()
    old, new = pipeline_of(Patient(), output, flush=100.0), pipeline_of(ListInput([]), MemoryOutput())
    async with running(ServiceBench(old, new)) as bench:
        await bench.reload()
        is_done = bench.service.engine.pipeline is new
        await bench.stop()

    assert (output.sent, is_done) == ([["a"]], True)


class Returning(MemoryOutput):
    """Is away for the first attempt of two tags, and is back for the next one; it is slow with the one after that."""

    def __init__(self) -> None:
        super().__init__([RetryLater("away")] * 2, by_tag=True)
        self.may_end = asyncio.Event()

    async def send(self, delivery: Delivery) -> None:
        if self.attempts == 3:
            await self.may_end.wait()
        await super().send(delivery)


async def test_inputs_go_on_until_an_output_that_is_back_has_caught_up() -> None:
    one, output = Patient("a", "b"), Returning()
    old, new = pipeline_of(one, output, grace=60.0), pipeline_of(ListInput([]), MemoryOutput())
    async with running(ServiceBench(old, new)) as bench:
        await bench.pass_time(2)
        bench.service.request_reload("SIGHUP")
        await bench.pass_time(30)
        in_between = (len(output.sent), one.is_stopped)
        output.may_end.set()
        await bench.pass_time(5)
        is_done = bench.service.engine.pipeline is new
        await bench.stop()

    assert in_between == (1, False)
    assert (sorted(output.sent), is_done) == ([["a"], ["b"]], True)


async def test_a_stop_during_a_reload_ends_within_grace_and_at_once_if_asked_again() -> None:
    async def stopped_after(signals: int, seconds: float) -> bool:
        old = pipeline_of(EndlessInput(numbered()), MemoryOutput(hang=asyncio.Event()), grace=30.0)
        async with running(ServiceBench(old, pipeline_of(ListInput([]), MemoryOutput()))) as bench:
            await bench.pass_time(2)
            bench.service.request_reload("SIGHUP")
            await bench.pass_time(100)
            for _ in range(signals):
                bench.service.request_stop("SIGTERM")
                await settle()
            await bench.pass_time(seconds)
            return bench.run is not None and bench.run.done()

    assert [await stopped_after(0, 100), await stopped_after(1, 25), await stopped_after(1, 35)] == [False, False, True]
    assert await stopped_after(2, 0.1)


async def test_a_stop_while_answers_are_waited_for_is_one_like_any_other(tmp_path: Path) -> None:
    """What is owed is on disk, so that a reload waits for the answer that is on its way and for nothing else."""
    old = pipeline_of(Patient(), MemoryOutput(hang=asyncio.Event()), grace=5.0, storage_path=str(tmp_path))
    async with running(ServiceBench(old, pipeline_of(ListInput([]), MemoryOutput()))) as bench:
        await bench.pass_time(2)
        bench.service.request_reload("SIGHUP")
        await bench.pass_time(1)
        code = await bench.stop(within=8)

    assert code == 0


class Late(Input):
    """Emits a record when it is asked to stop, and does not end by itself."""

    Options = InputOptions

    def __init__(self) -> None:
        self.is_stopped = asyncio.Event()

    async def run(self, emit: Emit) -> None:
        await self.is_stopped.wait()
        await emit(batch_of("late"))
        await asyncio.Event().wait()

    async def stop(self) -> bool:
        self.is_stopped.set()
        return True


@pytest.mark.parametrize("after_s", [0.0, 0.1, 2.0])
async def test_a_stop_after_a_reload_has_stopped_its_inputs_ends_within_grace(after_s: float) -> None:
    """The signal comes while an input still hands out what it has, and while an output is away that is owed that."""
    one = Late()
    old = pipeline_of(one, MemoryOutput(AWAY), grace=5.0)
    async with running(ServiceBench(old, pipeline_of(ListInput([]), MemoryOutput()))) as bench:
        bench.service.request_reload("SIGHUP")
        await settle()
        await bench.pass_time(after_s)
        was_stopped, was_reloaded = one.is_stopped.is_set(), bench.service.engine.pipeline is not old
        code = await bench.stop(within=7)

    assert (was_stopped, was_reloaded, code) == (True, False, 0)


async def test_nobody_is_kept_waiting_longer_than_grace_once_inputs_are_stopped(
    caplog: pytest.LogCaptureFixture,
) -> None:
    old, new = pipeline_of(Late(), MemoryOutput(AWAY), grace=5.0), pipeline_of(ListInput([]), MemoryOutput())
    async with running(ServiceBench(old, new)) as bench:
        bench.service.request_reload("SIGHUP")
        await bench.pass_time(8)

        assert bench.service.engine.pipeline is new
    assert told(caplog, "what is left was in memory alone; what cannot be read again is lost, outputs=ou.0") == 1


async def test_what_comes_at_last_is_delivered_before_the_change() -> None:
    output = MemoryOutput([RetryLater("away")] * 2)
    old, new = pipeline_of(Late(), output, grace=5.0), pipeline_of(ListInput([]), MemoryOutput())
    async with running(ServiceBench(old, new)) as bench:
        bench.service.request_reload("SIGHUP")
        await bench.pass_time(8)

        assert (output.sent, bench.service.engine.pipeline is new) == ([["late"]], True)


async def test_what_a_ring_has_is_not_waited_for_longer_than_grace(caplog: pytest.LogCaptureFixture) -> None:
    lines = "storage.type memrb"
    old = pipeline_of(ListInput([batch_of("a")]), MemoryOutput(AWAY), input_lines=lines, grace=5.0)
    new = pipeline_of(ListInput([]), MemoryOutput())
    async with running(ServiceBench(old, new)) as bench:
        await bench.pass_time(2)
        bench.service.request_reload("SIGHUP")
        await bench.pass_time(4)
        is_early = bench.service.engine.pipeline is new
        await bench.pass_time(4)

        assert (is_early, bench.service.engine.pipeline is new) == (False, True)
    assert told(caplog, "storage.type memrb is dropped, outputs=ou.0") == 1


class Ending(Input):
    """Stops the service when it is asked to stop itself."""

    Options = InputOptions

    def __init__(self, context: Context) -> None:
        self._context = context

    async def run(self, emit: Emit) -> None:
        await asyncio.Event().wait()

    async def stop(self) -> bool:
        self._context.stop_service(3)
        return False


async def test_a_plugin_that_ends_the_service_ends_it_though_a_reload_goes_on() -> None:
    new = pipeline_of(ListInput([]), MemoryOutput())
    async with running(ServiceBench(pipeline_of(Ending, MemoryOutput()), new)) as bench:
        await bench.reload()

        assert bench.run is not None and bench.run.result() == 3


# -- the dump ----------------------------------------------------------------------------------------------------------


async def test_a_dump_is_printed_and_everything_goes_on(capsys: pytest.CaptureFixture[str]) -> None:
    async with running(ServiceBench(pipeline_of(ListInput([]), MemoryOutput()))) as bench:
        bench.service.dump("SIGCONT")
        code = await bench.stop()

    printed = capsys.readouterr().err
    assert code == 0
    assert "[engine] caught signal (SIGCONT)\n" in printed
    assert "] Fluent Bit Dump\n\n===== Input =====\nin.0 (in)\n│\n" in printed
