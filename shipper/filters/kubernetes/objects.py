"""Pods and namespaces as the API tells them, as far as the filter looks at them."""

from __future__ import annotations

from typing import Any

import msgspec

_UID_OF_STATIC_POD = "kubernetes.io/config.hash"


class ObjectMeta(msgspec.Struct):
    """The metadata of any object."""

    name: str | None = None
    generateName: str | None = None
    namespace: str | None = None
    uid: str | None = None
    labels: dict[str, Any] | None = None
    annotations: dict[str, Any] | None = None
    ownerReferences: list[Any] | None = None


class ContainerEnd(msgspec.Struct):
    """How a container ended."""

    containerID: str | None = None


class ContainerState(msgspec.Struct):
    """What a container does, or did; only its end has its id."""

    terminated: ContainerEnd | None = None


class ContainerStatus(msgspec.Struct):
    """What runs, or ran, under the name of a container."""

    name: str | None = None
    image: str | None = None
    imageID: str | None = None
    containerID: str | None = None
    state: ContainerState | None = None
    lastState: ContainerState | None = None

    def ids(self) -> list[str]:
        """The ids of the container that runs, and of the one before it, as far as they are known."""
        ends = [state.terminated for state in (self.state, self.lastState) if state is not None]
        return [one for one in (self.containerID, *(end.containerID for end in ends if end is not None)) if one]


class PodSpec(msgspec.Struct):
    """What a pod should be."""

    nodeName: str | None = None


class PodStatus(msgspec.Struct):
    """What a pod is."""

    podIP: str | None = None
    containerStatuses: list[ContainerStatus] | None = None
    initContainerStatuses: list[ContainerStatus] | None = None
    ephemeralContainerStatuses: list[ContainerStatus] | None = None

    def of(self, container: str) -> ContainerStatus | None:
        """The status of the container of this name."""
        statuses = (*(self.containerStatuses or ()), *(self.initContainerStatuses or ()))
        return next((status for status in statuses if status.name == container), None)

    def container_ids(self) -> list[str]:
        """The ids of all its containers that are known, with their schemes."""
        of_debuggers = self.ephemeralContainerStatuses or ()
        statuses = (*(self.containerStatuses or ()), *(self.initContainerStatuses or ()), *of_debuggers)
        return [one for status in statuses for one in status.ids()]


class Pod(msgspec.Struct):
    """A pod."""

    metadata: ObjectMeta | None = None
    spec: PodSpec | None = None
    status: PodStatus | None = None

    def has_uid(self, uid: str) -> bool:
        """Whether the pod goes by this UID.

        The kubelet calls a static pod by a UID of its own, in the names of folders and containers as well. The API
        gives another one to its copy of that pod, and tells the kubelet's in an annotation.
        """
        meta = self.metadata
        return (
            bool(uid)
            and meta is not None
            and (meta.uid == uid or (meta.annotations or {}).get(_UID_OF_STATIC_POD) == uid)
        )


class PodList(msgspec.Struct):
    """All pods that a kubelet runs."""

    items: list[Pod] | None = None

    def named(self, namespace: str, name: str) -> list[Pod]:
        """The pods of exactly this name; for a moment there may be an old and a new one."""
        found = [(pod, pod.metadata) for pod in self.items or ()]
        return [pod for pod, meta in found if meta is not None and (meta.namespace, meta.name) == (namespace, name)]


class Namespace(msgspec.Struct):
    """A namespace."""

    metadata: ObjectMeta | None = None
