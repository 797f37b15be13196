"""The file of cursors: what was committed does not come again, and the file stays small."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest

from shipper.buffers.filesystem import cursors
from shipper.testing import batch_of
from tests.buffers.filesystem.disks import FaultyProcessDisk, NotingDisk
from tests.buffers.filesystem.making import Stored

OUTPUTS = ("one", "two")


def test_a_cursor_that_could_not_be_saved_is_saved_at_the_close(tmp_path: Path) -> None:
    disk = FaultyProcessDisk(0, ("write",), errno.ENOSPC, "error")
    stored = Stored(tmp_path, OUTPUTS, disk)
    stored.buffer.put(batch_of("a"), OUTPUTS)
    delivery = stored.take("one")
    assert delivery is not None
    disk.fail_after(0)
    stored.readers["one"].commit(delivery)
    failed = disk.failed
    stored.buffer.close()
    stored.end()
    again = Stored(tmp_path, OUTPUTS)

    assert (failed, again.deliver("one"), again.deliver("two")) == (True, [], ["a"])


def test_what_is_committed_after_half_an_entry_was_written_does_not_come_again_after_a_kill(tmp_path: Path) -> None:
    disk = FaultyProcessDisk(0, ("write",), errno.ENOSPC, "short")
    stored = Stored(tmp_path, OUTPUTS, disk)
    for tag in "abcd":
        stored.buffer.put(batch_of(tag, tag=tag), OUTPUTS)
    for number in range(4):
        delivery = stored.take("one")
        assert delivery is not None
        if number == 1:
            disk.fail_after(0)
        stored.readers["one"].commit(delivery)
    stored.end()
    again = Stored(tmp_path, OUTPUTS)

    assert (disk.failed, again.deliver("one"), again.deliver("two")) == (True, [], list("abcd"))


def test_the_file_is_replaced_by_a_small_one_when_it_has_grown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cursors, "LARGEST_JOURNAL", 500)
    stored, sizes = Stored(tmp_path, OUTPUTS), list[int]()
    for number in range(200):
        stored.buffer.put(batch_of(str(number)), ["one"])
        stored.deliver("one")
        sizes.append(Path(stored.buffer.folder, "cursors").stat().st_size)
    stored.buffer.put(batch_of("last"), OUTPUTS)
    stored.end()
    again = Stored(tmp_path, OUTPUTS)

    assert 500 < max(sizes) < 700
    assert (again.deliver("one"), again.deliver("two")) == (["last"], ["last"])


def test_with_sync_full_the_disk_has_the_new_file_before_it_takes_the_place_of_the_old_one(tmp_path: Path) -> None:
    disk = NotingDisk()
    stored = Stored(tmp_path, disk=disk, sync="full")
    stored.buffer.put(batch_of("a"), ["one"])
    disk.steps.clear()
    stored.deliver()

    fresh = f"{stored.buffer.folder}/cursors.new"
    assert disk.steps == [("fsync", fresh), ("rename", fresh)]
