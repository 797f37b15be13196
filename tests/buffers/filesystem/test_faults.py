"""S3, F2: every step of the disk fails once, in every way; what was durable is delivered all the same."""

from __future__ import annotations

import errno
from pathlib import Path
from typing import Literal

import pytest

from shipper.record import Receipt
from shipper.testing import DiskCrash, FaultKind, batch_of
from tests.buffers.filesystem.disks import FaultyProcessDisk, ProcessDisk
from tests.buffers.filesystem.making import Stored, files_in, lines_in

CALLS = (
    "open",
    "write",
    "fsync",
    "truncate",
    "rename",
    "unlink",
    "mkdirs",
    "listdir",
    "pread",
    "fstat",
    "lstat",
    "close",
)
OUTPUTS = ("one", "two")
SEGMENT_SIZE = 400


class World:
    """What the outside knows: which lines were put, which receipts were settled, what each output has committed."""

    def __init__(self) -> None:
        self.put: list[str] = []
        self.settled: list[str] = []
        self.committed: dict[str, list[str]] = {output: [] for output in OUTPUTS}
        self.committing: dict[str, list[str]] = {output: [] for output in OUTPUTS}

    def put_into(self, stored: Stored, line: str, tag: str, outputs: tuple[str, ...] = OUTPUTS) -> None:
        self.put.append(line)
        receipt = Receipt(lambda: self.settled.append(line))
        stored.buffer.put(batch_of(line, tag=tag, receipt=receipt), outputs)

    def commit(self, stored: Stored, output: str) -> None:
        delivery = stored.take(output)
        if delivery is not None:
            self.committing[output] += lines_in(delivery)
            stored.readers[output].commit(delivery)
            self.committed[output] += lines_in(delivery)


def scenario(folder: Path, world: World, disk: ProcessDisk, sync: Literal["normal", "full"]) -> None:
    """A process that stores, delivers in another order than it was put, stops, and starts again."""
    stored = open_again(folder, disk, sync)
    for number in range(5):
        world.put_into(stored, f"line {number} {'x' * 60}", "ab"[number % 2])
    held_back = stored.take("one")
    world.commit(stored, "one")
    world.commit(stored, "two")
    if held_back is not None:
        stored.readers["one"].give_back(held_back)
    world.put_into(stored, "line 5", "a")
    stored.buffer.close()
    stored = open_again(folder, disk, sync)
    world.put_into(stored, "line 6", "b")
    world.commit(stored, "one")
    world.commit(stored, "two")
    world.put_into(stored, "line 7", "b", ("two",))
    stored.buffer.close()


def open_again(folder: Path, disk: ProcessDisk, sync: Literal["normal", "full"]) -> Stored:
    """A process that finds its folder unusable is started again, as a pod would be."""
    for _ in range(3):
        try:
            return Stored(folder, OUTPUTS, disk, sync=sync, segment_size=SEGMENT_SIZE)
        except OSError:
            disk.end()
    raise AssertionError("it cannot be opened")


def run_to_its_end(folder: Path, disk: FaultyProcessDisk, sync: Literal["normal", "full"]) -> World:
    world = World()
    try:
        scenario(folder, world, disk, sync)
    except DiskCrash:
        pass
    finally:
        disk.end()
    return world


@pytest.mark.parametrize("sync", ["normal", "full"])
@pytest.mark.parametrize("kind", ["error", "short", "crash"])
def test_s3_f2_whatever_step_of_the_disk_fails_nothing_that_was_durable_is_lost(
    kind: FaultKind, sync: Literal["normal", "full"], tmp_path: Path
) -> None:
    steps, failed = 0, True
    while failed:
        steps += 1
        folder = tmp_path / str(steps)
        disk = FaultyProcessDisk(steps, CALLS, errno.ENOSPC if kind == "short" else errno.EIO, kind)
        world = run_to_its_end(folder, disk, sync)
        failed = disk.failed

        check(folder, world, f"step {steps}", is_exact=not failed)

    assert steps > 60


def check(folder: Path, world: World, at: str, *, is_exact: bool) -> None:
    """Start once more, on a disk that works, and deliver everything."""
    stored = Stored(folder, OUTPUTS, segment_size=SEGMENT_SIZE)
    held = {output: stored.readers[output].held()[0] for output in OUTPUTS}
    for output in OUTPUTS:
        found = stored.deliver(output)
        due = [line for line in world.put if output == "two" or not line.startswith("line 7")]
        missing = set(due) & set(world.settled) - set(found) - set(world.committing[output])
        assert not missing, f"{at}: {output} lost {missing}"
        assert set(found) <= set(due), f"{at}: {output} got what was not put for it"
        assert len(set(found)) == len(found), f"{at}: {output} got lines twice in one run: {found}"
        committed = world.committed[output]
        again = [line for line in due if (committed + found).count(line) > 1 and line in committed]
        assert not again, f"{at}: {output} had committed {again}"
        assert len(found) == held[output], f"{at}: {held[output]} were held for {output}, {len(found)} came"
        assert in_order_by_tag(found), f"{at}: {output} got {found}"
        if is_exact:
            assert sorted(found + world.committed[output]) == due
    stored.buffer.close()
    left = [path.name for path in files_in(folder / "shipper")]
    assert left in (["cursors"], ["cursors", "cursors.new"], []), f"{at}: {left} are left"
    if is_exact:
        assert not (folder / "quarantine").exists()


def in_order_by_tag(lines: list[str]) -> bool:
    numbers = [int(line.split()[1]) for line in lines]
    tags = {n: "ab"[n % 2] if n < 5 else "a" if n == 5 else "b" for n in numbers}
    return all([n for n in numbers if tags[n] == tag] == sorted(n for n in numbers if tags[n] == tag) for tag in "ab")


@pytest.mark.parametrize("sync", ["normal", "full"])
def test_records_that_the_disk_refuses_are_owed_and_go_to_it_when_it_takes_them(
    sync: Literal["normal", "full"], tmp_path: Path
) -> None:
    disk = FaultyProcessDisk(0, ("write", "truncate"), errno.ENOSPC, "error")
    stored, world = Stored(tmp_path, OUTPUTS, disk, sync=sync), World()
    world.put_into(stored, "line 0", "a")
    disk.fail_after(0)
    world.put_into(stored, "line 1", "a")
    owed = list(world.settled)
    world.put_into(stored, "line 2", "a")
    disk.end()

    assert (owed, world.settled) == (["line 0"], ["line 0", "line 1", "line 2"])
    assert Stored(tmp_path, OUTPUTS).deliver("one") == ["line 0", "line 1", "line 2"]


def test_records_that_all_outputs_have_before_they_could_be_stored_are_settled(tmp_path: Path) -> None:
    disk = FaultyProcessDisk(0, ("write",), errno.ENOSPC, "error")
    stored, world = Stored(tmp_path, OUTPUTS, disk), World()
    disk.fail_after(0)
    world.put_into(stored, "line 0", "a")
    before = list(world.settled)
    delivered = [stored.deliver(output) for output in OUTPUTS]

    assert (before, delivered, world.settled) == ([], [["line 0"], ["line 0"]], ["line 0"])
    assert stored.buffer.statistics().records == 0


def test_records_that_the_disk_refuses_wait_for_an_output_that_has_a_backlog(tmp_path: Path) -> None:
    first = Stored(tmp_path, OUTPUTS)
    first.buffer.put(batch_of("old"), ["two"])
    first.end()
    disk = FaultyProcessDisk(0, ("write",), errno.ENOSPC, "error")
    stored = Stored(tmp_path, OUTPUTS, disk)
    disk.fail_after(0)
    stored.buffer.put(batch_of("new"), OUTPUTS)
    failed = disk.failed

    assert (failed, stored.deliver("one"), stored.deliver("two")) == (True, ["new"], ["old", "new"])


def test_records_that_were_in_memory_only_are_not_held_after_a_kill(tmp_path: Path) -> None:
    disk = FaultyProcessDisk(0, ("write",), errno.ENOSPC, "error")
    stored = Stored(tmp_path, OUTPUTS, disk)
    stored.buffer.put(batch_of("stored", tag="a"), OUTPUTS)
    first = stored.take("one")
    assert first is not None
    disk.fail_after(0)
    stored.buffer.put(batch_of("refused", tag="b"), OUTPUTS)
    stored.readers["one"].commit(first)  # it saves what is known of both
    stored.end()
    again = Stored(tmp_path, OUTPUTS)

    assert disk.failed
    assert (again.readers["one"].held(), again.deliver("one")) == ((0, 0), [])
    assert again.deliver("two") == ["stored"]
