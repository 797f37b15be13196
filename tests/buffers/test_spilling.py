"""What an output does not take goes to the disk, so that the others go on; nothing is lost and the order stays."""

from __future__ import annotations

import asyncio
import shutil
from pathlib import Path

import pytest

from shipper.buffers.base import BatchLimits, Delivery, Loss, Reader
from shipper.buffers.filesystem import FilesystemBuffer, StorageSettings
from shipper.buffers.filesystem.limits import OnFull, StorageLimit
from shipper.buffers.spilling import SpillingBuffer
from shipper.disk import SystemDisk
from shipper.log import Log
from shipper.metrics import Metrics
from shipper.record import Receipt, RecordBatch
from shipper.testing import ManualClock, batch_of, lines_of, settle
from tests.buffers.filesystem.making import Stored

LIMIT = 30_000


class Spilling:
    """A buffer for `one` and `two`, the receipts of what was put, and what was skipped; `limit` is that of `two`."""

    def __init__(self, folder: Path, *, keeps_source: bool = True, limit: StorageLimit | None = None) -> None:
        self.clock = ManualClock()
        limits_by_output = {} if limit is None else {"two": limit}
        settings = StorageSettings(path=str(folder), floor=0, limits=limits_by_output, keeps_source=keeps_source)
        self.skipped: list[Loss] = []
        self.files = FilesystemBuffer(
            "in.0", settings, self.clock, Log(""), SystemDisk(), Metrics(), self.skipped.append
        )
        self.buffer = SpillingBuffer("in.0", LIMIT, self.files, self.clock, Log(""), 2, keeps_source=keeps_source)
        limits = BatchLimits(2000, 100, 1.0)
        self.readers = {name: self.buffer.reader(name, self._tag, limits, lambda: None) for name in ("one", "two")}
        self.files.open()
        self.receipts: list[Receipt] = []

    @staticmethod
    def _tag(batch: RecordBatch) -> str:
        return batch.tag

    async def put(self, *numbers: int) -> None:
        for number in numbers:
            batch = batch_of(f"{number:04d} {'x' * 500}", tag=f"t{number % 2}")
            await self.buffer.room(batch.size)
            self.receipts.append(batch.receipt)
            self.buffer.put(batch, ["one", "two"])

    def take(self, name: str) -> Delivery | None:
        return self.readers[name].take(self.clock.monotonic(), flush=True)

    def deliver(self, name: str) -> list[int]:
        found: list[int] = []
        reader: Reader = self.readers[name]
        while (delivery := self.take(name)) is not None:
            found += [int(line[:4]) for batch in delivery.batches for line in lines_of(batch)]
            reader.commit(delivery)
        return found

    def stop(self) -> dict[str, int]:
        """End it; gives by output the records that the next run finds on the disk."""
        self.buffer.close()
        self.files.close()
        return self.files.held()

    async def put_beside(self, count: int, taking: str, seconds: float, first: int = 0) -> tuple[list[int], int]:
        """Put so many while one output takes all there is; gives what it got and how many could be put."""
        putting = asyncio.ensure_future(self.put(*range(first, first + count)))
        found: list[int] = []
        for _ in range(int(seconds * 10)):
            await self.clock.advance(0.1)
            found += self.deliver(taking)
        is_done = putting.done()
        putting.cancel()
        await asyncio.gather(putting, return_exceptions=True)
        return found, count if is_done else len(self.receipts)


async def test_an_output_that_takes_nothing_holds_up_no_other_one(tmp_path: Path) -> None:
    spilling = Spilling(tmp_path)
    found, put = await spilling.put_beside(200, "one", 30)

    assert put == 200
    assert sorted(found) == list(range(200))
    assert spilling.readers["two"].held()[0] == 200
    assert spilling.buffer.memory.weight <= LIMIT
    assert all(receipt.is_settled for receipt in spilling.receipts[-100:])


async def test_what_went_to_the_disk_comes_after_what_was_on_its_way_and_in_order(tmp_path: Path) -> None:
    spilling = Spilling(tmp_path)
    await spilling.put(0, 1, 2, 3)
    out = spilling.take("two")
    assert out is not None
    await spilling.put_beside(100, "one", 20)
    others_meanwhile = spilling.take("two")
    spilling.readers["two"].give_back(out)
    found = spilling.deliver("two")

    assert others_meanwhile is None or others_meanwhile.lane != out.lane
    assert [n for n in found if n % 2 == 0] == [0, 2, *range(0, 100, 2)]


@pytest.mark.parametrize("is_taken_in_part", [False, True])
async def test_a_delivery_that_comes_back_after_it_went_to_the_disk_leaves_memory(
    is_taken_in_part: bool, tmp_path: Path
) -> None:
    spilling = Spilling(tmp_path)
    await spilling.put(0, 1, 2, 3)
    out = spilling.take("two")
    assert out is not None
    await spilling.put_beside(100, "one", 20)
    reader = spilling.readers["two"]
    if is_taken_in_part:
        assert reader.give_back_rest(out, [[] for _ in out.batches])
    else:
        reader.give_back(out)
    spilling.deliver("two")

    assert reader.held() == (0, 0)
    assert spilling.buffer.memory.weight == 0


async def test_what_is_on_its_way_goes_to_the_disk_too_so_that_a_kill_leaves_it_in_order(tmp_path: Path) -> None:
    spilling = Spilling(tmp_path / "storage")
    await spilling.put(0, 1, 2, 3)
    on_their_way = [spilling.take("two"), spilling.take("two")]
    await spilling.put_beside(60, "one", 20, first=4)
    shutil.copytree(tmp_path / "storage", tmp_path / "after kill")
    after_kill = Spilling(tmp_path / "after kill").deliver("two")
    for delivery in on_their_way:
        spilling.readers["two"].commit(delivery or pytest.fail("nothing was taken"))
    rest = spilling.deliver("two")

    assert [n for n in after_kill if n % 2 == 0] == list(range(0, 64, 2))
    assert [n for n in after_kill if n % 2] == list(range(1, 64, 2))
    assert sorted(rest) == list(range(4, 64))
    assert spilling.readers["two"].held() == (0, 0)
    assert (spilling.buffer.memory.weight, spilling.files.statistics().batches) == (0, 0)


async def test_an_output_that_has_caught_up_is_served_from_memory_again(tmp_path: Path) -> None:
    spilling = Spilling(tmp_path)
    await spilling.put_beside(100, "one", 20)
    caught_up = spilling.deliver("two")
    stored = spilling.files.statistics().batches
    await spilling.put(500, 501)
    from_memory = spilling.files.statistics().batches

    assert caught_up == sorted(caught_up, key=lambda n: caught_up.index(n))
    assert sorted(caught_up) == list(range(100))
    assert (stored, from_memory) == (0, 0)
    assert sorted(spilling.deliver("two")) == [500, 501]


@pytest.mark.parametrize(("keeps_source", "put_all"), [(True, False), (False, True)])
async def test_when_all_outputs_are_away_only_a_source_that_does_not_keep_its_records_is_spilled(
    keeps_source: bool, put_all: bool, tmp_path: Path
) -> None:
    spilling = Spilling(tmp_path, keeps_source=keeps_source)
    putting = asyncio.ensure_future(spilling.put(*range(100)))
    for _ in range(300):
        await spilling.clock.advance(0.1)
    is_done = putting.done()
    putting.cancel()
    await asyncio.gather(putting, return_exceptions=True)

    assert is_done == put_all
    assert (spilling.files.statistics().batches > 0) == put_all


async def test_a_slow_output_is_waited_for(tmp_path: Path) -> None:
    spilling = Spilling(tmp_path)
    putting = asyncio.ensure_future(spilling.put(*range(100)))
    for _ in range(200):
        await spilling.clock.advance(0.1)
        spilling.deliver("one")
        slow = spilling.take("two")
        if slow is not None:
            spilling.readers["two"].commit(slow)
    putting.cancel()
    await settle()

    assert spilling.files.statistics().batches == 0


async def test_what_one_output_has_got_is_stored_for_the_others_at_a_stop(tmp_path: Path) -> None:
    spilling = Spilling(tmp_path)
    await spilling.put(1, 2, 3)
    delivery = spilling.take("two") or pytest.fail("nothing was taken")
    spilling.readers["two"].give_back(delivery)
    assert spilling.deliver("one") == [1, 3, 2]

    assert spilling.stop() == {"one": 0, "two": 3}
    assert all(receipt.is_settled for receipt in spilling.receipts)


@pytest.mark.parametrize(("keeps_source", "stored"), [(True, 0), (False, 3)])
async def test_what_nobody_has_got_is_stored_at_a_stop_if_it_is_nowhere_else(
    tmp_path: Path, keeps_source: bool, stored: int
) -> None:
    spilling = Spilling(tmp_path, keeps_source=keeps_source)
    await spilling.put(1, 2, 3)

    assert spilling.stop() == {"one": stored, "two": stored}
    assert [receipt.is_settled for receipt in spilling.receipts] == [stored > 0] * 3


async def test_what_is_out_when_an_output_fails_is_stored_at_a_stop_too(tmp_path: Path) -> None:
    """An output that is to begin anew after a bug may still have what it took."""
    spilling = Spilling(tmp_path, keeps_source=False)
    await spilling.put(1, 2, 3)
    taken = [spilling.take("two"), spilling.take("two")]

    assert sum(delivery.records for delivery in taken if delivery is not None) == 3
    assert spilling.stop() == {"one": 3, "two": 3}


async def test_at_the_limit_of_an_output_the_input_waits_and_nothing_is_lost(tmp_path: Path) -> None:
    limit = StorageLimit(60_000)
    spilling = Spilling(tmp_path, limit=limit)
    _, put = await spilling.put_beside(200, "one", 30)

    assert 50_000 < limit.used() <= 60_000
    assert put < 200
    assert sorted(spilling.deliver("two")) == list(range(put))


@pytest.mark.parametrize("used_by_another_input", [0, 4])
async def test_what_does_not_fit_the_limit_of_an_output_stays_in_memory(
    used_by_another_input: int, tmp_path: Path
) -> None:
    limit = StorageLimit(3000)
    other = Stored(tmp_path, ("two",), name="in.1", output_limits={"two": limit}, keeps_source=True)
    for _ in range(used_by_another_input):
        other.buffer.put(batch_of("y" * 500), ["two"])
    used = limit.used()
    spilling = Spilling(tmp_path, limit=limit)
    _, put = await spilling.put_beside(200, "one", 30)

    assert (limit.used(), spilling.files.statistics().batches) == (used, 0)
    assert spilling.buffer.memory.statistics().batches == put < 25
    assert sorted(spilling.deliver("two")) == list(range(put))


async def test_what_an_output_keeps_needs_no_room_on_the_disk(tmp_path: Path) -> None:
    limit = StorageLimit(60_000)
    spilling = Spilling(tmp_path, limit=limit)
    kept = []
    for number in range(100):
        await spilling.put(number)
        spilling.deliver("one")
        delivery = spilling.take("two") or pytest.fail("nothing was taken")
        spilling.readers["two"].keep(delivery)
        kept.append(delivery)
    _, put = await spilling.put_beside(30, "one", 30, first=100)
    for delivery in kept:
        spilling.readers["two"].commit(delivery)

    assert put == 30
    assert limit.used() > 0
    assert sorted(spilling.deliver("two")) == list(range(100, 130))
    assert all(receipt.is_settled for receipt in spilling.receipts)


@pytest.mark.parametrize("on_full", ["drop_oldest", "drop_newest"])
async def test_what_is_on_its_way_is_neither_skipped_nor_refused_at_the_limit(on_full: OnFull, tmp_path: Path) -> None:
    spilling = Spilling(tmp_path, limit=StorageLimit(1000, on_full))
    await spilling.put(0, 1, 2, 3, 4, 5)
    on_their_way = [spilling.take("two") or pytest.fail("nothing was taken") for _ in range(2)]
    _, put = await spilling.put_beside(94, "one", 30, first=6)
    delivered = sum(delivery.records for delivery in on_their_way)
    for delivery in on_their_way:
        spilling.readers["two"].commit(delivery)
    delivered += len(spilling.deliver("two"))

    assert put == 94
    assert delivered + sum(loss.records for loss in spilling.skipped) == 100
    assert spilling.readers["two"].held() == (0, 0)
    assert all(receipt.is_settled for receipt in spilling.receipts)
