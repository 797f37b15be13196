"""Lines that a parser cannot cope with cost nothing but their fields."""

from __future__ import annotations

import logging
from pathlib import Path

import msgspec
import pytest

from shipper.parsers.base import Parsed, Parser
from shipper.parsers.multiline import MultilineDefinition
from shipper.record import Body

from .running import read_all, write

DEEP = '{"log":"x","b":' + '{"a":' * 2500 + "1" + "}" * 2500 + "}"


class FailingParser(Parser):
    """Fails on texts that end with `bad` and takes those that begin with a figure."""

    name = "failing"

    def parse(self, text: str) -> Parsed | None:
        if text.endswith("bad"):
            raise KeyError("a bug")
        return (None, {"log": text}) if text[:1].isdigit() else None


DEFINITION = MultilineDefinition(name="failing", type="endswith", match_string="", key_content="log")


@pytest.mark.parametrize(
    "options",
    [
        "parser failing",
        "docker_mode on\nparser failing",
        "multiline on\nparser_firstline failing\nmultiline_flush 0.2",
        "multiline.parser failing",
    ],
)
async def test_a_line_on_which_a_parser_fails_is_kept_counted_and_told(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, options: str
) -> None:
    write(tmp_path / "a.log", "0 bad", "1 more", "2 last")
    parser = FailingParser()
    definitions = {"failing": msgspec.structs.replace(DEFINITION, parser=parser)}

    with caplog.at_level(logging.ERROR, "shipper"):
        tail = await read_all(
            f"path {tmp_path}/a.log\nread_from_head on\n{options}",
            3,
            parsers={"failing": parser},
            definitions=definitions,
        )

    assert tail.lines() == ["0 bad", "1 more", "2 last"]
    assert tail.count("parser_failures_total") == 1
    assert caplog.text.count("parser fails on a line, which is kept as it is, parser=failing") == 1
    assert "a bug" in caplog.text


async def test_a_line_that_is_nested_too_deep_is_kept_as_it_is(tmp_path: Path) -> None:
    write(tmp_path / "a.log", '{"log":"before\\n"}', DEEP, '{"log":"after\\n"}')
    write(tmp_path / "b.log", '{"log":"beside\\n"}')

    tail = await read_all(f"path {tmp_path}/*.log\nread_from_head on\nmultiline.parser docker, cri", 4)

    assert sorted(tail.lines()) == sorted(["before\n", DEEP, "after\n", "beside\n"])


@pytest.mark.parametrize(
    ("line", "body"),
    [
        (b'{"log":"\xff\\ud800 x\\n"}', {"log": "\ufffd\ufffd x\n"}),
        (b'{"log":"a\\n","attrs":{"x":"\xff"}}', {"log": "a\n", "attrs": {"x": "\ufffd"}}),
        (b'{"log":"a\\n","\xff":"v"}', {"log": "a\n", "\ufffd": "v"}),
        (b'{"log":"a\\n","l":["\xff",1]}', {"log": "a\n", "l": ["\ufffd", 1]}),
        (b'{"log":"\xff\\n","n":1' + b"0" * 25 + b"}", {"log": "\ufffd\n", "n": 1e25}),
    ],
)
async def test_what_is_no_utf_8_is_replaced_wherever_it_stands_and_counted_once(
    tmp_path: Path, line: bytes, body: Body
) -> None:
    path = tmp_path / "a.log"
    path.write_bytes(b'{"log":"before\\n"}\n' + line + b'\n{"log":"after\\n"}\n')

    tail = await read_all(f"path {path}\nread_from_head on\nmultiline.parser docker, cri", 3)

    assert tail.bodies() == [{"log": "before\n"}, body, {"log": "after\n"}]
    assert msgspec.json.decode(msgspec.json.encode(tail.bodies())) == tail.bodies()
    assert tail.count("invalid_utf8_lines_total") == 1


async def test_a_character_that_is_cut_in_two_is_whole_and_no_damage(tmp_path: Path) -> None:
    path = tmp_path / "a.log"
    path.write_bytes(b'{"log":"caf\xc3","a":"b"}\n{"log":"\xa9\\n","a":"c"}\n')

    tail = await read_all(f"path {path}\nread_from_head on\nmultiline.parser docker, cri", 1)

    assert tail.lines() == ["café\n"]
    assert tail.count("invalid_utf8_lines_total") == 0
