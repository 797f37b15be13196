"""Pods and namespaces as the API tells them, as far as the filter looks at them."""

from __future__ import annotations

from typing import Any

import msgspec

_UID_OF_STATIC_POD = "kubernetes.io/config.hash"


class ObjectMeta(msgspec.Struct):
    """The metadata of any object."""

    name: str | None = None
    namespace: str | None = None
    uid: str | None = None
    labels: dict[str, Any] | None = None
    annotations: dict[str, Any] | None = None
    ownerReferences: list[Any] | None = None


class ContainerStatus(msgspec.Struct):
    """What runs, or ran, under the name of a container."""

    name: str | None = None
    image: str | None = None
    imageID: str | None = None
    containerID: str | None = None


class PodSpec(msgspec.Struct):
    """What a pod should be."""

    nodeName: str | None = None


class PodStatus(msgspec.Struct):
    """What a pod is."""

    podIP: str | None = None
    containerStatuses: list[ContainerStatus] | None = None
    initContainerStatuses: list[ContainerStatus] | None = None

    def of(self, container: str) -> ContainerStatus | None:
        """The status of the container of this name."""
        statuses = (*(self.containerStatuses or ()), *(self.initContainerStatuses or ()))
        return next((status for status in statuses if status.name == container), None)


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
        return meta is not None and (meta.uid == uid or (meta.annotations or {}).get(_UID_OF_STATIC_POD) == uid)


class PodList(msgspec.Struct):
    """All pods that a kubelet runs."""

    items: list[Pod] | None = None

    def find(self, namespace: str, name: str, uid: str) -> Pod | None:
        """The pod of exactly this name; of several the one of the UID, if that is known."""
        found = None
        for pod in self.items or ():
            meta = pod.metadata
            if meta is not None and meta.name == name and meta.namespace == namespace:
                found = pod
                if uid and pod.has_uid(uid):
                    break
        return found


class Namespace(msgspec.Struct):
    """A namespace."""

    metadata: ObjectMeta | None = None
