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
from tests.faults.world import Storage, World


@pytest.fixture
def seed() -> int:
    chosen = int(os.environ.get("FAULT_SEED") or random.SystemRandom().randrange(1_000_000))
    print(f"\nFAULT_SEED={chosen}")
    return chosen


WAYS = {
    "rename": (),
    "gzip": ("--compress",),
    "copytruncate": ("--way", "copytruncate"),
    "copytruncate, gzip": ("--way", "copytruncate", "--compress"),
}
"""Options of the generator by way of rotation. What was rotated before the last is compressed, as the kubelet does."""


def lines_at(rate: int, seed: int, rotate_bytes: int = 500_000, keep: int = 9, way: str = "rename") -> list[str]:
    return [
        *("--rate", str(rate), "--seed", str(seed), "--rotate-bytes", str(rotate_bytes)),
        *("--rotate-inside-messages", "--keep", str(keep), *WAYS[way]),
    ]


def each_misbehaviour_once() -> list[Window]:
    modes: list[Mode] = ["throttle", "error500", "cut_before", "cut_after", "hang", "gone"]
    return [Window(0.5 + index, 0.4, mode) for index, mode in enumerate(modes)]


def kill_at_random(world: World, kills: int, rng: random.Random, down_s: float = 0.5) -> None:
    """Kill and start it again at any moment of its life: mostly while it delivers, now and then while it starts."""
    world.wait_for_a_put()  # a path that was never followed has no history that could be found after a restart
    for _ in range(kills):
        if rng.random() < 0.8:
            world.wait_for_a_put()
            time.sleep(rng.uniform(0, 1.5))
        else:
            time.sleep(rng.uniform(0, 1))
        world.kill()
        time.sleep(rng.uniform(0, down_s))
        world.start_shipper()


@pytest.mark.parametrize("storage", ["memory", "filesystem"])
def test_nothing_is_lost_when_it_is_killed_while_files_rotate(tmp_path: Path, seed: int, storage: Storage) -> None:
    with World(tmp_path, storage=storage) as world:
        world.start(*lines_at(8000, seed, rotate_bytes=400_000))
        kill_at_random(world, 2, random.Random(seed), down_s=1)
        world.finish()

        verdict = world.verdict()
        print(verdict)
        assert verdict.is_clean, str(verdict)
        assert verdict.written > 8_000


def test_nothing_is_lost_when_files_rotate_while_it_is_down(tmp_path: Path, seed: int) -> None:
    with World(tmp_path) as world:
        world.start(*lines_at(8000, seed, rotate_bytes=200_000, keep=20))
        world.wait_for_a_put()
        world.kill()
        time.sleep(3.5)
        world.start_shipper()
        world.wait_for_a_put()
        world.finish()

        verdict = world.verdict()
        print(verdict)
        assert verdict.is_clean, str(verdict)


@pytest.mark.parametrize("storage", ["memory", "filesystem"])
def test_nothing_is_lost_or_repeated_when_it_is_restarted_with_sigterm(
    tmp_path: Path, seed: int, storage: Storage
) -> None:
    rng = random.Random(seed)
    with World(tmp_path, storage=storage) as world:
        world.start(*lines_at(4000, seed))
        for _ in range(2):
            world.wait_for_a_put()
            time.sleep(rng.uniform(0, 1.5))
            world.terminate()
            world.start_shipper()
        world.finish()

        verdict = world.verdict()
        print(verdict)
        assert verdict.is_clean, str(verdict)
        assert verdict.duplicates == 0, str(verdict)


@pytest.mark.parametrize("storage", ["memory", "filesystem"])
def test_nothing_is_lost_or_unduly_repeated_when_the_destination_misbehaves(
    tmp_path: Path, seed: int, storage: Storage
) -> None:
    with World(tmp_path, each_misbehaviour_once(), storage) as world:
        world.start(*lines_at(2000, seed))
        time.sleep(6.5)
        world.finish()

        verdict = world.verdict()
        print(verdict)
        assert verdict.is_clean, str(verdict)


def end_and_start(world: World, way: str, times: int, rng: random.Random) -> None:
    for _ in range(times):
        world.wait_for_a_put()
        time.sleep(rng.uniform(0.5, 2))
        world.kill() if way == "kill" else world.terminate()
        world.start_shipper()


def check_one_dead_of_three(folder: Path, seed: int, storage: Storage, way: str, ends: int) -> None:
    """Let one of three destinations be away for the whole run, and count what it gets when it comes back.

    In memory the position waits for the dead output until there is no room for more, so each kill may repeat as much as
    there is room for; a stop with SIGTERM repeats nothing.
    """
    names = ["first", "second", "dead"]
    most_twice = 5_000 * ends if (storage, way) == ("memory with a folder", "kill") else 0
    with World(folder, storage=storage, destinations=names, dead=["dead"], room="2M") as world:
        world.start(*lines_at(4000, seed))
        end_and_start(world, way, ends, random.Random(seed))
        before = world.finish()
        after = world.revive("dead")
        verdicts = {name: world.verdict(name) for name in names}
        print("\n".join(f"{name}: {verdict}" for name, verdict in verdicts.items()))

        dead = verdicts["dead"]
        assert (before["dead"]["delivered"], before["dead"].numbers.get("dropped", 0)) == (0, 0)
        assert after["dead"]["delivered"] == before["dead"]["held"] == dead.written + dead.duplicates
        assert (after["first"]["routed"], after["second"]["routed"]) == (0, 0)
        for verdict in verdicts.values():
            assert (verdict.lost, verdict.broken, verdict.disordered, verdict.invalid_puts) == (0, 0, 0, 0)
        for name in ("first", "second"):
            assert verdicts[name].unexplained <= most_twice, str(verdicts[name])
        assert dead.duplicates <= max(most_twice, 5_000 * len(world.kills))


@pytest.mark.parametrize("way", ["kill", "terminate"])
@pytest.mark.parametrize("storage", ["memory with a folder", "filesystem"])
def test_an_output_that_is_dead_for_the_whole_run_gets_everything_afterwards(
    tmp_path: Path, seed: int, storage: Storage, way: str
) -> None:
    check_one_dead_of_three(tmp_path, seed, storage, way, ends=2)


@pytest.mark.soak
@pytest.mark.parametrize("way", ["kill", "terminate"])
@pytest.mark.parametrize("storage", ["memory with a folder", "filesystem"])
def test_an_output_that_is_dead_over_twenty_restarts_gets_everything_afterwards(
    tmp_path: Path, seed: int, storage: Storage, way: str
) -> None:
    check_one_dead_of_three(tmp_path, seed, storage, way, ends=20)


def outlast_an_outage(folder: Path, seed: int, seconds: float, rate: int) -> None:
    """Take the destination away for so long while files rotate and are deleted before they could be delivered."""
    with World(folder, [Window(5, seconds, "gone")]) as world:
        world.start(*lines_at(rate, seed, rotate_bytes=200_000, keep=1))
        world.wait_for_a_put()
        time.sleep(seconds + 5)
        world.finish()

        verdict = world.verdict()
        print(verdict)
        assert verdict.is_clean, str(verdict)
        assert verdict.written > rate * seconds / 2


def test_nothing_is_lost_when_the_destination_is_away_for_longer_than_files_live(tmp_path: Path, seed: int) -> None:
    outlast_an_outage(tmp_path, seed, 8, 8000)


@pytest.mark.soak
def test_nothing_is_lost_when_the_destination_is_away_for_a_minute(tmp_path: Path, seed: int) -> None:
    outlast_an_outage(tmp_path, seed, 60, 8000)


@pytest.mark.soak
@pytest.mark.parametrize("healthy", [True, False], ids=["healthy sink", "misbehaving sink"])
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("storage", ["memory", "filesystem"])
def test_nothing_is_lost_when_it_is_killed_twenty_times(
    tmp_path: Path, seed: int, way: str, healthy: bool, storage: Storage
) -> None:
    with World(tmp_path, () if healthy else random_windows(seed, 60), storage) as world:
        world.start(*lines_at(4000, seed, way=way))
        kill_at_random(world, 20, random.Random(seed))
        world.finish()

        verdict = world.verdict()
        print(verdict)
        assert verdict.is_clean, str(verdict)
        assert verdict.written > 50_000


@pytest.mark.soak
@pytest.mark.parametrize("way", WAYS)
def test_nothing_is_lost_when_files_rotate_while_it_is_down_ten_times(tmp_path: Path, seed: int, way: str) -> None:
    with World(tmp_path) as world:
        world.start(*lines_at(4000, seed, rotate_bytes=200_000, keep=90, way=way))
        kill_at_random(world, 10, random.Random(seed), down_s=8)
        world.finish()

        verdict = world.verdict()
        print(verdict)
        assert verdict.is_clean, str(verdict)
