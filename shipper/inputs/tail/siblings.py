"""Files beside a followed one that rotation made.

Rotation puts something behind the name (`app.log.1`, `app.log-20261122.gz`) or a date before its ending
(`app-2026-11-22T07-00-00.000.log`). A number alone before the ending tells nothing: `app-1.log` may be the file of
another writer.
"""

from __future__ import annotations

import os
import re
import stat
import time
from bisect import bisect_left
from collections.abc import Callable, Set

import msgspec

from ...disk import Disk

Identity = tuple[int, int]
"""Device and inode."""

_ROTATED_SUFFIX = re.compile(r"[.-]\d[\w.:+-]*")
_DATE_BEFORE_ENDING = re.compile(r"[._-](?:\d{8}|\d{4}-\d\d|\d\d-\d\d-\d{4})[\w.:+-]*")
_DATE = re.compile(r"[._-](?:\d{8}|\d{4}-\d\d)")
_DAY = re.compile(r"(?<!\d)(\d{4})(\d\d)(\d\d)(?!\d)")
_NOT_TEXT = (".tmp", ".zip", ".xz", ".bz2", ".zst", ".lz4")
_TRIES = 5
"""Listings of a folder that may miss a file because it is renamed at that moment."""

_QUIET_NS = 2_000_000_000
"""A folder not changed for so long is not just being changed, whatever the steps of its file system's clock."""

_FOLDERS_REMEMBERED = 16

_State = tuple[int, int, int, int]
"""By which a folder, and whether anything changed in it, is known: device, inode, and two times in nanoseconds."""


Date = tuple[int, ...]

Age = tuple[Date, int, str]


class Sibling(msgspec.Struct, frozen=True):
    """A file whose name is that of the followed one with something behind it, or with a date before its ending.

    `is_numbered` says that what was put in looks like the work of a rotation: a number, a date, a time. `date` are the
    numbers of a date and time that was put in, if it can be told which of two is later. `is_followed` says that the
    file has a path of its own that is to be followed like any other.
    """

    path: str
    identity: Identity
    size: int
    mtime_ns: int
    is_numbered: bool
    is_followed: bool = False
    date: Date = ()

    @property
    def is_compressed(self) -> bool:
        return self.path.endswith(".gz")

    def age(self) -> Age:
        """What sorts siblings by age, the oldest first."""
        return self.date, self.mtime_ns, self.path

    def is_older_than(self, other: Sibling) -> bool:
        """Whether it is sure that all of it was written before the last line of the other."""
        if self.date and other.date:
            return self.date < other.date
        # The time of a compressed file may be that of its compression, long after its last line.
        return not other.is_compressed and self.mtime_ns < other.mtime_ns


class Siblings:
    """Finds siblings. What a folder holds is remembered while nothing is changed in it."""

    def __init__(self, disk: Disk, is_wanted: Callable[[str], bool]) -> None:
        self._disk = disk
        self._is_wanted = is_wanted
        self._listings: dict[str, tuple[_State, list[str]]] = {}
        self._inodes: dict[str, tuple[_State, dict[int, str]]] = {}

    def of(self, path: str) -> list[Sibling]:
        """The regular files beside what the path leads to whose names rotation may have given them, oldest first."""
        folder, name = os.path.split(os.path.realpath(path))
        stem, ending = os.path.splitext(name)
        found = []
        for entry in self._names_like(folder or ".", stem):
            if entry == name or entry.endswith(_NOT_TEXT):
                continue
            if ending and (date := _date_before_ending(entry, stem, ending)) is not None:
                found.append(self._sibling(path, os.path.join(folder, entry), True, True, date))
            elif entry.startswith(name):
                suffix = entry[len(name) :]
                is_numbered = _ROTATED_SUFFIX.fullmatch(suffix) is not None
                found.append(self._sibling(path, os.path.join(folder, entry), is_numbered, False, _date_in(suffix)))
        return sorted([sibling for sibling in found if sibling is not None], key=Sibling.age)

    def with_inodes(self, path: str, inodes: Set[int]) -> list[Sibling]:
        """The files beside what the path leads to that have these inodes, whatever their names."""
        folder = os.path.dirname(os.path.realpath(path))
        found: list[Sibling] = []
        for _ in range(_TRIES):
            there = self._names_by_inode(folder)
            wanted = inodes & there.keys()
            siblings = [self._sibling(path, os.path.join(folder, there[inode]), False, True) for inode in wanted]
            found = [sibling for sibling in siblings if sibling is not None and sibling.identity[1] in wanted]
            if len(found) == len(wanted):
                break
            del self._inodes[folder]  # one was renamed since
        return found

    def _names_by_inode(self, folder: str) -> dict[int, str]:
        """What is in a folder; listed anew if that was changed, as far as its times tell."""
        state = self._state(folder)
        known = self._inodes.pop(folder, None)
        if known is None or known[0] != state:
            known = state, inodes_in(folder)
        self._inodes[folder] = known
        if len(self._inodes) > _FOLDERS_REMEMBERED:
            del self._inodes[next(iter(self._inodes))]
        return known[1]

    def _sibling(
        self, path: str, beside: str, is_numbered: bool, may_be_followed: bool, date: Date = ()
    ) -> Sibling | None:
        try:
            state = self._disk.lstat(beside)
        except OSError:
            return None
        if not stat.S_ISREG(state.st_mode):
            return None
        identity = (state.st_dev, state.st_ino)
        is_followed = may_be_followed and self._is_followed(path, beside, identity)
        return Sibling(beside, identity, state.st_size, state.st_mtime_ns, is_numbered, is_followed, date)

    def _is_followed(self, path: str, beside: str, identity: Identity) -> bool:
        """Whether the file is found under its name, or through a link of that name where the path has its own."""
        if self._is_wanted(beside):
            return True
        as_found = os.path.join(os.path.dirname(path), os.path.basename(beside))
        return self._is_wanted(as_found) and _identity(self._disk, as_found) == identity

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


def inodes_in(folder: str) -> dict[int, str]:
    """The names in a folder by their inodes."""
    try:
        with os.scandir(folder) as entries:
            return {entry.inode(): entry.name for entry in entries}
    except OSError:
        return {}


def _date_before_ending(entry: str, stem: str, ending: str) -> Date | None:
    """The date in a name that is stem and ending with one between them, compressed or not; None if it is not."""
    plain = entry.removesuffix(".gz")
    put_in = plain[len(stem) : len(plain) - len(ending)]
    is_dated = plain.endswith(ending) and _DATE_BEFORE_ENDING.fullmatch(put_in) is not None
    return _date_in(put_in) if is_dated else None


def _date_in(put_in: str) -> Date:
    """The numbers of a date that begins with the year, and of what follows."""
    date = _DATE.search(put_in)
    if date is None:
        return ()
    return tuple(map(int, re.findall(r"\d+", _DAY.sub(r"\1-\2-\3", put_in[date.start() :]))))


def bases_of(path: str) -> list[str]:
    """The paths of which this one may be a rotated name or a copy, the longest first."""
    folder, name = os.path.split(path)
    stem, ending = os.path.splitext(name.removesuffix(".gz"))
    cuts = [m.start() for m in re.finditer(r"[._~-]", name) if m.start()]
    dates = [cut for cut in cuts if _DATE_BEFORE_ENDING.fullmatch(stem, cut)] if ending else []
    bases = [name[:cut] for cut in reversed(cuts)] + [stem[:cut] + ending for cut in dates]
    return [os.path.join(folder, base) for base in bases]
