"""Hot reload and signals without a process: engines over plugins of the test, one after the other."""

from __future__ import annotations

import asyncio
import itertools
import logging
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


async def test_signals_during_a_reload_are_answered_by_one_more_with_the_newest_files() -> None:
    pipelines = [pipeline_of(ListInput([]), MemoryOutput()) for _ in range(3)]
    async with running(ServiceBench(pipeline_of(ListInput([batch_of("a")]), slow_output()), *pipelines)) as bench:
        await bench.pass_time(2)
        for _ in range(10):
            bench.service.request_reload("SIGHUP")
            await settle()
        loads = bench.loads
        await bench.pass_time(100)
        pipeline = bench.service.engine.pipeline
        await bench.stop()

    assert (loads, bench.loads) == (1, 2)
    assert pipeline is pipelines[1]


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

    def __init__(self) -> None:
        self.closed: list[bool] = []

    async def run(self, emit: Emit) -> None:
        await asyncio.Event().wait()

    async def close(self) -> None:
        self.closed.append(self.is_succeeded)


async def test_an_input_knows_at_its_end_whether_another_one_may_go_on() -> None:
    first, second = Last(), Last()
    old, new = pipeline_of(first, MemoryOutput()), pipeline_of(second, MemoryOutput())
    async with running(ServiceBench(old, new)) as bench:
        await bench.reload()
        await bench.stop()

    assert (first.closed, second.closed) == ([True], [False])


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
