"""What a disk without space left behind once: a buffer that waited for ever, and a loop that spun."""

from __future__ import annotations

import asyncio
import errno
import os
import stat
from pathlib import Path
from typing import Any

from shipper.buffers.filesystem import FilesystemBuffer, StorageSettings
from shipper.disk import SystemDisk
from shipper.log import Log
from shipper.metrics import Metrics
from shipper.testing import ManualClock, batch_of
from tests.buffers.filesystem.making import LIMITS, Stored, segments_in


class SmallDisk(SystemDisk):
    """Has room for so many bytes in its segments."""

    def __init__(self, size: int, folder: Path) -> None:
        self._size = size
        self._folder = folder
        self.attempts = 0
        self.is_full = False

    def free(self, path: str) -> int:
        return self._size - sum(path.stat().st_size for path in self._folder.rglob("*.seg"))

    def write(self, fd: int, data: bytes) -> int:  # type: ignore[override]
        self.attempts += 1
        if self.is_full or self.free("") < len(data):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return os.write(fd, data)


def stored_on(disk: SmallDisk, folder: Path, clock: Any, **settings: Any) -> Stored:
    return Stored(folder, clock=clock, disk=disk, **settings)


async def test_a_segment_that_nobody_needs_goes_when_its_space_is_wanted(tmp_path: Path) -> None:
    clock, disk = ManualClock(), SmallDisk(10_000, tmp_path)
    stored = stored_on(disk, tmp_path, clock, floor=5000)
    stored.buffer.put(batch_of("x" * 6000), ["one"])
    waiting = asyncio.ensure_future(stored.buffer.room(100))
    await clock.advance(0.5)
    was_waiting = not waiting.done()
    stored.deliver()
    await clock.advance(2)

    assert (was_waiting, waiting.done()) == (True, True)
    assert segments_in(tmp_path) == []


async def test_what_was_delivered_before_it_could_be_stored_holds_no_segment(tmp_path: Path) -> None:
    clock, disk = ManualClock(), SmallDisk(10_000, tmp_path)
    stored = stored_on(disk, tmp_path, clock, floor=0)
    stored.buffer.put(batch_of("x" * 6000), ["one"])
    stored.buffer.put(batch_of("y" * 6000), ["one"])
    delivered = stored.deliver()
    waiting = asyncio.ensure_future(stored.buffer.room(100))
    await clock.advance(3)

    assert len(delivered) == 2
    assert waiting.done()


async def test_a_full_disk_is_tried_once_a_second(tmp_path: Path) -> None:
    clock, disk = ManualClock(), SmallDisk(1_000_000, tmp_path)
    settings = StorageSettings(path=str(tmp_path), floor=0)
    buffer = FilesystemBuffer("in.0", settings, clock, Log(""), disk, Metrics(), lambda *what: None)
    buffer.reader("one", lambda batch: "", LIMITS, lambda: None)
    buffer.open()
    running = asyncio.ensure_future(buffer.run())
    disk.is_full = True
    buffer.put(batch_of("x"), ["one"])
    await clock.advance(0.1)
    disk.attempts = 0
    await clock.advance(10)
    attempts = disk.attempts
    disk.is_full = False
    await clock.advance(1)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)

    assert 5 <= attempts <= 12
    assert len(segments_in(tmp_path)) == 1


async def test_only_we_can_read_what_is_stored(tmp_path: Path) -> None:
    stored = Stored(tmp_path)
    stored.buffer.put(batch_of("x"), ["one"])
    stored.deliver()
    modes = {stat.S_IMODE(path.stat().st_mode) for path in tmp_path.rglob("*") if path.is_file()}
    stored.buffer.close()

    assert modes == {0o600}
