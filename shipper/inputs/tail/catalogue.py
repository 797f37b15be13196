"""All files of a tail input: which are followed, under which path, from where, and which are finished.

Every file is known by device and inode, whatever its name. A file that is followed under one path is not followed again
under another; a file that was finished stays known while it exists, so that a glob which matches rotated names does not
read it twice.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator

import msgspec

from ...disk import Disk
from ...log import Log
from ...metrics import Counter
from .compressed import decompressed_head
from .follower import Follower
from .generation import Generation, Identity
from .opening import Opening
from .positions import HEAD_SIZE, Position, PositionStore, SavedFile, fingerprint
from .siblings import Seen, Sibling, bases_of, siblings_before, siblings_of

_COMPRESSED_HEAD_SIZE = 64 * 1024

_COPYING_NS = 2_000_000_000
"""A file that has not changed for so long is not just being copied."""


class Finished(msgspec.Struct, frozen=True):
    """A file that was read to its end and closed; it is read on only if its size or time changes."""

    saved: SavedFile
    size: int
    mtime_ns: int


class Catalogue:
    """The followers of an input and the identities of all files it knows."""

    def __init__(
        self,
        store: PositionStore,
        disk: Disk,
        opening: Opening,
        make_follower: Callable[[str], Follower | None],
        log: Log,
        closed: Counter,
        rotated: Counter,
    ) -> None:
        self._store = store
        self._disk = disk
        self._opening = opening
        self._make_follower = make_follower
        self._log = log
        self._closed, self._rotated = closed, rotated
        self._followers: dict[str, Follower] = {}
        self._known: dict[Identity, Generation] = {}
        self._finished: dict[Identity, Finished] = {}

    def __iter__(self) -> Iterator[Follower]:
        return iter(list(self._followers.values()))

    def __len__(self) -> int:
        return len(self._followers)

    def get(self, path: str) -> Follower | None:
        return self._followers.get(path)

    def found(self, path: str, state: os.stat_result) -> Follower | None:
        """Follow what the path names now; the follower if it has a new file to read."""
        identity = (state.st_dev, state.st_ino)
        if identity in self._known or self._is_finished(path, identity, state):
            return None
        if self._is_copy(path, state) or self._is_finished(path, identity, state) or identity in self._known:
            return None
        follower = self._followers.get(path)
        is_first = follower is None
        if follower is None:
            follower = self._make_follower(path)
            if follower is None:
                return None
        generation = self._opening.open(path, path)
        if generation is None:
            return None
        self._followers[path] = follower
        if is_first:
            self._add_generations_before_the_first(follower, generation)
        else:
            self._add_generations_between(follower, generation)
        self._append(follower, generation)
        if (replaced := self._opening.replaced.pop(generation.identity, None)) is not None:
            self._read_copies(follower, generation, replaced[0])
        return follower

    def check(self, follower: Follower) -> os.stat_result | None:
        """Look whether the path names another file than before, and open that; the file's state if it does not."""
        newest = follower.newest
        try:
            state = self._disk.stat(follower.path)
        except (FileNotFoundError, NotADirectoryError):
            if newest is None:
                self._forget_if_gone(follower)
            elif not newest.is_rotated:
                self._mark_rotated(newest)
            return None
        except OSError as error:
            self._log.error(f"read error, check permissions: {follower.path}", reason=error.strerror, every=60)
            return None
        if newest is None or (state.st_dev, state.st_ino) != newest.identity:
            self.found(follower.path, state)
            if newest is not None and not newest.is_rotated:
                self._mark_rotated(newest)
            return None
        if newest.is_rotated:
            self._mark_back(newest, follower.path)
        return state

    def truncated(self, follower: Follower, generation: Generation) -> None:
        """A file is about to be begun again; what it held and was not read yet is read in the copies made of it."""
        first, last = generation.first_bytes, generation.last_bytes
        if generation.source is None:
            seen = Seen(generation.offset, fingerprint(first), len(first), fingerprint(last), len(last))
            self._read_copies(follower, generation, seen if last else None)

    def finish(self, follower: Follower, generation: Generation) -> None:
        """Let go of a generation that was read to its end; it stays known while the file exists."""
        saved = generation.saved
        is_gone = self._disk.fstat(generation.fd).st_nlink == 0
        name = self._name_of(generation)
        self._close(follower, generation)
        if is_gone:
            self._store.remove(saved)
        else:
            size = generation.size if generation.source is None else generation.source.file_size
            self._finished[generation.identity] = Finished(saved, size, generation.mtime_ns)
            saved.name = name
            self._store.changed(saved)
        self._forget_if_gone(follower)

    def forget_vanished(self) -> None:
        """Drop finished files that are gone, with their rows; one that only has another name stays known."""
        names: dict[str, dict[int, str]] = {}
        for identity, finished in list(self._finished.items()):
            saved = finished.saved
            if self._is_at(saved.name, identity):
                continue
            folder = os.path.dirname(saved.name)
            if folder not in names:
                names[folder] = self._inodes_in(folder)
            name = os.path.join(folder, names[folder].get(saved.inode, ""))
            if self._is_at(name, identity):
                saved.name = name
                self._store.changed(saved)
            else:
                del self._finished[identity]
                self._store.remove(saved)

    def _forget_if_gone(self, follower: Follower) -> None:
        if not follower.generations and not os.path.lexists(follower.path):
            self._followers.pop(follower.path, None)

    def forget_stale_rows(self) -> int:
        """Drop stored rows whose file is no longer in its folder under any name; gives their number."""
        inodes: dict[str, dict[int, str]] = {}
        stale = []
        for saved in self._store.files():
            if saved.path not in self._followers and os.path.exists(saved.path):
                continue  # it came into being after the scan; the next scan needs the history of its path
            folder = os.path.dirname(os.path.realpath(saved.name))
            if folder not in inodes:
                inodes[folder] = self._inodes_in(folder)
            if saved.inode not in inodes[folder] and all(g.saved is not saved for g in self._known.values()):
                stale.append(saved)
        for saved in stale:
            self._store.remove(saved)
        return len(stale)

    def _inodes_in(self, folder: str) -> dict[int, str]:
        try:
            with os.scandir(folder) as entries:
                return {entry.inode(): entry.name for entry in entries}
        except OSError:
            return {}

    def close(self) -> None:
        for follower in self:
            for generation in list(follower.generations):
                self._close(follower, generation)

    def _append(self, follower: Follower, generation: Generation) -> None:
        previous = follower.newest
        if previous is not None and not previous.is_rotated:
            self._mark_rotated(previous)
        follower.generations.append(generation)
        self._known[generation.identity] = generation
        self._finished.pop(generation.identity, None)

    def _mark_rotated(self, generation: Generation) -> None:
        generation.is_rotated = True
        self._rotated.add()
        saved = generation.saved
        new_name = self._name_of(generation)
        self._log.info(f"inode={generation.inode} handle rotation(): {saved.name} => {new_name}")
        saved.name, saved.rotated = new_name, True
        self._store.changed(saved)

    def _mark_back(self, generation: Generation, path: str) -> None:
        """The path names a file again that it did not name for a while."""
        generation.is_rotated, generation.quiet_since = False, None
        generation.saved.name, generation.saved.rotated = path, False
        self._store.changed(generation.saved)

    def _name_of(self, generation: Generation) -> str:
        """The name of the file now, or the last one it had."""
        return os.path.realpath(f"/proc/self/fd/{generation.fd}").removesuffix(" (deleted)")

    def _add_generations_before_the_first(self, follower: Follower, first: Generation | None) -> None:
        """Files that the path named before and that were rotated while nobody was looking, oldest first.

        One that has a stored position is read on from there; one without is ours if it was changed after the last file
        was found that the path named. If none was ever found, the path is followed for the first time and its past is
        not ours.
        """
        before = {s.inode: s for s in self._store.files() if s.path == follower.path and s.id is not None}
        is_known = first is not None and first.inode in before and first.saved.head_size > 0
        last_found_ns = max((s.found_ns for s in before.values()), default=0)
        siblings = (
            siblings_of(self._disk, follower.path)
            if first is None
            else siblings_before(self._disk, follower.path, first.identity)
        )
        others = [s for s in siblings if self._is_unknown(s, first)]
        left = [(s.head, s.head_size, s.position) for s in before.values() if first is None or s is not first.saved]
        replaced = self._opening.replaced.get(first.identity) if first is not None else None
        if replaced is not None:
            left.append((replaced[0].head, replaced[0].head_size, replaced[1]))
        for other in others:
            own = before.get(other.identity[1])
            is_ours = own is not None
            if not is_ours and before and not is_known and other.is_numbered:
                is_ours = other.mtime_ns > last_found_ns
            if self._opening.lost_positions is not None and other.is_numbered and not other.is_compressed:
                is_ours = is_ours or self._opening.lost_positions.is_wanted(other.mtime_ns)
            if replaced is not None and own is None and self._holds(other.path, replaced[0]):
                self._store.add(SavedFile(other.path, follower.path, *other.identity, replaced[1]))
                is_ours, replaced = True, None
            if other.is_compressed and (own is None or own.position.text is None):
                is_ours = self._take_over_compressed(follower, other, left) or is_ours
            if is_ours:
                self._add_earlier(follower, other.path)
            else:
                follower.past[other.identity] = other.mtime_ns

    def resume_without_path(self, is_wanted: Callable[[str], bool]) -> None:
        """Read on in rotated files whose path names no file at present, as after a rotation that was just done."""
        for path in sorted({saved.path for saved in self._store.files()}):
            if path in self._followers or os.path.exists(path) or not is_wanted(path):
                continue
            follower = self._make_follower(path)
            if follower is not None:
                self._add_generations_before_the_first(follower, None)
                if follower.generations:
                    self._followers[path] = follower

    def _take_over_compressed(self, follower: Follower, other: Sibling, left: list[tuple[int, int, Position]]) -> bool:
        """Give a compressed file the position of the file it was made from; true if that is known.

        `left` are the heads and positions of files that were followed before. Their inodes tell nothing, because the
        file system gives them to new files.
        """
        try:
            fd = self._disk.open(other.path, os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            return False
        try:
            head = decompressed_head(self._disk.pread(fd, _COMPRESSED_HEAD_SIZE, 0), HEAD_SIZE)
        finally:
            self._disk.close(fd)
        for known, size, place in left:
            if size and place.text is None and fingerprint(head[:size]) == known:
                device, number = other.identity
                position = Position(0, place.ahead, place.held, 0)
                self._store.add(SavedFile(other.path, follower.path, device, number, position))
                return True
        return False

    def _add_generations_between(self, follower: Follower, newest: Generation) -> None:
        """Files that the path named since the last look and that were rotated already, oldest first."""
        for other in siblings_before(self._disk, follower.path, newest.identity):
            is_past = follower.past.get(other.identity) == other.mtime_ns
            if other.is_numbered and not other.is_compressed and not is_past and self._is_unknown(other, newest):
                self._add_earlier(follower, other.path)

    def _is_unknown(self, sibling: Sibling, newest: Generation | None) -> bool:
        return (
            (newest is None or sibling.identity != newest.identity)
            and sibling.identity not in self._known
            and sibling.identity not in self._finished
        )

    def _add_earlier(self, follower: Follower, path: str) -> None:
        generation = self._opening.open_from_head(follower.path, path)
        if generation is None:
            return
        generation.saved.name = path
        self._append(follower, generation)
        generation.is_rotated = generation.saved.rotated = True
        self._store.changed(generation.saved)
        self._log.info("file was rotated while it was not followed", file=path, offset=generation.offset)

    def _is_copy(self, path: str, state: os.stat_result) -> bool:
        """Whether the file repeats one that is followed, as copytruncate makes it; then it need not be read.

        What the copy has beyond our position there is read when the followed file is truncated.
        """
        if path in self._followers:
            return False
        for base in bases_of(path):
            follower = self._followers.get(base)
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

    def _begins_like(self, path: str, generation: Generation) -> bool:
        """Whether the head of the file, however short, is that of the generation."""
        try:
            fd = self._disk.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            return False
        try:
            head = self._disk.pread(fd, HEAD_SIZE, 0)
        finally:
            self._disk.close(fd)
        return head == self._disk.pread(generation.fd, len(head), 0)

    def _have_equal_ends(self, path: str, generation: Generation, size: int) -> bool:
        try:
            fd = self._disk.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            return False
        read = self._disk.pread
        try:
            return all(read(fd, HEAD_SIZE, at) == read(generation.fd, HEAD_SIZE, at) for at in (0, size - HEAD_SIZE))
        finally:
            self._disk.close(fd)

    def _read_copies(self, follower: Follower, generation: Generation, seen: Seen | None) -> None:
        """Find the copies of what a truncated file held, and read there what was not read yet.

        The first of them begins with what was `seen`; nothing was read of what the later ones hold, because the file
        was truncated more than once since.
        """
        for other in siblings_of(self._disk, follower.path):
            is_past = follower.past.get(other.identity) == other.mtime_ns
            if is_past or other.is_compressed or not self._is_unknown(other, generation):
                continue
            if self._store.find(*other.identity):
                continue
            if seen is not None:
                if other.size >= seen.offset and self._holds(other.path, seen):
                    self._add_copy(follower, generation, other, seen.offset)
                    seen = None
            elif other.is_numbered and not self._begins_like(other.path, generation):
                self._add_copy(follower, generation, other, 0)

    def _add_copy(self, follower: Follower, generation: Generation, other: Sibling, offset: int) -> None:
        """Read a copy from the offset on, before the file that was truncated."""
        device, number = other.identity
        saved = SavedFile(other.path, follower.path, device, number, Position(offset, offset))
        self._store.add(saved)
        if other.size == offset:
            self._finished[other.identity] = Finished(saved, other.size, other.mtime_ns)
            return
        copy = self._opening.open(follower.path, other.path)
        if copy is not None:
            copy.is_rotated = saved.rotated = True
            follower.generations.insert(follower.generations.index(generation), copy)
            self._known[copy.identity] = copy
            self._log.info("file was copied and truncated", copy=other.path, offset=offset)

    def _holds(self, path: str, seen: Seen) -> bool:
        try:
            fd = self._disk.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            return False
        try:
            return seen.is_in(self._disk, fd)
        finally:
            self._disk.close(fd)

    def _is_finished(self, path: str, identity: Identity, state: os.stat_result) -> bool:
        finished = self._finished.get(identity)
        if finished is None or (finished.size, finished.mtime_ns) != (state.st_size, state.st_mtime_ns):
            return False
        if finished.saved.name != path and not os.path.islink(path):
            finished.saved.name = path
            self._store.changed(finished.saved)
        return True

    def _is_at(self, path: str, identity: Identity) -> bool:
        try:
            state = self._disk.stat(path)
        except OSError:
            return False
        return (state.st_dev, state.st_ino) == identity

    def _close(self, follower: Follower, generation: Generation) -> None:
        self._disk.close(generation.fd)
        generation.fd = -1
        follower.generations.remove(generation)
        self._known.pop(generation.identity, None)
        self._closed.add()
