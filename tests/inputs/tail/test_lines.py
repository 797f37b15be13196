"""Lines and records: the vectors of plain reading, long lines, parsers, and the start position."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import pytest

from shipper.errors import ConfigError, OptionError
from shipper.inputs.tail.options import TailOptions
from shipper.parsers.base import Parser
from shipper.parsers.json import JsonParser
from shipper.parsers.onigmo import Regex
from shipper.parsers.regex import RegexParser

from ...written_options import options_from
from .running import Tail, append, read_all, write

SMALL = "buffer_chunk_size 128\nbuffer_max_size 128"
L300 = b"L" * 300
VECTORS = [
    pytest.param("", b"a\nb\nc", ["a", "b"], id="1-unfinished-line-waits"),
    pytest.param("", b"a\r\nb\r\n\r\nc\n", ["a", "b", "\r", "c"], id="2-crlf"),
    pytest.param("", b"\n\na\n\n", ["", "", "a", ""], id="3-empty-lines"),
    pytest.param("skip_empty_lines on", b"\n\na\n\r\n", ["a"], id="4-skip-empty-lines"),
    pytest.param("", b"\0\0\0abc\nd\0e\n", ["abc", "d\0e"], id="5-nul-bytes"),
    pytest.param("", b"a\n\0b\n\0\nc\n", ["a", "\0b", "\0", "c"], id="nul-bytes-at-a-line-start"),
    pytest.param("", b"a\n" + b"\0" * 4096 + b"b\n", ["a", "b"], id="a-hole"),
    pytest.param(f"{SMALL}\nskip_long_lines on", b"short\n" + L300 + b"\nend\n", ["short", "end"], id="9-skip"),
    pytest.param(
        f"{SMALL}\ntruncate_long_lines on",
        b"short\n" + L300 + b"\nend\n",
        ["short", "L" * 127, "end"],
        id="10-truncate",
    ),
    pytest.param(
        f"{SMALL}\nskip_long_lines on\ntruncate_long_lines on",
        b"short\n" + L300 + b"\nend\n",
        ["short", "L" * 127, "end"],
        id="truncation-wins",
    ),
    pytest.param(f"{SMALL}\nskip_long_lines on", b"x" * 126 + b"\nok\n", ["x" * 126, "ok"], id="12-longest-line"),
    pytest.param(f"{SMALL}\nskip_long_lines on", b"x" * 127 + b"\nok\n", ["ok"], id="12-one-byte-too-long"),
    pytest.param(
        "buffer_chunk_size 64\nbuffer_max_size 64\ntruncate_long_lines on",
        "é".encode() * 40 + b"\nok\n",
        ["é" * 31, "ok"],
        id="cut-at-a-character",
    ),
    pytest.param("", b"caf\xe9 \xff\n", ["caf\ufffd \ufffd"], id="13-invalid-utf8-is-marked"),
    pytest.param("", b"  lead and trail  \n", ["  lead and trail  "], id="14-blanks"),
    pytest.param("", b"a\rb\n", ["a\rb"], id="15-carriage-return-inside"),
    pytest.param("", b"a\n\r\n\rb\r\r\n", ["a", "\r", "\rb\r"], id="16-carriage-returns"),
    pytest.param("parser nope", b"x\n", ["x"], id="19-unknown-parser-takes-raw-lines"),
]


@pytest.mark.parametrize(("options", "content", "expected"), VECTORS)
async def test_lines_become_records(tmp_path: Path, options: str, content: bytes, expected: list[str]) -> None:
    (tmp_path / "a.log").write_bytes(content)

    tail = await read_all(f"path {tmp_path}/a.log\nread_from_head on\n{options}", len(expected))

    assert tail.lines() == expected


FIELDS = [
    pytest.param(
        "path_key p\noffset_key o",
        b"a\nbb\nccc\n",
        [{"p": "PATH", "o": 0, "log": "a"}, {"p": "PATH", "o": 2, "log": "bb"}, {"p": "PATH", "o": 5, "log": "ccc"}],
        id="6-path-and-offset",
    ),
    pytest.param(
        "parser word\npath_key p\noffset_key o",
        b"a\nb c\nd\r\n",
        [{"x": "a", "p": "PATH", "o": 0}, {"p": "PATH", "o": 2, "log": "b c"}, {"x": "d", "p": "PATH", "o": 6}],
        id="7-parsed-fields-come-first",
    ),
    pytest.param("key msg", b"a\n", [{"msg": "a"}], id="8-key"),
    pytest.param(
        "parser json",
        b'{"a":1}\nnot json\n\n{"b":2}\n',
        [{"a": 1}, {"log": "not json"}, {"log": ""}, {"b": 2}],
        id="17-json-or-raw",
    ),
    pytest.param(
        "parser word", b"b c\r\nd\r\n\r\n", [{"log": "b c"}, {"x": "d"}, {"log": "\r"}], id="38-parser-and-crlf"
    ),
    pytest.param(
        f"{SMALL}\nskip_long_lines on\noffset_key o",
        b"a\n" + L300 + b"\nb\n",
        [{"o": 0, "log": "a"}, {"o": 303, "log": "b"}],
        id="offsets-count-skipped-bytes",
    ),
    pytest.param(
        "offset_key o", b"\0\0ab\nc\n", [{"o": 2, "log": "ab"}, {"o": 5, "log": "c"}], id="offsets-count-nul-bytes"
    ),
]


@pytest.mark.parametrize(("options", "content", "expected"), FIELDS)
async def test_fields_stand_in_their_order(
    tmp_path: Path, options: str, content: bytes, expected: list[dict[str, Any]]
) -> None:
    path = tmp_path / "a.log"
    path.write_bytes(content)
    parsers: dict[str, Parser] = {
        "word": RegexParser("word", Regex(r"^(?<x>\w+)$")),
        "json": JsonParser("json"),
    }

    tail = await read_all(f"path {path}\nread_from_head on\n{options}", len(expected), parsers=parsers)

    wanted = [{k: str(path) if v == "PATH" else v for k, v in body.items()} for body in expected]
    assert [list(b.items()) for b in tail.bodies()] == [list(b.items()) for b in wanted]


async def test_a_line_that_does_not_fit_stops_its_file_and_only_that(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "a.log").write_bytes(b"short\n" + L300 + b"\nend\n")
    write(tmp_path / "b.log", "other")

    with caplog.at_level(logging.ERROR, "shipper"):
        async with Tail(f"path {tmp_path}/*.log\nread_from_head on\n{SMALL}") as tail:
            append(tmp_path / "a.log", "more")
            lines = await tail.is_quiet()

    assert lines == ["short", "other"]
    assert "requires a larger buffer size" in caplog.text
    assert caplog.text.count("requires a larger buffer size") == 1
    assert f"{tmp_path}/a.log" in caplog.text


@pytest.mark.parametrize("length", [125, 126, 127, 128, 129, 254, 255, 256, 400])
async def test_only_lines_that_fit_are_taken_and_each_other_is_counted_once(tmp_path: Path, length: int) -> None:
    long = "y" * length
    write(tmp_path / "a.log", "first", long, "between", long, "last")
    expected = ["first", long, "between", long, "last"] if length <= 126 else ["first", "between", "last"]

    tail = await read_all(f"path {tmp_path}/a.log\nread_from_head on\n{SMALL}\nskip_long_lines on", len(expected))

    assert tail.lines() == expected
    assert tail.count("long_line_skipped_total") == 5 - len(expected)


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ("", ["new"]),
        ("read_from_head on", ["old 1", "old 2", "new"]),
    ],
)
async def test_files_present_at_the_start_begin_where_the_options_say(
    tmp_path: Path, options: str, expected: list[str]
) -> None:
    path = tmp_path / "a.log"
    write(path, "old 1", "old 2")

    async with Tail(f"path {path}\n{options}") as tail:
        await tail.until(lambda: tail.count("files_opened_total") == 1)
        append(path, "new")
        lines = await tail.has(len(expected))

    assert lines == expected


@pytest.mark.parametrize(("from_head", "expected"), [("on", ["early", "late"]), ("off", ["late"])])
async def test_files_found_later_begin_where_the_options_say(
    tmp_path: Path, from_head: str, expected: list[str]
) -> None:
    path = tmp_path / "b.log"
    async with Tail(f"path {tmp_path}/*.log\nread_newly_discovered_files_from_head {from_head}") as tail:
        await tail.until(lambda: len(list(tmp_path.iterdir())) == 0 and tail.input._looking.has_scanned)
        write(path, "early")
        await tail.until(lambda: tail.count("files_opened_total") == 1)
        append(path, "late")
        lines = await tail.has(len(expected))

    assert lines == expected


async def test_exit_on_eof_stops_the_service_after_the_last_line(tmp_path: Path) -> None:
    write(tmp_path / "a.log", "one", "two")
    write(tmp_path / "b.log", "three")

    async with Tail(f"path {tmp_path}/*.log\nread_from_head on\nexit_on_eof on") as tail:
        await tail.until(lambda: tail.stopped_service)

    assert tail.lines() == ["one", "two", "three"]


@pytest.mark.parametrize(
    ("lines", "text"),
    [
        ("", "no input 'path' was given"),
        ("path /x\nrefresh_interval 0", "must be above 0"),
        ("path /x\nrotate_wait 0", "must be above 0"),
        ("path /x\nbuffer_chunk_size 64k", "buffer_max_size must be >= buffer_chunk"),
        ("path /x\ndb.sync sometimes", "db.sync"),
        ("path /x\ndb.journal_mode quick", "db.journal_mode"),
        ("path /x\ndocker_mode on\nmultiline on", "docker_mode"),
    ],
)
def test_options_that_cannot_work_are_refused(lines: str, text: str) -> None:
    with pytest.raises(ConfigError) as refused:
        options_from(TailOptions, lines, "input")

    assert text in str(refused.value).lower()


async def test_an_unknown_multiline_parser_is_refused() -> None:
    with pytest.raises(OptionError, match="not registered"):
        Tail("path /x\nmultiline.parser nope")


async def test_ignore_older_reads_on_from_the_size_that_was_seen(tmp_path: Path) -> None:
    import os
    import time

    old, fresh = tmp_path / "old.log", tmp_path / "fresh.log"
    write(old, "long ago")
    os.utime(old, (time.time() - 3600,) * 2)
    write(fresh, "now")

    async with Tail(f"path {tmp_path}/*.log\nread_from_head on\nignore_older 10m") as tail:
        await tail.has(1)
        append(old, "woken")
        lines = await tail.has(2)

    assert lines == ["now", "woken"]
