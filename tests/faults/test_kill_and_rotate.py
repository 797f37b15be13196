"""The promise, tested on real processes: kill it, rotate under it, take the destination away, and nothing is lost.

Every run prints its seed; `FAULT_SEED=<seed>` repeats it: the same kills, lines, rotations and faults of the sink, as
far as a machine repeats its timing.
"""

from __future__ import annotations

import os
import random
import time
from pathlib import Path

import pytest

from tests.components.sink import Mode, Window, random_windows
from tests.faults.world import World


@pytest.fixture
def seed() -> int:
    chosen = int(os.environ.get("FAULT_SEED") or random.SystemRandom().randrange(1_000_000))
    print(f"\nFAULT_SEED={chosen}")
    return chosen


def lines_at(rate: int, seed: int, rotate_bytes: int = 2_000_000) -> list[str]:
    return [
        *("--rate", str(rate), "--seed", str(seed), "--rotate-bytes", str(rotate_bytes)),
        *("--rotate-inside-messages", "--keep", "9"),
    ]


def each_misbehaviour_once() -> list[Window]:
    modes: list[Mode] = ["throttle", "error500", "cut_before", "cut_after", "hang", "gone"]
    return [Window(1 + 1.5 * index, 0.6, mode) for index, mode in enumerate(modes)]


def kill_at_random(world: World, kills: int, rng: random.Random) -> None:
    """Kill and start it again at any moment of its life: mostly while it delivers, now and then while it starts.

    The first kill waits for a delivery: what was rotated away before a shipper ever ran is not its to deliver.
    """
    for number in range(kills):
        if number == 0 or rng.random() < 0.8:
            world.wait_for_a_put()
            time.sleep(rng.uniform(0, 1.5))
        else:
            time.sleep(rng.uniform(0, 1))
        world.kill()
        time.sleep(rng.uniform(0, 0.5))
        world.start_shipper()


def test_nothing_is_lost_when_it_is_killed_five_times_while_files_rotate(tmp_path: Path, seed: int) -> None:
    with World(tmp_path) as world:
        world.start_generator(*lines_at(4000, seed, rotate_bytes=500_000))
        world.start_shipper()
        kill_at_random(world, 5, random.Random(seed))
        world.finish()

        verdict = world.verdict()
        print(verdict)
        assert verdict.is_clean, str(verdict)
        assert verdict.written > 20_000


def test_nothing_is_lost_or_repeated_when_it_is_restarted_with_sigterm(tmp_path: Path, seed: int) -> None:
    rng = random.Random(seed)
    with World(tmp_path) as world:
        world.start_generator(*lines_at(4000, seed, rotate_bytes=500_000))
        world.start_shipper()
        for _ in range(3):
            world.wait_for_a_put()
            time.sleep(rng.uniform(0, 1.5))
            world.terminate()
            world.start_shipper()
        world.finish()

        verdict = world.verdict()
        print(verdict)
        assert verdict.is_clean, str(verdict)
        assert verdict.duplicates == 0, str(verdict)


def test_nothing_is_lost_or_unduly_repeated_when_the_destination_misbehaves(tmp_path: Path, seed: int) -> None:
    with World(tmp_path, each_misbehaviour_once()) as world:
        world.start_generator(*lines_at(2000, seed, rotate_bytes=500_000))
        world.start_shipper()
        time.sleep(10)
        world.finish()

        verdict = world.verdict()
        print(verdict)
        assert verdict.is_clean, str(verdict)


@pytest.mark.soak
@pytest.mark.parametrize("healthy", [True, False], ids=["healthy sink", "misbehaving sink"])
def test_nothing_is_lost_when_it_is_killed_twenty_times(tmp_path: Path, seed: int, healthy: bool) -> None:
    with World(tmp_path, () if healthy else random_windows(seed, 60)) as world:
        world.start_generator(*lines_at(4000, seed))
        world.start_shipper()
        kill_at_random(world, 20, random.Random(seed))
        world.finish()

        verdict = world.verdict()
        print(verdict)
        assert verdict.is_clean, str(verdict)
        assert verdict.written > 100_000
