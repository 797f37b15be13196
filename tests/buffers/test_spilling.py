"""What an output does not take goes to the disk, so that the others go on; nothing is lost and the order stays."""

from __future__ import annotations

import asyncio
import shutil
from pathlib import Path

import pytest

from shipper.buffers.base import BatchLimits, Delivery, Reader
from shipper.buffers.filesystem import FilesystemBuffer, StorageSettings
from shipper.buffers.spilling import SpillingBuffer
from shipper.disk import SystemDisk
from shipper.log import Log
from shipper.metrics import Metrics
from shipper.record import Receipt, RecordBatch
from shipper.testing import ManualClock, batch_of, lines_of, settle

LIMIT = 30_000


class Spilling:
    """A buffer for `one` and `two`, and the receipts of what was put."""

    def __init__(self, folder: Path, *, keeps_source: bool = True) -> None:
        self.clock = ManualClock()
        settings = StorageSettings(path=str(folder), floor=0)
        self.files = FilesystemBuffer(
            "in.0", settings, self.clock, Log(""), SystemDisk(), Metrics(), lambda *what: None
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
