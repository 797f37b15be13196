"""The fakes that we give to plugin authors do what their tests will rely on."""

from __future__ import annotations

import asyncio
import errno
import os
from pathlib import Path

import pytest

from shipper.buffers.base import Delivery
from shipper.errors import RetryLater
from shipper.record import RecordBatch
from shipper.testing import BlockContent, FaultyDisk, ListInput, ManualClock, MemoryOutput, batch_of, lines_of, settle


async def test_sleepers_wake_in_the_order_of_their_times_and_see_the_time_they_asked_for() -> None:
    clock, woken = ManualClock(), list[tuple[float, float]]()

    async def sleep(seconds: float) -> None:
        await clock.sleep(seconds)
        woken.append((seconds, clock.monotonic()))

    async with asyncio.TaskGroup() as tasks:
        for seconds in (3.0, 1.0, 2.0):
            tasks.create_task(sleep(seconds))
        await clock.advance(2.5)
        before_the_last = list(woken)
        await clock.advance(1)

    assert before_the_last == [(1.0, 1.0), (2.0, 2.0)]
    assert woken[2:] == [(3.0, 3.0)]


async def test_a_sleep_that_begins_while_time_passes_ends_in_the_same_passage() -> None:
    clock, laps = ManualClock(), list[float]()

    async def tick() -> None:
        while True:
            await clock.sleep(1)
            laps.append(clock.monotonic())

    task = asyncio.ensure_future(tick())
    await clock.advance(3)
    task.cancel()

    assert laps == [1, 2, 3]


async def test_a_wait_ends_with_the_event_or_the_time() -> None:
    clock, event = ManualClock(), asyncio.Event()
    in_time, too_late = (asyncio.ensure_future(clock.wait(event, seconds)) for seconds in (5.0, 1.0))
    without_end = asyncio.ensure_future(clock.wait(event, None))
    await clock.advance(2)
    ended_by_time = too_late.done()
    event.set()
    await settle()

    assert ended_by_time
    assert (in_time.result(), too_late.result(), without_end.result()) == (True, False, True)


async def test_no_time_at_all_passes_by_itself() -> None:
    clock = ManualClock()

    assert await asyncio.wait_for(clock.wait(asyncio.Event(), 0), 5) is False
    await asyncio.wait_for(clock.sleep(0), 5)


async def test_both_times_of_a_manual_clock_move_together() -> None:
    clock = ManualClock(1_000)
    await clock.advance(1.5)

    assert (clock.time_ns(), clock.monotonic()) == (1_500_001_000, 1.5)


@pytest.mark.parametrize("call", ["listdir", "stat", "mkdirs"])
def test_any_call_of_a_disk_may_fail_at_any_step(call: str, tmp_path: Path) -> None:
    disk = FaultyDisk(2, [call], errno.ENOSPC)
    use = getattr(disk, call)
    use(str(tmp_path))

    with pytest.raises(OSError, match=os.strerror(errno.ENOSPC)):
        use(str(tmp_path))
    assert disk.failed
    use(str(tmp_path))


def test_the_steps_of_several_calls_are_counted_together(tmp_path: Path) -> None:
    disk = FaultyDisk(2, ("stat", "listdir"))
    disk.stat(str(tmp_path))

    with pytest.raises(OSError):
        disk.listdir(str(tmp_path))
    assert disk.failed


def test_a_disk_may_be_told_to_fail_again(tmp_path: Path) -> None:
    disk = FaultyDisk(0, ["stat"])
    disk.stat(str(tmp_path))
    disk.fail_after(1)
    disk.stat(str(tmp_path))

    with pytest.raises(OSError):
        disk.stat(str(tmp_path))


async def test_a_list_is_emitted_in_its_order_and_goes_on_where_it_was_interrupted() -> None:
    one, emitted = ListInput([batch_of("a"), batch_of("b"), batch_of("c")]), list[str]()

    async def emit(batch: RecordBatch) -> None:
        if emitted == ["a"] and one.emitted == 1:
            emitted.append("interrupted")
            raise ZeroDivisionError("bug")
        emitted.extend(lines_of(batch))

    with pytest.raises(ZeroDivisionError):
        await one.run(emit)
    await one.run(emit)

    assert (emitted, one.emitted) == (["a", "interrupted", "b", "c"], 3)


async def test_an_output_in_memory_follows_its_script_and_then_accepts() -> None:
    output = MemoryOutput([None, RetryLater("x")], by_tag=True)
    delivery = Delivery("", [batch_of("a"), batch_of("b")])
    await output.send(delivery)
    with pytest.raises(RetryLater):
        await output.send(delivery)
    await output.send(delivery)

    assert (output.sent, output.attempts) == ([["a", "b"], ["a", "b"]], 3)
    assert (output.lane(batch_of("a", tag="x")), MemoryOutput().lane(batch_of("a", tag="x"))) == ("x", "")


def test_the_records_of_a_block_are_made_anew() -> None:
    block = BlockContent([{"a": {"b": 1}}])
    block.records()[0].body["a"]["b"] = 2

    assert block.records()[0].body == block.bodies()[0] == {"a": {"b": 1}}
    assert (len(block), len(block.times_ns()), block.has_metadata) == (1, 1, False)
