"""Multiline On: first lines, lines that follow, and what belongs to neither."""

from __future__ import annotations

from pathlib import Path

import pytest

from shipper.errors import ConfigError, OptionError
from shipper.inputs.tail.assembly import Block, Fields, Tally
from shipper.inputs.tail.old_multiline import MultilineRules, OldMultiline
from shipper.parsers.base import Parser
from shipper.parsers.onigmo import Regex
from shipper.parsers.record_time import RecordTime
from shipper.parsers.regex import RegexParser
from shipper.parsers.time_format import TimeFormat
from shipper.parsers.types import Types
from shipper.record import Body

from .running import Tail, append, read_all, rows, write

NOW_NS = 1_700_000_000_000_000_000


def regex(pattern: str, **more: Types | RecordTime) -> RegexParser:
    return RegexParser("p", Regex.parse(pattern), **more)  # type: ignore[arg-type]


HEAD = regex(r"^(?<head>L\d) ?(?<rest>.*)$")
USER = regex(r"^user=(?<user>.*)$")
ADDRESS = regex(r"^ip=(?<ip>.*)$")
NUMBERED = regex(r"^(?<text>[a-z]+) (?<n>\d+)$", types=Types.parse("n:integer"))


def assembler(
    first: Parser = HEAD, *others: Parser, path_key: str | None = None, ignore_older_s: float = 0.0
) -> OldMultiline:
    rules = MultilineRules(first, others, 4.0, ignore_older_s, 0)
    return OldMultiline(rules, Fields("log", path_key, "o", "/a.log"), False, Tally())


def bodies(made: OldMultiline, *lines: str) -> list[Body]:
    content = made.take(block(*lines), NOW_NS).content
    found = list(content.bodies()) if content is not None else []
    rest = made.flush(0.0, 0.0, NOW_NS)
    return found + (list(rest.bodies()) if rest is not None else [])


def block(*lines: str, start: int = 0) -> Block:
    return Block("".join(f"{line}\n" for line in lines).encode(), start, 1, True)


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        pytest.param(
            ["pre", "L1 start", " more", "L2 x"],
            [{"o": 0, "log": "pre"}, {"head": "L1", "rest": "start\n more"}, {"head": "L2", "rest": "x"}],
            id="lines that follow are appended",
        ),
        pytest.param(["L1", " more"], [{"head": "L1\n more"}], id="empty captures do not count"),
        pytest.param(["L1 a", "", "b"], [{"head": "L1", "rest": "a\n\nb"}], id="an empty line is appended"),
        pytest.param(
            ["L1 a", "user=joe", "ip=::1", "free", "L2"],
            [{"head": "L1", "rest": "a", "user": "joe", "ip": "::1\nfree"}, {"head": "L2"}],
            id="fields of other parsers are added",
        ),
        pytest.param(
            ["L1 a", "b", "user=joe"], [{"head": "L1", "rest": "a\nb", "user": "joe"}], id="text, then fields"
        ),
    ],
)
def test_lines_are_joined_by_their_parsers(lines: list[str], expected: list[Body]) -> None:
    assert bodies(assembler(HEAD, USER, ADDRESS), *lines) == expected


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        pytest.param(
            ["L1 a", "user=joe", "user=ann", "free", "user=eve"],
            [{"head": "L1", "rest": "a", "user": "joe\nann\nfree\neve"}],
            id="a parser that takes several lines",
        ),
        pytest.param(["L1 a", "rest=b", "c"], [{"head": "L1", "rest": "a\nb\nc"}], id="a field of the first line"),
        pytest.param(["L1 a", "n 5", "b"], [{"head": "L1", "rest": "a\n5\nb"}], id="a number beside a text"),
        pytest.param(["L1 a", "m 5", "m 6", "b"], [{"head": "L1", "rest": "a\nb", "m": "5\n6"}], id="two numbers"),
    ],
)
def test_a_second_value_of_a_field_is_another_line_of_its_text(lines: list[str], expected: list[Body]) -> None:
    rest = regex(r"^rest=(?<rest>.*)$")
    number = regex(r"^n (?<rest>\d+)$", types=Types.parse("rest:integer"))
    other = regex(r"^m (?<m>\d+)$", types=Types.parse("m:integer"))

    assert bodies(assembler(HEAD, USER, rest, number, other), *lines) == expected


def test_a_line_stands_alone_when_the_first_line_ends_in_a_number() -> None:
    assert bodies(assembler(NUMBERED), "ab 1", "more") == [{"o": 5, "log": "more"}, {"text": "ab", "n": 1}]


def test_the_path_comes_first() -> None:
    (body,) = bodies(assembler(path_key="p"), "L1 a")

    assert list(body.items()) == [("p", "/a.log"), ("head", "L1"), ("rest", "a")]


def test_records_that_are_too_old_are_left_out_with_all_their_lines() -> None:
    first = regex(r"^(?<t>\d+) (?<m>.*)$", time=RecordTime(TimeFormat("%s"), "t"))
    rules = MultilineRules(first, (), 4.0, 60.0, 0)
    tally = Tally()
    made = OldMultiline(rules, Fields("log", None, None, "/a.log"), False, tally)

    found = bodies(made, "1699999000 old", "more", "1699999990 young", "more")

    assert found == [{"m": "young\nmore"}]
    assert (tally.too_old_lines, tally.too_old_bytes) == (2, 20)


def test_a_record_at_the_limit_is_handed_out_and_counted_and_no_line_is_lost() -> None:
    tally = Tally()
    made = OldMultiline(MultilineRules(HEAD, (), 4.0, 0.0, 10), Fields("log", None, "o", "/a.log"), False, tally)

    content = made.take(block("L1 aaa", "bbb", "ccc"), NOW_NS).content

    assert content is not None
    assert [(r.body, r.metadata) for r in content.records()] == [
        ({"head": "L1", "rest": "aaa\nbbb"}, {"multiline_truncated": True}),
        ({"o": 11, "log": "ccc"}, None),
    ]
    assert tally.truncated == 1


def test_the_wait_begins_at_the_end_of_the_file() -> None:
    made = assembler()
    made.take(block("L1 a"), NOW_NS)
    before = made.flush(1000.0, None, NOW_NS)
    made.touch(10.0)
    made.take(block(" b", start=5), NOW_NS)
    between = made.deadline()
    made.touch(20.0)

    assert before is None
    assert between is None
    assert made.deadline() == 24.0
    assert list(made.open_spans()) == [(1, 0, 8)]
    assert made.flush(21.0, 1.0, NOW_NS) is not None
    assert list(made.open_spans()) == []


async def test_an_open_record_is_read_again_after_a_restart(tmp_path: Path) -> None:
    path, db = tmp_path / "a.log", tmp_path / "p.db"
    options = f"path {path}\nread_from_head on\ndb {db}\nmultiline on\nparser_firstline head"
    parsers: dict[str, Parser] = {"head": regex(r"^(?<head>L\d) ?(?<log>.*)$")}
    write(path, "L1 a", "L2 b", " more")
    async with Tail(f"{options}\nmultiline_flush 60", parsers=parsers) as tail:
        await tail.has(1)
        await tail.kill()
    held_at = rows(db, "offset")
    append(path, " and more")

    again = await read_all(f"{options}\nmultiline_flush 0.2", 1, parsers=parsers)

    assert held_at == [(5,)]
    assert tail.lines() == ["a"]
    assert again.lines() == ["b\n more\n and more"]


async def test_multiline_switches_the_parser_off(tmp_path: Path) -> None:
    write(tmp_path / "a.log", "x", "L1 a")
    lines = f"path {tmp_path}/*.log\nread_from_head on\nmultiline on\nparser_firstline head\nparser other"

    tail = await read_all(lines, 1, parsers={"head": HEAD, "other": regex("(?<x>.*)")})

    assert tail.bodies()[0] == {"log": "x"}


def test_a_first_line_parser_is_needed(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no parser defined for firstline"):
        Tail(f"path {tmp_path}/a.log\nmultiline on")


@pytest.mark.parametrize("names", ["parser_firstline nope", "parser_firstline head\nparser_1 nope"])
def test_unknown_parsers_are_mistakes(tmp_path: Path, names: str) -> None:
    with pytest.raises(OptionError, match="'nope', which is not registered"):
        Tail(f"path {tmp_path}/a.log\nmultiline on\n{names}", parsers={"head": HEAD})
