"""Opening a file and finding out from where to read it: by its stored position, if the file is still the same one."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Container

from ...descriptors import is_lack, is_reserved, limit
from ...disk import Disk
from ...log import Log
from ...metrics import Counter
from .access import open_regular, read_whole, remedy_of
from .conversion import Conversion
from .generation import Generation, Identity
from .matching import Matching
from .positions import HEAD_SIZE, MARKER_SIZE, Position, PositionStore, SavedFile, as_converted, fingerprint
from .siblings import bases_of
from .state_loss import LostPositions

TICK_NS = 20_000_000
"""Times of files come from a clock that is this much behind at most."""

FirstOffset = Callable[[int, os.stat_result], int]
"""Where a file without a stored position begins, by its descriptor and state."""


class Start:
    """Where a file without a stored position begins."""

    def __init__(self, from_head: bool, newly_found_from_head: bool) -> None:
        self.from_head = from_head
        self._newly_found_from_head = newly_found_from_head

    def first_scan_is_over(self) -> None:
        self.from_head = self.from_head or self._newly_found_from_head


class Opening:
    """Opens the files of an input; each is given a number, by which lines remember where they came from."""

    def __init__(
        self,
        store: PositionStore,
        disk: Disk,
        start: Start,
        conversion: Conversion,
        matching: Matching,
        log: Log,
        opened: Counter,
    ) -> None:
        self.start = start
        self.lost_positions: LostPositions | None = None
        """Where files begin that the first scan finds, if positions were lost and the user has said what to do then."""
        self._unopened: set[str] = set()
        """The names that could not be opened because too many files are open."""
        self._store = store
        self._disk = disk
        self._conversion = conversion
        self._matching = matching
        self._log = log
        self._opened = opened
        self._numbers = 0
        self._passed_over: dict[Identity, SavedFile] = {}
        """The files that were too old, as they were then."""
        self._last_found_ns: dict[str, int] | None = None
        """When the paths of earlier lives named a new file last; None before a file is opened."""

    def unopened(self) -> int:
        """How many files wait to be opened because too many are open."""
        return len(self._unopened)

    def first_scan_is_over(self) -> None:
        """From now on a new file is one that was written while we were watching."""
        self.start.first_scan_is_over()
        self.lost_positions = None
        self._last_found_ns = {}

    def pass_over(self, path: str, state: os.stat_result) -> None:
        """Remember a file that is too old as it is; if it grows later, reading begins at the size that it has now."""
        identity = (state.st_dev, state.st_ino)
        if identity in self._passed_over:
            return
        seen = SavedFile(path, path, *identity, Position(state.st_size, state.st_size))
        try:
            self._remember_content(seen)
        except OSError as error:
            self.tell_unreadable(path, error)
            return
        self._passed_over[identity] = seen

    def _remember_content(self, seen: SavedFile) -> None:
        """Take note of the first bytes of a file and of those before its position."""
        fd = open_regular(self._disk, seen.path)
        try:
            end = seen.position.offset
            head = read_whole(self._disk, fd, min(HEAD_SIZE, end), 0)
            before = read_whole(self._disk, fd, min(MARKER_SIZE, end), max(0, end - MARKER_SIZE))
        finally:
            self._disk.close(fd)
        seen.head, seen.head_size = fingerprint(head), len(head)
        seen.marker, seen.marker_size = fingerprint(before), len(before)

    def forget_passed_over(self, there: Container[Identity]) -> None:
        """Forget the files that were too old and are not there any more; their inodes are given to new ones."""
        for identity in [identity for identity in self._passed_over if identity not in there]:
            del self._passed_over[identity]

    def open(self, path: str, name: str) -> Generation | None:
        """Open a file and find out from where to read it; None if that cannot be done now."""
        return self._open(path, name, lambda fd, state: self._first_offset(path, fd, state))

    def open_from_head(self, path: str, name: str) -> Generation | None:
        """As `open`, but without a stored position the file is read from its beginning, wherever new ones begin."""
        lost = self.lost_positions
        return self._open(path, name, lost.first_offset if lost is not None else lambda fd, state: 0)

    def resume(self, path: str, name: str) -> Generation | None:
        """As `open`, but None if the file has no stored position."""
        return self._open(path, name, None)

    def begin_again(self, path: str, name: str, fd: int) -> Generation:
        """A new generation for a file that is open already and was truncated; it begins at the head."""
        state = self._disk.fstat(fd)
        saved = self._new_row(path, name, state, 0)
        self._numbers += 1
        generation = Generation(self._numbers, fd, state, saved, b"")
        self.remember_head(generation)
        return generation

    def move(self, path: str, generation: Generation, fd: int, state: os.stat_result) -> None:
        """Let a generation go on in another file, which has the same text; it may be a compressed one."""
        saved = generation.saved
        generation.fd, generation.device, generation.inode = fd, state.st_dev, state.st_ino
        generation.size, generation.mtime_ns = state.st_size, state.st_mtime_ns
        generation.is_rotated, generation.quiet_since = True, None
        source = self._conversion.source_of((path, saved.name), fd, state, Position(0, generation.offset, (), 0))
        if source is not None:
            generation.source = source
            generation.size = source.text_size(generation.looked)
            generation.first_bytes = b""
            saved.head_size = saved.marker_size = 0
            saved.position = as_converted(saved.position)
            self.remember_head(generation)

    def _open(self, path: str, name: str, first_offset: FirstOffset | None) -> Generation | None:
        self._unopened.discard(name)
        if self._last_found_ns is None:
            self._last_found_ns = self._times_of_paths()
        try:
            fd = self._open_unless_reserved(name)
        except OSError as error:
            if not isinstance(error, FileNotFoundError):
                self.tell_unreadable(name, error)
            if is_lack(error):
                self._unopened.add(name)
            return None
        try:
            state = self._disk.fstat(fd)
            saved = self._matching.row_of(path, name, fd, state)
            if saved is None and first_offset is not None:
                saved = self._new_row(path, name, state, first_offset(fd, state))
            generation = None if saved is None else self._generation(path, name, fd, state, saved)
        except OSError as error:
            self._disk.close(fd)
            self.tell_unreadable(name, error)
            return None
        if generation is None:
            self._disk.close(fd)
            return None
        self._opened.add()
        return generation

    def _open_unless_reserved(self, name: str) -> int:
        fd = open_regular(self._disk, name)
        if is_reserved(fd):
            self._disk.close(fd)
            raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))
        return fd

    def _new_row(self, path: str, name: str, state: os.stat_result, offset: int) -> SavedFile:
        saved = SavedFile(name, path, state.st_dev, state.st_ino, Position(offset, offset))
        self._store.add(saved)
        return saved

    def tell_unreadable(self, name: str, error: OSError) -> None:
        if is_lack(error):
            remedy = "raise the limit of open files: ulimit -n, LimitNOFILE="
            self._log.error(
                "files cannot be opened", file=name, reason=error.strerror, limit=limit(), remedy=remedy, every=60
            )
            return
        told = f"read error, check permissions: {name}; it is tried again{remedy_of(error)}"
        self._log.warning(told, reason=error.strerror, every=60)

    def _generation(self, path: str, name: str, fd: int, state: os.stat_result, saved: SavedFile) -> Generation:
        self._numbers += 1
        source = self._conversion.source_of((path, name), fd, state, saved.position)
        last_bytes = b""
        if (source is None) is not (saved.position.text is None):
            # The offsets beyond the first mean something else now.
            saved.position = Position(saved.position.offset, saved.position.offset)
        if source is None:
            ahead = saved.position.ahead
            back = min(MARKER_SIZE, ahead)
            last_bytes = read_whole(self._disk, fd, back, ahead - back)
        generation = Generation(self._numbers, fd, state, saved, last_bytes, source)
        self.remember_head(generation)
        return generation

    def _first_offset(self, path: str, fd: int, state: os.stat_result) -> int:
        seen = self._passed_over.pop((state.st_dev, state.st_ino), None)
        if seen is not None:
            return 0 if self._matching.mistrust(seen, fd, state) else seen.position.offset
        if self.lost_positions is not None:
            return self.lost_positions.first_offset(fd, state)
        if self.start.from_head or self._store.was_lost:
            return 0
        # A path that was followed before names a new file now, or a file of before had this one's inode: all of it was
        # written after we looked last.
        is_new = self._store.rows_of_path(path) or self._store.rows_of_file(state.st_dev, state.st_ino)
        return 0 if is_new or self._was_rotated(path, state) else state.st_size

    def _was_rotated(self, path: str, state: os.stat_result) -> bool:
        """Whether the file has the name of one that was rotated while nobody looked, and the time."""
        times = self._last_found_ns or {}
        return any(base in times and state.st_mtime_ns > times[base] - TICK_NS for base in bases_of(path))

    def _times_of_paths(self) -> dict[str, int]:
        times: dict[str, int] = {}
        for row in self._store.files():
            times[row.path] = max(row.found_ns, times.get(row.path, 0))
        return times

    def remember_head(self, generation: Generation) -> bool:
        """Take note of the file's first bytes, of more of them as the file grows; true if there are more than before.

        They are what a content is known by, in its file and elsewhere, so those count that were not read yet.
        """
        known = generation.first_bytes
        if len(known) >= HEAD_SIZE or generation.fd < 0:
            return False
        head = read_whole(self._disk, generation.fd, HEAD_SIZE, 0)
        if len(head) <= len(known) or not head.startswith(known):
            return False  # if they have changed, the next look at the file will tell
        generation.first_bytes = head
        generation.saved.head, generation.saved.head_size = fingerprint(head), len(head)
        return True
