"""Pods, and the ConfigMaps that their variables come from, as Kubernetes manifests describe them.

A file may hold many documents, and lists of objects as `kubectl get -o yaml` prints them. Objects of other kinds are
passed over. Nothing here knows what a pod should look like: what is missing or has another type is read as empty.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
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


class Manifests(msgspec.Struct, frozen=True):
    """The pods of all files in order, and the texts of ConfigMaps by their names."""

    pods: list[Pod]
    config_maps: dict[str, dict[str, str]]


def read_manifests(paths: Sequence[str], findings: list[Finding]) -> Manifests:
    """What the files describe; what cannot be read is added to `findings`."""
    found = Manifests([], {})
    for path in paths:
        _read(path, found, findings)
    return found


def _read(path: str, found: Manifests, findings: list[Finding]) -> None:
    try:
        with open(path, "rb") as file:
            data = file.read(SIZE_LIMIT + 1)
    except OSError as error:
        findings.append(Finding(path, f"cannot be read: {error.strerror}"))
        return
    if len(data) > SIZE_LIMIT:
        findings.append(Finding(path, f"is not read: it is larger than {SIZE_LIMIT} bytes", "split it"))
        return
    try:
        for number, document in enumerate(yaml.load_all(data, _Loader), 1):
            for place, one in _objects_in(f"{path}, document {number}", document):
                found.pods.extend(_pods_in(place, one))
                found.config_maps.update(_texts_in(one))
    except (yaml.YAMLError, *_TRIPS) as error:
        remedy = "a template has to be rendered first, for example with: helm template"
        findings.append(Finding(path, f"is not YAML from here on: {_in_one_line(error)}", remedy))


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


def _objects_in(place: str, document: Any) -> Iterator[tuple[str, dict[str, Any]]]:
    """The object of a document, or those of a list, each with its place."""
    found = mapping(document)
    if found.get("kind") != "List":
        yield place, found
        return
    for number, item in enumerate(mappings(found.get("items")), 1):
        yield f"{place}, item {number}", item


def _texts_in(found: dict[str, Any]) -> Iterator[tuple[str, dict[str, str]]]:
    """Name and texts of the object if it is a ConfigMap."""
    if found.get("kind") == "ConfigMap":
        texts = mapping(found.get("data")).items()
        yield str(mapping(found.get("metadata")).get("name")), {str(key): str(text) for key, text in texts}


def _pods_in(place: str, found: dict[str, Any]) -> Iterator[Pod]:
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
