"""The files that an input knows by device and inode, whatever their names: those it has open and those it finished."""

from __future__ import annotations

import os

import msgspec

from ...disk import Disk
from .access import open_regular, read_whole
from .compressed import decompressed_head
from .generation import Generation, Identity
from .positions import HEAD_SIZE, Position, PositionStore, SavedFile, fingerprint
from .siblings import Sibling, inodes_in

COMPRESSED_HEAD_SIZE = 64 * 1024
"""So much of a compressed file is sure to have the first bytes of its text."""


class Finished(msgspec.Struct, frozen=True):
    """A file that was read to its end and closed; it is read on only if its size or time changes."""

    saved: SavedFile
    size: int
    mtime_ns: int


class KnownFiles:
    """The open generations and the finished files, and the rows that belong to them."""

    def __init__(self, store: PositionStore, disk: Disk) -> None:
        self._store = store
        self._disk = disk
        self._open: dict[Identity, Generation] = {}
        self._finished: dict[Identity, Finished] = {}

    def __contains__(self, identity: Identity) -> bool:
        return identity in self._open

    def add(self, generation: Generation) -> None:
        """Know a generation by the identity that it has now."""
        identity = generation.identity
        self._open[identity] = generation
        finished = self._finished.pop(identity, None)
        if finished is not None and finished.saved is not generation.saved:
            self._store.remove(finished.saved)

    def close(self, generation: Generation) -> None:
        self._disk.close(generation.fd)
        generation.fd = -1
        if self._open.get(generation.identity) is generation:
            del self._open[generation.identity]

    def finish(self, generation: Generation) -> None:
        """Close a file that was read to its end; it stays known while it exists."""
        saved = generation.saved
        is_gone = self._disk.fstat(generation.fd).st_nlink == 0
        name = name_of(generation)
        self.close(generation)
        saved.name = name
        if is_gone:
            self._forget(saved)
            return
        size = generation.size if generation.source is None else generation.source.file_size
        self._finished[generation.identity] = Finished(saved, size, generation.mtime_ns)
        self._store.changed(saved)

    def is_finished(self, path: str, state: os.stat_result) -> bool:
        """Whether what the path names was finished and has not changed since; the path is its name then."""
        finished = self._finished.get((state.st_dev, state.st_ino))
        if finished is None or (finished.size, finished.mtime_ns) != (state.st_size, state.st_mtime_ns):
            return False
        if finished.saved.name != path and not os.path.islink(path):
            finished.saved.name = path
            self._store.changed(finished.saved)
        return True

    def is_unknown(self, sibling: Sibling) -> bool:
        """Whether nothing is known of the file; a finished one that has changed may be a new one with its inode."""
        finished = self._finished.get(sibling.identity)
        is_finished = finished is not None and (finished.size, finished.mtime_ns) == (sibling.size, sibling.mtime_ns)
        return sibling.identity not in self._open and not is_finished

    def is_new_content(self, path: str, other: Sibling) -> bool:
        """Whether a file beside a path has text that no file of the path had, as far as its first bytes tell."""
        if not self.is_unknown(other):
            return False
        if not other.is_compressed:
            return True
        head = self.text_head(other.path)
        rows = (row for row in self._store.rows_of_path(path) if row.head_size and row.position.text is None)
        return bool(head) and all(fingerprint(head[: row.head_size]) != row.head for row in rows)

    def forget_vanished(self) -> None:
        """Drop finished files that are gone, with their rows; one that only has another name stays known."""
        names: dict[str, dict[int, str]] = {}
        for identity, finished in list(self._finished.items()):
            saved = finished.saved
            if self._is_at(saved.name, identity):
                continue
            folder = os.path.dirname(saved.name)
            if folder not in names:
                names[folder] = inodes_in(folder)
            name = os.path.join(folder, names[folder].get(identity[1], ""))
            if self._is_at(name, identity):
                saved.name = name
                self._store.changed(saved)
            else:
                del self._finished[identity]
                self._forget(saved)

    def _forget(self, saved: SavedFile) -> None:
        """Drop the row of a finished file that is gone; if it was compressed, the compressed file is finished too."""
        self._store.remove(saved)
        if saved.position.text is not None or not saved.head_size:
            return
        name = f"{saved.name}.gz"
        try:
            fd = open_regular(self._disk, name)
        except OSError:
            return
        try:
            state, data = self._disk.fstat(fd), read_whole(self._disk, fd, COMPRESSED_HEAD_SIZE, 0)
        finally:
            self._disk.close(fd)
        if fingerprint(decompressed_head(data, saved.head_size)) != saved.head:
            return
        row = SavedFile(name, saved.path, state.st_dev, state.st_ino, Position(0, saved.position.ahead, (), 0))
        head = data[:HEAD_SIZE]
        row.rotated, row.is_taken, row.head, row.head_size = True, True, fingerprint(head), len(head)
        self._store.add(row)
        self._finished[(state.st_dev, state.st_ino)] = Finished(row, state.st_size, state.st_mtime_ns)

    def text_head(self, name: str) -> bytes:
        """The first bytes of the text of a compressed file; empty if it cannot be read."""
        try:
            fd = open_regular(self._disk, name)
        except OSError:
            return b""
        try:
            return decompressed_head(read_whole(self._disk, fd, COMPRESSED_HEAD_SIZE, 0), HEAD_SIZE)
        finally:
            self._disk.close(fd)

    def _is_at(self, path: str, identity: Identity) -> bool:
        try:
            state = self._disk.stat(path)
        except OSError:
            return False
        return (state.st_dev, state.st_ino) == identity


def name_of(generation: Generation) -> str:
    """The name of the file now, or the last one it had."""
    return os.path.realpath(f"/proc/self/fd/{generation.fd}").removesuffix(" (deleted)")
