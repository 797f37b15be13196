"""The set for Container Insights as what a world runs: whole records in JSON, with metadata from a kubelet."""

from __future__ import annotations

import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec

from tests.components.generator import NAMESPACE, ContainerLog, Settings
from tests.components.kubernetes import KubernetesStandIn, container_status
from tests.components.kubernetes import pod as pod_of
from tests.config_sets.container_insights import APPLICATION_ALONE, VARIABLES, container_insights
from tests.config_sets.mounted import Replacements
from tests.faults.world import Deployment

NAMES = ("c0", "c1", "c2", "c3")
"""The containers that the generator writes if it is told nothing else."""


class _Record(msgspec.Struct):
    """What a message has to have; it may have more."""

    time: str
    stream: str
    log: str
    kubernetes: dict[str, Any]


def application_part(
    folder: Path, api: KubernetesStandIn, replacements: Replacements = (), names: Sequence[str] = NAMES
) -> Deployment:
    """The part for containers, which asks `api` as its kubelet about the pods of these containers."""
    root = folder / "host"
    maps = {name: add_pod(api, root, name) for name in names}
    decode = msgspec.json.Decoder(_Record).decode

    def write(port: int) -> Path:
        more = [*APPLICATION_ALONE, *replacements]
        return container_insights(folder, root, api, f"http://127.0.0.1:{port}", more)

    def text_of(message: str) -> str:
        try:
            record = decode(message)
        except msgspec.MsgspecError as error:
            return f"no record ({error}): {message}"
        container, _, rest = record.log.partition(":")
        if record.stream != rest.partition(":")[0]:
            return f"stream {record.stream}: {message}"
        if record.kubernetes != maps.get(container):
            return f"kubernetes {record.kubernetes}: {message}"
        return record.log

    return Deployment(root / "var" / "log", write, {**VARIABLES, "CLUSTER_NAME": "faults"}, text_of)


def add_pod(api: KubernetesStandIn, root: Path, name: str) -> dict[str, Any]:
    """Tell the kubelet of the pod that the generator writes for; gives the map that its records have to have."""
    link = ContainerLog(root, name, Settings(), random.Random()).link.stem
    pod, _, container = link.split("_")
    container_id = container.removeprefix(f"{name}-")
    status = {"podIP": "10.0.0.9", "containerStatuses": [container_status(name, container_id)]}
    api.add_pod({**pod_of(pod, NAMESPACE, f"u-{name}", labels={"app": name}), "status": status})
    return {
        **{"pod_name": pod, "namespace_name": NAMESPACE, "pod_id": f"u-{name}", "host": "node-1"},
        **{"pod_ip": "10.0.0.9", "container_name": name, "docker_id": container_id},
        **{"container_hash": "reg/app@sha256:ccc", "container_image": "app:2"},
    }
