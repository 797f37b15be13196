"""Lines that do not fit: what each setting does with them, where it ends, and how they are counted."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path

import pytest

from .running import Tail, append, read_all, rows, write

SMALL = "buffer_chunk_size 128\nbuffer_max_size 128\nread_from_head on"
LONG = "L" * 300


def split(text: str, size: int) -> list[str]:
    return [text[start : start + size] for start in range(0, len(text), size)]


@pytest.mark.parametrize(
    ("option", "lines", "skipped", "truncated", "messages"),
    [
        ("skip_long_lines on", ["a", "b", "c"], 2, 0, 1),
        ("truncate_long_lines on", ["a", LONG[:127], "b", LONG[:127], "c"], 0, 2, 0),
        ("skip_long_lines on\ntruncate_long_lines on", ["a", LONG[:127], "b", LONG[:127], "c"], 0, 2, 0),
    ],
)
@pytest.mark.parametrize("size", [1000, 110], ids=["at once", "in pieces"])
async def test_each_long_line_is_dropped_or_cut_and_counted_once(
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    option: str,
    lines: list[str],
    skipped: int,
    truncated: int,
    messages: int,
    size: int,
) -> None:
    log = tmp_path / "a.log"
    async with Tail(f"path {log}\n{SMALL}\n{option}") as tail:
        for piece in split(f"a\n{LONG}\nb\n{LONG}\nc\n", size):
            with log.open("a") as file:
                file.write(piece)
            await tail.is_quiet(0.06)
        await tail.has(len(lines))

    assert tail.lines() == lines
    assert (tail.count("long_line_skipped_total"), tail.count("long_line_truncated_total")) == (skipped, truncated)
    assert caplog.text.count("have long lines. Skipping long lines.") == messages


def truncate(log: Path) -> None:
    log.write_text("")


def rotate(log: Path) -> None:
    log.rename(f"{log}.1")


@pytest.mark.parametrize("change", [truncate, rotate])
@pytest.mark.parametrize("option", ["", "skip_long_lines on", "truncate_long_lines on"])
async def test_after_a_long_line_without_an_end_the_next_content_is_read_from_its_head(
    tmp_path: Path, option: str, change: Callable[[Path], None]
) -> None:
    log = tmp_path / "a.log"
    log.write_text(f"one\n{LONG}")

    async with Tail(f"path {log}\n{SMALL}\n{option}\nrotate_wait 60") as tail:
        await tail.has(1)
        await tail.is_quiet(0.15)
        change(log)
        await tail.is_quiet(0.15)
        append(log, "two", "three")
        await tail.until(lambda: tail.lines()[-2:] == ["two", "three"])

    assert tail.lines() == ["one", *[LONG[:127]] * ("truncate" in option), "two", "three"]


@pytest.mark.parametrize("option", ["skip_long_lines on", "truncate_long_lines on"])
async def test_the_rest_of_a_long_line_is_no_line_after_a_restart(tmp_path: Path, option: str) -> None:
    log, db = tmp_path / "a.log", tmp_path / "p.db"
    log.write_text(f"one\n{LONG}")
    options = f"path {log}\ndb {db}\n{SMALL}\n{option}"
    async with Tail(options) as tail:
        await tail.until(lambda: rows(db, "offset") == [(304,)])
        await tail.kill()
    append(log, "REST", "two")

    after = await read_all(options, 1)

    assert after.lines() == ["two"]
    assert after.count("long_line_skipped_total") + after.count("long_line_truncated_total") == 0


@pytest.mark.parametrize(
    ("option", "records", "size"), [("skip_long_lines on", 2, 602), ("truncate_long_lines on", 0, 348)]
)
async def test_what_is_dropped_of_long_lines_is_counted_as_wanted(
    tmp_path: Path, option: str, records: int, size: int
) -> None:
    log = tmp_path / "a.log"
    write(log, "a", LONG, "b", LONG, "c")

    tail = await read_all(f"path {log}\n{SMALL}\n{option}", 3)

    labels = {"name": tail.context.alias, "reason": "line_too_long", "wanted": "yes"}
    metrics = tail.context.metrics
    assert metrics.total("input_dropped_records_total", **labels) == records
    assert metrics.total("input_dropped_bytes_total", **labels) == size


async def test_a_file_that_was_stopped_at_a_long_line_is_not_read_again_and_again(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    log, db = tmp_path / "a.log", tmp_path / "p.db"
    write(log, "one", LONG, "two")
    options = f"path {log}\n{SMALL}\nrefresh_interval 0.1"
    with caplog.at_level(logging.ERROR, "shipper"):
        async with Tail(options) as tail:
            without_db = await tail.is_quiet(0.5)
        async with Tail(f"{options}\ndb {db}") as tail:
            first = await tail.is_quiet(0.5)
        async with Tail(f"{options}\ndb {db}") as tail:
            second = await tail.is_quiet(0.5)

    assert (without_db, first, second) == (["one"], ["one"], [])
    assert caplog.text.count("requires a larger buffer size") == 3


async def test_with_a_larger_buffer_a_file_goes_on_where_it_was_stopped(tmp_path: Path) -> None:
    log, db = tmp_path / "a.log", tmp_path / "p.db"
    write(log, "one", LONG, "two")
    async with Tail(f"path {log}\ndb {db}\n{SMALL}") as tail:
        await tail.has(1)

    async with Tail(f"path {log}\ndb {db}\nread_from_head on") as after:
        lines = await after.has(2)

    assert lines == [LONG, "two"]
