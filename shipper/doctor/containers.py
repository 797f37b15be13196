"""The containers of pods that run us, with what is mounted into them and what they may do."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator, Sequence
from typing import Any

import msgspec

from .manifests import Pod, mapping, mappings
from .quantities import parse_quantity
from .rights import Rights, rights_of

_OURS = re.compile("shipper|fluent-?bit", re.IGNORECASE)
_GIVING = re.compile(r"\b(?:chown|chmod|install)\b")
_READ_ONLY_VOLUMES = ("configMap", "secret", "projected", "downwardAPI")


class Mount(msgspec.Struct, frozen=True):
    """A volume as a container sees it; `kind` is its type in the manifest, such as `hostPath`.

    `size_limit` are the bytes above which its pod is evicted, None if there is no such limit.
    """

    volume: str
    kind: str
    path: str
    is_read_only: bool
    size_limit: int | None = None


class Container(msgspec.Struct, frozen=True):
    """A container that may run us, with its mounts and rights.

    `shared` are volumes that other containers mount too, `given` those that one of them gives to another user first.
    """

    name: str
    spec: dict[str, Any]
    mounts: tuple[Mount, ...]
    rights: Rights
    shared: frozenset[str]
    given: frozenset[str]

    @property
    def is_ours(self) -> bool:
        return any(_OURS.search(word) for word in (str(self.spec.get("image", "")), *_words(self.spec)))

    def mount_at(self, path: str) -> Mount | None:
        """The mount that a path lies in; None if that is the container's own file system."""
        place = self.absolute(path)
        holding = [mount for mount in self.mounts if _is_within(place, mount.path)]
        return max(holding, key=lambda mount: len(mount.path), default=None)

    def has_mount_below(self, path: str) -> bool:
        return any(_is_within(mount.path, self.absolute(path)) for mount in self.mounts)

    def absolute(self, path: str) -> str:
        return posixpath.normpath(posixpath.join("/", str(self.spec.get("workingDir") or "/"), path))


def running(pods: Sequence[Pod]) -> list[list[Container]]:
    """The containers of each pod that run us; if none can be told to do so, all are taken to."""
    every = [_containers_of(pod) for pod in pods]
    ours = [[container for container in found if container.is_ours] for found in every]
    return ours if any(ours) else every


def _containers_of(pod: Pod) -> list[Container]:
    """The containers that live as long as the pod; those of initContainers do if they are always restarted."""
    first = mappings(pod.spec.get("initContainers"))
    every = mappings(pod.spec.get("containers"))
    lasting = [*every, *(spec for spec in first if spec.get("restartPolicy") == "Always")]
    kinds = {str(volume.get("name")): _kind_of(volume) for volume in mappings(pod.spec.get("volumes"))}
    kinds |= dict.fromkeys(pod.claims, "persistentVolumeClaim")
    limits = {
        str(volume.get("name")): parse_quantity(mapping(volume.get("emptyDir")).get("sizeLimit"))
        for volume in mappings(pod.spec.get("volumes"))
    }
    used = {id(spec): {mount.volume for mount in _mounts(spec, kinds, limits)} for spec in (*every, *first)}
    giving = [spec for spec in first if any(_GIVING.search(word) for word in _words(spec))]
    return [
        Container(
            str(spec.get("name", "")),
            spec,
            tuple(_mounts(spec, kinds, limits)),
            rights_of(pod.spec, spec, _words(spec)),
            frozenset().union(*(volumes for other, volumes in used.items() if other != id(spec))),
            frozenset().union(*(used[id(other)] for other in giving)),
        )
        for spec in lasting
    ]


def _mounts(spec: dict[str, Any], kinds: dict[str, str], limits: dict[str, int | None]) -> Iterator[Mount]:
    for mount in mappings(spec.get("volumeMounts")):
        volume = str(mount.get("name"))
        kind = kinds.get(volume, "")
        path = posixpath.normpath(posixpath.join("/", str(mount.get("mountPath", ""))))
        is_read_only = mount.get("readOnly") is True or kind in _READ_ONLY_VOLUMES
        yield Mount(volume, kind, path, is_read_only, limits.get(volume))


def _kind_of(volume: dict[str, Any]) -> str:
    """The type of a volume; one without a type is an emptyDir."""
    return next((key for key in volume if key != "name"), "emptyDir")


def _words(spec: dict[str, Any]) -> list[str]:
    """Command and arguments of a container."""
    return [str(word) for key in ("command", "args") if isinstance(spec.get(key), list) for word in spec[key]]


def _is_within(path: str, folder: str) -> bool:
    return path == folder or path.startswith(folder.rstrip("/") + "/")
