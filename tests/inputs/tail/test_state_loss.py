"""Where files begin when the database is gone."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from shipper.disk import SystemDisk
from shipper.inputs.tail.state_loss import StateLoss, container_line_time, first_line_since

from .running import Tail, append, rows, write


def stamped(second: int, text: str = "text") -> str:
    return f"2026-01-01T{second // 3600:02}:{second // 60 % 60:02}:{second % 60:02}Z {text}"


def since(second: int) -> int:
    found = container_line_time(stamped(second).encode())
    assert found is not None
    return found


def first_since(path: Path, second: int) -> int | None:
    fd = os.open(path, os.O_RDONLY)
    try:
        return first_line_since(SystemDisk(), fd, path.stat().st_size, since(second), container_line_time)
    finally:
        os.close(fd)


@pytest.mark.parametrize(
    ("line", "digits"),
    [
        (b"2026-01-01T00:00:01.5Z stdout F text", 1767225601_500000000),
        (b"2026-01-01T01:00:01.000000001+01:00 stderr P text", 1767225601_000000001),
        (b'{"log":"text","stream":"stdout","time":"2026-01-01T00:00:01.25Z"}', 1767225601_250000000),
    ],
)
def test_the_lines_of_container_runtimes_have_a_time(line: bytes, digits: int) -> None:
    assert container_line_time(line) == digits


@pytest.mark.parametrize("line", [b"", b"text", b"2026-01-01T00:00:01 in a zone of its own", b'{"time":"now"}'])
def test_other_lines_have_none(line: bytes) -> None:
    assert container_line_time(line) is None


@pytest.mark.parametrize("text", ["", "heads", "since", "since=", "since=soon", "tail=5m"])
def test_other_words_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"since=10m|duration"):
        StateLoss.parse(text)


@pytest.mark.parametrize("wanted", [0, 1, 7, 5000, 5001, 9998, 9999])
@pytest.mark.parametrize("continuation", ["", "\n  at a frame\n  at another"])
def test_the_first_line_of_a_time_is_found_in_a_long_file(tmp_path: Path, wanted: int, continuation: str) -> None:
    path = tmp_path / "a.log"
    lines = [f"{stamped(second)}{continuation}\n" for second in range(10_000)]
    path.write_text("".join(lines))

    assert first_since(path, wanted) == len("".join(lines[:wanted]))


def test_a_file_of_older_lines_begins_at_its_end(tmp_path: Path) -> None:
    write(tmp_path / "a.log", *[stamped(second) for second in range(10)])

    assert first_since(tmp_path / "a.log", 10) == (tmp_path / "a.log").stat().st_size


def test_newer_lines_behind_many_without_a_time_are_not_passed_over(tmp_path: Path) -> None:
    path = tmp_path / "a.log"
    write(path, stamped(1), *["without a time " * 10] * 10_000, stamped(9))

    assert first_since(path, 5) == 0


def test_lines_without_times_tell_nothing(tmp_path: Path) -> None:
    write(tmp_path / "a.log", *["text"] * 50_000)

    assert first_since(tmp_path / "a.log", 5) is None


def now(seconds_ago: float) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() - seconds_ago))


async def test_rotated_files_of_the_time_are_read_too(tmp_path: Path) -> None:
    path = tmp_path / "0.log"
    write(tmp_path / "0.log.20260101-000000", f"{now(9000)} a")
    os.utime(tmp_path / "0.log.20260101-000000", (time.time() - 9000,) * 2)
    write(tmp_path / "0.log.20260101-000001", f"{now(8000)} b", f"{now(300)} c")
    write(path, f"{now(200)} d")

    async with Tail(f"path {path}\ndb {tmp_path}/p.db\non_state_loss since=10m") as tail:
        lines = await tail.is_quiet(0.4)

    assert [line[-1] for line in lines] == ["c", "d"]


async def test_a_database_that_is_there_counts_and_files_found_later_begin_at_their_head(tmp_path: Path) -> None:
    path, options = tmp_path / "a.log", f"path {tmp_path}/*.log\ndb {tmp_path}/p.db\non_state_loss tail"
    write(path, "passed over")
    async with Tail(options) as first:
        await first.until(lambda: len(rows(tmp_path / "p.db")) == 1)
        write(tmp_path / "b.log", "one")
        await first.has(1)
    append(path, "two")

    async with Tail(options) as second:
        lines = await second.is_quiet(0.4)

    assert first.lines() == ["one"]
    assert lines == ["two"]


async def test_without_the_option_a_first_start_is_nothing_special(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    write(tmp_path / "a.log", "one")

    async with Tail(f"path {tmp_path}/a.log\ndb {tmp_path}/p.db\nread_from_head on") as tail:
        lines = await tail.has(1)

    assert lines == ["one"]
    assert caplog.text == ""
