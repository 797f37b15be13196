"""All files of a tail input: which are followed, under which path, from where, and which are finished.

Every file is known by device and inode, whatever its name. A file that is followed under one path is not followed again
under another; a file that was finished stays known while it exists, so that a glob which matches rotated names does not
read it twice.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator

from ...disk import Disk
from ...log import Log
from ...metrics import Counter
from .conversion import Conversion
from .follower import Follower, Generation, Identity
from .positions import HEAD_SIZE, MARKER_SIZE, Position, PositionStore, SavedFile, fingerprint


class Start:
    """Where a file without a stored position begins."""

    def __init__(self, from_head: bool, newly_found_from_head: bool) -> None:
        self.from_head = from_head
        self._newly_found_from_head = newly_found_from_head

    def first_scan_is_over(self) -> None:
        self.from_head = self.from_head or self._newly_found_from_head


class Catalogue:
    """The followers of an input and the identities of all files it knows."""

    def __init__(
        self,
        store: PositionStore,
        disk: Disk,
        start: Start,
        make_follower: Callable[[str], Follower | None],
        conversion: Conversion,
        compare_names: bool,
        log: Log,
        opened: Counter,
        closed: Counter,
        rotated: Counter,
    ) -> None:
        self._store = store
        self._disk = disk
        self._start = start
        self._make_follower = make_follower
        self._conversion = conversion
        self._compare_names = compare_names
        self._log = log
        self._opened, self._closed, self._rotated = opened, closed, rotated
        self._followers: dict[str, Follower] = {}
        self._known: dict[Identity, Generation] = {}
        self._finished: dict[Identity, SavedFile] = {}
        self._numbers = 0
        self._skipped_sizes: dict[Identity, int] = {}

    def __iter__(self) -> Iterator[Follower]:
        return iter(list(self._followers.values()))

    def __len__(self) -> int:
        return len(self._followers)

    def get(self, path: str) -> Follower | None:
        return self._followers.get(path)

    def first_scan_is_over(self) -> None:
        """From now on a new file is one that was written while we were watching."""
        self._start.first_scan_is_over()

    def pass_over(self, state: os.stat_result) -> None:
        """Remember the size of a file that is too old; if it is changed later, reading begins there."""
        self._skipped_sizes.setdefault((state.st_dev, state.st_ino), state.st_size)

    def found(self, path: str, state: os.stat_result) -> Follower | None:
        """Follow what the path names now; the follower if it has a new file to read."""
        identity = (state.st_dev, state.st_ino)
        follower = self._followers.get(path)
        if identity in self._known or self._is_finished(identity, state):
            return None
        if follower is None:
            follower = self._make_follower(path)
            if follower is None:
                return None
        is_first = follower.newest is None
        generation = self._open(path, path)
        if generation is None:
            return None
        self._followers[path] = follower
        if is_first:
            self._add_earlier_generations(follower, generation)
        self._append(follower, generation)
        return follower

    def check(self, follower: Follower) -> None:
        """Look whether the path names another file than before, and open that."""
        newest = follower.newest
        try:
            state = self._disk.stat(follower.path)
        except OSError:
            if newest is not None and not newest.is_rotated:
                self._mark_rotated(newest)
            return
        if newest is None or (state.st_dev, state.st_ino) != newest.identity:
            self.found(follower.path, state)

    def finish(self, follower: Follower, generation: Generation) -> None:
        """Let go of a generation that was read to its end; it stays known while the file exists."""
        self._close(follower, generation)
        saved = generation.saved
        if self._is_at(saved.name, generation.identity):
            self._finished[generation.identity] = saved
        else:
            self._store.remove(saved)
        if not follower.generations and not os.path.lexists(follower.path):
            self._followers.pop(follower.path, None)

    def forget_vanished(self) -> None:
        """Drop finished files that are gone, with their rows."""
        for identity, saved in list(self._finished.items()):
            if not self._is_at(saved.name, identity):
                del self._finished[identity]
                self._store.remove(saved)

    def forget_stale_rows(self) -> int:
        """Drop stored rows whose file is no longer in its folder under any name; gives their number."""
        inodes: dict[str, set[int]] = {}
        stale = []
        for saved in self._store.files():
            folder = os.path.dirname(os.path.realpath(saved.name))
            if folder not in inodes:
                inodes[folder] = self._inodes_in(folder)
            if saved.inode not in inodes[folder] and all(g.saved is not saved for g in self._known.values()):
                stale.append(saved)
        for saved in stale:
            self._store.remove(saved)
        return len(stale)

    def _inodes_in(self, folder: str) -> set[int]:
        try:
            with os.scandir(folder) as entries:
                return {entry.inode() for entry in entries}
        except OSError:
            return set()

    def close(self) -> None:
        for follower in self:
            for generation in list(follower.generations):
                self._close(follower, generation)

    def _open(self, path: str, name: str) -> Generation | None:
        """Open a file and find out from where to read it; None if that cannot be done now."""
        try:
            fd = self._disk.open(name, os.O_RDONLY | os.O_CLOEXEC)
        except OSError as error:
            if not isinstance(error, FileNotFoundError):
                self._log.warning(
                    f"read error, check permissions: {name}; it is tried again", reason=error.strerror, every=60
                )
            return None
        state = self._disk.fstat(fd)
        saved = self._saved_position(path, name, fd, state)
        self._numbers += 1
        source = self._conversion.source_of((path, name), fd, state, saved.position)
        last_bytes = b""
        if (source is None) is not (saved.position.text is None):
            # The offsets beyond the first mean something else now.
            saved.position = Position(saved.position.offset, saved.position.offset)
        if source is None:
            back = min(MARKER_SIZE, saved.position.ahead)
            last_bytes = self._disk.pread(fd, back, saved.position.ahead - back)
        generation = Generation(self._numbers, fd, state, saved, last_bytes, source)
        self._opened.add()
        return generation

    def _saved_position(self, path: str, name: str, fd: int, state: os.stat_result) -> SavedFile:
        saved = self._store.find(state.st_dev, state.st_ino)
        if saved is not None and self._compare_names and os.path.basename(saved.name) != os.path.basename(name):
            self._store.remove(saved)
            saved = None
        if saved is not None:
            self._check(saved, fd, state)
            saved.device, saved.path = state.st_dev, path
            self._finished.pop((state.st_dev, state.st_ino), None)
        else:
            offset = self._first_offset(state)
            saved = SavedFile(name, path, state.st_dev, state.st_ino, Position(offset, offset))
            self._store.add(saved)
        return saved

    def _first_offset(self, state: os.stat_result) -> int:
        passed_over = self._skipped_sizes.pop((state.st_dev, state.st_ino), None)
        if passed_over is not None:
            return passed_over if state.st_size >= passed_over else 0
        return 0 if self._start.from_head or self._store.was_lost else state.st_size

    def _check(self, saved: SavedFile, fd: int, state: os.stat_result) -> None:
        """Believe a stored position only if the file is still the one it was stored for."""
        place = saved.position
        reason = ""
        if place.offset > state.st_size:
            reason = "the stored offset lies beyond its end"
        elif saved.marker_size and 0 < saved.marker_size <= place.offset:
            before = self._disk.pread(fd, saved.marker_size, place.offset - saved.marker_size)
            reason = "" if fingerprint(before) == saved.marker else "its content before the stored offset has changed"
        if not reason and saved.head_size:
            head = self._disk.pread(fd, saved.head_size, 0)
            reason = "" if fingerprint(head) == saved.head else "its first bytes have changed"
        if place.text is None and place.ahead > state.st_size:
            saved.position = Position(place.offset, place.offset)
        if reason:
            self._log.warning("file is read as a new one", file=saved.name, because=reason, offset=place.offset)
            saved.position = Position()
            saved.head_size = saved.marker_size = 0
            self._store.changed(saved)

    def _append(self, follower: Follower, generation: Generation) -> None:
        previous = follower.newest
        if previous is not None and not previous.is_rotated:
            self._mark_rotated(previous)
        follower.generations.append(generation)
        self._known[generation.identity] = generation

    def _mark_rotated(self, generation: Generation) -> None:
        generation.is_rotated = True
        self._rotated.add()
        saved = generation.saved
        new_name = os.path.realpath(f"/proc/self/fd/{generation.fd}").removesuffix(" (deleted)")
        self._log.info(f"inode={generation.inode} handle rotation(): {saved.name} => {new_name}")
        saved.name, saved.rotated = new_name, True
        self._store.changed(saved)

    def _add_earlier_generations(self, follower: Follower, newest: Generation) -> None:
        """Files that the path named before and that were rotated while nobody was looking, oldest first.

        Those are files beside the present one whose name begins with its name. One that has a stored position is read
        on from there; one without is new to us if it was changed after we last saved a position of this path. If nothing
        was ever saved for the path, it is followed for the first time and its past is not ours.
        """
        saved_before = [s for s in self._store.files() if s.path == follower.path and s is not newest.saved]
        if not saved_before and not newest.saved.seen_ns:
            return
        last_seen_ns = max([s.seen_ns for s in saved_before] + [newest.saved.seen_ns])
        known_inodes = {s.inode for s in saved_before}
        folder, name = os.path.split(os.path.realpath(follower.path))
        candidates = []
        for sibling in self._disk.listdir(folder):
            if sibling.startswith(name + ".") and not sibling.endswith((".gz", ".tmp")):
                path = os.path.join(folder, sibling)
                state = self._disk.stat(path)
                is_ours = state.st_ino in known_inodes or (
                    state.st_mtime_ns > last_seen_ns and not newest.saved.seen_ns
                )
                if is_ours and state.st_ino != newest.inode and (state.st_dev, state.st_ino) not in self._known:
                    candidates.append((state.st_mtime_ns, path))
        for _, path in sorted(candidates):
            self._add_earlier(follower, path)

    def _add_earlier(self, follower: Follower, path: str) -> None:
        from_head, self._start.from_head = self._start.from_head, True
        generation = self._open(follower.path, path)
        self._start.from_head = from_head
        if generation is None:
            return
        generation.is_rotated = generation.saved.rotated = True
        generation.saved.name = path
        follower.generations.append(generation)
        self._known[generation.identity] = generation
        self._log.info("file was rotated while it was not followed", file=path, offset=generation.offset)

    def _is_finished(self, identity: Identity, state: os.stat_result) -> bool:
        saved = self._finished.get(identity)
        return saved is not None and state.st_size <= saved.position.offset

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

    def remember_head(self, generation: Generation) -> None:
        """Keep a fingerprint of the file's first bytes, of more of them as the file grows."""
        saved = generation.saved
        read = saved.position.offset if generation.source is None else generation.source.file_end
        wanted = min(HEAD_SIZE, read)
        if wanted > saved.head_size and generation.fd >= 0:
            head = self._disk.pread(generation.fd, wanted, 0)
            if len(head) == wanted:
                saved.head, saved.head_size = fingerprint(head), wanted
