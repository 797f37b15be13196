"""The entity of a request: the service that wrote the events, as the kubernetes filter found it out."""

from __future__ import annotations

from typing import Any

import msgspec

from ...record import Body

_PREFIX = "aws_entity"
_PLATFORMS = {"eks": "AWS::EKS", "k8s": "K8s"}


def without_entity(body: Body) -> Body:
    """The body without the keys that only tell about the entity; the given one is not changed."""
    kept = {k: v for k, v in body.items() if not k.startswith(_PREFIX)}
    kubernetes = _map(kept.get("kubernetes"))
    if kubernetes is not None:
        kept["kubernetes"] = {k: v for k, v in kubernetes.items() if not k.startswith(_PREFIX)}
    return kept


def _map(value: Any) -> dict[str, Any] | None:
    """A map, which a filter may have added as JSON text."""
    if isinstance(value, msgspec.Raw):
        value = msgspec.json.decode(value)
    return value if isinstance(value, dict) else None


def entity_of(body: Body) -> bytes:
    """The entity as JSON text; empty if its name or account is not known."""
    found: dict[str, Any] = {**body, **(_map(body.get("kubernetes")) or {})}

    def known(name: str) -> str:
        value = found.get(f"{_PREFIX}_{name}")
        return value if isinstance(value, str) else ""

    workload, cluster, platform = known("workload"), known("cluster"), known("platform")
    namespace = known("namespace") or str(found.get("namespace_name") or "")
    name, account = known("service_name") or workload, known("account_id")
    if not name or not account:
        return b""
    environment = known("environment") or f"{platform or 'generic'}:{cluster}/{namespace}"
    attributes = {
        "PlatformType": _PLATFORMS.get(platform, "Generic"),
        "EKS.Cluster" if platform == "eks" else "K8s.Cluster": cluster,
        "K8s.Namespace": namespace,
        "K8s.Node": known("node") or str(found.get("host") or ""),
        "K8s.Workload": workload,
        "EC2.InstanceId": known("ec2_instance_id"),
        "AWS.ServiceNameSource": known("name_source") or ("" if known("service_name") else "K8sWorkload"),
    }
    key = {"Type": "Service", "Name": name, "Environment": environment, "AwsAccountId": account}
    return msgspec.json.encode({"keyAttributes": key, "attributes": {k: v for k, v in attributes.items() if v}})
