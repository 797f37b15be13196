"""Real processes: killed at any moment, and started on a backlog much larger than their memory."""

from __future__ import annotations

import json
import random
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from tests.buffers.filesystem.making import Stored, segments_in
from tests.buffers.filesystem.sparse import build_backlog

CHILD = (sys.executable, "-m", "tests.buffers.filesystem.child")


def store_until_killed(folder: Path, first: int, seconds: float) -> list[list[str]]:
    """What the child said before it was killed, without a last line that was cut."""
    with subprocess.Popen([*CHILD, "store", str(folder), str(first)], stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        said = child.stdout.readline()
        time.sleep(seconds)
        child.kill()
        said += child.stdout.read()
    return [line.split() for line in said.decode().split("\n")[:-1]]


def test_s3_a_process_killed_at_any_moment_loses_nothing_that_was_settled(tmp_path: Path) -> None:
    chance = random.Random()
    settled: set[str] = set()
    committing: Counter[str] = Counter()
    committed: set[str] = set()
    in_doubt: set[str] = set()
    for run in range(4):
        for what, *numbers in store_until_killed(tmp_path, run * 1_000_000, chance.uniform(0.01, 0.15)):
            if what == "S":
                settled.update(numbers)
            elif what == "C":
                committing.update(numbers)
            else:
                committed.update(numbers)
        in_doubt |= committing.keys() - committed  # it was killed before the commit was over, so they come again
    stored = Stored(tmp_path, ("one", "two"))
    found = {output: [line.split()[0] for line in stored.deliver(output)] for output in ("one", "two")}

    assert len(settled) > 100
    assert committed
    assert settled - set(found["one"]) <= set(committing)
    assert not committed & set(found["one"])
    assert {number for number, times in committing.items() if times > 1} <= in_doubt
    assert max(committing.values()) <= 2
    assert settled <= set(found["two"])
    assert all(len(set(lines)) == len(lines) for lines in found.values())
    for tag in range(3):
        in_lane = [int(n) for n in found["two"] if int(n) % 3 == tag]
        assert in_lane == sorted(in_lane)
    stored.buffer.close()
    assert segments_in(tmp_path) == []


def drain(folder: Path) -> dict[str, Any]:
    ran = subprocess.run([*CHILD, "drain", str(folder)], check=True, capture_output=True, text=True)
    figures: dict[str, Any] = json.loads(ran.stdout)
    return figures


@pytest.mark.parametrize("megabytes", [320])
def test_f3_a_large_backlog_starts_at_once_and_drains_in_little_memory(megabytes: int, tmp_path: Path) -> None:
    records = build_backlog(str(tmp_path), megabytes << 20)
    figures = drain(tmp_path)

    assert (figures["held"], figures["records"], figures["skipped"]) == (records, records, [])
    assert figures["opened_s"] < 1
    assert figures["started"] - figures["before"] < 8_000_000
    assert figures["peak"] < 128_000_000
    assert segments_in(tmp_path) == []
