"""From where a file is read: stored positions, options, and files that are too old."""

from __future__ import annotations

import gzip
import os
import time
from pathlib import Path

import pytest

from shipper.testing import ManualClock

from .running import Tail, append, inode, numbered, rows, time_passes_until, write
from .test_fluent_bit_database import row_of, written_by_fluent_bit

LINE = len(numbered(1, 1)[0]) + 1


@pytest.mark.parametrize("from_head", ["on", "off"])
@pytest.mark.parametrize(
    ("lines", "first"),
    [
        pytest.param(None, {"on": 1, "off": 11}, id="no row"),
        pytest.param(0, {"on": 1, "off": 1}, id="a row at zero is a position"),
        pytest.param(4, {"on": 5, "off": 5}, id="a row inside the file"),
        pytest.param(10, {"on": 11, "off": 11}, id="a row at the end"),
        pytest.param(11, {"on": 1, "off": 1}, id="a row beyond the end"),
    ],
)
async def test_a_file_of_ten_lines_begins_at(
    tmp_path: Path, from_head: str, lines: int | None, first: dict[str, int]
) -> None:
    path, db = tmp_path / "a.log", tmp_path / "p.db"
    write(path, *numbered(1, 10))
    if lines is not None:
        written_by_fluent_bit(db, [row_of(path, lines * LINE, marked=lines <= 10)])

    async with Tail(f"path {path}\ndb {db}\nread_from_head {from_head}") as tail:
        await tail.until(lambda: tail.count("files_opened_total") == 1)
        append(path, *numbered(11, 12))
        seen = await tail.has(13 - first[from_head])

    assert seen == numbered(first[from_head], 12)


async def test_the_end_of_a_file_may_lie_inside_a_line(tmp_path: Path) -> None:
    path = tmp_path / "a.log"
    path.write_text("old\nhalf")

    async with Tail(f"path {path}\nread_from_head off") as tail:
        await tail.until(lambda: tail.count("files_opened_total") == 1)
        append(path, " a line", "new")
        lines = await tail.has(2)

    assert lines == [" a line", "new"]


# -- Ignore_Older ---------------------------------------------------------------------------------------


def age(path: Path, seconds: float) -> None:
    os.utime(path, (time.time() - seconds,) * 2)


@pytest.mark.parametrize(("limit", "count"), [("10m", 1), ("40m", 2), ("4h", 3), ("4d", 4), ("0", 4)])
async def test_30_files_that_were_not_changed_for_longer_are_left_out(tmp_path: Path, limit: str, count: int) -> None:
    ages = {"now": 0, "half an hour": 1800, "three hours": 3 * 3600, "three days": 3 * 86_400}
    for name, seconds in ages.items():
        write(tmp_path / f"{name}.log", name)
        age(tmp_path / f"{name}.log", seconds)

    async with Tail(f"path {tmp_path}/*.log\nread_from_head on\nignore_older {limit}") as tail:
        await tail.has(count)
        lines = await tail.is_quiet(0.1)

    assert sorted(lines) == sorted(list(ages)[:count])


@pytest.mark.parametrize("from_head", ["on", "off"])
@pytest.mark.parametrize(
    ("change", "expected"),
    [
        pytest.param("append", ["new"], id="31 appended"),
        pytest.param("shrink", ["new"], id="shorter than it was"),
        pytest.param("replace", ["a whole new file", "new"], id="another inode"),
    ],
)
async def test_a_file_that_was_too_old_is_read_from_the_size_it_had(
    tmp_path: Path, from_head: str, change: str, expected: list[str]
) -> None:
    path, fresh = tmp_path / "a.log", tmp_path / "b.log"
    write(path, "old", "and longer than the new one")
    age(path, 3600)
    write(fresh)

    async with Tail(f"path {path},{fresh}\nread_from_head {from_head}\nignore_older 10m") as tail:
        await tail.until(lambda: tail.count("files_opened_total") == 1)
        if change == "replace":
            path.rename(tmp_path / "c")
            write(path, "a whole new file")
        elif change == "shrink":
            path.write_text("")
        append(path, "new")
        lines = await tail.has(len(expected))

    assert lines == expected


@pytest.mark.parametrize(("option", "expected"), [("on", ["one"]), ("off", ["one", "two"])])
async def test_a_followed_file_that_becomes_too_old_is_let_go_if_asked_for(
    tmp_path: Path, option: str, expected: list[str]
) -> None:
    path = tmp_path / "a.log"
    write(path, "one")
    options = f"path {path}\nread_from_head on\nignore_older 1h\nignore_active_older_files {option}"

    async with Tail(options) as tail:
        await tail.has(1)
        age(path, 7200)
        if option == "on":
            await tail.until(lambda: tail.count("files_closed_total") == 1)
        append(path, "two")
        age(path, 7000)
        lines = await tail.is_quiet(0.8)

    assert lines == expected


async def test_a_file_that_was_let_go_for_its_age_goes_on_where_it_was_left(tmp_path: Path) -> None:
    path, db = tmp_path / "a.log", tmp_path / "p.db"
    write(path, "one")
    options = f"path {path}\nread_from_head on\ndb {db}\nignore_older 1h\nignore_active_older_files on"

    async with Tail(options) as tail:
        await tail.has(1)
        age(path, 7200)
        await tail.until(lambda: tail.count("files_closed_total") == 1)
        append(path, "two")
        lines = await tail.has(2)

    assert lines == ["one", "two"]
    assert rows(db) == [(str(path), 8, inode(path), 0)]


async def test_a_file_of_which_lines_are_owed_is_not_let_go_for_its_age(tmp_path: Path) -> None:
    path, clock = tmp_path / "a.log", ManualClock(time.time_ns())
    write(path, "one")
    options = f"path {path}\nread_from_head on\nignore_older 1h\nignore_active_older_files on"

    async with Tail(options, settling="later", clock=clock) as tail:
        await time_passes_until(clock, lambda: tail.lines() == ["one"])
        age(path, 7200)
        await clock.advance(5)
        held = tail.count("files_closed_total") == 0
        append(path, "two")
        await time_passes_until(clock, lambda: "two" in tail.lines())
        tail.settle()
        age(path, 7200)
        await time_passes_until(clock, lambda: tail.count("files_closed_total") == 1)

    assert held
    assert tail.lines() == ["one", "two"]


# -- rotated before it was seen -------------------------------------------------------------------------


@pytest.mark.parametrize("compressed", [False, True])
@pytest.mark.parametrize("from_head", ["on", "off"])
async def test_a_new_container_whose_file_was_rotated_before_it_was_seen_is_read_from_its_first_line(
    tmp_path: Path, from_head: str, compressed: bool
) -> None:
    log, links = tmp_path / "pods" / "0.log", tmp_path / "containers"
    links.mkdir()
    rotated = Path(f"{log}.20260101-000001")
    async with Tail(f"path {links}/*.log\nread_from_head {from_head}") as tail:
        await tail.until(lambda: tail.input._looking.has_scanned)
        log.parent.mkdir()
        write(rotated, *numbered(1, 20))
        if compressed:
            Path(f"{rotated}.gz").write_bytes(gzip.compress(rotated.read_bytes()))
            rotated.unlink()
        write(log, *numbered(21, 22))
        (links / "c.log").symlink_to(log)
        lines = await tail.has(22)

    assert lines == numbered(1, 22)


async def test_what_lay_beside_a_path_before_it_was_looked_for_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "a.log"
    write(tmp_path / "a.log.1", "old")
    age(tmp_path / "a.log.1", 1)
    async with Tail(f"path {path}\nread_from_head on") as tail:
        await tail.until(lambda: tail.input._looking.has_scanned)
        write(path, "new")
        await tail.has(1)
        lines = await tail.is_quiet()

    assert lines == ["new"]
