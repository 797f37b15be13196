"""The position database: shared with Fluent Bit, never believed blindly, never a reason to lose or repeat lines."""

from __future__ import annotations

import asyncio
import gzip
import os
import sqlite3
import stat
from pathlib import Path

import pytest

from shipper.errors import OptionError
from shipper.inputs.tail.positions import Position, PositionStore, SavedFile, fingerprint
from shipper.log import Log
from tests.components.rights import another_user, open_folder

from .fluent_bit import FluentBit
from .running import DiskOfParts, Tail, append, inode, numbered, rows, write

OLD_SCHEMA = """CREATE TABLE in_tail_files (id INTEGER PRIMARY KEY, name TEXT NOT NULL, offset INTEGER,
 inode INTEGER, created INTEGER, rotated INTEGER DEFAULT 0)"""
SCHEMA = OLD_SCHEMA[:-1] + ", offset_marker INTEGER DEFAULT 0, offset_marker_size INTEGER DEFAULT 0)"
CRI = "2026-01-01T00:00:00.000000001Z"


def by_fluent_bit(db: Path, path: Path, offset: int, schema: str = SCHEMA, **more: int) -> None:
    """A database as Fluent Bit leaves it."""
    connection = sqlite3.connect(db)
    connection.execute(schema)
    values = {"offset": offset, "inode": inode(path), "created": 1_700_000_000, **more}
    connection.execute(
        f"INSERT INTO in_tail_files (name, {', '.join(values)}) VALUES (?{', ?' * len(values)})",
        (str(path), *values.values()),
    )
    connection.commit()
    connection.close()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "a.log"


@pytest.mark.parametrize(
    ("data", "digest"),
    [
        (b"a\n", -1710819806019282408),
        (b"hello\n", -7350857990471006678),
        (b"one\ntwo\n", 7954065206909648925),
        (b"0123456789abcde\n", 1017174204107819732),
        (b"x" * 31 + b"\n", -4504526217442088660),
    ],
)
def test_the_marker_is_the_hash_that_fluent_bit_stores(data: bytes, digest: int) -> None:
    assert fingerprint(data) == digest


async def test_a_second_run_goes_on_where_the_first_stopped(path: Path, options: str) -> None:
    write(path, *numbered(1, 10))
    async with Tail(options) as tail:
        await tail.has(10)
    append(path, *numbered(11, 15))

    async with Tail(options) as after:
        lines = await after.is_quiet()

    assert lines == numbered(11, 15)


async def test_a_shorter_file_is_read_anew(path: Path, options: str, caplog: pytest.LogCaptureFixture) -> None:
    write(path, *numbered(1, 10))
    async with Tail(options) as tail:
        await tail.has(10)
    write(path, *numbered(21, 23))

    async with Tail(options) as after:
        lines = await after.is_quiet()

    assert lines == numbered(21, 23)


async def test_another_content_behind_the_same_inode_is_read_anew(path: Path, options: str) -> None:
    write(path, *numbered(1, 10))
    async with Tail(options) as tail:
        await tail.has(10)
    number = inode(path)
    write(path, *numbered(101, 140))

    async with Tail(options) as after:
        lines = await after.is_quiet()

    assert inode(path) == number
    assert lines == numbered(101, 140)


async def test_only_the_head_of_a_file_tells_it_from_another(path: Path, options: str) -> None:
    write(path, "id=1", *["the same"] * 20)
    async with Tail(options) as tail:
        await tail.has(21)
    write(path, "id=2", *["the same"] * 20, "more")

    async with Tail(options) as after:
        lines = await after.is_quiet()

    assert lines == ["id=2", *["the same"] * 20, "more"]


async def test_the_row_of_a_deleted_file_goes(path: Path, db: Path, options: str) -> None:
    write(path, "one")
    async with Tail(options) as tail:
        await tail.has(1)
        await tail.until(lambda: len(rows(db)) == 1)
        path.unlink()
        await tail.until(lambda: rows(db) == [])

    assert tail.count("files_closed_total") == 1


async def test_the_row_is_the_one_that_fluent_bit_writes(tmp_path: Path, db: Path) -> None:
    real = tmp_path / "real"
    real.mkdir()
    (real / "0.log").write_bytes(b"one\ntwo\npart")
    link = tmp_path / "c.log"
    link.symlink_to(real / "0.log")

    async with Tail(f"path {link}\nread_from_head on\ndb {db}") as tail:
        lines = await tail.has(2)

    columns = "id, name, offset, inode, rotated, offset_marker, offset_marker_size"
    assert lines == ["one", "two"]
    assert rows(db, columns) == [(1, str(link), 8, inode(real / "0.log"), 0, 7954065206909648925, 8)]


async def test_the_row_of_a_rotated_file_has_its_new_name(path: Path, db: Path, options: str) -> None:
    write(path, "one")
    async with Tail(f"{options}\nrotate_wait 60") as tail:
        await tail.has(1)
        path.rename(f"{path}.1")
        write(path, "two")
        await tail.has(2)

    assert sorted(rows(db)) == [(str(path), 4, inode(path), 0), (f"{path}.1", 4, inode(Path(f"{path}.1")), 1)]


@pytest.mark.parametrize(("before", "after"), [(None, 0o600), (0o644, 0o644), (0o660, 0o660)])
async def test_a_new_database_is_for_us_alone_and_one_that_was_there_stays_as_it_was(
    path: Path, db: Path, options: str, before: int | None, after: int
) -> None:
    if before is not None:
        db.touch()
        db.chmod(before)
    write(path, "one")
    async with Tail(options) as tail:
        await tail.has(1)

        modes = {stat.S_IMODE(file.stat().st_mode) for file in db.parent.glob(f"{db.name}*")}
    assert modes == {after}


async def test_a_database_in_a_missing_folder_stops_the_start(tmp_path: Path) -> None:
    tail = Tail(f"path {tmp_path}/a.log\ndb {tmp_path}/missing/p.db")

    with pytest.raises(OptionError, match="could not open/create database") as caught:
        await tail.input.open()
    assert caught.value.remedy == "the folder must exist"


@pytest.mark.skipif(os.geteuid() != 0, reason="takes root to own what others may not write")
@pytest.mark.parametrize(
    ("denied", "mode"), [("state/p.db", 0o600), ("state/p.db", 0o644), ("state", 0o755), ("state", 0o700), ("", 0o700)]
)
async def test_a_database_that_may_not_be_written_stops_the_start_with_its_owner_and_what_helps(
    caplog: pytest.LogCaptureFixture, denied: str, mode: int
) -> None:
    with open_folder() as root:
        (root / "state").mkdir()
        db = root / "state" / "p.db"
        FluentBit(db, root / "*.log").run()
        if not denied.endswith(".db"):
            db.unlink()
        (root / denied).chmod(mode)
        tail = Tail(f"path {root}/*.log\ndb {db}")
        with another_user():
            with pytest.raises(OptionError) as caught:
                await tail.input.open()
            await tail.input.close()

    place = str(root / denied)
    assert f"could not open/create database {db}: " in caught.value.message
    assert f"{place} belongs to user 0 (mode {mode:04o}), and this is user 65534" in caught.value.message
    folder = place.removesuffix("/p.db")
    assert caught.value.remedy.startswith(f"chown -R 65534:{os.getegid()} {folder}; in Kubernetes an init container")
    assert caplog.text == ""


@pytest.mark.parametrize("schema", [SCHEMA, OLD_SCHEMA])
async def test_a_position_of_fluent_bit_is_taken_over(path: Path, db: Path, options: str, schema: str) -> None:
    write(path, "one", "two", "three")
    by_fluent_bit(db, path, 8, schema)

    async with Tail(options) as tail:
        lines = await tail.is_quiet()

    assert lines == ["three"]
    assert rows(db) == [(str(path), 14, inode(path), 0)]
    marker = fingerprint(b"one\ntwo\nthree\n")
    assert rows(db, "offset_marker, offset_marker_size") == [(marker, 14)]


async def test_a_marker_of_fluent_bit_that_does_not_fit_is_another_file(path: Path, db: Path, options: str) -> None:
    write(path, "one", "two", "three")
    by_fluent_bit(db, path, 8, offset_marker=1234, offset_marker_size=8)

    async with Tail(options) as tail:
        lines = await tail.is_quiet()

    assert lines == ["one", "two", "three"]


async def test_a_row_with_offset_zero_is_a_position(path: Path, db: Path, options: str) -> None:
    write(path, "one", "two")
    by_fluent_bit(db, path, 0)

    async with Tail(f"{options}\nread_from_head off") as tail:
        lines = await tail.is_quiet()

    assert lines == ["one", "two"]


async def test_an_offset_beyond_the_file_is_not_believed(
    path: Path, db: Path, options: str, caplog: pytest.LogCaptureFixture
) -> None:
    write(path, "one")
    by_fluent_bit(db, path, 1_000_000)

    async with Tail(f"{options}\nread_from_head off") as tail:
        append(path, "two")
        lines = await tail.is_quiet()

    assert lines == ["one", "two"]
    assert caplog.text.count("file is read as a new one") == 1


async def test_a_stale_row_of_a_reused_inode_is_not_believed(path: Path, options: str, db: Path) -> None:
    write(path, *numbered(1, 10))
    async with Tail(options) as tail:
        await tail.has(10)
    connection = sqlite3.connect(db)
    write(path, *numbered(51, 70))
    connection.execute("UPDATE in_tail_files SET inode=?", (inode(path),))
    connection.commit()
    connection.close()

    async with Tail(options) as after:
        lines = await after.is_quiet()

    assert lines == numbered(51, 70)


async def test_of_two_rows_with_one_inode_the_newer_counts(path: Path, db: Path, options: str) -> None:
    write(path, "one", "two", "three")
    by_fluent_bit(db, path, 4)
    connection = sqlite3.connect(db)
    connection.execute("INSERT INTO in_tail_files (name, offset, inode) VALUES (?, 8, ?)", (str(path), inode(path)))
    connection.commit()
    connection.close()

    async with Tail(options) as tail:
        lines = await tail.is_quiet()

    assert lines == ["three"]


async def test_a_rotation_under_fluent_bit_does_not_bring_back_what_it_delivered(tmp_path: Path, db: Path) -> None:
    path = tmp_path / "0.log"
    for number, name in enumerate(["0.log.1", "0.log.2", "0.log.3"]):
        write(tmp_path / name, f"old {number}")
        os.utime(tmp_path / name, (1_600_000_000 + number,) * 2)
    write(path, "one", "two")
    by_fluent_bit(db, path, 4)
    path.rename(tmp_path / "0.log.4")
    await asyncio.sleep(0.02)
    write(tmp_path / "0.log.5", "three")
    await asyncio.sleep(0.02)
    write(path, "four")

    async with Tail(f"path {path}\ndb {db}") as tail:
        lines = await tail.is_quiet()

    assert lines == ["two", "three", "four"]


async def test_two_inputs_that_share_a_database_leave_each_other_alone(tmp_path: Path, db: Path) -> None:
    write(tmp_path / "a.log", "a")
    write(tmp_path / "b.log", "b")
    second_run: list[str] = []
    for _ in range(2):
        async with (
            Tail(f"path {tmp_path}/a.log\nread_from_head on\ndb {db}") as a,
            Tail(f"path {tmp_path}/b.log\nread_from_head on\ndb {db}") as b,
        ):
            await asyncio.sleep(0.4)
            second_run = a.lines() + b.lines()

    assert second_run == []
    assert [row[1] for row in rows(db)] == [2, 2]


# -- a database that cannot be used ------------------------------------------------------------------------------------


async def test_positions_wait_while_another_program_locks_the_database(path: Path, db: Path, options: str) -> None:
    write(path, "one")
    async with Tail(options) as tail:
        await tail.has(1)
        await tail.until(lambda: rows(db, "offset") == [(4,)])
        other = sqlite3.connect(db, isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        append(path, "two")
        await tail.has(2)
        await tail.until(lambda: tail.context.metrics.value("input_offset_persist_age_seconds", name="test.0") > 0.1)
        during = rows(db, "offset")
        other.execute("ROLLBACK")
        other.close()
        await tail.until(lambda: rows(db, "offset") == [(8,)])
    async with Tail(options) as after:
        lines = await after.is_quiet()

    assert during == [(4,)]
    assert lines == []


async def test_nothing_is_read_before_a_locked_database_has_told_the_positions(
    path: Path, db: Path, options: str
) -> None:
    write(path, "one", "two")
    async with Tail(options) as tail:
        await tail.has(2)
    other = sqlite3.connect(db, isolation_level=None)
    other.execute("PRAGMA locking_mode=EXCLUSIVE")
    other.execute("BEGIN EXCLUSIVE")
    append(path, "three")

    async with Tail(options) as after:
        await asyncio.sleep(0.3)
        before = after.lines()
        other.execute("ROLLBACK")
        other.close()
        lines = await after.is_quiet()

    assert before == []
    assert lines == ["three"]


@pytest.mark.parametrize("damage", [b"this is no database " * 500, b"SQLite format 3\0" + b"\xff" * 8000])
async def test_a_damaged_database_is_moved_aside_and_nothing_of_it_comes_back(
    path: Path, db: Path, options: str, damage: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    write(path, "one")
    by_fluent_bit(db, path, 4)
    db.write_bytes(damage)

    async with Tail(f"{options}\nread_from_head off") as tail:
        lines = await tail.is_quiet()

    aside = list(db.parent.glob("p.db.damaged-*"))
    assert lines == ["one"]
    assert rows(db, "offset") == [(4,)]
    assert [p.read_bytes() for p in aside] == [damage]
    assert "database is damaged" in caplog.text


async def test_a_database_damaged_while_running_is_replaced(path: Path, db: Path) -> None:
    store = PositionStore(str(db), "normal", False, "DELETE", Log(""))
    store.open()
    saved = SavedFile(str(path), str(path), 1, 2, Position(5, 5))
    store.add(saved)
    store.flush()
    db.write_bytes(b"\xff" * db.stat().st_size)
    saved.position = Position(9, 9)
    store.changed(saved)

    written = store.flush() or store.flush()
    store.close()

    assert written
    assert rows(db, "offset, inode") == [(9, 2)]


async def test_a_row_that_was_to_be_removed_takes_none_of_a_new_database_with_it(path: Path, db: Path) -> None:
    store = PositionStore(str(db), "normal", False, "DELETE", Log(""))
    store.open()
    removed, kept = (SavedFile(str(path), str(path), 1, number, Position(5, 5)) for number in (11, 12))
    store.add(removed)
    store.add(kept)
    store.flush()
    store.remove(removed)
    db.write_bytes(b"\xff" * db.stat().st_size)

    written = store.flush() or store.flush()
    store.close()

    assert written
    assert rows(db, "offset, inode") == [(5, 12)]


# -- open records ------------------------------------------------------------------------------------------------------


async def test_records_behind_an_open_one_are_not_repeated_after_a_kill(path: Path, options: str) -> None:
    joined = f"{options}\nmultiline.parser cri"
    write(path, f"{CRI} stdout P open ", *[f"{CRI} stderr F done {n}" for n in range(5)])
    async with Tail(joined) as tail:
        await tail.has(5)
        await asyncio.sleep(0.1)
        await tail.kill()
    append(path, f"{CRI} stdout F closed")

    async with Tail(joined) as after:
        lines = await after.is_quiet()

    assert lines == ["open closed"]


async def test_an_open_record_is_read_again_whole_from_a_disk_that_reads_in_parts(path: Path, options: str) -> None:
    joined = f"{options}\nmultiline.parser cri"
    write(path, f"{CRI} stdout P {'open ' * 80}", f"{CRI} stderr F done")
    async with Tail(joined) as tail:
        await tail.has(1)
        tail.save()
        await tail.kill()
    append(path, f"{CRI} stdout F closed")

    async with Tail(joined, disk=DiskOfParts()) as after:
        lines = await after.has(1)

    assert lines == ["open " * 80 + "closed"]


async def test_an_open_record_whose_file_was_truncated_is_not_looked_for_in_what_the_file_has_now(
    path: Path, options: str
) -> None:
    joined = f"{options}\nmultiline.parser cri"
    write(path, f"{CRI} stdout P {'open ' * 8}", f"{CRI} stderr F done")
    new = [f"{CRI} stderr F new {number}" for number in range(10)]
    async with Tail(joined) as tail:
        await tail.has(1)
        write(path, *new)
        await tail.until(lambda: "new 9" in tail.lines())
        tail.save()
        await tail.kill()
    append(path, f"{CRI} stderr F last")

    async with Tail(joined) as after:
        lines = await after.is_quiet()

    assert lines == ["last"]


async def test_an_open_record_of_an_earlier_block_does_not_spoil_the_marker(path: Path, options: str) -> None:
    joined = f"{options}\nmultiline.parser cri"
    write(path, f"{CRI} stderr F zero", f"{CRI} stdout P a", f"{CRI} stderr P b")
    async with Tail(joined) as tail:
        await tail.has(1)
        await asyncio.sleep(0.1)
        append(path, f"{CRI} stdout F A")
        await tail.has(2)
        await asyncio.sleep(0.1)
        await tail.kill()
    append(path, f"{CRI} stderr F B")

    async with Tail(joined) as after:
        lines = await after.is_quiet()

    assert tail.lines() == ["zero", "aA"]
    assert lines == ["bB"]


async def test_lines_of_the_next_file_do_not_spoil_the_marker_of_the_last(path: Path, options: str) -> None:
    joined = f"{options}\nmultiline.parser cri"
    write(path, f"{CRI} stderr F zero", f"{CRI} stdout P a")
    async with Tail(joined) as tail:
        await tail.has(1)
        await asyncio.sleep(0.1)
        path.rename(f"{path}.1")
        write(path, *[f"{CRI} stderr F {n}" for n in range(9)])
        await tail.has(10)
        await asyncio.sleep(0.1)
        await tail.kill()
    append(path, f"{CRI} stdout F A")

    async with Tail(joined) as after:
        lines = await after.is_quiet()

    assert lines == ["aA"]


async def test_an_unfinished_line_that_was_taken_into_an_open_record_is_read_again(path: Path, options: str) -> None:
    joined = f"{options}\nmultiline.parser cri"
    path.write_text(f"{CRI} stderr F zero\n{CRI} stdout P open")
    async with Tail(joined) as tail:
        await tail.has(1)
        path.rename(f"{path}.1")
        write(path, f"{CRI} stderr F one")
        await tail.has(2)
        await asyncio.sleep(0.7)
        await tail.kill()
    append(path, f"{CRI} stdout F  closed")

    async with Tail(joined) as after:
        lines = await after.is_quiet()

    assert lines == ["open closed"]


async def test_an_inode_that_went_to_another_path_leaves_its_own_path_its_history(tmp_path: Path, db: Path) -> None:
    one, other = tmp_path / "a.log", tmp_path / "b.log"
    write(one, *numbered(1, 20))
    write(other, *numbered(101, 120))
    options = f"path {one}, {other}\nread_from_head on\ndb {db}"
    async with Tail(options) as tail:
        await tail.has(40)
    append(other, *numbered(121, 125))
    old_inode = inode(other)
    (tmp_path / "b.log.20260101-000001.gz").write_bytes(gzip.compress(other.read_bytes()))
    write(tmp_path / "next", *numbered(126, 130))
    (tmp_path / "next").rename(other)
    write(tmp_path / "next", *numbered(21, 25))
    one.rename(tmp_path / "a.log.20260101-000001")
    (tmp_path / "next").rename(one)
    with sqlite3.connect(db) as connection:  # as if the file system had given the inode out again
        connection.execute("UPDATE in_tail_files SET inode=? WHERE inode=?", (inode(one), old_inode))
    connection.close()

    async with Tail(options) as after:
        lines = await after.has(15)
        lines = await after.is_quiet()

    assert sorted(lines) == [*numbered(21, 25), *numbered(121, 130)]


@pytest.mark.parametrize(
    ("damage", "expected"),
    [
        ("UPDATE in_tail_files SET offset=-5", ["one", "two"]),
        ("UPDATE in_tail_files SET offset='x'", ["one", "two"]),
        ("UPDATE in_tail_files SET inode=NULL", ["one", "two"]),
        ("UPDATE in_tail_files SET inode='x'", ["one", "two"]),
        ("UPDATE in_tail_files SET offset_marker_size=100000", ["two"]),
        ("UPDATE shipper_files SET held='garbage'", ["two"]),
        ("UPDATE shipper_files SET held='[[0,3,4]]'", ["two"]),
        ("UPDATE shipper_files SET held='[[0,1000000000000]]'", ["two"]),
        ("UPDATE shipper_files SET held=x'ff'", ["two"]),
        ("UPDATE shipper_files SET head_size=100000", ["two"]),
        ("UPDATE shipper_files SET ahead=-1", ["two"]),
        ("UPDATE shipper_files SET device='x', text=1.5", ["two"]),
    ],
)
@pytest.mark.parametrize("from_head", ["on", "off"])
async def test_a_damaged_row_is_told_and_loses_nothing(
    path: Path,
    db: Path,
    options: str,
    caplog: pytest.LogCaptureFixture,
    damage: str,
    expected: list[str],
    from_head: str,
) -> None:
    write(path, "one")
    async with Tail(options) as tail:
        await tail.has(1)
    with sqlite3.connect(db) as connection:
        connection.execute(damage)
    connection.close()
    append(path, "two")

    async with Tail(f"{options}\nread_from_head {from_head}") as after:
        await after.has(len(expected))
        lines = await after.is_quiet(0.2)

    assert lines == expected
    assert "a stored position is damaged" in caplog.text
    async with Tail(options) as again:
        assert await again.is_quiet(0.2) == []


async def test_a_row_without_what_was_delivered_beyond_the_offset_counts_up_to_the_offset(
    path: Path, db: Path, options: str
) -> None:
    write(path, "one")
    async with Tail(options) as tail:
        await tail.has(1)
    with sqlite3.connect(db) as connection:
        connection.execute("UPDATE shipper_files SET ahead=NULL")
    connection.close()
    append(path, "two")

    async with Tail(options) as after:
        lines = await after.has(1)

    assert lines == ["two"]
