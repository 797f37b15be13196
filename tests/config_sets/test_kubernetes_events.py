"""The set that sends the events of a cluster to S3 (config/kubernetes-events), with a real process and emulators."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tests.components.kubernetes import USUAL_TOKEN
from tests.components.kubernetes_events import LEASES, EventsStandIn, events_stand_in
from tests.components.moto_server import aws_keys, moto_url
from tests.components.shipper_process import REPOSITORY, ShipperProcess
from tests.components.tls_door import TlsDoor
from tests.faults.ledger import assert_balanced

from . import cloud
from .mounted import Replacements, dry_run, mounted, remarks

__all__ = ["aws_keys", "moto_url"]

_URL = "https://kubernetes.default.svc"
_KEY = re.compile(
    r"fluentbit-logs/k8s_events/year=(\d{4})/month=(\d\d)/day=(\d\d)/(\d\d)-(\d\d)-(\d\d)-object[0-9A-Za-z]{8}"
)


class Cluster:
    """An API server and a bucket, and a shipper that has the set mounted between them."""

    def __init__(
        self,
        folder: Path,
        api: EventsStandIn,
        moto: str,
        *,
        url: str = _URL,
        filters: str = "",
        door: TlsDoor | None = None,
    ) -> None:
        self.bucket = f"events-{time.monotonic_ns()}"
        endpoint = moto if door is None else door.url
        configuration = configured("kubernetes-events", folder, api, self.bucket, endpoint, url=url, filters=filters)
        variables = {"AWS_CA_BUNDLE": str(door.trusted(folder))} if door is not None else None
        self.shipper = ShipperProcess(configuration / "fluentbit.conf", folder / "shipper.log", variables)
        self.moto = moto

    async def deliver(self, count: int, *expected: str) -> dict[str, str]:
        """Run the shipper until so many lines are in the bucket, and end it; gives the objects by their keys.

        It may warn of what is expected, and of nothing else.
        """
        await asyncio.to_thread(cloud.client("s3", self.moto).create_bucket, Bucket=self.bucket)
        self.shipper.start()
        try:
            found: dict[str, str] = await asyncio.to_thread(
                cloud.until,
                lambda: cloud.objects(self.moto, self.bucket),
                lambda all_: sum(text.count("\n") for text in all_.values()) >= count,
                self.shipper.end_of_log,
            )
            assert_balanced(await asyncio.to_thread(self.shipper.terminate))
            assert remarks(self.shipper.log().decode(), *expected) == []
        finally:
            self.shipper.close()
        return found


def configured(
    name: str,
    folder: Path,
    api: EventsStandIn,
    bucket: str,
    endpoint: str,
    *,
    url: str = _URL,
    filters: str = "",
    more: Replacements = (),
) -> Path:
    """The set of this name below a folder, between the stand-in and the bucket; gives where its files are."""
    (folder / "token").write_text(USUAL_TOKEN)
    (folder / "namespace").write_text("logging")
    (folder / "home").mkdir()
    account = f"    kube_token_file {folder}/token\n    kube_namespace_file {folder}/namespace"
    checks = f"\n    kube_ca_file {api.ca_file}" if api.ca_file else ""
    return mounted(
        name,
        folder / "etc",
        [
            (_URL, f"{url.partition('://')[0]}://127.0.0.1:{api.port}\n{account}{checks}"),
            ("my-k8s-events", f"{bucket}\n    endpoint {endpoint}"),
            ("/home", f"{folder}/home"),
            ("1m", "1s"),
            ("[OUTPUT]", f"{filters}[OUTPUT]"),
            *more,
        ],
    )


def scheduled(name: str, when: datetime) -> dict[str, Any]:
    """An event as a list tells it, in the order in which an API server writes the keys."""
    seconds = f"{when:%Y-%m-%dT%H:%M:%SZ}"
    return {
        "metadata": {"name": name, "namespace": "default", "uid": f"uid-{name}", "creationTimestamp": seconds},
        "involvedObject": {"kind": "Pod", "namespace": "default", "name": "web-1", "uid": "8e", "apiVersion": "v1"},
        "reason": "Scheduled",
        "message": "Successfully assigned default/web-1 to ip-10-0-1-2",
        "source": {"component": "default-scheduler"},
        "firstTimestamp": seconds,
        "lastTimestamp": seconds,
        "count": 1,
        "type": "Normal",
        "eventTime": None,
        "reportingComponent": "default-scheduler",
        "reportingInstance": "",
    }


def as_kept(event: dict[str, Any], version: str) -> dict[str, Any]:
    """The event as API servers keep it: they note who has written which fields. Its message is a long one."""
    fields = ("count", "firstTimestamp", "involvedObject", "lastTimestamp", "message", "reason", "source", "type")
    managed = {
        "manager": "kubelet",
        "operation": "Update",
        "apiVersion": "v1",
        "time": event["lastTimestamp"],
        "fieldsType": "FieldsV1",
        "fieldsV1": {f"f:{name}": {} for name in fields},
    }
    event["metadata"] |= {"resourceVersion": version, "managedFields": [managed]}
    event["message"] = "Back-off restarting failed container " + "x" * 900
    return event


def columns_of(line: str) -> tuple[str, ...]:
    """What a table of Athena with a RegexSerDe reads: columns are found by the order of the keys in compact JSON."""
    found = re.fullmatch(
        r'\{"date":"([^"]*)","metadata":[^ ]*"involvedObject":\{"kind":"([^"]*)","namespace":"([^"]*)","name":"([^"]*)"'
        r'[^ ]*"reason":"([^"]*)","message":"(.*)","source":.*"reportingComponent":"([^"]*)",'
        r'"reportingInstance":"([^"]*)"\}',
        line,
    )
    assert found is not None, line
    return found.groups()


@pytest.fixture(params=["https", "http"])
async def api(request: pytest.FixtureRequest) -> AsyncIterator[EventsStandIn]:
    async with events_stand_in(tls=request.param == "https") as stand_in:
        yield stand_in


def test_the_set_is_accepted_without_a_warning(tmp_path: Path) -> None:
    configuration = mounted("kubernetes-events", tmp_path / "etc") / "fluentbit.conf"

    status, told = dry_run(configuration, {})

    assert (status, remarks(told)) == (0, [])


def test_the_published_url_without_tls_is_accepted_too(tmp_path: Path) -> None:
    configuration = mounted("kubernetes-events", tmp_path / "etc", [("https://", "http://")]) / "fluentbit.conf"

    assert dry_run(configuration, {})[0] == 0


async def test_events_arrive_in_partitions_as_the_api_server_tells_them(
    api: EventsStandIn, tmp_path: Path, moto_url: str, aws_keys: None
) -> None:
    then = (datetime.now(UTC) - timedelta(minutes=5)).replace(microsecond=0)
    cluster = Cluster(tmp_path, api, moto_url, url=api.url)
    api.events["web-1.17e5"] = event = scheduled("web-1.17e5", then)

    found = await cluster.deliver(1)

    ((key, text),) = found.items()
    parts = _KEY.fullmatch(key)
    assert parts is not None, key
    assert datetime(*map(int, parts.groups()), tzinfo=UTC) == then  # type: ignore[misc, arg-type]  # six numbers
    assert text == f'{{"date":"{then:%Y-%m-%dT%H:%M:%S}.000000Z",{msgspec.json.encode(event)[1:].decode()}\n'
    assert columns_of(text.rstrip("\n")) == (
        *(f"{then:%Y-%m-%dT%H:%M:%S}.000000Z", "Pod", "default", "web-1", "Scheduled"),
        *("Successfully assigned default/web-1 to ip-10-0-1-2", "default-scheduler", ""),
    )


async def test_events_of_a_watch_arrive_and_nothing_is_asked_but_for_events(
    api: EventsStandIn, tmp_path: Path, moto_url: str, aws_keys: None
) -> None:
    cluster = Cluster(tmp_path, api, moto_url, url=api.url)
    api.add("listed")
    delivering = asyncio.create_task(cluster.deliver(2))
    await until_watched(api, delivering)
    api.add("watched")

    lines = "".join((await delivering).values()).splitlines()

    assert sorted(msgspec.json.decode(line)["metadata"]["name"] for line in lines) == ["listed", "watched"]
    assert {(got.method, got.target.partition("?")[0]) for got in api.got} == {("GET", "/api/v1/events")}


async def test_with_the_filter_of_the_migration_page_all_lines_begin_alike(
    api: EventsStandIn, tmp_path: Path, moto_url: str, aws_keys: None
) -> None:
    page = (REPOSITORY / "docs" / "migration.md").read_text()
    (recipe,) = re.findall(r"```\n(\[FILTER\]\n.*?)```", page, re.DOTALL)
    cluster = Cluster(tmp_path, api, moto_url, url=api.url, filters=recipe)
    api.add("listed")
    delivering = asyncio.create_task(cluster.deliver(2))
    await until_watched(api, delivering)
    api.add("watched")

    lines = "".join((await delivering).values()).splitlines()

    assert len(lines) == 2
    assert all(re.match(r'\{"date":"[^"]{27}","metadata":\{', line) for line in lines), lines


async def test_of_the_pods_of_a_daemonset_one_sends_and_another_one_goes_on(
    tmp_path: Path, moto_url: str, aws_keys: None
) -> None:
    bucket = f"events-{time.monotonic_ns()}"
    await asyncio.to_thread(cloud.client("s3", moto_url).create_bucket, Bucket=bucket)

    def sent() -> list[str]:
        text = "".join(cloud.objects(moto_url, bucket).values())
        return sorted(msgspec.json.decode(line)["metadata"]["name"] for line in text.splitlines())

    async with events_stand_in() as api:
        pods = []
        for name in ("one", "two"):
            (folder := tmp_path / name).mkdir()
            # Two pods of a machine cannot listen at one port.
            alone = [("http_server          on", "http_server off")]
            place = configured("kubernetes/events-daemonset", folder, api, bucket, moto_url, more=alone)
            pods.append(ShipperProcess(place / "shipper.conf", folder / "shipper.log"))
        first, second = pods
        try:
            api.add("listed")
            first.start()
            await asyncio.to_thread(cloud.until, sent, lambda names: names == ["listed"], first.end_of_log)
            second.start()
            await asyncio.to_thread(
                cloud.until, second.log, lambda log: b"lease=logging/k8s-events, holder=" in log, second.end_of_log
            )
            assert_balanced(await asyncio.to_thread(first.terminate))
            api.add("later")
            names = await asyncio.to_thread(cloud.until, sent, lambda names: "later" in names, second.end_of_log)
            assert_balanced(await asyncio.to_thread(second.terminate))
        finally:
            for pod in pods:
                pod.close()

    assert names == ["later", "listed"]
    assert {got.target.partition("?")[0] for got in api.got if not got.target.startswith(LEASES)} == {"/api/v1/events"}
    assert {got.method for got in api.got} == {"GET", "POST", "PUT"}


async def until_watched(api: EventsStandIn, delivering: asyncio.Task[dict[str, str]]) -> None:
    async with asyncio.timeout(cloud.PATIENCE_S):
        while not api.watches and not delivering.done():  # noqa: ASYNC110  # another process: nothing to wait on
            await asyncio.sleep(0.02)
