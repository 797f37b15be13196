"""What a path named before the file that it names now.

A path that was followed in an earlier life has rows in the database. The files beside it that belong to these rows are
read on from there; files that were rotated since then have no row and are read from their beginning. If the path has no
row, it is followed for the first time, and what lies beside it is not ours, unless it was written while the path was
looked for: that is what a new writer left whose first file was rotated before anybody saw it.
"""

from __future__ import annotations

import os
from collections.abc import Sequence

import msgspec

from ...disk import Disk
from ...log import Log
from .access import read_whole
from .follower import Follower
from .generation import Generation
from .known import KnownFiles
from .matching import tells_content
from .opening import TICK_NS, Opening
from .positions import PositionStore, SavedFile
from .siblings import Sibling, Siblings

Found = tuple[Sibling, Generation]

_TRIES = 5
"""Looks at a folder in which a file vanishes under our hands, because it is being renamed or compressed."""


class Past(msgspec.Struct, frozen=True):
    """The rows of a path, those among them that tell a content, and when it was known last what is there.

    That is when the last of their files was found, or when there was none.
    """

    rows: list[SavedFile]
    proven: list[SavedFile]
    last_found_ns: int | None


class History:
    """Finds the generations of a path that were rotated while nobody was looking."""

    def __init__(
        self, store: PositionStore, disk: Disk, opening: Opening, known: KnownFiles, beside: Siblings, log: Log
    ) -> None:
        self._store = store
        self._disk = disk
        self._beside = beside
        self._opening = opening
        self._known = known
        self._log = log
        self.first_scan_ns: int | None = None
        """When the first scan began, once it is over: a path that it did not find was not there."""

    def past(self, path: str) -> Past:
        """What is known of the path before its file is opened."""
        rows = self._store.rows_of_path(path)
        found_ns = max((row.found_ns for row in rows), default=self.first_scan_ns)
        last_found_ns = None if found_ns is None else found_ns - TICK_NS
        return Past(rows, [row for row in rows if row.head_size], last_found_ns)

    def before_the_first(self, follower: Follower, first: Generation | None, past: Past) -> list[Generation]:
        """The earlier generations, oldest first; `first` is what the path names now, None if it names nothing.

        Rows of files that are no more are dropped.
        """
        found: list[Found] = []
        goes_on = first is not None and first.saved in past.proven
        last_found_ns = None if goes_on else past.last_found_ns
        siblings: list[Sibling] = []
        for _ in range(_TRIES):
            siblings = self._siblings(follower.path, first) + self._renamed(follower.path, first, past)
            if self._take(follower, siblings, found, last_found_ns):
                break
        kept = {s.identity[1] for s in siblings if s.identity not in self._known}
        if first is not None:
            for row in past.rows:
                if not row.is_taken and row.inode not in kept:
                    self._store.remove(row)
        return [generation for _, generation in sorted(found, key=lambda one: one[0].age())]

    def _siblings(self, path: str, first: Generation | None) -> list[Sibling]:
        if first is None:
            return self._beside.of(path)
        return [s for s in self._beside.before(path, first.identity) if s.identity != first.identity]

    def _renamed(self, path: str, first: Generation | None, past: Past) -> list[Sibling]:
        """The files that have the inode of a row and a name that tells nothing; their content decides."""
        waiting = {row.inode for row in past.rows if not row.is_taken and row.inode and tells_content(row)}
        if first is not None:
            waiting.discard(first.inode)
        if not waiting:
            return []
        return self._beside.with_inodes(path, waiting - {s.identity[1] for s in self._beside.of(path)})

    def _take(self, follower: Follower, siblings: list[Sibling], found: list[Found], last_found_ns: int | None) -> bool:
        """Open those that are ours; false if one vanished.

        One without a row is ours if it was changed after `last_found_ns`, and is not older than one that has a row.
        """
        names = {s.path for s in siblings}
        without_row = []
        for other in siblings:
            # What is just being compressed is read from the original, and a file with a path of its own is found there,
            # unless it is compressed: then its content tells us alone how much of it was read.
            is_original_there = other.is_compressed and other.path[:-3] in names
            is_left = is_original_there or (other.is_followed and not other.is_compressed)
            if self._known.is_unknown(other) and not is_left:
                generation = self._opening.resume(follower.path, other.path)
                if generation is not None:
                    found.append(self._add(generation, other))
                elif not other.is_followed:
                    without_row.append(other)
        opened = [sibling for sibling, _ in found]
        for other in without_row:
            generation = None
            if self._is_ours(other, last_found_ns, opened) and not self._repeats_one(other, found):
                generation = self._opening.open_from_head(follower.path, other.path)
            if generation is not None:
                found.append(self._add(generation, other))
            elif os.path.lexists(other.path):
                follower.past[other.identity] = other.mtime_ns
            else:
                return False
        return True

    def _is_ours(self, other: Sibling, last_found_ns: int | None, opened: Sequence[Sibling]) -> bool:
        if not other.is_numbered:
            return False
        lost = self._opening.lost_positions
        if lost is not None and not other.is_compressed and lost.is_wanted(other.mtime_ns):
            return True
        is_new = last_found_ns is not None and other.mtime_ns > last_found_ns
        return is_new and not (opened and all(map(other.is_older_than, opened)))

    def _repeats_one(self, other: Sibling, found: list[Found]) -> bool:
        """Whether it was made by compressing a file that is open by now."""
        if not other.is_compressed:
            return False
        head = self._known.text_head(other.path)
        originals = [one for original, one in found if f"{original.path}.gz" == other.path]
        return any(read_whole(self._disk, one.fd, len(head), 0) == head for one in originals)

    def between(self, follower: Follower, newest: Generation | None) -> list[Generation]:
        """Files that the path named since the last look and that were rotated already, oldest first."""
        found = []
        for other in self._siblings(follower.path, newest):
            is_past = follower.past.get(other.identity) == other.mtime_ns
            if (
                is_past
                or other.is_followed
                or not other.is_numbered
                or not self._known.is_new_content(follower.path, other)
            ):
                continue
            generation = self._opening.open_from_head(follower.path, other.path)
            if generation is not None:
                self._add(generation, other)
                found.append(generation)
        return found

    def _add(self, generation: Generation, other: Sibling) -> Found:
        generation.saved.name = other.path
        generation.is_rotated = generation.saved.rotated = True
        self._store.changed(generation.saved)
        self._known.add(generation)
        self._log.info("file was rotated while it was not followed", file=other.path, offset=generation.offset)
        return other, generation
