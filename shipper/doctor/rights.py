"""What a container may do with files that are not its own, by its `securityContext` and that of its pod."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import msgspec

from .manifests import mapping

IMAGE_USER = 10001
"""The user of our image, whom a manifest without `runAsUser` gets."""

_MARKED = re.compile(r"/python3-(?:reads|owns)-all$")
_WRITES, _READS = "DAC_OVERRIDE", "DAC_READ_SEARCH"


class Rights(msgspec.Struct, frozen=True):
    """The user, whether all files may be read or written, and whether the root file system is read-only."""

    user: int
    reads_all: bool
    writes_all: bool
    has_read_only_root: bool


def rights_of(pod: dict[str, Any], container: dict[str, Any], words: Sequence[str]) -> Rights:
    """The rights of a container; `words` are its command and arguments."""
    shared, own = mapping(pod.get("securityContext")), mapping(container.get("securityContext"))
    context = {**shared, **own}
    given = context.get("runAsUser")
    user = given if isinstance(given, int) else IMAGE_USER
    held = _capabilities(own)
    if user != 0 and own.get("allowPrivilegeEscalation") is False and not (words and _MARKED.search(words[0])):
        held = frozenset()  # only the first program brings a capability then, and the usual one does not
    return Rights(
        user=user,
        reads_all=user == 0 or bool(held & {_WRITES, _READS}) or _has_group(context),
        writes_all=user == 0 or _WRITES in held,
        has_read_only_root=own.get("readOnlyRootFilesystem") is True,
    )


def _capabilities(context: dict[str, Any]) -> frozenset[str]:
    """Those of the two capabilities for files that the container has; engines give the one for writing."""
    if context.get("privileged") is True:
        return frozenset({_WRITES, _READS})
    changes = mapping(context.get("capabilities"))
    dropped, added = _names(changes.get("drop")), _names(changes.get("add"))
    usual = {_WRITES} if not dropped & {"ALL", _WRITES} else set()
    return frozenset({_WRITES, _READS} if "ALL" in added else usual | (added & {_WRITES, _READS}))


def _names(value: Any) -> set[str]:
    return {str(name).upper().removeprefix("CAP_") for name in value} if isinstance(value, list) else set()


def _has_group(context: dict[str, Any]) -> bool:
    """Whether a group may read what is root's: that of root, or one that was named on purpose."""
    return 0 in (context.get("runAsGroup"), context.get("fsGroup")) or bool(context.get("supplementalGroups"))
