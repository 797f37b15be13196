"""Files into batches: a whole tail input from its start to its last record, and the splitting of blocks alone."""

from __future__ import annotations

from pathlib import Path

import pytest

from shipper.clock import SystemClock
from shipper.inputs.tail import TailInput, TailOptions
from shipper.parsers.base import ParserLibrary
from shipper.parsers.multiline import built_in_definitions
from shipper.record import RecordBatch
from shipper.testing import context_of
from tests.written_options import options_from

from .assembling import assembled, assembler_of, count
from .material import blocks_of, cri_lines
from .measuring import Stage

_COPIES = 4
"""The lines stand in the file so often: what the start of the input takes is then a small part of each record."""


async def _read(path: Path, options: str) -> list[RecordBatch]:
    written = f"path {path}\nread_from_head on\nexit_on_eof on\n{options}"
    context = context_of("input", "tail.0", SystemClock(), parsers=ParserLibrary({}, built_in_definitions()))
    one = TailInput(options_from(TailOptions, written, "input"), context)
    batches: list[RecordBatch] = []

    async def emit(batch: RecordBatch) -> None:
        batches.append(batch)
        batch.receipt.settle()

    await one.open()
    await one.run(emit)
    await one.close()
    return batches


@pytest.mark.parametrize("options", ["", "multiline.parser cri"], ids=["lines", "CRI"])
def test_tail(stage: Stage, tmp_path: Path, options: str) -> None:
    lines = cri_lines("json") * _COPIES
    path = tmp_path / "app.log"
    path.write_bytes(b"".join(lines))

    batches = stage.measure(lambda: stage.wait(_read(path, options)), records=len(lines))

    assert sum(map(len, batches)) == len(lines)
    assert sum(batch.size for batch in batches) == path.stat().st_size


def test_splitting(stage: Stage) -> None:
    blocks, assembler = blocks_of(cri_lines("json")), assembler_of("")
    lines = sum(block.count(b"\n") for block in blocks)

    contents = stage.measure(lambda: assembled(assembler, blocks), records=lines)

    assert count(contents) == lines
    assert contents[0].bodies()[0]["log"] == cri_lines("json")[0].decode().rstrip("\n")
