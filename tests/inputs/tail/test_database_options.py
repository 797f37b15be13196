"""The options of the database, and the statement that each event makes."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from .running import Tail, append, inode, rows, write


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "a.log"


def pragma(tail: Tail, name: str) -> object:
    """A setting of the input's own connection."""
    return tail.database().execute(f"PRAGMA {name}").fetchone()[0]


@pytest.mark.parametrize(
    ("option", "name", "value"),
    [
        ("", "synchronous", 1),
        ("db.sync off", "synchronous", 0),
        ("db.sync normal", "synchronous", 1),
        ("db.sync full", "synchronous", 2),
        ("db.sync extra", "synchronous", 3),
        ("", "journal_mode", "wal"),
        ("db.journal_mode DELETE", "journal_mode", "delete"),
        ("db.journal_mode TRUNCATE", "journal_mode", "truncate"),
        ("db.journal_mode PERSIST", "journal_mode", "persist"),
        ("db.journal_mode MEMORY", "journal_mode", "memory"),
        ("db.journal_mode OFF", "journal_mode", "off"),
        ("", "locking_mode", "normal"),
        ("db.locking on", "locking_mode", "exclusive"),
    ],
)
async def test_an_option_of_the_database_is_its_setting(options: str, option: str, name: str, value: object) -> None:
    async with Tail(f"{options}\n{option}") as tail:
        found = pragma(tail, name)

    assert found == value


@pytest.mark.parametrize("mode", ["DELETE", "TRUNCATE", "PERSIST", "MEMORY", "WAL", "OFF"])
@pytest.mark.parametrize("locking", ["on", "off"])
async def test_positions_are_kept_whatever_the_options(
    path: Path, options: str, db: Path, mode: str, locking: str
) -> None:
    write(path, "one")
    more = f"{options}\ndb.journal_mode {mode}\ndb.locking {locking}"
    async with Tail(more) as tail:
        await tail.has(1)
        await tail.are_saved()
        await tail.kill()
    append(path, "two")

    async with Tail(more) as after:
        await after.has(1)

    assert after.lines() == ["two"]
    assert rows(db) == [(str(path), 8, inode(path), 0)]


def is_readable(db: Path) -> bool:
    connection = sqlite3.connect(db, timeout=0)
    try:
        connection.execute("SELECT * FROM in_tail_files").fetchall()
    except sqlite3.OperationalError:
        return False
    finally:
        connection.close()
    return True


@pytest.mark.parametrize(("locking", "expected"), [("off", True), ("on", False)])
async def test_others_may_read_the_database_unless_it_is_locked(
    path: Path, options: str, db: Path, locking: str, expected: bool
) -> None:
    write(path, "one")

    async with Tail(f"{options}\ndb.locking {locking}") as tail:
        await tail.has(1)
        await tail.are_saved()
        readable = is_readable(db)

    assert readable is expected


# -- DB.compare_filename ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("compare", "name", "expected"),
    [
        pytest.param("off", "b.log", [], id="a file of another name is known by its inode"),
        pytest.param("on", "b.log", ["one"], id="a file of another name is a new one if names count"),
        pytest.param("on", "a.log", [], id="a file of the same name is known"),
    ],
)
async def test_a_stored_position_counts_for_names_or_for_inodes(
    tmp_path: Path, path: Path, db: Path, compare: str, name: str, expected: list[str]
) -> None:
    options = f"path {tmp_path}/*.log\nread_from_head on\ndb {db}\ndb.compare_filename {compare}"
    write(path, "one")
    async with Tail(options) as tail:
        await tail.has(1)
    path.rename(tmp_path / name)

    async with Tail(options) as after:
        await after.until(lambda: after.count("files_opened_total") == 1)
        lines = await after.is_quiet(0.3)

    assert lines == expected
    assert rows(db) == [(str(tmp_path / name), 4, inode(tmp_path / name), 0)]


# -- statements by event ---------------------------------------------------------------------------------------


@contextmanager
def statements(tail: Tail) -> Iterator[list[str]]:
    """The statements on Fluent Bit's table meanwhile."""
    found: list[str] = []
    database = tail.database()
    database.set_trace_callback(lambda text: found.append(text) if "in_tail_files" in text else None)
    yield found
    database.set_trace_callback(None)


async def test_a_file_that_is_found_is_inserted(path: Path, db: Path, options: str) -> None:
    async with Tail(options) as tail:
        with statements(tail) as found:
            write(path, "one")
            await tail.until(lambda: rows(db, "offset") == [(4,)])

    assert found[0].startswith("INSERT INTO in_tail_files")


async def test_what_is_delivered_is_an_update_of_its_row(path: Path, db: Path, options: str) -> None:
    write(path, "one")
    async with Tail(options) as tail:
        await tail.until(lambda: rows(db, "offset") == [(4,)])
        with statements(tail) as found:
            append(path, "two")
            await tail.until(lambda: rows(db, "offset") == [(8,)])

    assert [text.split(" SET ")[0] for text in found] == ["UPDATE in_tail_files"] * len(found)
    assert found


async def test_a_row_that_somebody_removed_is_inserted_again(path: Path, db: Path, options: str) -> None:
    write(path, "one")
    async with Tail(options) as tail:
        await tail.until(lambda: rows(db, "offset") == [(4,)])
        with sqlite3.connect(db) as other:
            other.execute("DELETE FROM in_tail_files")
        other.close()
        append(path, "two")
        await tail.until(lambda: rows(db, "offset") == [(8,)])
    append(path, "three")

    async with Tail(options) as after:
        lines = await after.is_quiet(0.3)

    assert lines == ["three"]


async def test_a_rotation_gives_the_row_its_new_name(path: Path, db: Path, options: str) -> None:
    write(path, "one")
    async with Tail(f"{options}\nrotate_wait 60") as tail:
        await tail.until(lambda: rows(db, "offset") == [(4,)])
        path.rename(f"{path}.1")
        await tail.until(lambda: rows(db, "name, rotated") == [(f"{path}.1", 1)])

    assert rows(db, "offset") == [(4,)]


async def test_a_truncation_sets_the_offset_to_zero(path: Path, db: Path, options: str) -> None:
    write(path, "one", "two")
    async with Tail(options) as tail:
        await tail.until(lambda: rows(db, "offset") == [(8,)])
        path.write_bytes(b"new")
        await tail.until(lambda: rows(db, "offset, offset_marker, offset_marker_size") == [(0, 0, 0)])
        append(path, " line")
        lines = await tail.has(3)

    assert lines == ["one", "two", "new line"]


async def test_what_is_settled_after_a_deleted_file_was_given_up_brings_its_row_not_back(
    path: Path, db: Path, options: str
) -> None:
    write(path, "one")
    async with Tail(f"{options}\ndeleted_files_max_age 0.2", settling="later") as tail:
        await tail.has(1)
        await tail.until(lambda: len(rows(db)) == 1)
        path.unlink()
        await tail.until(lambda: tail.count("files_closed_total") == 1)
        tail.settle()
        tail.save()

        assert rows(db) == []
