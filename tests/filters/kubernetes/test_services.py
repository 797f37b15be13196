"""The services of pods, as the CloudWatch agent tells them."""

from __future__ import annotations

import asyncio
import base64
import json
from pathlib import Path
from typing import Any

import pytest

from shipper.filters.kubernetes import KubernetesOptions
from shipper.filters.kubernetes.services import Service, ServiceMap, platform_of
from shipper.testing import ManualClock, settle

from ...components.kubernetes import kubernetes_stand_in, pod
from ...written_options import options_from
from .harness import BARE, Account, batch, context, opened, through


def claims(**members: Any) -> str:
    middle = base64.urlsafe_b64encode(json.dumps(members).encode()).decode().rstrip("=")
    return f"head.{middle}.signature"


@pytest.mark.parametrize(
    ("token", "expected"),
    [
        (claims(iss="https://oidc.eks.eu-west-1.amazonaws.com/id/X"), "eks"),
        (claims(iss="https://kubernetes.default.svc"), "k8s"),
        (claims(), "k8s"),
        ("opaque", "k8s"),
        ("a.!!.c", "k8s"),
        ("a.W10.c", "k8s"),
    ],
)
def test_the_issuer_of_the_token_tells_the_platform(token: str, expected: str) -> None:
    assert platform_of(token) == expected


@pytest.mark.parametrize(
    ("owners", "expected"),
    [
        ([{"kind": "ReplicaSet", "name": "web-7d4b9cbcdf"}], "web"),
        ([{"kind": "ReplicaSet", "name": "web-aeiou"}], "web-aeiou"),
        ([{"kind": "StatefulSet", "name": "db-7d4b9cbcdf"}], "db-7d4b9cbcdf"),
        ([], "pod-1"),
        (None, "pod-1"),
        (["x"], "pod-1"),
    ],
)
def test_the_workload_is_the_owner(owners: list[Any] | None, expected: str) -> None:
    assert Service().members("pod-1", owners)["aws_entity_workload"] == expected


def told_by(folder: Path, answer: Any, more: str = "") -> tuple[ServiceMap, ManualClock]:
    (folder / "services.map").write_text(json.dumps(answer))
    clock = ManualClock()
    lines = f"AWS_Pod_Service_Preload_Cache_Dir {folder}/services\n{more}"
    return ServiceMap(options_from(KubernetesOptions, lines.strip()), context(clock), {"CLUSTER_NAME": "c1"}), clock


async def ask(services: ServiceMap, clock: ManualClock, seconds: float = 0) -> None:
    running = asyncio.ensure_future(services.run())
    await settle()
    await clock.advance(seconds)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)


@pytest.mark.parametrize(
    ("entry", "expected"),
    [
        ({"ServiceName": "s", "Environment": "e", "ServiceNameSource": "x"}, ("s", "e", "x")),
        ({"Environment": "e"}, ("", "e", "")),
        ({"ServiceNameSource": "x"}, ("", "", "")),
        ({"ServiceName": "s" * 1024, "Environment": "e"}, ("", "e", "")),
        ({"ServiceName": "s", "ServiceNameSource": "x" * 64}, ("s", "", "")),
        ({"ServiceName": 5}, ("", "", "")),
    ],
)
async def test_what_is_told_of_a_pod(tmp_path: Path, entry: Any, expected: tuple[str, str, str]) -> None:
    services, clock = told_by(tmp_path, {"web-1": entry})
    await ask(services, clock)

    found = services.of("web-1")
    assert (found.name, found.environment, found.source) == expected
    assert found.cluster == "c1"


async def test_a_failure_leaves_the_last_answer(tmp_path: Path) -> None:
    services, clock = told_by(tmp_path, {"web-1": {"ServiceName": "s"}})
    await ask(services, clock)
    (tmp_path / "services.map").write_text("no JSON")
    await ask(services, clock, 120)

    assert services.of("web-1").name == "s"


async def test_a_service_is_forgotten_after_its_time(tmp_path: Path) -> None:
    services, clock = told_by(tmp_path, {"web-1": {"ServiceName": "s"}}, "AWS_Pod_Service_Map_TTL 10")
    await ask(services, clock)
    (tmp_path / "services.map").unlink()
    await clock.advance(11)

    assert services.of("web-1").name == ""


async def test_the_map_of_a_pod_tells_its_service(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CLUSTER_NAME", "c1")
    answer = {"web-1": {"ServiceName": "shop", "Environment": "prod", "ServiceNameSource": "K8sWorkload"}}
    (tmp_path / "services.map").write_text(json.dumps(answer))
    more = (
        f"{BARE}\nAWS_Use_Pod_Association On\nSet_Platform eks\nAWS_Pod_Service_Preload_Cache_Dir {tmp_path}/services"
    )
    async with kubernetes_stand_in() as api:
        api.add_pod(pod(ownerReferences=[{"kind": "ReplicaSet", "name": "web-7d4b9cbcdf"}]))
        async with opened(Account(tmp_path).lines(api, more)) as one:
            await settle()
            found = await through(one, batch({"log": "x"}))

    assert list(found[0]["kubernetes"].items())[:9] == [
        ("pod_name", "web-1"),
        ("namespace_name", "default"),
        ("aws_entity_service_name", "shop"),
        ("aws_entity_environment", "prod"),
        ("aws_entity_name_source", "K8sWorkload"),
        ("aws_entity_platform", "eks"),
        ("aws_entity_cluster", "c1"),
        ("aws_entity_workload", "web"),
        ("pod_id", "u-1"),
    ]
