"""Histories of one container path: what is written, rotated, delivered and killed in which order.

A history is a list of steps that are played on real files and the real input, with a clock that moves only where a step
says so. It goes through any number of lives of the input; each but the last ends as kill -9 would end it.
"""

from __future__ import annotations

import asyncio
import gzip
import os
import random
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import msgspec

from shipper.disk import SystemDisk
from shipper.inputs.tail.positions import HEAD_SIZE
from shipper.record import Body, RecordBatch
from shipper.testing import ManualClock

from .running import Tail

LOOK_S = 0.25
"""Time between two looks at every file when there are no file events."""

ROTATE_WAIT_S = 6
SILENCE_S = 2 * ROTATE_WAIT_S + 2
"""If nothing comes for so long, nothing will."""

_FILE_CLOCK_S = 0.005
"""The clock of a file system ticks no less often than this."""


class Write(msgspec.Struct, frozen=True):
    """The next so many bytes of what there is to write."""

    size: int


class Rename(msgspec.Struct, frozen=True):
    """The file gets a name of its own; the writer goes on in it until it opens the path again."""


class Reopen(msgspec.Struct, frozen=True):
    """The writer makes a new file under the path."""


class CopyTruncate(msgspec.Struct, frozen=True):
    """The file is copied to a name of its own and emptied."""


class Compress(msgspec.Struct, frozen=True):
    """One of the rotated files that have no writer is compressed, the youngest being 0; it may keep its time."""

    place: int
    keeps_time: bool


class Look(msgspec.Struct, frozen=True):
    """Time goes by in which the input looks at its files and reads."""


class Settle(msgspec.Struct, frozen=True):
    """So many of the batches that are owed are delivered."""

    count: int


class Kill(msgspec.Struct, frozen=True):
    """The input dies."""


class Start(msgspec.Struct, frozen=True):
    """The next life begins; it reads in blocks of so many bytes."""

    block: int


Step = Write | Rename | Reopen | CopyTruncate | Compress | Look | Settle | Kill | Start


Names = Literal["stamped", "dated", "numbered"]
"""How rotated files are called: with a stamp behind the name, a date before its ending, or a number that goes up."""


class ShortReads(SystemDisk):
    """Gives of every read of content only a part; the small reads look for fingerprints."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)

    def pread(self, fd: int, size: int, offset: int) -> bytes:
        return super().pread(fd, self._random.randint(1, size) if size > HEAD_SIZE else size, offset)


class Writer:
    """Writes the data into one file after another; if it `keeps_lines`, a file ends only behind a newline.

    No line has parts in more than two files.
    """

    def __init__(self, path: Path, data: bytes, keeps_lines: bool, names: Names = "stamped") -> None:
        self.path = path
        self.files = [b""]
        """What was written to each of the files."""
        self._rest = data
        self._keeps_lines = keeps_lines
        self._is_reopening = False
        self._names = names
        self._rotated: list[Path] = []
        """The rotated files, the oldest first."""
        self._fd = os.open(path, os.O_CREAT | os.O_WRONLY | os.O_APPEND)

    def write(self, size: int) -> None:
        data, self._rest = self._rest[:size], self._rest[size:]
        if self._is_reopening:
            end = data.find(b"\n") + 1 or len(data)
            self._append(data[:end])
            data = data[end:]
            self._reopen_if_it_may()
        self._append(data)

    def finish(self) -> None:
        """Write what is left. Sooner or later a writer opens its path again."""
        self.write(len(self._rest))
        self.reopen()

    def rename(self) -> None:
        if self.path.exists():
            self.path.rename(self._rotated_name())

    def copy_and_truncate(self) -> None:
        """Without effect where a line would get parts in three files, or in two if they are to be whole."""
        if self.path.exists() and not self._is_reopening and self._may_end():
            shutil.copyfile(self.path, self._rotated_name())
            os.truncate(self.path, 0)
            self.files.append(b"")

    def compress(self, place: int, keeps_time: bool) -> None:
        # The writer may still hold the youngest if nothing is under the path.
        closed = [path for path in self._rotated if self.path.exists() or path != self._rotated[-1]]
        plain = [path for path in closed if path.suffix != ".gz"]
        if place >= len(plain):
            return
        path = plain[-1 - place]
        state = path.stat()
        compressed = Path(f"{path}.gz")
        compressed.write_bytes(gzip.compress(path.read_bytes()))
        if keeps_time:
            os.utime(compressed, ns=(state.st_atime_ns, state.st_mtime_ns))
        path.unlink()
        self._rotated[self._rotated.index(path)] = compressed

    def _rotated_name(self) -> Path:
        """The name of the next rotated file, which is free then."""
        count = len(self._rotated) + 1
        if self._names == "stamped":
            name = Path(f"{self.path}.20260101-{count:06d}")
        elif self._names == "dated":
            name = self.path.with_name(f"{self.path.stem}-2026-01-01T00-00-{count:02d}.000{self.path.suffix}")
        else:
            name = Path(f"{self.path}.1")
            for place, old in enumerate(self._rotated):
                ending = ".gz" if old.suffix == ".gz" else ""
                self._rotated[place] = old.rename(f"{self.path}.{count - place}{ending}")
        self._rotated.append(name)
        return name

    def reopen(self) -> None:
        """Begin a new file if the present one was renamed, now or behind the next newline."""
        if not self.path.exists():
            self._is_reopening = True
            self._reopen_if_it_may()

    def close(self) -> None:
        os.close(self._fd)

    def _reopen_if_it_may(self) -> None:
        if self._may_end():
            self._is_reopening = False
            os.close(self._fd)
            self._fd = os.open(self.path, os.O_CREAT | os.O_WRONLY | os.O_APPEND)
            self.files.append(b"")

    def _may_end(self) -> bool:
        continues = len(self.files) > 1 and self.files[-2][-1:] not in (b"", b"\n")
        ends = self.files[-1][-1:] in (b"", b"\n")
        return (ends or not self._keeps_lines) and (b"\n" in self.files[-1] or not continues)

    def _append(self, data: bytes) -> None:
        os.write(self._fd, data)
        self.files[-1] += data


class History:
    """Plays steps; `delivered` is what a destination has received over all lives.

    `files` are the contents of the files, one after another. If it `is_tidy`, batches are delivered in their order and
    positions are saved before a kill, so that nothing may be repeated. Otherwise the youngest are delivered first, and
    a kill may come before the position is saved.
    """

    def __init__(self, options: str, writer: Writer, seed: int, is_tidy: bool) -> None:
        self.files = writer.files
        self.delivered: list[tuple[int, Body]] = []
        self.may_be_repeated: list[tuple[int, Body]] = []
        self._options = options
        self._writer = writer
        self._seed = seed
        self._is_tidy = is_tidy
        self._tail: Tail | None = None
        self._clock = ManualClock()
        self._settled: set[int] = set()
        """Numbers of the delivered batches of this life."""

    async def play(self, steps: Sequence[Step]) -> None:
        """Play the steps, then write what is left and deliver everything."""
        first = await self._start(HEAD_SIZE)
        # What was rotated before anybody could know that the path is followed would not be ours.
        first.save()
        for step in steps:
            await self._play(step)
        self._writer.finish()
        await self._end(self._tail or await self._start(HEAD_SIZE))

    async def _play(self, step: Step) -> None:
        match step:
            case Write():
                self._writer.write(step.size)
            case Rename():
                self._writer.rename()
            case Reopen():
                self._writer.reopen()
            case CopyTruncate():
                self._writer.copy_and_truncate()
            case Compress():
                self._writer.compress(step.place, step.keeps_time)
            case Start() if self._tail is None:
                await self._start(step.block)
        if self._tail is None:
            return
        match step:
            case Look():
                await self._clock.advance(LOOK_S)
            case Settle():
                self._settle(self._tail, step.count)
            case Kill():
                await self._kill(self._tail)

    async def _start(self, block: int) -> Tail:
        self._clock = ManualClock()
        self._settled = set()
        self._seed += 1
        options = f"{self._options}\nrotate_wait {ROTATE_WAIT_S}"
        tail = Tail(options, settling="later", clock=self._clock, disk=ShortReads(self._seed))
        tail.read_in_blocks(block)
        self._tail = await tail.__aenter__()
        await self._clock.advance(0.0)
        # What is written from now on has to be younger than what was found, by the clock of the file system.
        await asyncio.sleep(_FILE_CLOCK_S)
        return tail

    async def _kill(self, tail: Tail) -> None:
        if self._is_tidy:
            tail.save()
        else:
            self.may_be_repeated += [record for number in self._settled for record in _records(tail.batches[number])]
        await tail.kill()
        self._tail = None

    async def _end(self, tail: Tail) -> None:
        quiet_s, seen = 0, -1
        while quiet_s < SILENCE_S:
            quiet_s, seen = (quiet_s + 1 if len(tail.batches) == seen else 0), len(tail.batches)
            await self._clock.advance(1.0)
            self._settle(tail, len(tail.batches))
        await tail.stop()
        self._settle(tail, len(tail.batches))
        self._writer.close()

    def _settle(self, tail: Tail, count: int) -> None:
        owed = [number for number in range(len(tail.batches)) if number not in self._settled]
        for number in (owed if self._is_tidy else owed[::-1])[:count]:
            self._settled.add(number)
            self.delivered += _records(tail.batches[number])
            tail.batches[number].receipt.settle()


def _records(batch: RecordBatch) -> list[tuple[int, Body]]:
    return list(zip(batch.content.times_ns(), batch.content.bodies(), strict=True))
