"""Databases go over from Fluent Bit to us and back, and not a line is read twice or passed over."""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from .fluent_bit import COLUMNS, VERSIONS, marker_of
from .running import Tail, append, inode, numbered, rows, write

ALL = list(COLUMNS)
BY_VERSION = pytest.mark.parametrize("columns", VERSIONS.values(), ids=VERSIONS)
CRI = "2026-01-01T00:00:00.000000001Z"


def written_by_fluent_bit(db: Path, found: Sequence[Mapping[str, object]], columns: Sequence[str] = ALL) -> None:
    """A database as a version with these columns leaves it; of a row the columns that are not given have defaults."""
    connection = sqlite3.connect(db)
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute(f"CREATE TABLE in_tail_files ({', '.join(f'{name} {COLUMNS[name]}' for name in columns)})")
    for row in found:
        known = {key: value for key, value in row.items() if key in columns}
        places = ", ".join("?" * len(known))
        connection.execute(f"INSERT INTO in_tail_files ({', '.join(known)}) VALUES ({places})", [*known.values()])
    connection.commit()
    connection.close()


def row_of(
    path: Path, offset: int, *, name: Path | None = None, rotated: int = 0, marked: bool = True
) -> dict[str, Any]:
    """The row that Fluent Bit keeps for a file it has read up to the offset."""
    row: dict[str, Any] = {"name": str(name or path), "offset": offset, "inode": inode(path)}
    row |= {"created": 1_700_000_000, "rotated": rotated}
    if marked:
        row["offset_marker"], row["offset_marker_size"] = marker(path, offset)
    return row


def marker(path: Path, offset: int) -> tuple[int, int]:
    return marker_of(path.read_bytes(), offset)


def what_fluent_bit_would_read(db: Path, path: Path) -> list[str]:
    """The lines of the file that Fluent Bit would read: from the newest row of the inode, if its marker fits."""
    found = [r for r in rows(db, "inode, offset, offset_marker, offset_marker_size") if r[0] == inode(path)]
    _, offset, digest, size = found[-1]
    data = path.read_bytes()
    if offset > len(data) or (size and marker(path, offset) != (digest, size)):
        offset = 0
    return data[offset:].decode().splitlines()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "a.log"


# -- from Fluent Bit to us ---------------------------------------------------------------------------------------------


@BY_VERSION
@pytest.mark.parametrize("offset", [4, 8, 74], ids=["short marker", "marker of eight bytes", "marker of 32 bytes"])
async def test_a_position_is_continued_exactly(
    path: Path, db: Path, options: str, columns: Sequence[str], offset: int
) -> None:
    write(path, "one", "two", *numbered(1, 5))
    written_by_fluent_bit(db, [row_of(path, offset)], columns)

    async with Tail(options) as tail:
        lines = await tail.is_quiet(0.4)

    assert "\n".join([*lines, ""]).encode() == path.read_bytes()[offset:]


async def test_a_position_without_a_marker_is_continued_exactly(path: Path, db: Path, options: str) -> None:
    write(path, *numbered(1, 20))
    size = path.stat().st_size
    written_by_fluent_bit(db, [row_of(path, size // 2, marked=False) | {"offset_marker": 0, "offset_marker_size": 0}])

    async with Tail(options) as tail:
        lines = await tail.is_quiet(0.4)

    assert lines == numbered(11, 20)


@BY_VERSION
async def test_rows_without_a_creation_time_are_continued(
    path: Path, db: Path, options: str, columns: Sequence[str]
) -> None:
    write(path, "one", "two")
    written_by_fluent_bit(db, [row_of(path, 4) | {"created": None}], columns)

    async with Tail(options) as tail:
        lines = await tail.is_quiet(0.4)

    assert lines == ["two"]


@pytest.mark.parametrize("marked", [True, False])
async def test_a_rotated_file_is_read_on_before_its_successor(
    tmp_path: Path, path: Path, db: Path, options: str, marked: bool
) -> None:
    write(path, *numbered(1, 10))
    rotated = path.rename(tmp_path / "a.log.1")
    write(path, *numbered(11, 20))
    line = len(numbered(1, 1)[0]) + 1
    written_by_fluent_bit(
        db, [row_of(rotated, 7 * line, rotated=1, marked=marked), row_of(path, 2 * line, marked=marked)]
    )

    async with Tail(options) as tail:
        lines = await tail.is_quiet(0.4)

    assert lines == numbered(8, 10) + numbered(13, 20)


async def test_a_file_rotated_after_fluent_bit_stopped_is_read_on(
    tmp_path: Path, path: Path, db: Path, options: str
) -> None:
    write(path, *numbered(1, 10))
    written_by_fluent_bit(db, [row_of(path, 5 * (len(numbered(1, 1)[0]) + 1))])
    path.rename(tmp_path / "a.log.1")
    write(path, *numbered(11, 20))

    async with Tail(options) as tail:
        lines = await tail.is_quiet(0.4)

    assert lines == numbered(6, 20)


@BY_VERSION
async def test_of_several_rows_of_one_inode_the_newest_is_continued(
    path: Path, db: Path, options: str, columns: Sequence[str]
) -> None:
    write(path, "one", "two", "three")
    written_by_fluent_bit(db, [row_of(path, 14), row_of(path, 0), row_of(path, 8)], columns)

    async with Tail(options) as tail:
        lines = await tail.is_quiet(0.4)
    append(path, "four")

    assert lines == ["three"]
    assert what_fluent_bit_would_read(db, path) == ["four"]


async def test_a_row_of_a_link_is_continued(tmp_path: Path, db: Path) -> None:
    real, link = tmp_path / "pods" / "0.log", tmp_path / "c.log"
    real.parent.mkdir()
    write(real, "one", "two")
    link.symlink_to(real)
    written_by_fluent_bit(db, [row_of(real, 4, name=link)])

    async with Tail(f"path {link}\ndb {db}") as tail:
        lines = await tail.is_quiet(0.4)

    assert lines == ["two"]
    assert rows(db) == [(str(link), 8, inode(real), 0)]


async def test_what_was_left_in_the_write_ahead_log_is_not_lost(
    tmp_path: Path, path: Path, db: Path, options: str
) -> None:
    write(path, "one", "two", "three")
    running = tmp_path / "running.db"
    written_by_fluent_bit(running, [row_of(path, 4)])
    connection = sqlite3.connect(running)
    connection.execute("UPDATE in_tail_files SET offset=8, offset_marker=?, offset_marker_size=?", marker(path, 8))
    connection.commit()
    for end in ("", "-wal"):
        shutil.copy(f"{running}{end}", f"{db}{end}")
    connection.close()

    async with Tail(options) as tail:
        lines = await tail.is_quiet(0.4)

    assert lines == ["three"]


async def test_rows_of_deleted_files_go(path: Path, db: Path, options: str) -> None:
    write(path, "one")
    gone = row_of(path, 4) | {"name": f"{path}.9", "inode": 1}
    written_by_fluent_bit(db, [gone, row_of(path, 4)])

    async with Tail(options) as tail:
        await tail.is_quiet(0.4)

    assert rows(db) == [(str(path), 4, inode(path), 0)]


# -- from us to Fluent Bit ---------------------------------------------------------------------------------------------


def assert_valid(db: Path, folder: Path) -> None:
    """Every row is one that Fluent Bit could have written for a file that is there."""
    connection = sqlite3.connect(db)
    assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    schema = connection.execute("SELECT name FROM pragma_table_info('in_tail_files')").fetchall()
    connection.close()
    assert [name for (name,) in schema] == ALL
    files = {inode(file): file for file in folder.iterdir() if file.is_file()}
    found = rows(db, "name, offset, inode, created, rotated, offset_marker, offset_marker_size")
    assert found
    for name, offset, number, created, rotated, digest, size in found:
        assert files[number].samefile(name)
        assert created > 1_600_000_000
        assert rotated == (files[number].suffix == ".1")
        assert (digest, size) == marker(files[number], offset)


@pytest.mark.parametrize("columns", [None, *VERSIONS.values()], ids=["none", *VERSIONS])
@pytest.mark.parametrize("lines", [1, 40])
async def test_fluent_bit_can_continue_after_us(
    tmp_path: Path, path: Path, db: Path, options: str, columns: Sequence[str] | None, lines: int
) -> None:
    write(path, *numbered(1, lines))
    if columns is not None:
        written_by_fluent_bit(db, [row_of(path, 0)], columns)
    path.write_text(f"{path.read_text()}part")

    async with Tail(options) as tail:
        await tail.has(lines)
    append(path, " and rest", "more")

    assert_valid(db, tmp_path)
    assert what_fluent_bit_would_read(db, path) == ["part and rest", "more"]


async def test_fluent_bit_can_continue_after_a_rotation_under_us(
    tmp_path: Path, path: Path, db: Path, options: str
) -> None:
    write(path, *numbered(1, 10))
    async with Tail(f"{options}\nrotate_wait 60") as tail:
        await tail.has(10)
        rotated = path.rename(tmp_path / "a.log.1")
        write(path, *numbered(11, 20))
        await tail.has(20)
    append(rotated, "late")
    append(path, "more")

    assert_valid(db, tmp_path)
    assert sorted(rows(db, "name, rotated")) == [(str(path), 0), (str(rotated), 1)]
    assert what_fluent_bit_would_read(db, rotated) == ["late"]
    assert what_fluent_bit_would_read(db, path) == ["more"]


async def test_fluent_bit_can_continue_after_a_truncation_under_us(
    tmp_path: Path, path: Path, db: Path, options: str
) -> None:
    write(path, *numbered(1, 10))
    async with Tail(options) as tail:
        await tail.has(10)
        write(path, *numbered(51, 53))
        await tail.has(13)
    append(path, "more")

    assert_valid(db, tmp_path)
    assert what_fluent_bit_would_read(db, path) == ["more"]


async def test_fluent_bit_reads_a_record_that_was_open_from_its_first_line(
    tmp_path: Path, path: Path, db: Path, options: str
) -> None:
    write(path, f"{CRI} stdout F done", f"{CRI} stdout P open ", f"{CRI} stderr F beside")
    async with Tail(f"{options}\nmultiline.parser cri") as tail:
        await tail.has(2)

    assert_valid(db, tmp_path)
    assert what_fluent_bit_would_read(db, path) == [f"{CRI} stdout P open ", f"{CRI} stderr F beside"]


async def test_fluent_bit_reads_what_was_not_delivered(tmp_path: Path, path: Path, db: Path, options: str) -> None:
    write(path, *numbered(1, 10))
    async with Tail(options, settling="later") as tail:
        await tail.has(10)
        tail.settle()
        await tail.until(lambda: rows(db, "offset") == [(path.stat().st_size,)])
        append(path, *numbered(11, 20))
        await tail.has(20)
        await tail.kill()

    assert_valid(db, tmp_path)
    assert what_fluent_bit_would_read(db, path) == numbered(11, 20)


async def test_a_database_goes_to_and_fro(path: Path, db: Path, options: str) -> None:
    write(path, *numbered(1, 10))
    seen = []
    for turn in range(1, 4):
        async with Tail(options) as tail:
            seen += await tail.is_quiet(0.4)
        append(path, f"for the other {turn}")
        seen += what_fluent_bit_would_read(db, path)
        with sqlite3.connect(db) as other:
            size = path.stat().st_size
            values = (size, *marker(path, size))
            other.execute("UPDATE in_tail_files SET offset=?, offset_marker=?, offset_marker_size=?", values)
        other.close()
        append(path, f"for us {turn}")

    expected = [line for turn in (1, 2, 3) for line in (f"for us {turn - 1}", f"for the other {turn}")][1:]
    assert seen == numbered(1, 10) + expected
