"""Compressed files: they may grow, consist of members, end in the middle of one, or be no gzip data at all."""

from __future__ import annotations

import gzip
import os
import sqlite3
import zlib
from pathlib import Path

import pytest

from shipper.parsers.base import Parser
from shipper.parsers.onigmo import Regex
from shipper.parsers.regex import RegexParser

from .running import Tail, append, numbered, read_all, rows


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "a.log.gz"


@pytest.fixture
def options(path: Path, db: Path) -> str:
    return f"path {path}\nread_from_head on\ndb {db}\noffset_key o"


def member(*lines: str) -> bytes:
    return gzip.compress("".join(f"{line}\n" for line in lines).encode())


def add(path: Path, data: bytes) -> None:
    with path.open("ab") as file:
        file.write(data)


async def test_members_are_read_one_after_another_and_not_again(path: Path, db: Path, options: str) -> None:
    path.write_bytes(member("g1"))
    async with Tail(options) as tail:
        await tail.has(1)
        add(path, member("g2", "g3"))
        await tail.has(3)
    stored = rows(db, "offset")

    async with Tail(options) as again:
        assert await again.is_quiet(0.3) == []
        add(path, member("g4"))
        await again.has(1)

    assert tail.bodies() == [{"o": 0, "log": "g1"}, {"o": 3, "log": "g2"}, {"o": 6, "log": "g3"}]
    assert stored == [(len(member("g1")) + len(member("g2", "g3")),)]
    assert again.bodies() == [{"o": 9, "log": "g4"}]


@pytest.mark.parametrize("name", ["x.gz", "X.LOG.GZ"])
async def test_the_ending_of_the_name_counts_in_any_case(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(member("one", "two"))

    tail = await read_all(f"path {tmp_path}/*\nread_from_head on", 2)

    assert tail.lines() == ["one", "two"]


@pytest.mark.parametrize("ending", ["stop", "kill"])
async def test_a_restart_inside_a_member_repeats_nothing(path: Path, db: Path, options: str, ending: str) -> None:
    compressor = zlib.compressobj(wbits=31)

    def flushed(*lines: str) -> bytes:
        return compressor.compress("".join(f"{x}\n" for x in lines).encode()) + compressor.flush(zlib.Z_SYNC_FLUSH)

    first = member("done")
    data = first + flushed("one", "two") + flushed("three", "four") + compressor.flush()
    path.write_bytes(data[:-16])
    async with Tail(options) as tail:
        await tail.has(3)
        if ending == "kill":
            await tail.kill()
    stored = rows(db, "offset")
    add(path, data[-16:])

    again = await read_all(options, 4 - len(tail.lines()) + 1)

    assert stored == [(len(first),)]
    assert tail.lines()[:3] == ["done", "one", "two"]
    assert tail.bodies() + again.bodies() == [
        {"o": 0, "log": "done"},
        {"o": 5, "log": "one"},
        {"o": 9, "log": "two"},
        {"o": 13, "log": "three"},
        {"o": 19, "log": "four"},
    ]


async def test_a_member_that_grows_is_read_as_it_grows(path: Path, options: str) -> None:
    compressor = zlib.compressobj(wbits=31)
    path.write_bytes(b"")

    async with Tail(options) as tail:
        for number in range(1, 6):
            add(path, compressor.compress(f"line {number}\n".encode()) + compressor.flush(zlib.Z_SYNC_FLUSH))
            await tail.has(number)

    assert tail.lines() == [f"line {number}" for number in range(1, 6)]


async def test_open_records_of_a_member_are_read_again_after_a_restart(path: Path, db: Path) -> None:
    lines = f"path {path}\nread_from_head on\ndb {db}\nmultiline on\nparser_firstline first"
    parsers: dict[str, Parser] = {"first": RegexParser("first", Regex.parse(r"^(?<log>[a-z].*)$"))}
    path.write_bytes(member("one", "two", " 2"))
    async with Tail(f"{lines}\nmultiline_flush 60", parsers=parsers) as tail:
        await tail.has(1)
        await tail.kill()
    add(path, member(" 3", "four"))

    again = await read_all(f"{lines}\nmultiline_flush 0.2", 2, parsers=parsers)

    assert tail.lines() == ["one"]
    assert again.lines() == ["two\n 2\n 3", "four"]


async def test_a_position_inside_a_member_that_fluent_bit_left_is_found_again(
    path: Path, db: Path, options: str
) -> None:
    compressor = zlib.compressobj(wbits=31)
    path.write_bytes(compressor.compress(b"one\ntwo\n") + compressor.flush(zlib.Z_SYNC_FLUSH))
    await read_all(options, 2)
    connection = sqlite3.connect(db)
    connection.execute("UPDATE in_tail_files SET offset=?, offset_marker_size=0", (path.stat().st_size,))
    connection.commit()
    connection.close()
    add(path, compressor.compress(b"three\n") + compressor.flush(zlib.Z_FINISH) + member("four"))

    again = await read_all(options, 2)
    once_more = await read_all(f"{options}\nexit_on_eof on", 0)

    assert again.lines() == ["three", "four"]
    assert once_more.lines() == []


async def test_a_file_followed_from_its_end_gives_only_what_is_added(path: Path) -> None:
    compressor = zlib.compressobj(wbits=31)
    path.write_bytes(compressor.compress(b"old\n") + compressor.flush(zlib.Z_SYNC_FLUSH))

    async with Tail(f"path {path}") as tail:
        await tail.until(lambda: len(tail.input._catalogue) == 1)
        add(path, compressor.compress(b"new\n") + compressor.flush(zlib.Z_FINISH))
        await tail.has(1)

    assert tail.lines() == ["new"]


async def test_other_content_is_one_error_and_holds_up_nothing(
    path: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path.write_bytes(b"this is plain text\n")
    (tmp_path / "b.gz").write_bytes(member("one"))

    async with Tail(f"path {tmp_path}/*.gz\nread_from_head on") as tail:
        await tail.has(1)
        append(path, "and more of it")
        await tail.is_quiet(0.3)

    assert tail.lines() == ["one"]
    assert caplog.text.count("no gzip data") == 1


async def test_what_precedes_damage_is_delivered(path: Path, options: str) -> None:
    path.write_bytes(member("one") + b"garbage" * 10)

    tail = await read_all(options, 1)

    assert tail.lines() == ["one"]


async def test_zero_bytes_between_members_are_padding(path: Path, options: str) -> None:
    path.write_bytes(member("one") + b"\0" * 100 + member("two") + b"\0" * 10)

    tail = await read_all(options, 2)

    assert tail.lines() == ["one", "two"]


async def test_a_file_that_is_one_hole_holds_up_nothing(path: Path, tmp_path: Path) -> None:
    path.touch()
    os.truncate(path, 60 * 1024**3)
    (tmp_path / "b.log.gz").write_bytes(member("one"))

    async with Tail(f"path {tmp_path}/*.gz\nread_from_head on") as tail:
        await tail.has(1)

    assert tail.lines() == ["one"]


async def test_a_file_in_an_encoding_may_be_compressed(path: Path) -> None:
    path.write_bytes(gzip.compress("\ufeffeins\n".encode("utf-16-le")) + gzip.compress("日本\n".encode("utf-16-le")))

    tail = await read_all(f"path {path}\nread_from_head on\nunicode.encoding auto", 2)

    assert tail.lines() == ["eins", "日本"]


async def test_a_large_file_is_read_whole_and_a_replaced_one_again(path: Path, options: str) -> None:
    path.write_bytes(member(*numbered(1, 50_000)))

    async with Tail(options) as tail:
        await tail.has(50_000)
        path.write_bytes(member("new"))
        await tail.has(50_001)

    assert tail.lines() == [*numbered(1, 50_000), "new"]


async def test_text_that_compresses_well_is_taken_in_pieces(path: Path, options: str) -> None:
    path.write_bytes(member(*["0" * 999] * 20_000))

    tail = await read_all(options, 20_000)

    assert len(tail.lines()) == 20_000
    assert max(batch.size for batch in tail.batches) <= 512 * 1024


@pytest.mark.parametrize("fault", ["cut", "damaged"])
async def test_a_rotated_file_that_is_not_whole_is_told_and_counted(
    path: Path, options: str, caplog: pytest.LogCaptureFixture, fault: str
) -> None:
    first, second = member("one"), member(*numbered(1, 2000))
    half = first + second[: len(second) // 2]
    path.write_bytes(half if fault == "cut" else first + b"garbage" * 10)
    lost = len(path.read_bytes()) - len(first)

    async with Tail(options) as tail:
        await tail.has(1)
        path.rename(f"{path}.1")
        await tail.until(lambda: tail.count("files_closed_total") == 1)

    assert tail.count("abandoned_bytes_total") == lost
    assert tail.context.metrics.by_label("input_dropped_bytes_total", "reason") == {"incomplete_file": lost}
    assert caplog.text.count("file is closed though not all of it could be read") == 1


async def test_a_rotated_file_that_is_whole_is_closed_without_a_word(
    path: Path, options: str, caplog: pytest.LogCaptureFixture
) -> None:
    path.write_bytes(member("one") + member(*numbered(1, 2000)) + b"\0" * 10)

    async with Tail(options) as tail:
        await tail.has(2001)
        path.rename(f"{path}.1")
        await tail.until(lambda: tail.count("files_closed_total") == 1)

    assert tail.count("abandoned_bytes_total") == 0
    assert "not all of it" not in caplog.text
