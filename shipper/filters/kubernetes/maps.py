"""The maps that the filter adds, each built and encoded once."""

from __future__ import annotations

from typing import Any

import msgspec

from ...codecs.json_lines import JsonEncoder
from .names import Names
from .objects import ContainerStatus, Namespace, ObjectMeta, Pod, PodSpec, PodStatus
from .options import KubernetesOptions
from .services import Service

_OF_NAMES = ("pod_name", "namespace_name", "container_name", "docker_id", "container_hash")


class MapMaker:
    """Builds and encodes maps as the options ask for them."""

    def __init__(self, options: KubernetesOptions) -> None:
        self._options = options
        self._encode = JsonEncoder(escape_unicode=False).encode

    def of_names(self, names: Names) -> msgspec.Raw:
        """The map with nothing but names."""
        return self._raw({name: text for name in _OF_NAMES if (text := getattr(names, name))})

    def of_pod(self, names: Names, pod: Pod, service: Service | None) -> msgspec.Raw:
        """The map for a container of a pod. Members that are not known are left out."""
        options = self._options
        meta, spec, status = pod.metadata or ObjectMeta(), pod.spec or PodSpec(), pod.status or PodStatus()
        container = status.of(names.container_name) or ContainerStatus()
        members: dict[str, Any] = {"pod_name": names.pod_name, "namespace_name": names.namespace_name}
        if service is not None:
            members |= service.members(names.pod_name, meta.ownerReferences)
        members |= {
            "pod_id": meta.uid,
            "labels": meta.labels if options.labels else None,
            "annotations": meta.annotations if options.annotations else None,
            "ownerReferences": meta.ownerReferences if options.owner_references else None,
            "host": spec.nodeName,
            "pod_ip": status.podIP,
            "container_name": names.container_name or None,
            "docker_id": names.docker_id or _without_scheme(container.containerID),
            "container_hash": names.container_hash or _without_scheme(container.imageID),
            "container_image": container.image,
        }
        return self._raw({key: value for key, value in members.items() if value is not None})

    def of_namespace(self, name: str, namespace: Namespace) -> msgspec.Raw:
        """The map for a namespace."""
        options, meta = self._options, namespace.metadata or ObjectMeta()
        members: dict[str, Any] = {"name": name}
        if options.namespace_labels and meta.labels is not None:
            members["labels"] = meta.labels
        if options.namespace_annotations and meta.annotations is not None:
            members["annotations"] = meta.annotations
        return self._raw(members)

    def dummy(self, text: str) -> msgspec.Raw:
        """The map of Dummy_Meta."""
        return self._raw({"dummy": text})

    def _raw(self, members: dict[str, Any]) -> msgspec.Raw:
        return msgspec.Raw(self._encode(members))


def _without_scheme(text: str | None) -> str | None:
    """An id without `scheme://`; text without any colon is none."""
    if not text or ":" not in text:
        return None
    before, _, after = text.partition(":")
    return after[2:] if before and after.startswith("//") else text
