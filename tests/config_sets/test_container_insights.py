"""The set for Container Insights (config/container-insights) as its users have it: a ConfigMap with five files.

A real process reads containers, journal and host files, asks a kubelet and a metadata service, and delivers to an
emulator of CloudWatch Logs. Groups, streams and contents are those that a dashboard built on the same files expects.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec
import pytest

from tests.components.journal import FIRST_US, write_journal
from tests.components.kubernetes import KubernetesStandIn, container_status, kubernetes_stand_in, pod
from tests.components.moto_server import aws_keys, moto_url
from tests.components.shipper_process import ShipperProcess
from tests.faults.ledger import assert_balanced

from . import cloud
from .container_insights import VARIABLES, container_insights
from .imds import metadata_service
from .mounted import Pods, dotted, dry_run, mounted, remarks

__all__ = ["aws_keys", "moto_url"]

NOT_HERE = ("cannot open /var/run/secrets/kubernetes.io/serviceaccount/namespace", "no metadata of a pod")
"""What the log warns of because this is no pod, and because the kubelet does not have the pod of the shipper."""

EC2 = {"az": "us-east-1a", "ec2_instance_id": "i-0123456789abcdef0"}
WEB, OLD, PROXY, AGENT = ("a" * 64, "b" * 64, "c" * 64, "d" * 64)
NOW = datetime.now(UTC) - timedelta(seconds=60)


class Node:
    """A node with a kubelet, a journal, pods and host files, and a shipper that has the set mounted."""

    def __init__(self, folder: Path, cluster: str, api: KubernetesStandIn, moto: str, imds: str) -> None:
        self.cluster = cluster
        self.root = folder / "host"
        self.log = self.root / "var" / "log"
        self.pods = Pods(self.root)
        (self.log / "journal").mkdir()
        quick = [("Flush                     5", "Flush 0.5")]
        self.configuration = container_insights(folder, self.root, api, moto, quick)
        self.variables = {
            **VARIABLES,
            "CLUSTER_NAME": cluster,
            "AWS_EC2_METADATA_SERVICE_ENDPOINT": imds,
        }
        self.shipper = ShipperProcess(self.configuration, folder / "shipper.log", self.variables)
        self.api = api
        self._moto = moto

    def arrived(self) -> dict[tuple[str, str], list[str]]:
        """All messages by the last part of the group and by stream, which is told as if the root were `/`."""
        return {place: [text for _, text in found] for place, found in self.events().items()}

    def events(self) -> dict[tuple[str, str], list[tuple[int, str]]]:
        """As `arrived`, each message with its time in milliseconds."""
        found = cloud.events(self._moto, f"/aws/containerinsights/{self.cluster}/")
        return {
            (group.rpartition("/")[2], stream.replace(dotted(self.root), "")): events
            for (group, stream), events in found.items()
        }

    async def deliver(self, count: int) -> dict[tuple[str, str], list[str]]:
        """Run the shipper until so many messages have arrived, and end it; it finds nothing to warn of."""
        self.shipper.start()
        try:
            found: dict[tuple[str, str], list[str]] = await asyncio.to_thread(
                cloud.until, self.arrived, lambda all_: sum(map(len, all_.values())) >= count, self.shipper.end_of_log
            )
            assert_balanced(await asyncio.to_thread(self.shipper.terminate))
            assert remarks(self.shipper.log().decode(), *NOT_HERE) == []
        finally:
            self.shipper.close()
        return found


@pytest.fixture
async def node(tmp_path: Path, moto_url: str, aws_keys: None) -> AsyncIterator[Node]:
    async with kubernetes_stand_in() as api, metadata_service() as imds:
        for name, container, container_id in (("web-1", "app", WEB), ("old-1", "app", OLD)):
            api.add_pod(
                {**pod(name, "shop", f"u-{name}", labels={"app": "web"}), "status": _status(container, container_id)}
            )
        yield Node(tmp_path, f"c{time.monotonic_ns()}", api, moto_url, imds)


def _status(container: str, container_id: str) -> dict[str, object]:
    return {"podIP": "10.0.0.9", "containerStatuses": [container_status(container, container_id)]}


def stamp(seconds: int) -> str:
    return (NOW + timedelta(seconds=seconds)).strftime("%Y-%m-%dT%H:%M:%S.123456789Z")


def written_at(seconds: int) -> int:
    """The time of a stamp in milliseconds."""
    return (int(NOW.timestamp()) + seconds) * 1000 + 123


def test_the_set_is_accepted_without_a_warning(tmp_path: Path) -> None:
    configuration = mounted("container-insights", tmp_path / "etc") / "fluent-bit.conf"

    status, told = dry_run(configuration, {**VARIABLES, "CLUSTER_NAME": "c1"})

    assert (status, remarks(told)) == (0, [])


async def test_containers_journal_and_host_files_arrive_in_their_groups_and_streams(node: Node) -> None:
    pods, log = node.pods, node.log
    web = f'{stamp(0)} stdout P {{"a":\n{stamp(0)} stdout F 1}}\n{stamp(1)} stderr F plain\n'
    old = f'{{"log":"{{\\"level\\":\\"info\\"}}\\n","stream":"stdout","time":"{stamp(2)}"}}\n'
    pods.write("web-1", "shop", "app", WEB, web)
    pods.write("old-1", "shop", "app", OLD, old)
    pods.write("kube-proxy-1", "kube-system", "kube-proxy", PROXY, f"{stamp(3)} stderr F proxy\n")
    pods.write("fluent-bit-1", "amazon-cloudwatch", "fluent-bit", AGENT, f"{stamp(4)} stderr F own\n")
    (log / "dmesg").write_text("[    0.000000] Linux version 5.10\n")
    (log / "messages").write_text(f"{NOW:%b %e %H:%M:%S} ip-10 kubelet[123]: hi\n")
    (log / "secure").write_text("no syslog\n")
    first = int((NOW.timestamp() * 1e6 - FIRST_US) / 1000)
    write_journal(
        log / "journal" / "system.journal",
        {"MESSAGE": "started", "_SYSTEMD_UNIT": "kubelet.service", "_HOSTNAME": "ip-10", "PRIORITY": "6"},
        {"MESSAGE": "not asked for", "_SYSTEMD_UNIT": "sshd.service", "_HOSTNAME": "ip-10"},
        {"MESSAGE": "pulled", "_SYSTEMD_UNIT": "containerd.service", "_HOSTNAME": "ip-10", "_PID": "1"},
        first=first,
    )

    found = await node.deliver(10)

    def of_pod(name: str, container_id: str) -> dict[str, object]:
        return {
            **{"pod_name": name, "namespace_name": "shop", "pod_id": f"u-{name}", "host": "node-1"},
            **{"pod_ip": "10.0.0.9", "container_name": "app", "docker_id": container_id},
            **{"container_hash": "reg/app@sha256:ccc", "container_image": "app:2"},
        }

    unknown = {
        **{"pod_name": "fluent-bit-1", "namespace_name": "amazon-cloudwatch"},
        **{"container_name": "fluent-bit", "docker_id": AGENT},
    }
    host, containers = VARIABLES["HOST_NAME"], f"{VARIABLES['HOST_NAME']}-application.var.log.containers"
    assert {place: [msgspec.json.decode(text) for text in texts] for place, texts in found.items()} == {
        ("application", f"{containers}.web-1_shop_app-{WEB}.log"): [
            {
                **{"time": stamp(0), "stream": "stdout", "_p": "P", "log": '{"a":1}'},
                **{"log_processed": {"a": 1}, "kubernetes": of_pod("web-1", WEB)},
            },
            {"time": stamp(1), "stream": "stderr", "_p": "F", "log": "plain", "kubernetes": of_pod("web-1", WEB)},
        ],
        ("application", f"{containers}.old-1_shop_app-{OLD}.log"): [
            {
                **{"log": '{"level":"info"}\n', "stream": "stdout", "time": stamp(2)},
                **{"log_processed": {"level": "info"}, "kubernetes": of_pod("old-1", OLD)},
            }
        ],
        ("application", f"{containers}.fluent-bit-1_amazon-cloudwatch_fluent-bit-{AGENT}.log"): [
            {"time": stamp(4), "stream": "stderr", "_p": "F", "log": "own", "kubernetes": unknown}
        ],
        ("dataplane", f"{host}-dataplane.tail.var.log.containers.kube-proxy-1_kube-system_kube-proxy-{PROXY}.log"): [
            {"time": stamp(3), "stream": "stderr", "_p": "F", "log": "proxy", **EC2}
        ],
        ("dataplane", f"{host}-dataplane.systemd.kubelet.service"): [
            {"message": "started", "systemd_unit": "kubelet.service", "hostname": "ip-10", **EC2}
        ],
        ("dataplane", f"{host}-dataplane.systemd.containerd.service"): [
            {"message": "pulled", "systemd_unit": "containerd.service", "hostname": "ip-10", **EC2}
        ],
        ("host", f"{host}.host.dmesg"): [{"message": "[    0.000000] Linux version 5.10", **EC2}],
        ("host", f"{host}.host.messages"): [
            {"host": "ip-10", "ident": "kubelet", "pid": "123", "message": "hi", **EC2}
        ],
        ("host", f"{host}.host.secure"): [{"log": "no syslog", **EC2}],
    }
    assert set(node.api.targets) == {"/pods"}
    times = {place: [at for at, _ in events] for place, events in (await asyncio.to_thread(node.events)).items()}
    assert times["application", f"{containers}.web-1_shop_app-{WEB}.log"] == [written_at(0), written_at(1)]
    assert times["application", f"{containers}.old-1_shop_app-{OLD}.log"] == [written_at(2)]
    assert times["dataplane", f"{host}-dataplane.systemd.kubelet.service"] == [FIRST_US // 1000 + first]
    assert times["host", f"{host}.host.messages"] == [int(NOW.timestamp()) * 1000]


async def test_a_restart_goes_on_where_the_last_process_ended(node: Node) -> None:
    name = node.pods.write("web-1", "shop", "app", WEB, f"{stamp(0)} stdout F first\n")
    await node.deliver(1)
    with (node.log / "containers" / name).open("a") as file:
        file.write(f"{stamp(1)} stdout F second\n")

    found = await node.deliver(2)

    (texts,) = found.values()
    assert [msgspec.json.decode(text)["log"] for text in texts] == ["first", "second"]


async def test_a_host_without_the_files_of_the_host_is_no_reason_to_end(node: Node) -> None:
    node.pods.write("web-1", "shop", "app", WEB, f"{stamp(0)} stdout F alone\n")

    found = await node.deliver(1)

    assert [place[0] for place in found] == ["application"]
