"""Kubernetes events: every event once, whoever is killed, and within the memory of a small pod."""

from __future__ import annotations

import asyncio
import shutil
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from ..components.http_server import Says, http_server
from ..components.kubernetes import USUAL_TOKEN
from ..components.kubernetes_events import EventsStandIn, events_stand_in
from ..components.moto_server import aws_keys, moto_url
from ..components.shipper_process import ShipperProcess
from ..faults.ledger import assert_balanced

__all__ = ["aws_keys", "moto_url"]

PATIENCE_S = 25.0
LEASE_S = 3.0
LEADING = f"kube_leader_election on\nkube_leader_lease_duration {LEASE_S:g}"


class Collector:
    """A shipper that writes events into a file; several may write their own beside each other."""

    def __init__(
        self, api: EventsStandIn, folder: Path, more: str = "", output: str = "", service: str = "grace 5"
    ) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._out = folder / "out"
        self._out.mkdir()
        self.token = folder / "token"
        self.token.write_text(USUAL_TOKEN)
        (folder / "namespace").write_text("logging")
        options = (
            f"kube_url {api.url}",
            f"kube_ca_file {api.ca_file}",
            f"kube_token_file {self.token}",
            f"kube_namespace_file {folder}/namespace",
            "interval_nsec 50000000",
            *more.format(folder=folder).splitlines(),
        )
        written = output or f"    name file\n    match *\n    path {self._out}\n    format plain\n"
        configuration = folder / "shipper.conf"
        configuration.write_text(
            f"[SERVICE]\n    {service.format(folder=folder)}\n"
            "    flush 0.1\n    scheduler.base 1\n    scheduler.cap 1\n"
            "[INPUT]\n    name kubernetes_events\n    tag events\n"
            + "".join(f"    {line}\n" for line in options)
            + f"[OUTPUT]\n{written}"
        )
        self.shipper = ShipperProcess(configuration, folder / "shipper.log")

    def records(self) -> list[dict[str, Any]]:
        try:
            data = (self._out / "events").read_bytes()
        except FileNotFoundError:
            return []
        return [msgspec.json.decode(line) for line in data[: data.rfind(b"\n") + 1].splitlines()]

    def names(self) -> list[str]:
        return [record["metadata"]["name"] for record in self.records()]

    async def stop(self) -> None:
        """SIGTERM; the API server answers meanwhile, and the ledger has to balance."""
        assert_balanced(await asyncio.to_thread(self.shipper.terminate))

    def resident_mib(self) -> float:
        status = Path(f"/proc/{self.shipper.check().pid}/status").read_text()
        return int(status.partition("VmRSS:")[2].split()[0]) / 1024


@pytest.fixture
async def api() -> AsyncIterator[EventsStandIn]:
    async with events_stand_in() as stand_in:
        yield stand_in


async def until(condition: Callable[[], bool], *collectors: Collector, patience_s: float = PATIENCE_S) -> float:
    """Wait for the condition; gives the seconds it took."""
    begin = time.monotonic()
    while not condition():
        if time.monotonic() - begin > patience_s:
            logs = "\n".join(one.shipper.end_of_log() for one in collectors)
            raise AssertionError(f"in vain for {patience_s:g} s\n{logs}")
        await asyncio.sleep(0.02)
    return time.monotonic() - begin


async def add_steadily(api: EventsStandIn, prefix: str, count: int, every_s: float = 0.01) -> list[str]:
    names = [f"{prefix}-{number:04}" for number in range(count)]
    for name in names:
        api.add(name)
        await asyncio.sleep(every_s)
    return names


def assert_once(got: list[str], wanted: list[str], doubled: int = 0) -> None:
    """Everything is there, and no more than so many are there twice."""
    counts = Counter(got)
    assert sorted(set(wanted) - set(counts)) == []
    assert sum(counts.values()) - len(counts) <= doubled


async def test_d1_events_killed_in_the_middle_are_all_sent_and_doubled_only_when_in_flight(
    api: EventsStandIn, tmp_path: Path
) -> None:
    one = Collector(api, tmp_path / "one", "db {folder}/events.db")
    wanted: list[str] = []
    try:
        for life in range(4):
            one.shipper.start()
            await until(lambda: api.watches >= 1, one)
            wanted += await add_steadily(api, f"life-{life}", 60)
            one.shipper.kill()
            wanted += await add_steadily(api, f"down-{life}", 10, 0)
            await until(lambda: api.watches == 0, one)
        one.shipper.start()
        await until(lambda: set(wanted) <= set(one.names()), one)
        await asyncio.sleep(0.5)
        await one.stop()
    finally:
        one.shipper.close()

    # A flush takes 0.1 s, and ten events come in that time; each of four kills may repeat what was under way.
    assert_once(one.names(), wanted, doubled=4 * 25)


async def test_d1_events_an_event_is_delivered_within_a_second(api: EventsStandIn, tmp_path: Path) -> None:
    one = Collector(api, tmp_path / "one")
    one.shipper.start()
    try:
        await until(lambda: api.watches == 1, one)
        api.add("a")

        assert await until(lambda: one.names() == ["a"], one) < 1
    finally:
        one.shipper.close()


async def test_d5_a_restart_with_a_database_repeats_nothing_and_misses_nothing(
    api: EventsStandIn, tmp_path: Path
) -> None:
    one = Collector(api, tmp_path / "one", "db {folder}/events.db\nkube_request_limit 7")
    wanted = await add_steadily(api, "before", 40, 0)
    try:
        one.shipper.start()
        await until(lambda: len(one.names()) >= 40, one)
        await one.stop()
        wanted += await add_steadily(api, "between", 40, 0)
        api.forget()
        one.shipper.start()
        await until(lambda: len(one.names()) >= 80, one)
        await one.stop()
    finally:
        one.shipper.close()

    assert_once(one.names(), wanted)


async def test_d14_of_shippers_that_elect_a_leader_one_sends_and_a_stop_hands_over_at_once(
    api: EventsStandIn, tmp_path: Path
) -> None:
    both = [Collector(api, tmp_path / name, LEADING) for name in ("one", "two")]
    one, two = both
    try:
        one.shipper.start()
        await until(lambda: api.watches == 1, *both)
        two.shipper.start()
        wanted = await add_steadily(api, "first", 100)
        await until(lambda: len(one.names()) >= 100, *both)
        assert two.names() == []
        await one.stop()
        wanted += await add_steadily(api, "between", 20, 0)
        took_s = await until(lambda: api.watches == 1, *both)
        wanted += await add_steadily(api, "second", 50)
        await until(lambda: len(two.names()) >= 70, *both)
        await two.stop()
    finally:
        for collector in both:
            collector.shipper.close()

    assert took_s < LEASE_S
    assert_once(one.names() + two.names(), wanted)


async def test_d14_when_the_leader_is_killed_another_one_goes_on_where_it_was(
    api: EventsStandIn, tmp_path: Path
) -> None:
    both = [Collector(api, tmp_path / name, LEADING) for name in ("one", "two")]
    one, two = both
    try:
        one.shipper.start()
        await until(lambda: api.watches == 1, *both)
        two.shipper.start()
        wanted = await add_steadily(api, "first", 200)
        await until(lambda: len(one.names()) >= 150, *both)
        one.shipper.kill()
        wanted += await add_steadily(api, "between", 50, 0)
        await until(lambda: api.watches == 1, *both)
        wanted += await add_steadily(api, "second", 50)
        await until(lambda: set(wanted) <= set(one.names() + two.names()), *both)
        await asyncio.sleep(0.3)
        await two.stop()
    finally:
        for collector in both:
            collector.shipper.close()

    # The lease tells once a second what was delivered; a hundred events come in a second.
    assert_once(one.names() + two.names(), wanted, doubled=130)


async def test_d14_a_leader_that_was_frozen_sends_nothing_when_it_wakes(api: EventsStandIn, tmp_path: Path) -> None:
    both = [Collector(api, tmp_path / name, LEADING) for name in ("one", "two")]
    one, two = both
    try:
        one.shipper.start()
        await until(lambda: api.watches == 1, *both)
        two.shipper.start()
        wanted = await add_steadily(api, "first", 20)
        await until(lambda: len(one.names()) == 20, *both)
        await asyncio.sleep(1.2)  # until the lease tells of them
        one.shipper.freeze()
        wanted += await add_steadily(api, "second", 20)
        await until(lambda: len(two.names()) == 20, *both)
        one.shipper.thaw()
        wanted += await add_steadily(api, "third", 20)
        await until(lambda: len(two.names()) == 40, *both)
        await asyncio.sleep(0.5)
    finally:
        for collector in both:
            collector.shipper.close()

    assert_once(one.names() + two.names(), wanted)


async def test_d14_what_only_the_disk_of_a_leader_could_have_is_sent_by_the_next_one(
    api: EventsStandIn, tmp_path: Path
) -> None:
    is_away = True
    async with http_server(lambda got: Says(503 if is_away else 200)) as server:
        output = f"    name http\n    match *\n    host 127.0.0.1\n    port {server.port}\n    format json\n"
        service = "grace 1\n    storage.path {folder}/storage"
        both = [Collector(api, tmp_path / name, LEADING, output, service) for name in ("one", "two")]
        one, two = both
        try:
            one.shipper.start()
            await until(lambda: api.watches == 1, *both)
            wanted = await add_steadily(api, "event", 30, 0)
            await until(lambda: len(server.got) > 1, *both)
            await one.stop()
            shutil.rmtree(tmp_path / "one" / "storage")
            is_away = False
            got = len(server.got)
            two.shipper.start()

            def sent() -> set[str]:
                return {record["metadata"]["name"] for call in server.got[got:] for record in call.json}

            await until(lambda: set(wanted) <= sent(), *both)
            await two.stop()
        finally:
            for collector in both:
                collector.shipper.close()


async def test_d17_events_to_s3_stay_within_60_mib(
    api: EventsStandIn, tmp_path: Path, moto_url: str, aws_keys: None
) -> None:
    output = (
        f"    name s3\n    match *\n    bucket events\n    region us-east-1\n    endpoint {moto_url}\n"
        f"    total_file_size 10M\n    upload_timeout 1s\n    store_dir {tmp_path}/home\n"
        "    s3_key_format /k8s_events/year=%Y/month=%m/day=%d/%H-%M-%S\n"
    )
    one = Collector(api, tmp_path / "one", output=output)
    await make_bucket(moto_url)
    await add_steadily(api, "event", 1000, 0)
    try:
        one.shipper.start()
        await until(lambda: api.watches == 1, one)
        lines = await all_lines(moto_url, 1000)
        resident_mib = one.resident_mib()
        await one.stop()
    finally:
        one.shipper.close()

    assert len(lines) == 1000
    assert lines[0].startswith('{"date":"2') and '.000000Z","metadata":{"name":' in lines[0]
    assert resident_mib < 60


async def make_bucket(url: str) -> None:
    import boto3  # type: ignore[import-untyped]  # it has no stubs

    client = boto3.client("s3", endpoint_url=url, region_name="us-east-1")
    await asyncio.to_thread(client.create_bucket, Bucket="events")


async def all_lines(url: str, count: int) -> list[str]:
    """The lines of all objects of the bucket, as soon as there are so many."""
    import boto3

    client = boto3.client("s3", endpoint_url=url, region_name="us-east-1")

    def read() -> list[str]:
        found = client.list_objects_v2(Bucket="events").get("Contents", [])
        bodies = [client.get_object(Bucket="events", Key=one["Key"])["Body"].read().decode() for one in found]
        return [line for body in bodies for line in body.splitlines()]

    def wait() -> list[str]:
        deadline = time.monotonic() + PATIENCE_S
        while len(lines := read()) < count and time.monotonic() < deadline:
            time.sleep(0.2)
        return lines

    return await asyncio.to_thread(wait)
