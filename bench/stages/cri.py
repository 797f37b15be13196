"""CRI lines: whole blocks at once, what is made of their rows, and the long way line by line."""

from __future__ import annotations

import pytest

from shipper.inputs.tail.cri_block import CriBlock, read_cri_block

from .assembling import assembled, assembler_of, count
from .material import NOW_NS, Text, blocks_of, cri_lines
from .measuring import Stage


def _read(blocks: list[bytes]) -> list[CriBlock]:
    return [rows for block in blocks if (rows := read_cri_block(block, NOW_NS)) is not None]


def _anew(read: CriBlock) -> CriBlock:
    """The same block without what it keeps once it was asked for: times, and JSON lines that include them."""
    return CriBlock(read.rows, read.consumed, read.lines, NOW_NS)


def _records(blocks: list[bytes]) -> int:
    return sum(line.split(b" ", 3)[2] == b"F" for block in blocks for line in block.splitlines())


@pytest.mark.parametrize("text", ["json", "plain"])
@pytest.mark.parametrize("with_partials", [False, True], ids=["whole lines", "with partial lines"])
def test_block(stage: Stage, text: Text, with_partials: bool) -> None:
    blocks = blocks_of(cri_lines(text, with_partials=with_partials))
    records = _records(blocks)

    found = stage.measure(lambda: _read(blocks), records=records)

    assert count(found) == records
    assert sum(rows.consumed for rows in found) == sum(map(len, blocks))
    assert (sum(rows.lines for rows in found) > records) == with_partials


def test_line_by_line(stage: Stage) -> None:
    # A path in each record is what the short way does not do.
    blocks, assembler = blocks_of(cri_lines("json")), assembler_of("multiline.parser cri\npath_key path")
    records = _records(blocks)

    contents = stage.measure(lambda: assembled(assembler, blocks), records=records)

    assert count(contents) == records
    assert contents[0].bodies()[0].keys() == {"time", "stream", "_p", "log", "path"}


def test_records(stage: Stage) -> None:
    found = _read(blocks_of(cri_lines("json")))

    records = stage.measure(lambda: [rows.records() for rows in found], records=count(found))

    assert sum(map(len, records)) == count(found)
    assert records[0][0].body["stream"] in ("stdout", "stderr")


def test_times(stage: Stage) -> None:
    found = _read(blocks_of(cri_lines("json")))

    times = stage.measure(lambda: [_anew(rows).times_ns() for rows in found], records=count(found))

    assert [time for block in times for time in block] == [r.time_ns for rows in found for r in rows.records()]
    assert NOW_NS not in times[0]


def test_JSON_lines(stage: Stage) -> None:
    found = _read(blocks_of(cri_lines("json")))

    lines = stage.measure(lambda: [_anew(rows).json_lines() for rows in found], records=count(found))

    assert b"".join(lines).count(b"\n") == count(found)
    assert lines[0].startswith(b'{"time":"2026-11-20T10:00:00.')
