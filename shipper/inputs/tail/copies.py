"""Rotation by `copytruncate`: the file is copied and begun again, so that its content goes on in the copy.

What is known of the content (how far it was read, what is owed, what is open) moves to the copy with it, because its
bytes are at the same places there, and the file becomes a new generation.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Sequence

from ...disk import Disk
from ...log import Log
from .access import open_regular, read_whole
from .follower import Follower
from .generation import Generation
from .known import KnownFiles
from .opening import Opening
from .positions import HEAD_SIZE, PositionStore
from .siblings import Sibling, Siblings, bases_of

_COPYING_NS = 2_000_000_000
"""A file that has not changed for so long is not just being copied."""


class Copies:
    """Tells copies of followed files from files of their own, and reads on in them."""

    def __init__(
        self, store: PositionStore, disk: Disk, opening: Opening, known: KnownFiles, beside: Siblings, log: Log
    ) -> None:
        self._store = store
        self._disk = disk
        self._beside = beside
        self._opening = opening
        self._known = known
        self._log = log
        self.is_undecided = False
        """Whether a file was too short to tell, so that it has to be looked at again."""

    def is_copy(self, path: str, state: os.stat_result, follower_of: Callable[[str], Follower | None]) -> bool:
        """Whether the file repeats one that is followed; then it need not be read.

        What the copy has beyond our position there is read when the followed file is truncated.
        """
        for base in bases_of(path):
            follower = follower_of(base)
            newest = follower.newest if follower is not None else None
            if follower is None or newest is None or newest.source is not None:
                continue
            # If the followed file was truncated since the last look, this look makes the copy known.
            follower.look_at(newest)
            if state.st_size < HEAD_SIZE:
                return self._may_become_copy(path, newest, state)
            return state.st_size <= newest.size and self._have_equal_ends(path, newest, state.st_size)
        return False

    def _may_become_copy(self, path: str, generation: Generation, state: os.stat_result) -> bool:
        """Whether the file is too short to tell, and young enough to be a copy that is just being made."""
        is_young = time.time_ns() - state.st_mtime_ns < _COPYING_NS
        if is_young and self._begins_like(path, generation):
            self.is_undecided = True
            return True
        return False

    def truncated(self, follower: Follower, generation: Generation) -> bool:
        """A file is about to be begun again; true if what it held goes on in a copy, and the file as a new generation.

        The copy may have been compressed by now. What was not read of contents before is read in the copies made of
        them, oldest first.
        """
        if generation.source is not None:
            return False
        siblings = self._beside.of(follower.path)
        copies = [s for s in siblings if self._known.is_unknown(s) and not _is_past(follower, s)]
        found = self._copy_of(generation, copies) if generation.first_bytes else None
        if found is not None:
            begun = self._move(follower, generation, found)
            if begun is not None:
                self._add(follower, begun, copies[copies.index(found) + 1 :])
            return begun is not None
        if self._is_named(follower.path, generation):  # else they may be younger files, which have their own place
            self._add(follower, generation, [s for s in copies if s.mtime_ns >= generation.mtime_before_ns])
        return False

    def _is_named(self, path: str, generation: Generation) -> bool:
        try:
            state = self._disk.stat(path)
        except OSError:
            return False
        return (state.st_dev, state.st_ino) == generation.identity

    def _copy_of(self, generation: Generation, copies: Sequence[Sibling]) -> Sibling | None:
        """The copy that holds what was read, or else the youngest that holds its beginning.

        What was written while a copy was made may have been read and is not in it.
        """
        whole = next((other for other in copies if self._holds_what_was_read(other, generation)), None)
        return whole or next((o for o in reversed(copies) if self._holds_the_beginning(o, generation)), None)

    def _holds_what_was_read(self, other: Sibling, generation: Generation) -> bool:
        first, last = generation.first_bytes, generation.last_bytes
        if other.is_compressed:
            return self._known.text_head(other.path).startswith(first)
        before = generation.offset - len(last)
        return (
            other.size >= generation.offset
            and self._read(other.path, len(first), 0) == first
            and self._read(other.path, len(last), before) == last
        )

    def _holds_the_beginning(self, other: Sibling, generation: Generation) -> bool:
        first = generation.first_bytes
        is_young = other.is_numbered and other.mtime_ns >= generation.mtime_before_ns - _COPYING_NS
        return is_young and len(first) == HEAD_SIZE and self._read(other.path, HEAD_SIZE, 0) == first

    def _move(self, follower: Follower, generation: Generation, other: Sibling) -> Generation | None:
        """Let a generation go on in the copy of its file, and the file itself be a new generation."""
        try:
            fd = open_regular(self._disk, other.path)
        except OSError:
            return None
        saved = generation.saved
        begun = self._opening.begin_again(follower.path, saved.name, generation.fd)
        begun.is_rotated = begun.saved.rotated = generation.is_rotated
        state = self._disk.fstat(fd)
        saved.name, saved.device, saved.inode, saved.rotated = other.path, state.st_dev, state.st_ino, True
        self._opening.move(follower.path, generation, fd, state)
        if generation.source is not None:
            follower.convert_positions(generation)
        elif state.st_size < generation.offset:
            follower.shorten(generation, state.st_size)
        self._store.changed(saved)
        follower.generations.insert(follower.generations.index(generation) + 1, begun)
        self._known.add(begun)
        self._known.add(generation)
        self._log.info("file was copied and truncated", copy=other.path, offset=generation.offset)
        return begun

    def _add(self, follower: Follower, generation: Generation, copies: Iterable[Sibling]) -> None:
        """Read copies of contents of which nothing was read, because the file was truncated twice between two looks."""
        for other in copies:
            if not other.is_numbered or other.is_followed or self._begins_like(other.path, generation):
                continue
            if not self._known.is_new_content(follower.path, other):
                continue
            copy = self._opening.open_from_head(follower.path, other.path)
            if copy is not None:
                copy.is_rotated = copy.saved.rotated = True
                follower.generations.insert(follower.generations.index(generation), copy)
                self._known.add(copy)
                self._log.info("file was copied and truncated before it was read", copy=other.path)

    def _begins_like(self, path: str, generation: Generation) -> bool:
        """Whether the head of the file, however short, is that of the generation."""
        head = self._read(path, HEAD_SIZE, 0)
        return head is not None and head == read_whole(self._disk, generation.fd, len(head), 0)

    def _have_equal_ends(self, path: str, generation: Generation, size: int) -> bool:
        places = (0, size - HEAD_SIZE)
        return all(
            self._read(path, HEAD_SIZE, at) == read_whole(self._disk, generation.fd, HEAD_SIZE, at) for at in places
        )

    def _read(self, path: str, size: int, offset: int) -> bytes | None:
        """Some bytes of a file; None if it cannot be opened."""
        try:
            fd = open_regular(self._disk, path)
        except OSError:
            return None
        try:
            return read_whole(self._disk, fd, size, offset)
        finally:
            self._disk.close(fd)


def _is_past(follower: Follower, other: Sibling) -> bool:
    """Whether the file was there before the path was followed, and is none of ours."""
    return follower.past.get(other.identity) == other.mtime_ns
