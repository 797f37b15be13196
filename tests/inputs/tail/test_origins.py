"""Where the records of a batch come from: what was settled and saved is never part of what the next life reads."""

from __future__ import annotations

import os
import random
import shutil
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


EQUAL = ["the same line"] * 20


async def test_what_a_file_holds_after_a_truncation_comes_from_elsewhere_in_the_next_life_too(tmp_path: Path) -> None:
    path = tmp_path / "a.log"
    append(path, *EQUAL)
    lines = f"path {path}\ndb {tmp_path}/p.db\nread_from_head on"
    async with Tail(lines) as first:
        await first.has(20)
        os.truncate(path, 0)
        await first.until(lambda: first.count("files_truncated_total") == 1)
        append(path, *EQUAL[:5])
        await first.has(25)
        await first.are_saved()
        before = origins(first)
        await first.kill()
    append(path, *EQUAL)
    async with Tail(lines) as second:
        await second.has(20)
        after = origins(second)

    sources = [origin.source for origin in before]
    assert len(set(sources)) == 2
    assert {origin.source for origin in after} == {sources[-1]}


@pytest.mark.parametrize("left", [0, 5])
async def test_what_a_file_holds_that_was_truncated_while_nobody_looked_comes_from_elsewhere(
    tmp_path: Path, left: int
) -> None:
    path = tmp_path / "a.log"
    append(path, *EQUAL)
    lines = f"path {path}\ndb {tmp_path}/p.db\nread_from_head on"
    async with Tail(lines) as first:
        await first.has(20)
        await first.are_saved()
        await first.kill()
    path.write_text("".join(f"{line}\n" for line in EQUAL[:left]))
    append(path, "new")
    async with Tail(lines) as second:
        await second.has(left + 1)

        assert not {origin.source for origin in origins(first)} & {origin.source for origin in origins(second)}


@pytest.mark.parametrize("is_copied", [False, True])
async def test_what_is_read_behind_a_rotation_is_read_from_the_same_place(tmp_path: Path, is_copied: bool) -> None:
    path, rotated = tmp_path / "a.log", tmp_path / "a.log.1"
    append(path, *[f"line {n:04d}" for n in range(100)])
    lines = f"path {path}\ndb {tmp_path}/p.db\nread_from_head on"
    first = Tail(lines, settling="later")
    async with first:
        await first.has(100)
        if is_copied:
            shutil.copy(path, rotated)
            os.truncate(path, 0)
        else:
            path.rename(rotated)
        append(path, *[f"other {n:04d}" for n in range(100)])
        await first.has(200)
        before = origins(first)
        await first.are_saved()
        await first.kill()
    async with Tail(lines) as second:
        await second.has(200)

        assert origins(second)[-1] == before[-1]
