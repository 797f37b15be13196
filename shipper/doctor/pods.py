"""Holds pods against what a configuration needs."""

from __future__ import annotations

import math
import posixpath
import re
from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any

import msgspec

from .findings import Finding
from .manifests import Pod, mapping, mappings
from .needs import AFTER_GRACE_S, PROCESS_MEMORY, Needs, Source, State
from .quantities import parse_quantity

DEFAULT_PERIOD_S = 30
"""The terminationGracePeriodSeconds of a pod that names none."""

_OURS = re.compile("shipper|fluent-?bit", re.IGNORECASE)
_SLEEP = re.compile(r"\bsleep\s+([0-9]+)")
_READ_ONLY_VOLUMES = ("configMap", "secret", "projected", "downwardAPI")


class _Mount(msgspec.Struct, frozen=True):
    """A volume as a container sees it; `kind` is its type in the manifest, such as `hostPath`."""

    volume: str
    kind: str
    path: str
    is_read_only: bool


class _Container(msgspec.Struct, frozen=True):
    """A container that may run us, with its mounts; `shared` are volumes that other containers mount too."""

    name: str
    spec: dict[str, Any]
    mounts: tuple[_Mount, ...]
    shared: frozenset[str]

    @property
    def is_ours(self) -> bool:
        return any(_OURS.search(word) for word in (str(self.spec.get("image", "")), *_words(self.spec)))

    def mount_at(self, path: str) -> _Mount | None:
        """The mount that a path lies in; None if that is the container's own file system."""
        place = self.absolute(path)
        holding = [mount for mount in self.mounts if _is_within(place, mount.path)]
        return max(holding, key=lambda mount: len(mount.path), default=None)

    def has_mount_below(self, path: str) -> bool:
        return any(_is_within(mount.path, self.absolute(path)) for mount in self.mounts)

    def absolute(self, path: str) -> str:
        return posixpath.normpath(posixpath.join("/", str(self.spec.get("workingDir") or "/"), path))


def check_pods(pods: Sequence[Pod], needs: Needs) -> list[Finding]:
    """Everything that is wrong with the pods that run us; if none can be told to do so, all are taken to."""
    containers = [_containers(pod) for pod in pods]
    ours = [[c for c in found if c.is_ours] for found in containers]
    if not any(ours):
        ours = containers
    findings: list[Finding] = []
    for pod, running in zip(pods, ours, strict=True):
        if running:
            findings += _check_stop(pod, running, needs.grace)
        for container in running:
            findings += _check_container(f"{pod.place}, container {container.name}", container, needs)
    return findings


def _check_container(place: str, container: _Container, needs: Needs) -> Iterator[Finding]:
    told = partial(Finding, place)
    for source in needs.sources:
        if (wrong := _wrong_with_source(container, source)) is not None:
            yield told(*wrong)
    for state in needs.states:
        if (wrong := _wrong_with_state(container, state)) is not None:
            yield told(*wrong)
    if (wrong := _wrong_with_memory(container, needs)) is not None:
        yield told(*wrong)


def _check_stop(pod: Pod, running: Sequence[_Container], grace: float) -> Iterator[Finding]:
    """Whether the kubelet waits long enough before it kills what does not end by itself."""
    given = pod.spec.get("terminationGracePeriodSeconds")
    period = DEFAULT_PERIOD_S if given is None else given
    if not isinstance(period, int) or isinstance(period, bool):
        yield Finding(pod.place, f"terminationGracePeriodSeconds {given!r} is no whole number", "write seconds")
        return
    before = max((_pre_stop_s(container) for container in running), default=0)
    period_told = f"terminationGracePeriodSeconds is {period}{' (the default)' if given is None else ''}"
    left = math.floor(period - before - AFTER_GRACE_S)
    if grace < 0:
        remedy = f"set Grace {left} in the SERVICE section" if left > 0 else "set Grace and a longer period"
        yield Finding(pod.place, f"{period_told}, but Grace {grace:g} waits without end and is killed then", remedy)
    elif grace > left:
        least = math.ceil(grace + before + AFTER_GRACE_S)
        hook = f"{before} s of preStop, " if before else ""
        message = f"{period_told}, but a stop takes up to {least}: {hook}Grace {grace:g}, {AFTER_GRACE_S:g} s to close"
        other = f", or Grace {left} in the SERVICE section" if left > 0 else ""
        yield Finding(pod.place, message, f"set terminationGracePeriodSeconds: {least}{other}")


def _wrong_with_source(container: _Container, source: Source) -> tuple[str, str] | None:
    mount = container.mount_at(source.path)
    if mount is None and source.is_pattern and container.has_mount_below(source.path):
        return None
    where = container.absolute(source.path)
    remedy = f"mount a hostPath volume with path {where} there; beside an application, a volume that both mount"
    if mount is None:
        return f"{source.told}: {where} is not mounted, so there are no files but the container's own", remedy
    if mount.kind == "emptyDir" and mount.volume not in container.shared:
        return f"{source.told}: {where} is on the emptyDir '{mount.volume}', which no other container mounts", remedy
    return None


def _wrong_with_state(container: _Container, state: State) -> tuple[str, str] | None:
    mount = container.mount_at(state.path)
    where = container.absolute(state.path)
    remedy = f"mount a hostPath or persistent volume that holds {where}"
    if mount is None:
        message = f"{state.told} {where} is in the container's own file system, which is lost when it restarts"
        return message, remedy
    if mount.kind == "emptyDir" and not _lives_as_long(container, state):
        return f"{state.told} {where} is on the emptyDir '{mount.volume}', which is lost with its pod", remedy
    if mount.is_read_only:
        return f"{state.told} {where} is on '{mount.volume}', which is mounted read-only", "mount it writable"
    return None


def _lives_as_long(container: _Container, state: State) -> bool:
    """Whether what the state is about is lost together with it: positions in files that are on an emptyDir too."""
    mounts = [container.mount_at(source.path) for source in state.sources]
    return bool(mounts) and all(mount is not None and mount.kind == "emptyDir" for mount in mounts)


def _wrong_with_memory(container: _Container, needs: Needs) -> tuple[str, str] | None:
    given = mapping(mapping(container.spec.get("resources")).get("limits")).get("memory")
    if given is None:
        return None
    limit = parse_quantity(given)
    if limit is None:
        return f"the memory limit {given!r} is no quantity", "write a number with Mi or Gi"
    if limit >= needs.memory:
        return None
    held = ", ".join(f"{name} {_megabytes(size)}" for name, size in needs.held)
    message = (
        f"the memory limit {given} is lower than {_megabytes(needs.memory)}: {_megabytes(PROCESS_MEMORY)} for the "
        f"process, and records of {held}"
    )
    return message, f"set resources.limits.memory: {math.ceil(needs.memory / 1e6)}M or more, or lower Mem_Buf_Limit"


# -- reading a pod -----------------------------------------------------------------------------------------------------


def _containers(pod: Pod) -> list[_Container]:
    """The containers that live as long as the pod; those of initContainers do if they are always restarted."""
    first = mappings(pod.spec.get("initContainers"))
    every = mappings(pod.spec.get("containers"))
    lasting = [*every, *(spec for spec in first if spec.get("restartPolicy") == "Always")]
    kinds = {str(volume.get("name")): _kind_of(volume) for volume in mappings(pod.spec.get("volumes"))}
    kinds |= dict.fromkeys(pod.claims, "persistentVolumeClaim")
    used = {id(spec): {mount.volume for mount in _mounts(spec, kinds)} for spec in (*every, *first)}
    return [
        _Container(
            str(spec.get("name", "")),
            spec,
            tuple(_mounts(spec, kinds)),
            frozenset().union(*(volumes for other, volumes in used.items() if other != id(spec))),
        )
        for spec in lasting
    ]


def _mounts(spec: dict[str, Any], kinds: dict[str, str]) -> Iterator[_Mount]:
    for mount in mappings(spec.get("volumeMounts")):
        volume = str(mount.get("name"))
        kind = kinds.get(volume, "")
        path = posixpath.normpath(posixpath.join("/", str(mount.get("mountPath", ""))))
        yield _Mount(volume, kind, path, mount.get("readOnly") is True or kind in _READ_ONLY_VOLUMES)


def _kind_of(volume: dict[str, Any]) -> str:
    """The type of a volume; one without a type is an emptyDir."""
    return next((key for key in volume if key != "name"), "emptyDir")


def _words(spec: dict[str, Any]) -> list[str]:
    """Command and arguments of a container."""
    return [str(word) for key in ("command", "args") if isinstance(spec.get(key), list) for word in spec[key]]


def _pre_stop_s(container: _Container) -> int:
    """How long the container's preStop hook sleeps, as far as its text says."""
    hook = mapping(mapping(container.spec.get("lifecycle")).get("preStop"))
    seconds = mapping(hook.get("sleep")).get("seconds")
    if isinstance(seconds, int):
        return seconds
    command = mapping(hook.get("exec")).get("command")
    found = _SLEEP.search(" ".join(map(str, command))) if isinstance(command, list) else None
    return int(found[1]) if found else 0


def _is_within(path: str, folder: str) -> bool:
    return path == folder or path.startswith(folder.rstrip("/") + "/")


def _megabytes(size: int) -> str:
    return f"{size / 1e6:g} MB"
