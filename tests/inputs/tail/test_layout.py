"""What a record of each line mode looks like, which mode counts if several are set, and times of records."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import pytest

from shipper.config.service import ServiceOptions
from shipper.config.units import BinaryByteSize
from shipper.parsers.base import Parser
from shipper.parsers.json import JsonParser
from shipper.parsers.multiline import MultilineDefinition
from shipper.parsers.onigmo import Regex
from shipper.parsers.record_time import RecordTime
from shipper.parsers.regex import RegexParser
from shipper.parsers.rule_machine import Rule, RuleMachine
from shipper.parsers.time_format import TimeFormat

from .running import Tail

LETTERS = MultilineDefinition(
    name="letters",
    type="regex",
    rules=RuleMachine([Rule.parse('"start_state" "/^A/" "more"'), Rule.parse('"more" "/^ /" "more"')]),
)
DATED = MultilineDefinition(
    name="dated",
    type="regex",
    rules=RuleMachine([Rule.parse(r'"start_state" "/^\d{4}-/" "cont"'), Rule.parse(r'"cont" "/^\s+/" "cont"')]),
)
BLANKS = MultilineDefinition(
    name="blanks",
    type="regex",
    rules=RuleMachine([Rule.parse('"start_state" "/^A/" "c"'), Rule.parse('"c" "/^$|^ /" "c"')]),
)
DEFINITIONS = {"letters": LETTERS, "dated": DATED, "blanks": BLANKS}
DOCKER_A = '{"log":"a ","stream":"stdout","time":"t1"}'
DOCKER_B = '{"log":"b\\n","stream":"stdout","time":"t2"}'


def parsers() -> dict[str, Parser]:
    return {
        "word": RegexParser("word", Regex.parse(r"^(?<x>\w+)$")),
        "all": RegexParser("all", Regex.parse(r"^(?<whole>.*)$")),
        "head": RegexParser("head", Regex.parse(r"^(?<head>A\d) ?(?<rest>.*)$")),
        "dated": RegexParser("dated", Regex.parse(r"^(?<log>\d{4}-.*)$")),
        "json": JsonParser("json"),
        "timed": JsonParser("timed", time=RecordTime(TimeFormat("%s"), "t")),
    }


async def read_lines(folder: Path, options: str, content: str, **more: Any) -> Tail:
    """The input after it has read a file of this content and handed out what was open at its end."""
    (folder / "a.log").write_bytes(content.encode())
    options = f"path {folder}/a.log\nread_from_head on\nexit_on_eof on\n{options}"
    async with Tail(options, parsers=parsers(), definitions=DEFINITIONS, **more) as tail:
        await tail.until(lambda: tail.stopped_service)
    return tail


LAYOUTS = [
    pytest.param("", "b c\n", [("p", "PATH"), ("o", 0), ("k", "b c")], id="raw"),
    pytest.param("parser word", "b\n", [("x", "b"), ("p", "PATH"), ("o", 0)], id="parsed"),
    pytest.param("parser word", "b c\n", [("p", "PATH"), ("o", 0), ("k", "b c")], id="parser failed"),
    pytest.param(
        "multiline.parser letters", "A1\n b\n", [("log", "A1\n b\n"), ("p", "PATH"), ("o", 6)], id="36 engine"
    ),
    pytest.param(
        "multiline.parser docker",
        '{"log":"a\\n","stream":"stdout"}\n',
        [("log", "a\n"), ("stream", "stdout"), ("p", "PATH"), ("o", 0)],
        id="engine with fields",
    ),
    pytest.param(
        "multiline.parser cri",
        "2026-01-01T00:00:00.1Z stdout F a\n",
        [("time", "2026-01-01T00:00:00.1Z"), ("stream", "stdout"), ("_p", "F"), ("log", "a"), ("p", "PATH"), ("o", 0)],
        id="engine with the fields of cri",
    ),
    pytest.param("multiline.parser cri", "raw\n", [("log", "raw"), ("p", "PATH"), ("o", 0)], id="engine, alone"),
    pytest.param(
        "multiline on\nparser_firstline head",
        "A1 a\n b\n",
        [("p", "PATH"), ("head", "A1"), ("rest", "a\n b")],
        id="old multiline",
    ),
    pytest.param(
        "docker_mode on\nparser json",
        f"{DOCKER_A}\n{DOCKER_B}\n",
        [("log", "a b\n"), ("stream", "stdout"), ("time", "t2"), ("p", "PATH"), ("o", 0)],
        id="docker mode with parser",
    ),
    pytest.param("docker_mode on", f"{DOCKER_B}\n", [("p", "PATH"), ("o", 0), ("k", DOCKER_B)], id="docker mode"),
]


@pytest.mark.parametrize(("options", "content", "expected"), LAYOUTS)
async def test_a_record_of_each_line_mode_has_its_fields_in_their_order(
    tmp_path: Path, options: str, content: str, expected: list[tuple[str, object]]
) -> None:
    tail = await read_lines(tmp_path, f"key k\npath_key p\noffset_key o\n{options}", content)

    (body,) = tail.bodies()
    assert list(body.items()) == [(key, str(tmp_path / "a.log") if v == "PATH" else v) for key, v in expected]


PRECEDENCE = [
    pytest.param("", {"log": "A1 x"}, id="raw"),
    pytest.param("parser all", {"whole": "A1 x"}, id="parser"),
    pytest.param("parser all\nmultiline on\nparser_firstline head", {"head": "A1", "rest": "x"}, id="old multiline"),
    pytest.param("parser all\ndocker_mode on", {"whole": "A1 x"}, id="docker mode uses the parser"),
    pytest.param("parser all\nmultiline.parser letters", {"log": "A1 x\n"}, id="engine over parser"),
    pytest.param("docker_mode on\nmultiline.parser letters", {"log": "A1 x\n"}, id="engine over docker mode"),
    pytest.param(
        "multiline on\nparser_firstline head\nmultiline.parser letters", {"log": "A1 x\n"}, id="engine over old"
    ),
]


@pytest.mark.parametrize(("options", "expected"), PRECEDENCE)
async def test_of_several_line_modes_one_counts(tmp_path: Path, options: str, expected: dict[str, str]) -> None:
    tail = await read_lines(tmp_path, options, "A1 x\n")

    assert tail.bodies() == [expected]


async def test_18_the_time_is_that_of_the_parser_and_the_path_takes_the_place_of_a_field_of_its_name(
    tmp_path: Path,
) -> None:
    tail = await read_lines(tmp_path, "parser timed\npath_key a", '{"a":1,"t":"100"}\n')

    assert tail.times_ns() == [100 * 10**9]
    assert tail.bodies() == [{"a": f"{tmp_path}/a.log"}]


async def test_19_an_unknown_parser_is_an_error_and_lines_are_raw(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    tail = await read_lines(tmp_path, "parser nope", "x\n")

    assert tail.bodies() == [{"log": "x"}]
    assert [r.levelname for r in caplog.records if "parser 'nope' is not registered" in r.message] == ["ERROR"]


@pytest.mark.parametrize("options", ["multiline.parser dated", "multiline on\nparser_firstline dated"])
async def test_47_the_lines_of_a_crlf_file_are_joined_without_carriage_returns(tmp_path: Path, options: str) -> None:
    tail = await read_lines(tmp_path, options, "2020- a\r\n  b\r\n2021- c\r\n")

    assert [line.rstrip("\n") for line in tail.lines()] == ["2020- a\n  b", "2021- c"]


@pytest.mark.parametrize(("skip", "text"), [("off", "A1\n\n b\n"), ("on", "A1\n b\n")])
async def test_empty_lines_reach_the_engine_unless_they_are_skipped(tmp_path: Path, skip: str, text: str) -> None:
    tail = await read_lines(tmp_path, f"multiline.parser blanks\nskip_empty_lines {skip}", "A1\n\n b\n")

    assert tail.lines() == [text]


async def test_a_joined_text_beyond_the_limit_is_cut_marked_told_and_counted(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    tail = await read_lines(
        tmp_path,
        "multiline.parser dated",
        "2020- abcdef\n  g\n2021- h\n",
        service=ServiceOptions(multiline_buffer_limit=BinaryByteSize(10)),
    )

    records = [record for batch in tail.batches for record in batch.content.records()]
    assert [r.body["log"] for r in records] == ["2020- abcd\n", "  g\n", "2021- h\n"]
    assert [r.metadata for r in records] == [{"multiline_truncated": True}, None, None]
    assert tail.count("multiline_truncated_total") == 1
    assert "multiline message truncated due to buffer limit" in caplog.text


async def test_a_byte_order_mark_stays_part_of_the_first_line(tmp_path: Path) -> None:
    tail = await read_lines(tmp_path, "", "\ufeffone\ntwo\n")

    assert tail.lines() == ["\ufeffone", "two"]


async def test_the_engine_tells_that_it_is_there(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "shipper")

    await read_lines(tmp_path, "multiline.parser dated", "x\n")

    assert "multiline core started" in caplog.text
