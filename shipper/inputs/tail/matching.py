"""Which stored row is that of a file: its content decides, for names change and inodes are given to new files.

The cases, in this order:

1. A row has the file's inode, and nothing in the file speaks against it (see `mistrust`). Among several one of the same
   device comes first, then one of the same path. One of another path is copied, because it tells the history of that
   path. The number of a device may be another one after a reboot or a remount: a row of another device counts if it
   knows something of the content.
2. The path has named a file with this content, which now has another inode: it was copied and truncated, or compressed.
3. There is none.
"""

from __future__ import annotations

import os
from collections.abc import Sequence

from ...disk import Disk
from ...log import Log
from ...metrics import Counter
from .access import open_regular, read_whole
from .compressed import decompressed_head, is_compressed
from .known import COMPRESSED_HEAD_SIZE
from .positions import HEAD_SIZE, Position, PositionStore, SavedFile, as_converted, fingerprint
from .siblings import bases_of, inodes_in

_TELLING_SIZE = 32
"""A content of which fewer bytes are known may be that of any file."""


class Matching:
    """Finds the row of a file among all that are stored."""

    def __init__(self, store: PositionStore, disk: Disk, compare_names: bool, refused: Counter, log: Log) -> None:
        self._store = store
        self._disk = disk
        self._compare_names = compare_names
        self._refused = refused
        self._log = log

    def row_of(self, path: str, name: str, fd: int, state: os.stat_result) -> SavedFile | None:
        """The row of the file that is open as `fd` and has this name; None if it is a new one."""
        saved = self._row_of_inode(path, name, fd, state) or self._row_of_content(path, name, fd, state)
        if saved is None:
            return None
        place = saved.position
        if place.text is None and place.ahead > state.st_size:
            saved.position = Position(place.offset, place.offset)  # what was read beyond the offset is gone
            saved.begin_again()
            self._store.changed(saved)
        if saved.path != path and not _is_name_alone(saved):
            copied = SavedFile(name, path, state.st_dev, state.st_ino, saved.position)
            copied.head, copied.head_size = saved.head, saved.head_size
            copied.marker, copied.marker_size = saved.marker, saved.marker_size
            self._store.add(copied)
            return copied
        saved.device, saved.inode, saved.path = state.st_dev, state.st_ino, path
        return saved

    def _row_of_inode(self, path: str, name: str, fd: int, state: os.stat_result) -> SavedFile | None:
        rows = self._store.rows_of_inode(state.st_ino)
        for saved in sorted(rows, key=lambda row: (not _may_be_on(state.st_dev, row), row.path != path)):
            is_here = _may_be_on(state.st_dev, saved)
            if not is_here and not _may_have_moved(saved, path):
                continue
            if self._compare_names and os.path.basename(saved.name) != os.path.basename(name):
                if is_here:
                    self._store.remove(saved)
            elif why := self.mistrust(saved, fd, state):
                if saved.path == path or saved.device is None:
                    self._refuse(saved, why)
            else:
                return saved
        return None

    def _refuse(self, saved: SavedFile, why: str) -> None:
        self._refused.add()
        self._log.warning("file is read as a new one", file=saved.name, because=why, offset=saved.position.offset)

    def _row_of_content(self, path: str, name: str, fd: int, state: os.stat_result) -> SavedFile | None:
        rows = [row for row in self._rows_for_content(path, name) if not row.is_taken and _may_be_told(row, name)]
        if not rows or self._compare_names:
            return None
        for saved in rows:
            if not self.mistrust(saved, fd, state) and not self._has_own_file(saved, name, state):
                return saved
        if not is_compressed(name):
            return self._row_of_more_than(rows, path, name, fd, state)
        data = read_whole(self._disk, fd, COMPRESSED_HEAD_SIZE, 0)
        for saved in rows:
            is_alike = fingerprint(decompressed_head(data, saved.head_size)) == saved.head
            if saved.position.text is None and is_alike and not self._has_own_file(saved, name, state):
                saved.position = as_converted(saved.position)
                saved.head_size = saved.marker_size = 0  # those to come are of the compressed bytes
                return saved
        return None

    def _rows_for_content(self, path: str, name: str) -> list[SavedFile]:
        """The rows of the path; for a compressed file also those of a path of which this one may be a rotated name."""
        paths = [path, *bases_of(path)] if is_compressed(name) else [path]
        return [row for one in paths for row in self._store.rows_of_path(one)]

    def _row_of_more_than(
        self, rows: Sequence[SavedFile], path: str, name: str, fd: int, state: os.stat_result
    ) -> SavedFile | None:
        """The row of a content of which this file is a copy without its end, which was written while it was made."""
        longer = [row for row in rows if row.position.text is None and row.position.offset > state.st_size]
        if not longer or os.path.realpath(path) == name:
            return None
        head = fingerprint(read_whole(self._disk, fd, HEAD_SIZE, 0))
        for saved in longer:
            if saved.head_size == HEAD_SIZE and saved.head == head and not self._has_own_file(saved, name, state):
                saved.position = saved.position.cut_at(state.st_size, state.st_size)
                saved.marker_size = 0
                return saved
        return None

    def _has_own_file(self, saved: SavedFile, beside: str, state: os.stat_result) -> bool:
        """Whether the row's own file is in the folder of another; it waits for that, however much the two are alike."""
        if saved.inode == state.st_ino:
            return False  # what would be found is the file itself
        folder = os.path.dirname(os.path.realpath(beside))
        name = inodes_in(folder).get(saved.inode)
        return name is not None and self._may_be(saved, os.path.join(folder, name))

    def mistrust(self, saved: SavedFile, fd: int, state: os.stat_result) -> str:
        """Why a stored position is not that of this file; empty if the file may be the one it was stored for."""
        place = saved.position
        if place.offset > state.st_size:
            return "the stored offset lies beyond its end"
        if 0 < saved.marker_size <= place.offset:
            before = read_whole(self._disk, fd, saved.marker_size, place.offset - saved.marker_size)
            if fingerprint(before) != saved.marker:
                return "its content before the stored offset has changed"
        if saved.head_size and fingerprint(read_whole(self._disk, fd, saved.head_size, 0)) != saved.head:
            return "its first bytes have changed"
        return ""

    def forget_stale_rows(self) -> int:
        """Drop rows of files that are in their folder under no name; gives their number.

        Rows stay while the folder has something that the file may have become: its path has not been found yet, and its
        history will be asked for then.
        """
        taken = {(row.device, row.inode) for row in self._store.files() if row.is_taken}
        names: dict[str, dict[int, str]] = {}
        stale = []
        for saved in self._store.files():
            if saved.is_taken:
                continue
            folder = os.path.dirname(os.path.realpath(saved.name))
            if folder not in names:
                names[folder] = inodes_in(folder)
            base = os.path.basename(os.path.realpath(saved.path))
            name = names[folder].get(saved.inode)
            is_there = name is not None and (saved.device, saved.inode) not in taken
            if is_there and self._may_be(saved, os.path.join(folder, name or "")):
                continue
            if not any(name.startswith(base) for name in names[folder].values()):
                stale.append(saved)
        for saved in stale:
            self._store.remove(saved)
        return len(stale)

    def _may_be(self, saved: SavedFile, name: str) -> bool:
        try:
            fd = open_regular(self._disk, name)
        except OSError:
            return True
        try:
            return not self.mistrust(saved, fd, self._disk.fstat(fd))
        finally:
            self._disk.close(fd)


def _may_be_on(device: int, saved: SavedFile) -> bool:
    return saved.device in (None, device)


def _may_have_moved(saved: SavedFile, path: str) -> bool:
    """Whether a row tells enough of a content to be that of a file whose device has another number now."""
    is_told = saved.path == path and (saved.head_size or saved.marker_size)
    return not saved.is_taken and bool(is_told or saved.head_size >= _TELLING_SIZE)


def _is_name_alone(saved: SavedFile) -> bool:
    """Whether Fluent Bit wrote the row after a rotation: all it tells of the path is the name of the rotated file."""
    return saved.device is None and saved.rotated


def _may_be_told(saved: SavedFile, name: str) -> bool:
    """Whether a file of this name can be told by what is known of the row's content."""
    return saved.head_size >= _TELLING_SIZE or (saved.head_size > 0 and name == f"{saved.name}.gz")


def tells_content(saved: SavedFile) -> bool:
    """Whether so much is known of a content that a file with the row's inode can be told by it, whatever its name."""
    return saved.head_size >= _TELLING_SIZE or 0 < saved.marker_size <= saved.position.offset
