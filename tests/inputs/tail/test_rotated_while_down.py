"""Files that were rotated while nobody looked, by names and times that tell little of their order or their owner."""

from __future__ import annotations

import gzip
import os
import time
from pathlib import Path

import pytest

from shipper.inputs.tail import siblings

from .running import Tail, append, numbered, write

LATER = "-2026-11-22T08-00-00.000"
EARLIER = "-2026-11-22T07-00-00.000"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "app.log"


def compress(path: Path, age_s: float) -> None:
    """Compress a file; the time of the compressed one is that of its compression, so long ago."""
    compressed = Path(f"{path}.gz")
    compressed.write_bytes(gzip.compress(path.read_bytes()))
    path.unlink()
    set_age(compressed, age_s)


def set_age(path: Path, age_s: float) -> None:
    os.utime(path, (time.time() - age_s,) * 2)


async def follow(options: str, count: int) -> None:
    """A life of the input that reads so many lines and saves its positions."""
    async with Tail(options) as tail:
        await tail.has(count)


@pytest.mark.parametrize("pattern", ["app{}.log", "app.log{}"], ids=["before the ending", "behind the name"])
async def test_dates_tell_the_order_of_compressed_files(tmp_path: Path, path: Path, options: str, pattern: str) -> None:
    write(path, *numbered(1, 20))
    await follow(options, 20)
    append(path, *numbered(21, 22))
    older = path.rename(tmp_path / pattern.format(EARLIER))
    write(path, *numbered(23, 40))
    younger = path.rename(tmp_path / pattern.format(LATER))
    write(path, *numbered(41, 42))
    compress(younger, age_s=-20)
    compress(older, age_s=-30)

    async with Tail(options) as after:
        await after.has(22)
        lines = await after.is_quiet()

    assert lines == numbered(21, 42)


async def test_a_file_is_not_older_than_another_that_was_compressed_later(path: Path, options: str) -> None:
    write(path, *numbered(1, 20))
    await follow(options, 20)
    older = path.rename(f"{path}.2")
    write(path, *numbered(21, 40))
    set_age(path.rename(f"{path}.1"), age_s=-10)
    write(path, *numbered(41, 42))
    compress(older, age_s=-20)

    async with Tail(options) as after:
        await after.has(22)
        lines = await after.is_quiet()

    assert sorted(lines) == numbered(21, 42)


async def test_a_dated_file_beside_the_target_of_a_link_is_read_though_its_name_matches(tmp_path: Path) -> None:
    log, links = tmp_path / "data" / "app.log", tmp_path / "links"
    log.parent.mkdir()
    links.mkdir()
    (links / "app.log").symlink_to(log)
    options = f"path {links}/*.log\ndb {tmp_path}/p.db\nread_from_head on"
    write(log, *numbered(1, 20))
    await follow(options, 20)
    append(log, *numbered(21, 22))
    log.rename(log.parent / f"app{EARLIER}.log")
    write(log, *numbered(23, 24))

    async with Tail(options) as after:
        await after.has(4)
        for count in range(3):
            log.rename(log.parent / f"app-2026-11-22T09-00-0{count}.000.log")
            write(log, *numbered(25 + count, 25 + count))
        await after.has(7)
        lines = await after.is_quiet()

    assert lines == numbered(21, 27)


async def test_a_file_that_was_hidden_from_the_pattern_is_read_on(tmp_path: Path, path: Path) -> None:
    options = f"path {tmp_path}/*.log\ndb {tmp_path}/p.db\nread_from_head on"
    write(path, *numbered(1, 20))
    await follow(options, 20)
    append(path, *numbered(21, 22))
    path.rename(tmp_path / ".app-old.log")
    write(path, *numbered(23, 24))

    async with Tail(options) as after:
        await after.has(4)
        lines = await after.is_quiet()

    assert lines == numbered(21, 24)


@pytest.mark.parametrize("ending", [".log", ".log.gz"])
async def test_dated_files_that_the_pattern_finds_are_read_from_their_heads(
    tmp_path: Path, path: Path, ending: str
) -> None:
    options = f"path {tmp_path}/*.log,{tmp_path}/*.gz\ndb {tmp_path}/p.db"
    write(path, "before")
    async with Tail(options) as first:
        await first.until(lambda: first.count("files_opened_total") == 1)
        append(path, *numbered(1, 20))
        await first.has(20)
    append(path, *numbered(21, 22))
    for name, content in ("app-2026-11-22", numbered(23, 24)), ("app-2026-11-23", numbered(25, 26)):
        rotated = path.rename(tmp_path / f"{name}.log")
        if ending.endswith(".gz"):
            compress(rotated, age_s=-10)
        write(path, *content)

    async with Tail(options) as after:
        await after.has(6)
        lines = await after.is_quiet()

    assert sorted(lines) == numbered(21, 26)


async def test_a_short_file_that_was_compressed_is_known_by_its_name(path: Path, options: str) -> None:
    write(path, *numbered(1, 20))
    async with Tail(f"{options}\nrotate_wait 60", settling="later") as first:
        await first.has(20)
        first.settle()
        path.rename(f"{path}.1")
        write(path, "short")
        await first.has(21)
        older, rotated = Path(f"{path}.1"), Path(f"{path}.2")
        older.unlink()
        path.rename(rotated)
        path.touch()
        await first.until(lambda: first.count("files_rotated_total") == 2)
        first.save()
        await first.kill()
    age_s = time.time() - rotated.stat().st_mtime + 60
    compress(rotated, age_s)

    async with Tail(options) as after:
        await after.has(1)
        lines = await after.is_quiet()

    assert lines == ["short"]


async def test_a_file_of_another_name_is_not_read_for_its_inode_alone(tmp_path: Path, path: Path, options: str) -> None:
    path.touch()
    async with Tail(options) as first:
        await first.until(lambda: first.count("files_opened_total") == 1)
    # As if it had been deleted, and the inode given to a file of somebody else.
    write(path.rename(tmp_path / "secrets"), *numbered(1, 20))
    write(path, "new")

    async with Tail(options) as after:
        await after.has(1)
        lines = await after.is_quiet()

    assert lines == ["new"]


async def test_a_folder_is_not_listed_for_every_file_that_was_replaced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    count = 60
    options = f"path {tmp_path}/*.log\ndb {tmp_path}/p.db\nread_from_head on"
    paths = [tmp_path / f"{number}.log" for number in range(count)]
    for path in paths:
        write(path, f"the first content of {path.name}, which is long enough to be told")
    await follow(options, count)
    aside = tmp_path / "aside"
    aside.mkdir()
    for path in paths:
        path.rename(aside / path.name)
        write(path, f"another content of {path.name}")
    listed: list[str] = []
    list_folder = siblings.inodes_in

    def inodes_in(folder: str) -> dict[int, str]:
        listed.append(folder)
        return list_folder(folder)

    monkeypatch.setattr(siblings, "inodes_in", inodes_in)
    async with Tail(options) as after:
        await after.has(count)

    assert len(after.lines()) == count
    assert 0 < len(listed) < count // 2
