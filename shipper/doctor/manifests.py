"""Pods as Kubernetes manifests describe them.

A file may hold many documents, and lists of objects as `kubectl get -o yaml` prints them. Objects of other kinds are
passed over. Nothing here knows what a pod should look like: what is missing or has another type is read as empty.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import msgspec
import yaml

from .findings import Finding

SIZE_LIMIT = 2_000_000
_MERGED_KEYS_LIMIT = 10_000
_TRIPS = (ValueError, TypeError, AttributeError, LookupError, RecursionError)
"""What PyYAML lets through of text that it trips over, such as a date with a thirteenth month."""

_POD_OF: Mapping[str, tuple[str, ...]] = {
    "Pod": ("spec",),
    "DaemonSet": ("spec", "template", "spec"),
    "Deployment": ("spec", "template", "spec"),
    "StatefulSet": ("spec", "template", "spec"),
    "ReplicaSet": ("spec", "template", "spec"),
    "Job": ("spec", "template", "spec"),
    "CronJob": ("spec", "jobTemplate", "spec", "template", "spec"),
}
"""Where an object of each kind describes its pod."""

KINDS = tuple(_POD_OF)


class Pod(msgspec.Struct, frozen=True):
    """The spec of a pod; `place` names file, document and object, `claims` the volumes that a StatefulSet claims."""

    place: str
    spec: dict[str, Any]
    claims: frozenset[str] = frozenset()


def read_manifests(path: str, findings: list[Finding]) -> list[Pod]:
    """The pods of one file, in order; what cannot be read is added to `findings`."""
    try:
        with open(path, "rb") as file:
            data = file.read(SIZE_LIMIT + 1)
    except OSError as error:
        findings.append(Finding(path, f"cannot be read: {error.strerror}"))
        return []
    if len(data) > SIZE_LIMIT:
        findings.append(Finding(path, f"is not read: it is larger than {SIZE_LIMIT} bytes", "split it"))
        return []
    pods: list[Pod] = []
    try:
        for number, document in enumerate(yaml.load_all(data, _Loader), 1):
            pods += _pods_in(f"{path}, document {number}", document)
    except (yaml.YAMLError, *_TRIPS) as error:
        remedy = "a template has to be rendered first, for example with: helm template"
        findings.append(Finding(path, f"is not YAML from here on: {_in_one_line(error)}", remedy))
    return pods


def mapping(value: Any) -> dict[str, Any]:
    """The value if it is a map, else an empty one."""
    return value if isinstance(value, dict) else {}


def mappings(value: Any) -> list[dict[str, Any]]:
    """The maps of a list; none if the value is no list."""
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


class _Loader(yaml.SafeLoader):
    """Makes plain values only; merged maps cannot grow without bounds."""

    def flatten_mapping(self, node: yaml.MappingNode) -> None:
        super().flatten_mapping(node)
        if len(node.value) > _MERGED_KEYS_LIMIT:
            raise yaml.constructor.ConstructorError(
                None, None, f"a map has more than {_MERGED_KEYS_LIMIT} keys", node.start_mark
            )


def _pods_in(place: str, document: Any) -> Iterator[Pod]:
    found = mapping(document)
    if found.get("kind") == "List":
        for number, item in enumerate(mappings(found.get("items")), 1):
            yield from _pods_in(f"{place}, item {number}", {**item, "items": None})
        return
    kind = found.get("kind")
    steps = _POD_OF.get(kind) if isinstance(kind, str) else None
    if steps is None:
        return
    spec: dict[str, Any] = found
    for step in steps:
        spec = mapping(spec.get(step))
    metadata = mapping(found.get("metadata"))
    name = "/".join(str(metadata[key]) for key in ("namespace", "name") if metadata.get(key))
    templates = mappings(mapping(found.get("spec")).get("volumeClaimTemplates"))
    claims = frozenset(str(mapping(template.get("metadata")).get("name")) for template in templates)
    yield Pod(f"{place} ({kind} {name})" if name else f"{place} ({kind})", spec, claims)


def _in_one_line(error: Exception) -> str:
    """What is wrong and where, without the piece of the text that PyYAML shows."""
    if isinstance(error, yaml.MarkedYAMLError) and error.problem_mark is not None:
        return f"line {error.problem_mark.line + 1}: {error.problem}"
    return " ".join(str(error).split())
