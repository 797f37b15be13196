"""What a file is known by when numbers and names change, or when a name leads to something that is no file."""

from __future__ import annotations

import asyncio
import gzip
import os
import shutil
import sqlite3
import time
from pathlib import Path
from typing import Any

import pytest

from shipper.disk import SystemDisk

from .fluent_bit import FluentBit
from .running import DiskOfParts, Tail, append, inode, numbered, rows, write


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "app.log"


def execute(db: Path, statement: str, *values: object) -> None:
    with sqlite3.connect(db) as connection:
        connection.execute(statement, values)
    connection.close()


async def test_a_file_is_known_on_a_disk_that_reads_in_parts(path: Path, options: str) -> None:
    write(path, *numbered(1, 20))
    async with Tail(options, disk=DiskOfParts()) as tail:
        await tail.has(20)
        append(path, *numbered(21, 22))
        await tail.until(lambda: tail.lines()[-1] == numbered(22, 22)[0])
    append(path, *numbered(23, 24))

    async with Tail(options, disk=DiskOfParts()) as after:
        await after.until(lambda: after.lines()[-1:] == numbered(24, 24))

    assert tail.lines() == numbered(1, 22)
    assert after.lines() == numbered(23, 24)


# -- the number of a device ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("from_head", ["on", "off"])
@pytest.mark.parametrize("lines", [["one"], numbered(1, 50)], ids=["a short file", "a long file"])
async def test_a_device_with_another_number_repeats_nothing(
    path: Path, db: Path, options: str, from_head: str, lines: list[str]
) -> None:
    write(path, *lines)
    async with Tail(options) as tail:
        await tail.has(len(lines))
    execute(db, "UPDATE shipper_files SET device = device + 1")
    append(path, "new")

    async with Tail(f"{options}\nread_from_head {from_head}") as after:
        await after.has(1)
        later = await after.is_quiet()

    assert later == ["new"]
    assert len(rows(db)) == 1


async def test_a_file_rotated_before_its_device_got_another_number_is_read_on(
    path: Path, db: Path, options: str
) -> None:
    write(path, *numbered(1, 20))
    async with Tail(options) as tail:
        await tail.has(20)
    append(path, *numbered(21, 22))
    path.rename(f"{path}.1")
    write(path, *numbered(23, 24))
    execute(db, "UPDATE shipper_files SET device = device + 1")

    async with Tail(options) as after:
        await after.has(4)
        lines = await after.is_quiet()

    assert lines == numbered(21, 24)


async def test_another_content_with_the_inode_of_another_device_is_read_from_its_beginning(
    path: Path, db: Path, options: str
) -> None:
    write(path, *numbered(1, 20))
    async with Tail(options) as tail:
        await tail.has(20)
    write(path, *numbered(101, 130))
    execute(db, "UPDATE shipper_files SET device = device + 1")

    async with Tail(f"{options}\nread_from_head off") as after:
        await after.has(30)
        lines = await after.is_quiet()

    assert lines == numbered(101, 130)


# -- named pipes ---------------------------------------------------------------------------------------------------


async def test_a_followed_path_that_becomes_a_named_pipe_holds_up_nothing(tmp_path: Path) -> None:
    pipe, other = tmp_path / "a.log", tmp_path / "b.log"
    write(pipe, "one")
    write(other, "two")

    async with Tail(f"path {tmp_path}/*.log\nread_from_head on") as tail:
        await tail.has(2)
        pipe.unlink()
        os.mkfifo(pipe)
        await tail.until(lambda: tail.count("files_closed_total") == 1)
        append(other, "three")
        await tail.has(3)
        pipe.unlink()
        write(pipe, "four")
        lines = await tail.has(4)

    assert lines == ["one", "two", "three", "four"]


async def test_a_named_pipe_beside_a_file_holds_up_nothing(path: Path, options: str) -> None:
    write(path, "one")
    async with Tail(options) as tail:
        await tail.has(1)
    os.mkfifo(f"{path}.1")
    os.mkfifo(f"{path}.2.gz")
    append(path, "two")

    async with Tail(options) as after:
        await after.has(1)
        path.rename(f"{path}.3")
        write(path, "three")
        lines = await after.has(2)

    assert lines == ["two", "three"]


async def test_a_named_pipe_put_in_place_of_a_file_at_the_last_moment_holds_up_nothing(tmp_path: Path) -> None:
    path, pipe = tmp_path / "a.log", tmp_path / "pipe"
    write(path, "one")
    write(tmp_path / "b.log", "two")
    os.mkfifo(pipe)

    class LateDisk(SystemDisk):
        def open(self, name: str, flags: int, mode: int = 0o600) -> int:
            return super().open(str(pipe) if name == str(path) else name, flags, mode)

    async with Tail(f"path {tmp_path}/*.log\nread_from_head on", disk=LateDisk()) as tail:
        lines = await tail.has(1)

    assert lines == ["two"]


# -- names that are not UTF-8 --------------------------------------------------------------------------------------


def odd_name(folder: Path) -> Path:
    return Path(os.fsdecode(os.fsencode(folder) + b"/caf\xe9.log"))


async def test_a_name_that_is_no_utf8_is_stored_as_it_is(tmp_path: Path, db: Path) -> None:
    odd, plain = odd_name(tmp_path), tmp_path / "z.log"
    write(odd, "one")
    write(plain, "two")
    options = f"path {tmp_path}/*.log\nread_from_head on\ndb {db}"
    async with Tail(options) as tail:
        await tail.has(2)
    append(odd, "three")
    append(plain, "four")

    async with Tail(options) as after:
        lines = await after.has(2)

    assert sorted(lines) == ["four", "three"]
    stored = rows(db, "CAST(name AS BLOB), typeof(name), offset")
    assert stored == [(os.fsencode(odd), "text", 10), (os.fsencode(plain), "text", 9)]


async def test_a_name_that_is_no_utf8_is_taken_over_from_fluent_bit_and_given_back(tmp_path: Path, db: Path) -> None:
    odd = odd_name(tmp_path)
    write(odd, "one", "two")
    FluentBit(db, tmp_path / "no.log").run()  # makes the table
    row = (os.fsencode(odd), 4, inode(odd))
    execute(db, "INSERT INTO in_tail_files (name, offset, inode) VALUES (CAST(? AS TEXT), ?, ?)", *row)

    async with Tail(f"path {tmp_path}/*.log\nread_from_head on\ndb {db}\ndb.compare_filename on") as tail:
        lines = await tail.has(1)
    append(odd, "three")

    assert lines == ["two"]
    assert FluentBit(db, tmp_path / "*.log").run() == ["three"]


async def test_a_write_that_cannot_be_leaves_no_transaction_open(path: Path, db: Path, options: str) -> None:
    write(path, "one")

    async with Tail(options) as tail:
        await tail.has(1)
        store = vars(tail.input)["_store"]
        saved = store.files()[0]
        saved.marker = 1 << 70  # SQLite's driver refuses it with an error that is none of SQLite's
        store.changed(saved)
        with pytest.raises(OverflowError):
            store._write()
        is_open = tail.database().in_transaction
        saved.marker = 0

    assert not is_open


async def test_an_inode_of_64_bits_is_stored(tmp_path: Path, path: Path, db: Path, options: str) -> None:
    big = (1 << 63) + 5

    class WideDisk(SystemDisk):
        """Inodes as network and layered file systems give them."""

        def fstat(self, fd: int) -> os.stat_result:
            return self._wide(os.fstat(fd))

        def stat(self, name: Any) -> os.stat_result:  # type: ignore[override]  # os.stat has parameters we do not use
            return self._wide(os.stat(name))

        def _wide(self, state: os.stat_result) -> os.stat_result:
            values = list(state)
            values[1] = big
            return os.stat_result(values, {"st_mtime_ns": state.st_mtime_ns, "st_ctime_ns": state.st_ctime_ns})

    write(path, "one")
    async with Tail(options, disk=WideDisk()) as tail:
        await tail.has(1)
    append(path, "two")

    async with Tail(options, disk=WideDisk()) as after:
        lines = await after.has(1)

    assert lines == ["two"]
    assert rows(db, "inode, offset") == [(big - (1 << 64), 8)]


# -- Ignore_Older --------------------------------------------------------------------------------------------------


def age(path: Path) -> None:
    os.utime(path, (time.time() - 7200,) * 2)


@pytest.mark.parametrize("from_head", ["on", "off"])
async def test_a_file_that_was_too_old_and_is_overwritten_is_read_from_its_beginning(
    tmp_path: Path, from_head: str
) -> None:
    path, fresh = tmp_path / "a.log", tmp_path / "b.log"
    write(path, *numbered(1, 5))
    age(path)
    write(fresh, "fresh")

    async with Tail(f"path {tmp_path}/*.log\nread_from_head {from_head}\nignore_older 1h") as tail:
        await tail.until(lambda: tail.count("files_opened_total") == 1)
        write(path, *numbered(101, 120))
        await tail.until(lambda: len(set(tail.lines()) - {"fresh"}) == 20)
        lines = await tail.is_quiet()

    assert [line for line in lines if line != "fresh"] == numbered(101, 120)


async def test_a_new_file_with_the_inode_of_one_that_was_too_old_is_read_from_its_beginning(tmp_path: Path) -> None:
    old, new, fresh = tmp_path / "a.log", tmp_path / "c.log", tmp_path / "b.log"
    write(old, *numbered(1, 5))
    age(old)
    write(fresh, "fresh")

    async with Tail(f"path {tmp_path}/*.log\nread_from_head on\nignore_older 1h") as tail:
        await tail.has(1)
        old.rename(new)  # as if the file was deleted and the file system gave its inode to the next one
        write(new, *numbered(101, 120))
        await tail.has(21)
        lines = await tail.is_quiet()

    assert lines[1:] == numbered(101, 120)


async def test_what_is_known_of_files_that_were_too_old_goes_with_them(tmp_path: Path) -> None:
    path = tmp_path / "a.log"
    write(path, "one")
    age(path)

    async with Tail(f"path {tmp_path}/*.log\nread_from_head on\nignore_older 1h") as tail:
        known = vars(vars(tail.input)["_opening"])["_passed_over"]
        await tail.until(lambda: len(known) == 1)
        path.unlink()
        await tail.until(lambda: not known)


# -- names given by rotation ---------------------------------------------------------------------------------------

DATED = ["app-2026-11-22T07-00-00.000.log", "app.2026-11-22.1.log", "app-11-22-2026-1.log", "app-20261122.log"]


@pytest.mark.parametrize("name", [*DATED, "app.1.log", "old"])
@pytest.mark.parametrize("successor", [True, False], ids=["with a successor", "without"])
async def test_a_file_renamed_while_nobody_looked_is_read_on_whatever_its_name(
    path: Path, options: str, name: str, successor: bool
) -> None:
    write(path, *numbered(1, 20))
    async with Tail(options) as tail:
        await tail.has(20)
    append(path, *numbered(21, 22))
    path.rename(path.parent / name)
    if successor:
        write(path, *numbered(23, 24))

    async with Tail(options) as after:
        await after.has(4 if successor else 2)
        lines = await after.is_quiet()

    assert lines == numbered(21, 24 if successor else 22)


@pytest.mark.parametrize("name", [*DATED, "app-20261122.log.gz"])
async def test_files_rotated_twice_while_nobody_looked_are_read(path: Path, options: str, name: str) -> None:
    write(path, *numbered(1, 20))
    async with Tail(options) as tail:
        await tail.has(20)
    path.rename(path.parent / "app-20261121.log")
    await asyncio.sleep(0.03)  # a tick of the file system's clock, by which the order is known
    content = "".join(f"{line}\n" for line in numbered(21, 40)).encode()
    (path.parent / name).write_bytes(gzip.compress(content) if name.endswith(".gz") else content)
    await asyncio.sleep(0.03)
    write(path, *numbered(41, 42))

    async with Tail(options) as after:
        await after.has(22)
        lines = await after.is_quiet()

    assert lines == numbered(21, 42)


@pytest.mark.parametrize("name", DATED)
async def test_a_file_that_came_and_was_renamed_between_two_looks_is_read(path: Path, name: str) -> None:
    write(path, "one")

    async with Tail(f"path {path}\nread_from_head on") as tail:
        await tail.has(1)
        path.rename(path.parent / "app-20261120.log")
        write(path, "two")
        path.rename(path.parent / name)
        write(path, "three")
        await tail.has(3)
        lines = await tail.is_quiet()

    assert sorted(lines) == ["one", "three", "two"]


async def test_files_of_other_writers_beside_it_are_left_alone(path: Path, options: str) -> None:
    write(path, *numbered(1, 20))
    async with Tail(options) as tail:
        await tail.has(20)
    write(path.parent / "app-1.log", *numbered(101, 120))
    write(path.parent / "app-worker-20261122.log", *numbered(201, 220))
    write(path.parent / "application-20261122.log", *numbered(301, 320))
    path.rename(f"{path}.1")
    write(path, *numbered(21, 22))

    async with Tail(options) as after:
        await after.has(2)
        path.rename(f"{path}.2")
        write(path, *numbered(23, 24))
        await after.has(4)
        lines = await after.is_quiet()

    assert lines == numbered(21, 24)


async def test_a_renamed_file_within_the_glob_goes_on_under_its_own_path(tmp_path: Path, path: Path, db: Path) -> None:
    options = f"path {path},{tmp_path}/app-*.log\nread_from_head off\ndb {db}\ntag t.*"
    write(path)
    async with Tail(options) as tail:
        await tail.until(lambda: tail.count("files_opened_total") == 1)
        append(path, *numbered(1, 20))
        await tail.has(20)
    append(path, *numbered(21, 22))
    path.rename(tmp_path / "app-20261122.log")
    write(path, *numbered(23, 24))

    async with Tail(options) as after:
        await after.has(4)
        lines = await after.is_quiet()

    assert sorted(lines) == numbered(21, 24)


# -- copies --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["app.log.old", "app.log~", "app-20261122.log", "app.log-copy", "app.log.1"])
async def test_a_copy_within_the_glob_is_not_read_again_whatever_is_put_to_its_name(path: Path, name: str) -> None:
    write(path, *numbered(1, 50))

    async with Tail(f"path {path.parent}/app*\nread_from_head on") as tail:
        await tail.has(50)
        shutil.copy(path, path.parent / name)
        os.truncate(path, 0)
        append(path, "after")
        await tail.has(51)
        lines = await tail.is_quiet(1.2)

    assert lines == [*numbered(1, 50), "after"]
