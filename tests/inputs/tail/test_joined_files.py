"""The vectors of the multiline engine, through the input and a real file."""

from __future__ import annotations

from pathlib import Path

import pytest

from shipper.errors import OptionError
from shipper.parsers.multiline import MultilineDefinition

from ...parsers.joining import rules
from ...parsers.test_multiline import VECTORS
from .running import Tail


@pytest.mark.parametrize(("definitions", "lines", "logs"), [v[1:] for v in VECTORS], ids=[v[0] for v in VECTORS])
async def test_lines_of_a_file_are_joined_as_fluent_bit_does(
    tmp_path: Path, definitions: list[MultilineDefinition | str], lines: list[str], logs: list[str]
) -> None:
    own = {d.name: d for d in definitions if isinstance(d, MultilineDefinition)}
    names = ", ".join(d if isinstance(d, str) else d.name for d in definitions)
    (tmp_path / "a.log").write_text("".join(f"{line}\n" for line in lines))

    options = f"path {tmp_path}/a.log\nread_from_head on\nexit_on_eof on\nmultiline.parser {names}"

    async with Tail(options, definitions=own) as tail:
        await tail.until(lambda: tail.stopped_service)

    assert tail.lines() == logs


def test_too_short_a_flush_timeout_stops_the_start() -> None:
    short = rules('"start_state" "/^A/" "start_state"', flush_timeout_s=0.3)

    with pytest.raises(OptionError, match="flush timeout '300' is too low"):
        Tail("path /x\nmultiline.parser my", definitions={"my": short})
