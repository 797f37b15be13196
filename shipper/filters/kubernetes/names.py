"""Which pod and container a record is of, by its tag or by its journal field."""

from __future__ import annotations

import re
from collections.abc import Callable

import msgspec

from ...parsers.onigmo import Regex

_TAGS_REMEMBERED = 10_000
_LABEL = r"[a-z0-9]++(?:-++[a-z0-9]++)*+"
_POD = rf"{_LABEL}(?:\.{_LABEL})*+"
# Tags may be long and made by others, so no character is looked at more than a few times: what cannot end as it must is
# given up at once, and what looked like the name of a pod but is none is stepped over as a whole.
_OF_TAG = re.compile(
    rf"(?=.*-[a-z0-9]{{64}}\.log$)(?:{_POD}|[^a-z0-9\n])*?(?P<pod_name>{_POD})"
    r"_(?P<namespace_name>[^_\n]+)_(?P<container_name>.+)-(?P<docker_id>[a-z0-9]{64})\.log$"
)
_OF_JOURNAL = re.compile(
    r"[^_]+_(?P<container_name>[^\._]+)(?:\.(?P<container_hash>[^_]+))?"
    r"_(?P<pod_name>[^_]+)_(?P<namespace_name>[^_]+)_(?P<pod_uid>[^_]+)_[^_]+"
)
_KUBERNETES_NAME = re.compile(r"[a-z0-9](?:[-a-z0-9.]{0,251}[a-z0-9])?")


class Names(msgspec.Struct, frozen=True):
    """What is known of a container without asking anybody; empty where it is not known.

    It is also what metadata is remembered by: with the id of the container, or with the UID of its pod, a pod that was
    made anew under the name of another is another one.
    """

    pod_name: str = ""
    namespace_name: str = ""
    container_name: str = ""
    docker_id: str = ""
    container_hash: str = ""
    pod_uid: str = ""

    def __str__(self) -> str:
        return f"{self.namespace_name}/{self.pod_name}"

    @property
    def is_pod(self) -> bool:
        """Whether they can be those of a pod, so that they may stand in the path of a request or of a file."""
        return is_kubernetes_name(self.pod_name) and is_kubernetes_name(self.namespace_name)


def is_kubernetes_name(text: str) -> bool:
    """Whether an object of Kubernetes can be called so."""
    return _KUBERNETES_NAME.fullmatch(text) is not None


class TagReader:
    """Reads the names from tags. Only the length of the prefix counts, as in Fluent Bit.

    `remark` is told why a tag has no names; each tag is looked at once.
    """

    def __init__(self, prefix: str, regex: Regex | None, remark: Callable[[str, str], None]) -> None:
        self._skipped = len(prefix)
        self._regex = regex
        self._remark = remark
        self._known: dict[str, Names | None] = {}

    def read(self, tag: str) -> Names | None:
        """The names in a tag, None if there are none."""
        try:
            return self._known[tag]
        except KeyError:
            if len(self._known) >= _TAGS_REMEMBERED:
                self._known.clear()
            found = self._known[tag] = self._read(tag)
            return found

    def _read(self, tag: str) -> Names | None:
        if self._skipped + 1 >= len(tag):
            self._remark("the tag is not longer than kube_tag_prefix; its records stay as they are", tag)
            return None
        rest = tag[self._skipped :]
        if self._regex is None:
            built_in = _OF_TAG.match(rest)
            groups = built_in.groupdict() if built_in else None
        else:
            found = self._regex.search(rest)
            groups = self._regex.groups(found) if found else None
        if groups is None:
            self._remark("the tag does not look like a container's; its records stay as they are", tag)
            return None
        return _names(groups)


def names_in_journal(container_name: object) -> Names | None:
    """The names in the CONTAINER_NAME of a record of the journal, None if there are none."""
    found = _OF_JOURNAL.fullmatch(container_name) if isinstance(container_name, str) else None
    return _names(found.groupdict()) if found else None


def _names(groups: dict[str, str | None]) -> Names:
    return Names(**{name: groups.get(name) or "" for name in Names.__struct_fields__})
