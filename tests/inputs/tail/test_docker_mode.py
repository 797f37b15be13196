"""Docker_Mode: the parts of docker's JSON lines become one line, nothing is lost over a restart."""

from __future__ import annotations

from pathlib import Path

import pytest

from shipper.config.service import ServiceOptions
from shipper.config.units import BinaryByteSize
from shipper.inputs.tail.assembly import Block, Fields, Tally
from shipper.inputs.tail.docker_mode import DockerLines, DockerRules
from shipper.parsers.base import Parser
from shipper.parsers.json import JsonParser
from shipper.parsers.onigmo import Regex
from shipper.parsers.regex import RegexParser
from shipper.record import Body

from .running import Tail, append, read_all, rows, write

FIRST_LINE = RegexParser("first", Regex.parse(r'(?<log>^{"log":"\d{4}-\d{2}-\d{2}.*)'))


def docker(text: str, time: str = "t1", stream: str = "stdout") -> str:
    return f'{{"log":"{text}","stream":"{stream}","time":"{time}"}}'


def assembler(
    *,
    first: Parser | None = None,
    parser: Parser | None = None,
    offset_key: str | None = None,
    tally: Tally | None = None,
) -> DockerLines:
    rules = DockerRules(first, parser, 4.0)
    return DockerLines(rules, Fields("log", None, offset_key, "/a.log"), False, tally or Tally())


def block(*lines: str, start: int = 0) -> Block:
    return Block("".join(f"{line}\n" for line in lines).encode(), start, 1, True)


def bodies(made: DockerLines, *lines: str, ends: bool = True) -> list[Body]:
    """What comes of the lines, and of the silence after them."""
    content = made.take(block(*lines), 1).content
    found = list(content.bodies()) if content is not None else []
    rest = made.flush(0.0, 0.0, 1) if ends else None
    return found + (list(rest.bodies()) if rest is not None else [])


@pytest.mark.parametrize(
    ("lines", "emitted"),
    [
        pytest.param([docker("a ", "t1"), docker("b\\n", "t2")], [docker("a b\\n", "t2")], id="two parts"),
        pytest.param([docker("c", "t3", "stderr")], [docker("c", "t3", "stderr")], id="silence"),
        pytest.param([docker("whole\\n")], [docker("whole\\n")], id="whole"),
        pytest.param(
            [docker('q\\"', "t1"), docker("\\\\n", "t2"), docker("x\\n", "t3")],
            [docker('q\\"\\\\nx\\n', "t3")],
            id="an escaped backslash before an n is no newline",
        ),
        pytest.param(
            [docker("o ", "t1"), docker("e\\n", "t2", "stderr")],
            [docker("o e\\n", "t2", "stderr")],
            id="streams are not kept apart",
        ),
        pytest.param(["no json", docker("a\\n")], ["no json", docker("a\\n")], id="other lines"),
        pytest.param(
            [docker("a "), "no json", docker("b\\n")],
            ["no json", docker("a b\\n")],
            id="another line between two parts",
        ),
        pytest.param(['{ "log" : "a" }', '{ "log" : "b\\n" }'], ['{ "log" : "ab\\n" }'], id="blanks"),
    ],
)
def test_parts_are_joined_until_a_text_ends_in_a_newline(lines: list[str], emitted: list[str]) -> None:
    assert bodies(assembler(), *lines) == [{"log": line} for line in emitted]


def test_a_first_line_parser_joins_whole_lines_up_to_the_next_first_line() -> None:
    lines = [
        docker("before\\n"),
        docker("2024-05-01 ERROR\\n", "t1"),
        docker("  at a\\n", "t2"),
        docker("2024-05-02 half ", "t3"),
        docker("2024-05-02 of it\\n", "t4"),
        docker("2024-05-03 last\\n", "t5"),
    ]

    found = bodies(assembler(first=FIRST_LINE, parser=JsonParser("json")), *lines)

    assert [(body["log"], body["time"]) for body in found] == [
        ("before\n", "t1"),
        ("2024-05-01 ERROR\n  at a\n", "t2"),
        ("2024-05-02 half 2024-05-02 of it\n", "t4"),
        ("2024-05-03 last\n", "t5"),
    ]


def test_fields_of_the_input_follow_those_of_the_parser() -> None:
    found = bodies(assembler(parser=JsonParser("json"), offset_key="o"), docker("a "), docker("b\\n"), docker("c\\n"))

    assert [list(body.items())[-1] for body in found] == [("o", 0), ("o", 2 * len(docker("a ")) + 3)]


def test_a_record_that_is_cut_is_handed_out_as_it_is_and_counted() -> None:
    tally = Tally()
    made = assembler(tally=tally)
    made.take(block(docker("a "), docker("b ")), 1)

    content = made.cut(1)

    assert content is not None
    assert [(r.body, r.metadata) for r in content.records()] == [
        ({"log": docker("a b ")}, {"multiline_truncated": True})
    ]
    assert bodies(made, docker("c\\n"), ends=False) == [{"log": docker("c\\n")}]
    assert tally.truncated == 1


def test_an_open_record_is_due_only_when_the_reader_is_at_the_end() -> None:
    made = assembler()
    made.take(block(docker("a ")), 1)
    before = made.flush(1000.0, None, 1), made.deadline()
    made.touch(10.0)

    assert before == (None, None)
    assert made.deadline() == 14.0
    assert made.flush(13.9, None, 1) is None
    assert made.flush(14.0, None, 1) is not None
    assert list(made.open_spans()) == []


def test_open_parts_are_known_by_their_bytes() -> None:
    made = assembler()
    made.take(block(docker("w\\n"), docker("a "), "no json", docker("b "), start=100), 1)

    first = 100 + len(docker("w\\n")) + 1
    second = first + len(docker("a ")) + 1 + len("no json") + 1
    assert list(made.open_spans()) == [
        (1, first, first + len(docker("a ")) + 1),
        (1, second, second + len(docker("b ")) + 1),
    ]


async def test_parts_from_before_a_restart_are_joined_with_those_after(tmp_path: Path) -> None:
    path, db = tmp_path / "a.log", tmp_path / "p.db"
    options = f"path {path}\nread_from_head on\ndb {db}\ndocker_mode on\nparser json"
    parsers: dict[str, Parser] = {"json": JsonParser("json")}
    write(path, docker("one\\n"), docker("a "))
    async with Tail(options, parsers=parsers) as tail:
        await tail.has(1)
        await tail.kill()
    held_at = rows(db, "offset")
    append(path, docker("b\\n"))

    again = await read_all(options, 1, parsers=parsers)

    assert held_at == [(len(docker("one\\n")) + 1,)]
    assert tail.lines() == ["one\n"]
    assert again.lines() == ["a b\n"]


async def test_the_limit_of_joined_texts_does_not_cut_parts(tmp_path: Path) -> None:
    parts = [docker(f"{number:03d} ") for number in range(50)]
    write(tmp_path / "a.log", *parts, docker("end\\n"))
    options = f"path {tmp_path}/a.log\nread_from_head on\ndocker_mode on\nparser json"

    service = ServiceOptions(multiline_buffer_limit=BinaryByteSize(300))
    tail = await read_all(options, 1, parsers={"json": JsonParser("json")}, service=service)

    assert tail.lines() == ["".join(f"{number:03d} " for number in range(50)) + "end\n"]


async def test_silence_hands_out_an_open_record(tmp_path: Path) -> None:
    write(tmp_path / "a.log", docker("a "))

    tail = await read_all(f"path {tmp_path}/*.log\nread_from_head on\ndocker_mode on\ndocker_mode_flush 0.1", 1)

    assert tail.lines() == [docker("a ")]


async def test_an_unknown_first_line_parser_leaves_plain_docker_mode(tmp_path: Path) -> None:
    write(tmp_path / "a.log", docker("2024-01-01\\n"), docker("x\\n"))

    tail = await read_all(f"path {tmp_path}/*.log\nread_from_head on\ndocker_mode on\ndocker_mode_parser nope", 2)

    assert tail.lines() == [docker("2024-01-01\\n"), docker("x\\n")]
