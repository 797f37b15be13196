"""Writes what an API server would answer about the pods of a corpus, as files for `kube_meta_preload_cache_dir`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec


def write_metadata(folder: Path, logs: Sequence[Path]) -> None:
    """One file for the pod of each container log, which is named `<pod>_<namespace>_<container>-<id>.log`."""
    folder.mkdir()
    for number, log in enumerate(logs):
        pod, namespace, rest = log.stem.split("_")
        container, _, container_id = rest.rpartition("-")
        answer = _pod(pod, namespace, container, container_id, number)
        (folder / f"{namespace}_{pod}.meta").write_bytes(msgspec.json.encode(answer))


def _pod(pod: str, namespace: str, container: str, container_id: str, number: int) -> dict[str, Any]:
    image = f"registry.example/{namespace}/{container}"
    return {
        "kind": "Pod",
        "apiVersion": "v1",
        "metadata": {
            "name": pod,
            "namespace": namespace,
            "uid": f"8e6ebccc-2136-4c79-80e4-{number:012x}",
            "labels": {"app": container},
        },
        "spec": {"nodeName": "ip-192-168-71-180.eu-west-1.compute.internal"},
        "status": {
            "podIP": f"192.168.{number // 250}.{number % 250 + 1}",
            "containerStatuses": [
                {
                    "name": container,
                    "image": f"{image}:1.2.3",
                    "imageID": f"{image}@sha256:{'c' * 64}",
                    "containerID": f"containerd://{container_id}",
                }
            ],
        },
    }
