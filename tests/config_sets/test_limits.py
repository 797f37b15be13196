"""The sets under the limits of the pods that their manifests describe: 200 MiB for a node, 60 MiB for events."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec
import pytest

from tests.components.kubernetes import KubernetesStandIn, kubernetes_stand_in
from tests.components.kubernetes_events import events_stand_in
from tests.components.moto_server import aws_keys, moto_url
from tests.components.tls_door import tls_door
from tests.faults.container_insights import application_part
from tests.faults.world import World

from .test_kubernetes_events import Cluster, as_kept, scheduled, until_watched

__all__ = ["aws_keys", "moto_url"]


@pytest.fixture
async def kubelet() -> AsyncIterator[KubernetesStandIn]:
    async with kubernetes_stand_in() as stand_in:
        yield stand_in


def check_ten_thousand_lines_a_second(folder: Path, kubelet: KubernetesStandIn, seconds: float) -> None:
    rate, rotated = 10_000, 10_000_000
    with World(folder, storage="filesystem", deployment=application_part(folder, kubelet)) as world:
        world.start("--rate", str(rate), "--rotate-bytes", str(rotated), "--partial-share", "0", "--compress")
        time.sleep(seconds)
        ledger = world.finish()

        verdict = world.verdict()
        print(f"{verdict}\npeak {world.peak_mib:.0f} MiB, {world.written_bytes / verdict.written:.0f} bytes a line")
        assert verdict.is_clean, str(verdict)
        assert verdict.duplicates == 0
        assert verdict.written > 0.9 * rate * seconds
        assert ledger["cloudwatch_logs.0"]["delivered"] == verdict.written
        assert world.peak_mib < 200


async def test_b43_a_node_with_ten_thousand_lines_a_second_stays_within_200_mib(
    tmp_path: Path, kubelet: KubernetesStandIn
) -> None:
    await asyncio.to_thread(check_ten_thousand_lines_a_second, tmp_path, kubelet, 20)


@pytest.mark.soak
@pytest.mark.parametrize("minutes", [2, 10])
async def test_b43_a_node_with_ten_thousand_lines_a_second_stays_within_200_mib_for_minutes(
    tmp_path: Path, kubelet: KubernetesStandIn, minutes: int
) -> None:
    await asyncio.to_thread(check_ten_thousand_lines_a_second, tmp_path, kubelet, 60 * minutes)


async def test_d17_the_events_of_a_busy_cluster_stay_within_60_mib(
    tmp_path: Path, moto_url: str, aws_keys: None
) -> None:
    then = (datetime.now(UTC) - timedelta(minutes=5)).replace(microsecond=0)
    async with events_stand_in() as api:
        cluster = Cluster(tmp_path, api, moto_url, url=api.url)
        api.events |= {f"old-{n}": scheduled(f"old-{n}", then) for n in range(1000)}
        # A busy machine may let more wait for S3 than the configuration lets into memory.
        delivering = asyncio.create_task(cluster.deliver(2000, "paused (mem buf overlimit"))
        await until_watched(api, delivering)
        for n in range(1000):
            api.add(f"new-{n}")
            await asyncio.sleep(0.003)

        found = await delivering

    lines = [line for text in found.values() for line in text.splitlines()]
    print(f"peak {cluster.shipper.peak_mib:.1f} MiB")
    assert len(lines) == 2000
    assert cluster.shipper.peak_mib < 60


@pytest.mark.parametrize(("listed", "watched"), [(1000, 500), (20_000, 2000)])
async def test_d17_events_of_their_real_size_stay_within_60_mib_over_tls_and_while_s3_is_away(
    tmp_path: Path, moto_url: str, aws_keys: None, listed: int, watched: int
) -> None:
    then = (datetime.now(UTC) - timedelta(minutes=5)).replace(microsecond=0)
    events = {f"old-{n}": as_kept(scheduled(f"old-{n}", then), str(n + 1)) for n in range(listed)}
    like = as_kept(scheduled("", then), "")
    async with events_stand_in() as api, tls_door(moto_url) as door:
        cluster = Cluster(tmp_path, api, moto_url, url=api.url, door=door)
        api.events, api.version = events, listed + 1
        door.is_shut = True
        waiting = ("paused (mem buf overlimit", "failed to upload")
        delivering = asyncio.create_task(cluster.deliver(listed + watched, *waiting))
        await until_watched(api, delivering)
        for n in range(watched):
            api.add(f"new-{n}", message=like["message"])
            await asyncio.sleep(0.001)
        while door.refused < 2 and not delivering.done():  # noqa: ASYNC110  # another process: nothing to wait on
            await asyncio.sleep(0.02)
        door.is_shut = False

        found = await delivering

    print(f"peak {cluster.shipper.peak_mib:.1f} MiB with {listed} events of {len(msgspec.json.encode(like))} bytes")
    assert sum(text.count("\n") for text in found.values()) == listed + watched
    assert cluster.shipper.peak_mib < 60
