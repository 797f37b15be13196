"""The promise for a configuration as its users have it: config/container-insights, killed while files rotate.

What is delivered are whole records, so besides what every audit looks at each one has to be the JSON of its message
with the metadata of its own pod.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
import pytest

from tests.components.kubernetes import KubernetesStandIn, kubernetes_stand_in
from tests.config_sets.mounted import Replacements
from tests.faults.container_insights import add_pod, application_part
from tests.faults.test_kill_and_rotate import kill_at_random, lines_at, seed
from tests.faults.world import World

__all__ = ["seed"]

QUICK: Replacements = [("Flush                     5", "Flush 0.5")]


@pytest.fixture
async def api() -> AsyncIterator[KubernetesStandIn]:
    async with kubernetes_stand_in() as stand_in:
        yield stand_in


def check_kills(folder: Path, api: KubernetesStandIn, seed: int, kills: int, rate: int, more: Replacements) -> None:
    with World(folder, storage="filesystem", deployment=application_part(folder, api, more)) as world:
        world.start(*lines_at(rate, seed, rotate_bytes=400_000))
        kill_at_random(world, kills, random.Random(seed), down_s=1)
        world.finish()

        verdict = world.verdict()
        print(verdict)
        assert verdict.is_clean, str(verdict)
        assert verdict.written > 2_000 * kills
        assert set(api.targets) == {"/pods"}


async def test_nothing_is_lost_when_the_set_is_killed_while_files_rotate(
    tmp_path: Path, seed: int, api: KubernetesStandIn
) -> None:
    await asyncio.to_thread(check_kills, tmp_path, api, seed, 2, 6000, QUICK)


@pytest.mark.soak
@pytest.mark.parametrize("more", [(), QUICK], ids=["as published", "with a short flush"])
async def test_nothing_is_lost_when_the_set_is_killed_twenty_times(
    tmp_path: Path, seed: int, api: KubernetesStandIn, more: Replacements
) -> None:
    await asyncio.to_thread(check_kills, tmp_path, api, seed, 20, 4000, more)


async def test_a_record_without_the_metadata_of_its_own_pod_would_be_found(
    tmp_path: Path, api: KubernetesStandIn
) -> None:
    text_of = application_part(tmp_path, api).text_of
    own, other = (add_pod(api, tmp_path, name) for name in ("c0", "c1"))
    record = {"time": "", "stream": "stdout", "_p": "F", "log": "c0:stdout:7 text"}

    def text(**more: object) -> str:
        return text_of(msgspec.json.encode({**record, **more}).decode())

    assert text(kubernetes=own) == "c0:stdout:7 text"
    assert text(kubernetes=other).startswith("kubernetes {")
    assert text(kubernetes={"pod_name": own["pod_name"]}).startswith("kubernetes {")
    assert text(kubernetes=own, stream="stderr").startswith("stream stderr")
    assert text().startswith("no record (Object missing required field `kubernetes`)")
    assert text_of("c0:stdout:7 text").startswith("no record (")
