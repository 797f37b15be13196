"""Lines as Docker's json-file driver writes them, through the multiline engine and in Docker_Mode."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import msgspec
import pytest

from .assembling import assembled, assembler_of, count
from .material import blocks_of, texts
from .measuring import Stage

_START = datetime(2026, 11, 20, 10, tzinfo=UTC)


def _docker_lines() -> list[bytes]:
    return [
        b"%b\n"
        % msgspec.json.encode(
            {
                "log": f"{text}\n",
                "stream": "stdout" if number % 5 else "stderr",
                "time": f"{(_START + timedelta(microseconds=number * 450)).isoformat()[:26]}123Z",
            }
        )
        for number, text in enumerate(texts("json"), 1)
    ]


@pytest.mark.parametrize(
    "options", ["multiline.parser docker", "docker_mode on\nparser docker"], ids=["multiline.parser", "Docker_Mode"]
)
def test_lines(stage: Stage, options: str) -> None:
    blocks, assembler = blocks_of(_docker_lines()), assembler_of(options)
    lines = sum(block.count(b"\n") for block in blocks)

    contents = stage.measure(lambda: assembled(assembler, blocks), records=lines)

    assert count(contents) == lines
    assert '"msg": ' in contents[0].bodies()[0]["log"]
