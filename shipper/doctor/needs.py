"""What a configuration needs of the pod that it runs in."""

from __future__ import annotations

import posixpath
import re

import msgspec

from ..disk_storage import STORED_IN_MEMORY
from ..pipeline import Instance, Pipeline
from ..stopping import CLOSE_S
from ..storage import memory_limit

AFTER_GRACE_S = 3 * CLOSE_S
"""What a stop may take after Grace: inputs, filters and outputs are closed one kind after the other."""

PROCESS_MEMORY = 64_000_000
"""Memory of the process without the records that it holds."""

_GLOB = re.compile(r"[*?\[{]")
_CONTAINER_LOGS, _POD_LOGS = "/var/log/containers", "/var/log/pods"


class Source(msgspec.Struct, frozen=True):
    """Files that an input reads: what the configuration calls them, and the folder or file that has to be there.

    With `is_pattern` folders below it may do.
    """

    told: str
    path: str
    is_pattern: bool = False


class State(msgspec.Struct, frozen=True):
    """A file or folder that is written; `sources` are those that it is of no use without.

    It has to outlive the container if it `is_kept`. The records in others are read again by their inputs. The option
    `bounded_by`, if there is one, sets the most bytes of it, which are `most`; 0 is no bound.
    """

    told: str
    path: str
    sources: tuple[Source, ...] = ()
    is_kept: bool = True
    bounded_by: str = ""
    most: int = 0


class Needs(msgspec.Struct, frozen=True, kw_only=True):
    """All that a configuration needs; `held` are the bytes of records that each input may hold in memory."""

    grace: float
    sources: tuple[Source, ...] = ()
    states: tuple[State, ...] = ()
    held: tuple[tuple[str, int], ...] = ()

    @property
    def memory(self) -> int:
        """The least memory limit, in bytes."""
        return PROCESS_MEMORY + sum(size for _, size in self.held)


def needs_of(pipeline: Pipeline) -> Needs:
    """Read what is needed out of a configuration that was checked."""
    service = pipeline.service
    sources = {instance.name: _sources(instance) for instance in pipeline.inputs}
    states = [
        State(f"DB of {instance.alias}", db, sources[instance.name])
        for instance in pipeline.inputs
        if (db := getattr(instance.options, "db", None))
    ]
    if service.storage_path:
        states.append(State("storage.path", service.storage_path))
    states += [
        State(
            f"store_dir of {instance.alias}",
            instance.options.store_dir,
            is_kept=False,
            bounded_by="store_dir_limit_size",
            most=int(instance.options.store_dir_limit_size),
        )
        for instance in pipeline.outputs
        if instance.plugin == "s3"
    ]
    return Needs(
        grace=float(service.grace),
        sources=tuple(dict.fromkeys(source for found in sources.values() for source in found)),
        states=tuple(states),
        held=tuple((instance.alias, _held(instance)) for instance in pipeline.inputs),
    )


def _held(instance: Instance) -> int:
    keeps_source = bool(getattr(instance.type, "keeps_source", False))
    size = memory_limit(instance.options, keeps_source=keeps_source).size
    return min(size, STORED_IN_MEMORY) if instance.options.storage_type == "filesystem" else size


def _sources(instance: Instance) -> tuple[Source, ...]:
    """The files of a tail input; other inputs read none that a pod has to mount."""
    if instance.plugin != "tail":
        return ()
    found = []
    for path in instance.options.path:
        source = _source(f"path {path} of {instance.alias}", path)
        found.append(source)
        if _CONTAINER_LOGS in (source.path, posixpath.dirname(source.path)):
            found.append(Source(f"targets of the links in {_CONTAINER_LOGS}, for {instance.alias}", _POD_LOGS))
    return tuple(found)


def _source(told: str, pattern: str) -> Source:
    """The pattern up to the last folder before its first wildcard; all of it if it has none."""
    wildcard = _GLOB.search(pattern)
    if wildcard is None:
        return Source(told, pattern)
    return Source(told, posixpath.dirname(pattern[: wildcard.start()]) or ".", is_pattern=True)
