"""Opening a file and finding out from where to read it: by its stored position, if the file is still the same one."""

from __future__ import annotations

import os

from ...disk import Disk
from ...log import Log
from ...metrics import Counter
from .conversion import Conversion
from .generation import Generation, Identity
from .positions import HEAD_SIZE, MARKER_SIZE, Position, PositionStore, SavedFile, fingerprint
from .siblings import Seen
from .state_loss import LostPositions


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
        compare_names: bool,
        log: Log,
        opened: Counter,
        refused: Counter,
    ) -> None:
        self.start = start
        self.lost_positions: LostPositions | None = None
        """Where files begin that the first scan finds, if positions were lost and the user has said what to do then."""
        self.replaced: dict[Identity, tuple[Seen, Position]] = {}
        """What files held whose stored position turned out to be another content's."""
        self._store = store
        self._disk = disk
        self._conversion = conversion
        self._compare_names = compare_names
        self._log = log
        self._opened, self._refused = opened, refused
        self._numbers = 0
        self._skipped_sizes: dict[Identity, int] = {}

    def first_scan_is_over(self) -> None:
        """From now on a new file is one that was written while we were watching."""
        self.start.first_scan_is_over()
        self.lost_positions = None

    def pass_over(self, state: os.stat_result) -> None:
        """Remember the size of a file that is too old; if it is changed later, reading begins there."""
        self._skipped_sizes.setdefault((state.st_dev, state.st_ino), state.st_size)

    def open_from_head(self, path: str, name: str) -> Generation | None:
        """As `open`, but without a stored position the file is read from its beginning, whatever the options say."""
        from_head, self.start.from_head = self.start.from_head, True
        try:
            return self.open(path, name)
        finally:
            self.start.from_head = from_head

    def open(self, path: str, name: str) -> Generation | None:
        """Open a file and find out from where to read it; None if that cannot be done now."""
        try:
            fd = self._disk.open(name, os.O_RDONLY | os.O_CLOEXEC)
        except OSError as error:
            if not isinstance(error, FileNotFoundError):
                self.tell_unreadable(name, error)
            return None
        try:
            generation = self._generation(path, name, fd)
        except OSError as error:
            self._disk.close(fd)
            self.tell_unreadable(name, error)
            return None
        self._opened.add()
        return generation

    def tell_unreadable(self, name: str, error: OSError) -> None:
        self._log.warning(f"read error, check permissions: {name}; it is tried again", reason=error.strerror, every=60)

    def _generation(self, path: str, name: str, fd: int) -> Generation:
        state = self._disk.fstat(fd)
        saved = self._saved_position(path, name, fd, state)
        self._numbers += 1
        source = self._conversion.source_of((path, name), fd, state, saved.position)
        first_bytes = last_bytes = b""
        if (source is None) is not (saved.position.text is None):
            # The offsets beyond the first mean something else now.
            saved.position = Position(saved.position.offset, saved.position.offset)
        if source is None:
            ahead = saved.position.ahead
            back = min(MARKER_SIZE, ahead)
            last_bytes = self._disk.pread(fd, back, ahead - back)
            first_bytes = self._disk.pread(fd, min(HEAD_SIZE, ahead), 0)
        return Generation(self._numbers, fd, state, saved, first_bytes, last_bytes, source)

    def _saved_position(self, path: str, name: str, fd: int, state: os.stat_result) -> SavedFile:
        saved = self._store.find(state.st_dev, state.st_ino)
        if saved is not None and self._compare_names and os.path.basename(saved.name) != os.path.basename(name):
            self._store.remove(saved)
            saved = None
        if saved is not None and (why := self._mistrust(saved, fd, state)):
            self._refused.add()
            self._log.warning("file is read as a new one", file=saved.name, because=why, offset=saved.position.offset)
            if saved.path == path:
                self._begin_again(saved, state)
            else:
                # The inode went from one path's file to another's. The row still tells the history of its own path.
                saved = SavedFile(name, path, state.st_dev, state.st_ino, Position())
                self._store.add(saved)
        elif saved is not None:
            saved.device, saved.path = state.st_dev, path
        else:
            offset = self._first_offset(path, fd, state)
            saved = SavedFile(name, path, state.st_dev, state.st_ino, Position(offset, offset))
            self._store.add(saved)
        return saved

    def _first_offset(self, path: str, fd: int, state: os.stat_result) -> int:
        passed_over = self._skipped_sizes.pop((state.st_dev, state.st_ino), None)
        if passed_over is not None:
            return passed_over if state.st_size >= passed_over else 0
        if self.lost_positions is not None:
            return self.lost_positions.first_offset(fd, state)
        if self.start.from_head or self._store.was_lost:
            return 0
        # A path that was followed before names a new file now, all of which was written after we looked last.
        return 0 if any(saved.path == path for saved in self._store.files()) else state.st_size

    def _mistrust(self, saved: SavedFile, fd: int, state: os.stat_result) -> str:
        """Why a stored position is not that of this file; empty if the file is still the one it was stored for."""
        place = saved.position
        if place.offset > state.st_size:
            return "the stored offset lies beyond its end"
        if 0 < saved.marker_size <= place.offset:
            before = self._disk.pread(fd, saved.marker_size, place.offset - saved.marker_size)
            if fingerprint(before) != saved.marker:
                return "its content before the stored offset has changed"
        if saved.head_size and fingerprint(self._disk.pread(fd, saved.head_size, 0)) != saved.head:
            return "its first bytes have changed"
        if place.text is None and place.ahead > state.st_size:
            saved.position = Position(place.offset, place.offset)
        return ""

    def _begin_again(self, saved: SavedFile, state: os.stat_result) -> None:
        place = saved.position
        if saved.head_size and saved.marker_size and place.text is None:
            seen = Seen(place.offset, saved.head, saved.head_size, saved.marker, saved.marker_size)
            self.replaced[(state.st_dev, state.st_ino)] = (seen, place)
        saved.device = state.st_dev
        saved.position = Position()
        saved.head_size = saved.marker_size = 0
        self._store.changed(saved)

    def remember_head(self, generation: Generation) -> None:
        """Keep a fingerprint of the file's first bytes, of more of them as the file grows."""
        saved = generation.saved
        read = saved.position.offset if generation.source is None else generation.source.file_end
        wanted = min(HEAD_SIZE, read)
        if wanted > saved.head_size and generation.fd >= 0:
            head = self._disk.pread(generation.fd, wanted, 0)
            if len(head) == wanted:
                saved.head, saved.head_size = fingerprint(head), wanted
