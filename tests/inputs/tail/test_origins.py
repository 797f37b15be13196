"""Where the records of a batch come from: what was settled and saved is never part of what the next life reads."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from shipper.record import Origin

from .running import Tail, append


def are_apart(settled: Origin, read: Origin) -> bool:
    """Whether nothing that is read could be taken for a record that was settled."""
    is_nothing = settled.begin >= settled.end
    ends_before = settled.end <= read.begin or max(read.end, read.begin + 1) <= settled.begin
    return is_nothing or settled.source != read.source or ends_before


def origins(tail: Tail) -> list[Origin]:
    found = [batch.receipt.origin for batch in tail.batches]
    assert None not in found
    return [origin for origin in found if origin is not None]


def container_lines(rng: random.Random, count: int, end: str) -> list[str]:
    """Whole and partial lines of two streams; the last of each is whole and ends with this."""
    lines = [
        f"2026-01-01T00:00:00.1Z {rng.choice(['stdout', 'stderr'])} {rng.choice('FFP')} line {n}" for n in range(count)
    ]
    return [*lines, *[f"2026-01-01T00:00:00.1Z {stream} F {end}" for stream in ("stdout", "stderr")]]


@pytest.mark.parametrize("seed", range(12))
async def test_what_was_settled_is_not_read_by_the_next_life(tmp_path: Path, seed: int) -> None:
    rng, path = random.Random(seed), tmp_path / "a.log"
    size = rng.randrange(100, 500)
    append(path, *container_lines(rng, 40, "first"))
    lines = (
        f"path {path}\ndb {tmp_path}/p.db\nread_from_head on\nmultiline.parser cri\n"
        f"buffer_chunk_size {size}\nbuffer_max_size {size}"
    )
    first = Tail(lines, settling="later")
    async with first:
        first.read_in_blocks(size)
        await first.until(lambda: "".join(first.lines()).count("first") == 2)
        count = first.settle(rng.randrange(len(first.batches)))
        settled = origins(first)[:count]
        first.save()
        await first.kill()
    append(path, *container_lines(rng, 10, "second"))
    async with Tail(lines) as second:
        second.read_in_blocks(size)
        await second.until(lambda: "".join(second.lines()).count("second") == 2)

        assert [(a, b) for a in settled for b in origins(second) if not are_apart(a, b)] == []


async def test_what_was_not_settled_is_read_from_the_same_place(tmp_path: Path) -> None:
    path = tmp_path / "a.log"
    append(path, *[f"line {n}" for n in range(5)])
    lines = f"path {path}\ndb {tmp_path}/p.db\nread_from_head on"
    first = Tail(lines, settling="later")
    async with first:
        await first.has(5)
        before = origins(first)
        await first.kill()
    async with Tail(lines) as second:
        await second.has(5)

        assert origins(second) == before
    assert (before[0].begin, before[-1].end) == (0, path.stat().st_size)
