"""Limits of the disk: ours, and its own."""

from __future__ import annotations

import asyncio
import errno
import os
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from shipper.buffers.base import OVER_LIMIT, BatchLimits
from shipper.buffers.filesystem import buffer
from shipper.buffers.filesystem.limits import PIECE, ChunkBudget, FreeSpace, StorageLimit
from shipper.record import Receipt
from shipper.testing import ManualClock, batch_of, settle
from tests.buffers.filesystem.disks import FaultyProcessDisk, NotingDisk, ProcessDisk
from tests.buffers.filesystem.making import LIMITS, Stored, lines_in, segments_in

if TYPE_CHECKING:
    from _typeshed import HasFileno, ReadableBuffer

OUTPUTS = ("one", "two")


def line(number: int) -> str:
    return f"{number:04d} {'v' * 95}"


def skipped_for(stored: Stored, output: str) -> int:
    return sum(loss.records for loss in stored.skipped if (loss.output, loss.reason) == (output, OVER_LIMIT))


def test_l1_what_exceeds_the_limit_of_an_output_is_skipped_oldest_first_for_it_alone(tmp_path: Path) -> None:
    limits = {"one": StorageLimit(5000)}
    stored = Stored(tmp_path, OUTPUTS, limits=LIMITS, segment_size=1000, output_limits=limits)
    lines = [line(number) for number in range(100)]
    for text in lines:
        stored.buffer.put(batch_of(text), OUTPUTS)
    held = stored.readers["one"].held()[0]
    found = stored.deliver("one")

    assert found == lines[-held:]
    assert 20 < held < 40
    assert held + skipped_for(stored, "one") == len(lines)
    assert (stored.deliver("two"), skipped_for(stored, "two")) == (lines, 0)


def test_l3_the_files_of_a_limited_output_do_not_grow_beyond_the_limit(tmp_path: Path) -> None:
    limits = {"one": StorageLimit(50_000)}
    stored = Stored(tmp_path, segment_size=3000, output_limits=limits)
    sizes = []
    for number in range(800):
        stored.buffer.put(batch_of(line(number)), ["one"])
        if number % 20 == 0:
            sizes.append(sum(path.stat().st_size for path in segments_in(tmp_path)))

    assert 50_000 < max(sizes) < 50_000 * 1.12


def test_what_is_being_delivered_is_not_skipped(tmp_path: Path) -> None:
    limits = {"one": StorageLimit(1000)}
    stored = Stored(tmp_path, limits=BatchLimits(150, 10, 1.0), output_limits=limits)
    stored.buffer.put(batch_of(line(0)), ["one"])
    delivery = stored.take()
    for number in range(1, 20):
        stored.buffer.put(batch_of(line(number)), ["one"])
    stored.readers["one"].give_back(delivery or pytest.fail("nothing was taken"))

    found = stored.deliver()
    assert found[0] == line(0)
    assert found[1:] == [line(number) for number in range(20 - len(found) + 1, 20)]
    assert skipped_for(stored, "one") == 20 - len(found)


def test_the_limit_of_an_output_holds_for_all_its_inputs_and_takes_the_oldest_of_any(tmp_path: Path) -> None:
    limits = {"one": StorageLimit(2000)}
    first = Stored(tmp_path, name="in.0", output_limits=limits)
    second = Stored(tmp_path, name="in.1", output_limits=limits)
    for number in range(30):
        (first, second)[number % 2].buffer.put(batch_of(line(number)), ["one"])
    found = sorted(first.deliver() + second.deliver())

    assert found == [line(number) for number in range(30 - len(found), 30)]
    assert skipped_for(first, "one") + skipped_for(second, "one") == 30 - len(found)


def test_the_backlog_of_an_earlier_run_is_under_the_limit_too(tmp_path: Path) -> None:
    stored = Stored(tmp_path, segment_size=1000)
    for number in range(50):
        stored.buffer.put(batch_of(line(number)), ["one"])
    stored.end()
    stored = Stored(tmp_path, output_limits={"one": StorageLimit(1500)})
    stored.buffer.put(batch_of(line(50)), ["one"])
    found = stored.deliver()

    assert found == [line(number) for number in range(51 - len(found), 51)]
    assert len(found) < 12
    assert skipped_for(stored, "one") == 51 - len(found)


def test_with_drop_newest_what_was_stored_first_stays(tmp_path: Path) -> None:
    limits = {"one": StorageLimit(2000, "drop_newest")}
    stored = Stored(tmp_path, OUTPUTS, output_limits=limits)
    lines = [line(number) for number in range(50)]
    receipts = []
    for text in lines:
        batch = batch_of(text)
        receipts.append(batch.receipt)
        stored.buffer.put(batch, ["one"])
    stored.buffer.put(batch_of(line(50)), OUTPUTS)
    found = stored.deliver("one")

    assert found == lines[: len(found)]
    assert 5 < len(found) < 20
    assert skipped_for(stored, "one") == 51 - len(found)
    assert stored.deliver("two") == [line(50)]
    assert all(receipt.is_settled for receipt in receipts)


async def test_an_input_that_keeps_its_source_waits_at_the_limit_of_an_output(tmp_path: Path) -> None:
    limits = {"one": StorageLimit(2000)}
    clock = ManualClock()
    stored = Stored(tmp_path, OUTPUTS, clock=clock, output_limits=limits, keeps_source=True)
    for number in range(30):
        waiting = asyncio.ensure_future(stored.buffer.room(100))
        await settle()
        if not waiting.done():
            break
        stored.buffer.put(batch_of(line(number)), ["one"])
    found = stored.deliver("one")
    await clock.advance(2)

    assert found == [line(n) for n in range(number)]
    assert 5 < number < 20
    assert waiting.done()
    assert skipped_for(stored, "one") == 0


async def test_the_input_waits_while_the_budget_of_chunks_is_used_up(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    clock = ManualClock()
    stored = Stored(tmp_path, clock=clock, budget=ChunkBudget(2))
    await stored.buffer.room(10)
    stored.buffer.put(batch_of("x" * (PIECE + 1)), ["one"])
    waiting = asyncio.ensure_future(stored.buffer.room(10))
    await settle()
    was_waiting, is_full = not waiting.done(), stored.buffer.statistics().is_full
    stored.deliver()
    await settle()

    assert (was_waiting, is_full, waiting.done()) == (True, True, True)
    assert not stored.buffer.statistics().is_full
    assert (
        next(m for m in caplog.messages if "overlimit" in m)
        == "[input] in.0 paused (storage buf overlimit 2/2 of storage.max_chunks_up)"
    )


class SmallDisk(ProcessDisk):
    """A disk that says how much is free."""

    left = 1_000_000

    def free(self, path: str) -> int:
        return self.left


async def test_the_input_waits_while_less_than_the_floor_is_free(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    clock, disk = ManualClock(), SmallDisk()
    disk.left = 100
    stored = Stored(tmp_path, disk=disk, clock=clock, floor=1000)
    waiting = asyncio.ensure_future(stored.buffer.room(10))
    await clock.advance(5)
    was_waiting = not waiting.done()
    disk.left = 2000
    await clock.advance(1)

    assert (was_waiting, waiting.done()) == (True, True)
    assert f"[input] in.0 paused (100B free in {tmp_path}, storage.free_space_floor is 1000B)" in caplog.messages


def test_the_disk_is_asked_for_its_free_space_now_and_then() -> None:
    asked: list[str] = []

    class CountingDisk(SmallDisk):
        def free(self, path: str) -> int:
            asked.append(path)
            return self.left

    disk = CountingDisk()
    space = FreeSpace(disk, "/store", 200_000)
    allowed = [space.allows(1000) for _ in range(100)]
    disk.left = 200_500
    later = [space.allows(1000) for _ in range(100)]

    assert all(allowed)
    assert 1 <= len(asked) < 105
    assert not later[-1] and later.count(True) <= 100_000 // 1000


@pytest.mark.parametrize("error", [errno.ENOSPC, errno.EROFS, errno.EACCES])
async def test_a_disk_that_refuses_makes_the_input_wait_tells_once_and_recovers(
    error: int, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    class RefusingDisk(ProcessDisk):
        refuses = True

        def write(self, fd: int, data: ReadableBuffer) -> int:
            if self.refuses:
                raise OSError(error, os.strerror(error))
            return os.write(fd, data)

    caplog.set_level("INFO")
    clock, disk, settled = ManualClock(), RefusingDisk(), list[int]()
    stored = Stored(tmp_path, disk=disk, clock=clock)
    stored.buffer.put(batch_of("a", receipt=Receipt(lambda: settled.append(1))), ["one"])
    waiting = asyncio.ensure_future(stored.buffer.room(10))
    await clock.advance(10)
    before = (waiting.done(), list(settled))
    disk.refuses = False
    await clock.advance(1)

    assert (before, waiting.done(), settled) == ((False, []), True, [1])
    assert [m.split(";")[0] for m in caplog.messages if "cannot be stored" in m] == ["records cannot be stored"]
    assert "records can be stored again" in caplog.messages
    stored.end()
    assert Stored(tmp_path).deliver() == ["a"]


async def test_with_sync_full_a_receipt_is_settled_when_the_disk_has_the_batch(tmp_path: Path) -> None:
    steps: list[str] = []

    class SlowDisk(ProcessDisk):
        def fsync(self, fd: int | HasFileno) -> None:
            os.fsync(fd)
            steps.append("synced")

    stored = Stored(tmp_path, disk=SlowDisk(), clock=ManualClock(), sync="full")
    running = asyncio.ensure_future(stored.buffer.run())
    await settle()
    last = asyncio.Event()
    for number in range(5):
        stored.buffer.put(batch_of(str(number), receipt=Receipt(lambda: steps.append("settled"))), ["one"])
    stored.buffer.put(batch_of("last", receipt=Receipt(last.set)), ["one"])
    before = list(steps)
    await asyncio.wait_for(last.wait(), 10)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)

    assert before == []
    assert steps[-5:] == ["settled"] * 5
    assert 1 <= steps.count("synced") <= 7  # four folders once, and the file fewer times than there are batches
    stored.buffer.close()


def test_with_sync_full_the_disk_has_a_new_segment_and_its_name_before_a_receipt_is_settled(tmp_path: Path) -> None:
    disk, before = NotingDisk(), list[list[tuple[str, str]]]()
    stored = Stored(tmp_path, disk=disk, sync="full", segment_size=100)
    for text in ("a" * 100, "b" * 100):
        receipt = Receipt(lambda: before.append(disk.steps.copy()))
        disk.steps.clear()
        stored.buffer.put(batch_of(text, receipt=receipt), ["one"])

    segments = segments_in(tmp_path)
    assert len(segments) == len(before) == 2
    for segment, steps in zip(segments, before, strict=True):
        assert {("fsync", str(segment)), ("fsync", stored.buffer.folder)} <= set(steps)
    above = [Path(stored.buffer.folder).parents[number] for number in range(3)]
    assert {("fsync", str(folder)) for folder in above} <= set(before[0])


async def test_with_sync_full_what_was_put_last_is_synced_and_settled_at_the_close(tmp_path: Path) -> None:
    disk, steps = NotingDisk(), list[list[tuple[str, str]]]()
    stored = Stored(tmp_path, disk=disk, clock=ManualClock(), sync="full")
    running = asyncio.ensure_future(stored.buffer.run())
    await settle()
    receipt = Receipt(lambda: steps.append(disk.steps.copy()))
    stored.buffer.put(batch_of("a", receipt=receipt), ["one"])
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    before = list(steps)
    stored.buffer.close()

    assert before == []
    assert [("fsync", str(path)) in steps[0] for path in segments_in(tmp_path)] == [True]


async def test_the_input_waits_while_more_is_owed_than_may_be_in_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(buffer, "MOST_OWED", 1000)
    is_free = threading.Event()

    class HangingDisk(ProcessDisk):
        def fsync(self, fd: int | HasFileno) -> None:
            is_free.wait(60)  # so that a test that fails leaves no thread
            os.fsync(fd)

    stored = Stored(tmp_path, disk=HangingDisk(), clock=ManualClock(), sync="full")
    running = asyncio.ensure_future(stored.buffer.run())
    await settle()
    for number in range(100):
        waiting = asyncio.ensure_future(stored.buffer.room(100))
        await settle()
        if not waiting.done():
            break
        stored.buffer.put(batch_of(line(number)), ["one"])
    was_waiting = not waiting.done()
    is_free.set()
    await asyncio.wait_for(waiting, 10)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)

    assert (was_waiting, 3 < number < 15) == (True, True)


async def test_a_failed_fsync_in_the_thread_writes_the_batches_again(tmp_path: Path) -> None:
    disk = FaultyProcessDisk(1, ("fsync",), errno.EIO, "error")
    settled: list[str] = []
    last = asyncio.Event()
    stored = Stored(tmp_path, disk=disk, clock=ManualClock(), sync="full")
    running = asyncio.ensure_future(stored.buffer.run())
    await settle()
    for text in "ab":
        stored.buffer.put(batch_of(text, receipt=Receipt(lambda: settled.append("now"))), ["one"])
    stored.buffer.put(batch_of("c", receipt=Receipt(last.set)), ["one"])
    await asyncio.wait_for(last.wait(), 10)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    stored.end()

    assert (disk.failed, settled) == (True, ["now", "now"])
    assert Stored(tmp_path).deliver() == ["a", "b", "c"]


async def test_a_cancelled_wait_for_room_leaves_nothing_behind(tmp_path: Path) -> None:
    clock, disk = ManualClock(), SmallDisk()
    disk.left = 0
    stored = Stored(tmp_path, disk=disk, clock=clock, floor=1000)
    waiting = asyncio.ensure_future(stored.buffer.room(10))
    await settle()
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)

    assert not stored.buffer.statistics().is_full


def test_batches_leave_memory_when_there_is_no_room_and_are_read_again(tmp_path: Path) -> None:
    stored = Stored(tmp_path, OUTPUTS, memory=2000)
    for number in range(50):
        stored.buffer.put(batch_of(line(number)), OUTPUTS)
    delivery = stored.take("two")

    assert stored.buffer.memory <= 2000 + 600
    assert lines_in(delivery) == [line(number) for number in range(50)]
    assert stored.deliver("one") == [line(number) for number in range(50)]
    assert stored.buffer.memory <= 2000
