"""Files beside a followed one that rotation made, and what tells a copy from a file of its own."""

from __future__ import annotations

import os
import re

import msgspec

from ...disk import Disk

Identity = tuple[int, int]
"""Device and inode."""

_ROTATED_SUFFIX = re.compile(r"[.-]\d[\w.:+-]*")
_STAMP = re.compile(r"\d{8}-\d{6}")
_NOT_TEXT = (".tmp", ".zip", ".xz", ".bz2", ".zst", ".lz4")
_TRIES = 5
"""Listings of a folder that may miss a file because it is renamed at that moment."""


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


def siblings_of(disk: Disk, path: str) -> list[Sibling]:
    """The regular files beside what the path leads to whose names begin with its name, oldest first."""
    folder, name = os.path.split(os.path.realpath(path))
    found = []
    for entry in _settled_listing(disk, folder or "."):
        if entry != name and entry.startswith(name) and not entry.endswith(_NOT_TEXT):
            beside = os.path.join(folder, entry)
            try:
                state = disk.lstat(beside)
            except OSError:
                continue
            is_numbered = _ROTATED_SUFFIX.fullmatch(entry, len(name)) is not None
            identity = (state.st_dev, state.st_ino)
            found.append(Sibling(beside, identity, state.st_size, state.st_mtime_ns, is_numbered))
    return sorted(found, key=Sibling.age)


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


def siblings_before(disk: Disk, path: str, newest: Identity) -> list[Sibling]:
    """The siblings that the path named before this file, oldest first; the file itself may be one of them by now.

    A rotation between opening the file and listing the folder makes siblings that are younger; they are left out, for
    the path names another file then, and they are found when that is.
    """
    siblings: list[Sibling] = []
    for _ in range(_TRIES):
        siblings = siblings_of(disk, path)
        for place, sibling in enumerate(siblings):
            if sibling.identity == newest:
                return siblings[:place] + [s for s in siblings[place + 1 :] if s.is_compressed]
        if _identity(disk, path) == newest:
            return siblings
    return siblings


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
