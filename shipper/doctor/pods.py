"""Holds pods against what a configuration needs."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence
from functools import partial

from .containers import Container, Mount, running
from .findings import Finding
from .manifests import Pod, mapping
from .needs import AFTER_GRACE_S, PROCESS_MEMORY, Needs, Source, State
from .quantities import parse_quantity

DEFAULT_PERIOD_S = 30
"""The terminationGracePeriodSeconds of a pod that names none."""

_SLEEP = re.compile(r"\bsleep\s+([0-9]+)")


def check_pods(pods: Sequence[Pod], needs: Needs) -> list[Finding]:
    """Everything that is wrong with the pods that run us; if none can be told to do so, all are taken to."""
    findings: list[Finding] = []
    for pod, ours in zip(pods, running(pods), strict=True):
        if ours:
            findings += _check_stop(pod, ours, needs.grace)
        for container in ours:
            findings += _check_container(f"{pod.place}, container {container.name}", container, needs)
    return findings


def _check_container(place: str, container: Container, needs: Needs) -> Iterator[Finding]:
    told = partial(Finding, place)
    for source in needs.sources:
        if (wrong := _wrong_with_source(container, source)) is not None:
            yield told(*wrong)
    for state in needs.states:
        if (wrong := _wrong_with_state(container, state)) is not None:
            yield told(*wrong)
    for wrong in (_unread(container, needs), *_unwritten(container, needs), _wrong_with_memory(container, needs)):
        if wrong is not None:
            yield told(*wrong)


def _check_stop(pod: Pod, ours: Sequence[Container], grace: float) -> Iterator[Finding]:
    """Whether the kubelet waits long enough before it kills what does not end by itself."""
    given = pod.spec.get("terminationGracePeriodSeconds")
    period = DEFAULT_PERIOD_S if given is None else given
    if not isinstance(period, int) or isinstance(period, bool):
        yield Finding(pod.place, f"terminationGracePeriodSeconds {given!r} is no whole number", "write seconds")
        return
    before = max((_pre_stop_s(container) for container in ours), default=0)
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


def _wrong_with_source(container: Container, source: Source) -> tuple[str, str] | None:
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


def _wrong_with_state(container: Container, state: State) -> tuple[str, str] | None:
    mount = container.mount_at(state.path)
    where = container.absolute(state.path)
    remedy = f"mount a {'hostPath or persistent ' if state.is_kept else ''}volume that holds {where}"
    if mount is None and container.rights.has_read_only_root:
        return f"{state.told} {where} is in the container's own file system, which is read-only", remedy
    if mount is None and state.is_kept:
        message = f"{state.told} {where} is in the container's own file system, which is lost when it restarts"
        return message, remedy
    if mount is None:
        return None
    if state.is_kept and mount.kind == "emptyDir" and not _lives_as_long(container, state):
        return f"{state.told} {where} is on the emptyDir '{mount.volume}', which is lost with its pod", remedy
    if mount.is_read_only:
        return f"{state.told} {where} is on '{mount.volume}', which is mounted read-only", "mount it writable"
    limit = mount.size_limit
    if state.bounded_by and limit is not None and not 0 < state.most < limit:
        message = (
            f"{state.told} {where} may outgrow '{mount.volume}', which holds {_megabytes(limit)}; the pod is evicted "
            "then, and what is in it is lost"
        )
        return message, f"set {state.bounded_by} to less than that"
    return None


def _lives_as_long(container: Container, state: State) -> bool:
    """Whether what the state is about is lost together with it: positions in files that are on an emptyDir too."""
    mounts = [container.mount_at(source.path) for source in state.sources]
    return bool(mounts) and all(mount is not None and mount.kind == "emptyDir" for mount in mounts)


def _unread(container: Container, needs: Needs) -> tuple[str, str] | None:
    """Log files of the host, which are root's."""
    rights = container.rights
    paths = [source.path for source in needs.sources if _is_on_host(container.mount_at(source.path))]
    if rights.reads_all or not paths:
        return None
    shown = ", ".join(dict.fromkeys(map(container.absolute, paths)))
    message = f"user {rights.user} without DAC_READ_SEARCH cannot read log files of the host that are root's: {shown}"
    return message, "take over securityContext and command of config/kubernetes/node, or set runAsUser: 0"


def _unwritten(container: Container, needs: Needs) -> Iterator[tuple[str, str]]:
    """Folders of the host that are root's as far as the manifest says, each with what is to be kept there."""
    rights = container.rights
    kept: dict[str, list[str]] = {}
    for state in needs.states:
        mount = container.mount_at(state.path)
        if mount is not None and _is_on_host(mount) and not mount.is_read_only and mount.volume not in container.given:
            kept.setdefault(mount.volume, []).append(state.told)
    for volume, told in kept.items() if not rights.writes_all else ():
        message = (
            f"the hostPath '{volume}' is root's unless somebody gives it away, and user {rights.user} without "
            f"DAC_OVERRIDE cannot write to it: {', '.join(told)}"
        )
        yield message, f"let an init container do chown -R {rights.user} there, as config/kubernetes/node does"


def _is_on_host(mount: Mount | None) -> bool:
    return mount is not None and mount.kind == "hostPath"


def _wrong_with_memory(container: Container, needs: Needs) -> tuple[str, str] | None:
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


def _pre_stop_s(container: Container) -> int:
    """How long the container's preStop hook sleeps, as far as its text says."""
    hook = mapping(mapping(container.spec.get("lifecycle")).get("preStop"))
    seconds = mapping(hook.get("sleep")).get("seconds")
    if isinstance(seconds, int):
        return seconds
    command = mapping(hook.get("exec")).get("command")
    found = _SLEEP.search(" ".join(map(str, command))) if isinstance(command, list) else None
    return int(found[1]) if found else 0


def _megabytes(size: int) -> str:
    return f"{size / 1e6:g} MB"
