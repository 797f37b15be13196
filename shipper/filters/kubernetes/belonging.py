"""Whether a pod that was found by its name is the one that a line is of.

Names are given again: a StatefulSet makes a new `db-0` while the lines of the old one are still read. UIDs, and the ids
of containers, are not. A line that may be of another pod must have neither its labels nor its annotations.
"""

from __future__ import annotations

import re
from enum import IntEnum

from .names import Names
from .objects import ObjectMeta, Pod

_UID = re.compile(r"[0-9a-f]{8}(-?[0-9a-f]{4}){3}-?[0-9a-f]{12}")
"""A UUID, or the sum that is the UID of a static pod; without this form it is some other word in the same place."""
_CONTAINER_ID = re.compile(r"[0-9a-z]{12,}")
_MADE_UP = re.compile(r"[bcdfghjklmnpqrstvwxz2456789]{5}")
"""What the API server puts behind `generateName`; a StatefulSet puts its own numbers there."""
_LONGEST_BEGINNING = 58
"""So much of `generateName` goes into a name."""


class Belonging(IntEnum):
    """How much a pod has to do with a container; the more the higher."""

    DOUBTFUL = 0
    """It may be another pod of the same name, or it is too early: the id of a container is told after its start."""
    POD = 1
    """It is the pod, but it does not tell of this container, or not any more."""
    CONTAINER = 2
    """The container is one of its own, or nothing is known by which it could be told from another."""


def belonging(names: Names, pod: Pod) -> Belonging:
    """What the pod says of the container that has these names."""
    meta, status = pod.metadata, pod.status
    if meta is None or meta.uid is None or status is None:
        return Belonging.CONTAINER  # an API server tells more than that, so nothing can be concluded
    if pod.has_uid(names.pod_uid):
        container = status.of(names.container_name)
        return Belonging.CONTAINER if container is not None and container.containerID else Belonging.POD
    if _UID.fullmatch(names.pod_uid):
        return Belonging.DOUBTFUL
    if not _CONTAINER_ID.fullmatch(names.docker_id):
        return Belonging.CONTAINER
    if any(one.rpartition("/")[2].startswith(names.docker_id) for one in status.container_ids()):
        return Belonging.CONTAINER
    return Belonging.POD if _has_name_of_its_own(meta) else Belonging.DOUBTFUL


def _has_name_of_its_own(meta: ObjectMeta) -> bool:
    """Whether the API server made the name up, so that no other pod has ever had it."""
    name, beginning = meta.name or "", (meta.generateName or "")[:_LONGEST_BEGINNING]
    return bool(beginning) and name[:-5] == beginning and _MADE_UP.fullmatch(name[-5:]) is not None
