"""Files beside a followed one that rotation made, and what tells a copy from a file of its own."""

from __future__ import annotations

import os
import re
import time
from bisect import bisect_left

import msgspec

from ...disk import Disk

Identity = tuple[int, int]
"""Device and inode."""

_ROTATED_SUFFIX = re.compile(r"[.-]\d[\w.:+-]*")
_STAMP = re.compile(r"\d{8}-\d{6}")
_NOT_TEXT = (".tmp", ".zip", ".xz", ".bz2", ".zst", ".lz4")
_TRIES = 5
"""Listings of a folder that may miss a file because it is renamed at that moment."""

_QUIET_NS = 2_000_000_000
"""A folder not changed for so long is not just being changed, whatever the steps of its file system's clock."""

_FOLDERS_REMEMBERED = 16

_State = tuple[int, int, int, int]
"""By which a folder, and whether anything changed in it, is known: device, inode, and two times in nanoseconds."""


class Sibling(msgspec.Struct, frozen=True):
    """A file whose name is that of the followed one with something behind it.

    `is_numbered` says that what is behind looks like the work of a rotation: a number, a date, a time.
    """

    path: str
    identity: Identity
    size: int
    mtime_ns: int
    is_numbered: bool

    @property
    def is_compressed(self) -> bool:
        return self.path.endswith(".gz")

    def age(self) -> tuple[str, int, str]:
        """What sorts siblings by age, the oldest first."""
        # The kubelet's names tell the order; the time of a compressed file is that of its compression.
        stamp = _STAMP.search(os.path.basename(self.path))
        return (stamp[0] if stamp else "", self.mtime_ns, self.path)


class Siblings:
    """Finds siblings. What a folder holds is remembered while nothing is changed in it."""

    def __init__(self, disk: Disk) -> None:
        self._disk = disk
        self._listings: dict[str, tuple[_State, list[str]]] = {}

    def of(self, path: str) -> list[Sibling]:
        """The regular files beside what the path leads to whose names begin with its name, oldest first."""
        folder, name = os.path.split(os.path.realpath(path))
        found = []
        for entry in self._names_like(folder or ".", name):
            if entry != name and not entry.endswith(_NOT_TEXT):
                beside = os.path.join(folder, entry)
                try:
                    state = self._disk.lstat(beside)
                except OSError:
                    continue
                is_numbered = _ROTATED_SUFFIX.fullmatch(entry, len(name)) is not None
                identity = (state.st_dev, state.st_ino)
                found.append(Sibling(beside, identity, state.st_size, state.st_mtime_ns, is_numbered))
        return sorted(found, key=Sibling.age)

    def before(self, path: str, newest: Identity) -> list[Sibling]:
        """The siblings that the path named before this file, oldest first; the file itself may be one of them by now.

        A rotation between opening the file and listing the folder makes siblings that are younger; they are left out,
        for the path names another file then, and they are found when that is.
        """
        siblings: list[Sibling] = []
        for _ in range(_TRIES):
            siblings = self.of(path)
            for place, sibling in enumerate(siblings):
                if sibling.identity == newest:
                    return siblings[:place] + [s for s in siblings[place + 1 :] if s.is_compressed]
            if _identity(self._disk, path) == newest:
                return siblings
        return siblings

    def _names_like(self, folder: str, name: str) -> list[str]:
        """The names in a folder that begin with this one."""
        names = self._names(folder)
        end = start = bisect_left(names, name)
        while end < len(names) and names[end].startswith(name):
            end += 1
        return names[start:end]

    def _names(self, folder: str) -> list[str]:
        """All names in a folder, sorted. Without memory, a look at a folder of n files would list it n times."""
        state = self._state(folder)
        known = self._listings.pop(folder, None)
        if known is None or known[0] != state:
            known = state, _settled_listing(self._disk, folder)
            # A change just before the listing and one just after it can have the same time.
            is_quiet = time.time_ns() - max(state[2:]) > _QUIET_NS
            if not is_quiet or self._state(folder) != state:
                return known[1]
        self._listings[folder] = known
        if len(self._listings) > _FOLDERS_REMEMBERED:
            del self._listings[next(iter(self._listings))]
        return known[1]

    def _state(self, folder: str) -> _State:
        try:
            state = self._disk.stat(folder)
        except OSError:
            return 0, 0, 0, 0
        # The time of a change of state is there because nobody can set it back.
        return state.st_dev, state.st_ino, state.st_mtime_ns, state.st_ctime_ns


def _settled_listing(disk: Disk, folder: str) -> list[str]:
    """The names in a folder; listed until nothing changed, because a file renamed meanwhile may have been missed."""
    names: list[str] = []
    for _ in range(_TRIES):
        try:
            before, names = names, sorted(disk.listdir(folder))
        except OSError:
            return []
        if names == before:
            break
    return names


def _identity(disk: Disk, path: str) -> Identity | None:
    try:
        state = disk.stat(path)
    except OSError:
        return None
    return state.st_dev, state.st_ino


def bases_of(path: str) -> list[str]:
    """The paths of which this one may be a rotated name or a copy, the longest first."""
    folder, name = os.path.split(path)
    cuts = [m.start() for m in re.finditer(r"[.-]\d", name) if m.start()]
    return [os.path.join(folder, name[:cut]) for cut in reversed(cuts)]
