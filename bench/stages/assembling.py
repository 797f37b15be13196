"""Blocks of lines through the assembler that a tail input would use."""

from __future__ import annotations

from collections.abc import Sequence

from shipper.clock import SystemClock
from shipper.inputs.tail import TailOptions
from shipper.inputs.tail.assembly import Assembler, Block, Tally
from shipper.inputs.tail.line_modes import LineModes
from shipper.parsers.base import ParserLibrary
from shipper.parsers.library import build_parsers
from shipper.parsers.multiline import built_in_definitions
from shipper.record import Content
from shipper.testing import context_of
from tests.written_options import options_from, section_of

from .material import NOW_NS

_DOCKER = "Name docker\nFormat json\nTime_Key time\nTime_Format %Y-%m-%dT%H:%M:%S.%L%z"


def assembler_of(options: str) -> Assembler:
    """The assembler of a tail input with these options; there is a parser `docker`."""
    parsers = build_parsers([section_of(_DOCKER, "parser")], [], lambda warning: None)
    context = context_of("input", "tail.0", SystemClock(), parsers=ParserLibrary(parsers, built_in_definitions()))
    return LineModes(options_from(TailOptions, f"path /var/log/*.log\n{options}", "input"), context, Tally()).assembler(
        "/var/log/app.log"
    )


def assembled(assembler: Assembler, blocks: Sequence[bytes]) -> list[Content]:
    """What it makes of the blocks, one after the other."""
    found: list[Content] = []
    start = 0
    for data in blocks:
        taken = assembler.take(Block(data, start, 1, False), NOW_NS)
        start += len(data)
        assert taken.consumed == len(data)
        if taken.content is not None:
            found.append(taken.content)
    return found


def count(contents: Sequence[Content]) -> int:
    return sum(map(len, contents))
