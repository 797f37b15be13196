"""Where each file was read up to, kept in Fluent Bit's SQLite table so that either program continues from the other's.

Two tables. `in_tail_files` is Fluent Bit's own, with every column it expects. `shipper_files` stands beside it and
holds, by the id of the row there, what Fluent Bit does not know: the device, a fingerprint of the file's head, and what
was delivered beyond the offset while a record was still open (see `Position`).

Changes are collected and written in one transaction. While the database cannot be written they are kept in memory and
tried again; nothing is forgotten, and the error is logged once until it is over.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterable

import msgspec
import xxhash

from ...damaged import move_aside
from ...disk import make_private
from ...log import Log
from .rows import (
    HEAD_SIZE,
    MARKER_SIZE,
    Own,
    Row,
    Shared,
    delete_row,
    has_no_positions,
    make_tables,
    read_rows,
    write_row,
)

__all__ = [
    "HEAD_SIZE",
    "MARKER_SIZE",
    "Position",
    "PositionStore",
    "SavedFile",
    "Span",
    "as_converted",
    "fingerprint",
    "spans_before",
]

_SYNCHRONOUS = {"off": 0, "normal": 1, "full": 2, "extra": 3}

_PAUSE_S = 0.5
_LONGEST_WAIT_AT_CLOSE_MS = 2000

Span = tuple[int, int]


class Position(msgspec.Struct, frozen=True):
    """What of a file is safe: everything before `offset`, and beyond it everything before `ahead` but the `held` spans.

    `held` are the bytes of records that are still open (a partial container line, an unfinished trace). Fluent Bit sees
    the offset alone, which is the first byte that is not safe. `skips` says that what follows `ahead` is the rest of a
    line that was too long.

    Of a file that is not plain (see `Source`) `offset` is where converting is to begin, `text` the offset in the text
    of that place, and `ahead` and `held` are offsets in the text, too.
    """

    offset: int = 0
    ahead: int = 0
    held: tuple[Span, ...] = ()
    text: int | None = None
    skips: bool = False

    def cut_at(self, size: int, last_line: int) -> Position:
        """The same in a content that ends there, with its last whole line: nothing behind that can be held."""
        offset = min(self.offset, size) if self.text is None else self.offset
        skips = self.skips and self.ahead <= size
        return Position(offset, min(self.ahead, size), spans_before(last_line, self.held), self.text, skips)


def spans_before(end: int, spans: Iterable[Span]) -> tuple[Span, ...]:
    """What of the spans lies before an offset."""
    return tuple([(start, min(stop, end)) for start, stop in spans if start < end])


def as_converted(position: Position) -> Position:
    """The same position of a plain file in a compressed copy of it, which is converted from its beginning."""
    return Position(0, position.ahead, position.held, 0, position.skips)


class SavedFile:
    """One row: a file as the database knows it; `id` is None until it has been written."""

    __slots__ = (
        "created",
        "device",
        "found_ns",
        "head",
        "head_size",
        "id",
        "inode",
        "is_removed",
        "is_taken",
        "marker",
        "marker_size",
        "name",
        "path",
        "position",
        "rotated",
    )

    def __init__(self, name: str, path: str, device: int | None, inode: int, position: Position) -> None:
        self.id: int | None = None
        self.name = name
        self.path = path
        self.device = device
        self.inode = inode
        self.position = position
        self.created = int(time.time())
        self.rotated = False
        self.marker = 0
        self.marker_size = 0
        self.head = 0
        self.head_size = 0
        self.is_removed = False
        """Whether the row was dropped; what is settled after that changes nothing."""
        self.is_taken = False
        """Whether a file of this life has the row; one without waits for its file to be found."""
        self.found_ns = time.time_ns()
        """When the file was found; what the path named later was written after that."""

    def begin_again(self) -> None:
        """Its file holds something else from now on, which counts as found now."""
        self.found_ns = max(time.time_ns(), self.found_ns + 1)

    def __repr__(self) -> str:
        return f"SavedFile({self.id}, {self.name!r}, inode {self.inode}, {self.position})"


def fingerprint(data: bytes) -> int:
    """XXH3-64 of the bytes as SQLite stores it: signed."""
    digest: int = xxhash.xxh3_64_intdigest(data)
    return digest - (1 << 64) if digest >= 1 << 63 else digest


class PositionStore:
    """The saved files of one input; with no path it keeps them in memory only."""

    def __init__(self, path: str | None, sync: str, locking: bool, journal_mode: str, log: Log) -> None:
        self._path = path
        self._sync = sync
        self._locking = locking
        self._journal_mode = journal_mode
        self._log = log
        self._db: sqlite3.Connection | None = None
        self._files: list[SavedFile] = []
        self._dirty: dict[int, SavedFile] = {}
        self._gone: list[int] = []
        self._failing_since: float | None = None
        self._next_try = 0.0
        self.is_ready = path is None
        """Whether the saved files are known; false while another program locks the database from the start."""
        self._is_locked_out = False
        """Another program has locked the database since `open`; `flush` is to read it as soon as that is over."""
        self.was_lost = False
        self.is_new = False
        """Whether there was no database, or one without positions' table, when it was opened."""

    @property
    def is_persistent(self) -> bool:
        return self._path is not None

    def open(self) -> None:
        """Open or create the database and read all rows; raises `OSError` or `sqlite3.Error` if it cannot be opened.

        A database that is damaged is moved aside and a new one begun; `was_lost` then says so.
        """
        if self._path is None:
            return
        try:
            self._connect()
        except sqlite3.OperationalError as error:
            if "locked" not in str(error):
                raise
            self._is_locked_out = True
            self._note_failure(error)
        except sqlite3.DatabaseError as error:
            self._begin_anew(error)

    def go_on_from(self, files: Iterable[SavedFile]) -> None:
        """Begin with the saved files of a store that was in memory, as a database would have them, the newest first."""
        self._files = list(files)[::-1]
        for saved in self._files:
            saved.is_taken = False

    def files(self) -> list[SavedFile]:
        """All saved files, the newest row first."""
        return self._files[::-1]

    def rows_of_file(self, device: int, inode: int) -> list[SavedFile]:
        """The rows of this inode that may be of this device, the newest first."""
        return [saved for saved in reversed(self._files) if saved.inode == inode and saved.device in (None, device)]

    def rows_of_inode(self, inode: int) -> list[SavedFile]:
        """The rows of this inode, whatever their device, the newest first."""
        return [saved for saved in reversed(self._files) if saved.inode == inode]

    def rows_of_path(self, path: str) -> list[SavedFile]:
        """The rows of the files that the path has named, the newest first."""
        return [saved for saved in reversed(self._files) if saved.path == path]

    def add(self, saved: SavedFile) -> None:
        self._files.append(saved)
        self.changed(saved)

    def changed(self, saved: SavedFile) -> None:
        """Write this row with the next `flush`."""
        if not saved.is_removed:
            self._dirty[id(saved)] = saved

    def remove(self, saved: SavedFile) -> None:
        saved.is_removed = True
        if saved in self._files:
            self._files.remove(saved)
        self._dirty.pop(id(saved), None)
        if saved.id is not None:
            self._gone.append(saved.id)

    def flush(self) -> bool:
        """Write all changes in one transaction; false if the database cannot be written now."""
        if self._path is None:
            self._dirty.clear()
            self._gone.clear()
            return True
        if not (self._dirty or self._gone or self._is_locked_out):
            return True
        if time.monotonic() < self._next_try:
            return False
        try:
            if self._db is None:
                self._connect()
            self._write()
        except sqlite3.OperationalError as error:
            self._note_failure(error)
            return False
        except sqlite3.DatabaseError as error:
            self._note_failure(error)
            return self._rescue(error)
        if self._failing_since is not None:
            self._log.info("database can be written again", database=self._path)
            self._failing_since = None
        return True

    def _rescue(self, error: sqlite3.DatabaseError) -> bool:
        """Write everything into a new database because the present one is damaged."""
        if self._db is not None:
            self._db.close()
            self._db = None
        for saved in self._files:
            saved.id = None
            self._dirty[id(saved)] = saved
        self._gone.clear()
        try:
            self._begin_anew(error)
            self._write()
        except (OSError, sqlite3.Error) as reason:
            self._log.error("database cannot be replaced; it is tried again", database=self._path, reason=reason)
            return False
        self._failing_since = None
        return True

    def _begin_anew(self, error: sqlite3.DatabaseError) -> None:
        """Move a damaged database aside, with the journal that belongs to it, and create an empty one."""
        assert self._path is not None
        message = (
            "database is damaged and moved aside; unless on_state_loss is set, files are read from their beginning"
        )
        self._log.error(message, database=self._path, moved_to=move_aside(self._path), reason=error)
        self.was_lost = True
        self._connect()

    def failing_for_s(self) -> float:
        """Seconds since the database could last be written, 0 if all is well."""
        return 0.0 if self._failing_since is None else time.monotonic() - self._failing_since

    def close(self) -> None:
        """Write what is left, and wait a little for another program that holds a lock; then close."""
        self._next_try = 0.0
        if self._db is not None:
            self._db.execute(f"PRAGMA busy_timeout={_LONGEST_WAIT_AT_CLOSE_MS}")
        self.flush()
        if self._db is not None:
            self._db.close()
            self._db = None

    def _note_failure(self, error: sqlite3.Error) -> None:
        # Every try may wait for the lock, and with it the event loop.
        self._next_try = time.monotonic() + _PAUSE_S
        if self._failing_since is None:
            self._failing_since = time.monotonic()
            self._log.error(
                "database cannot be written; positions are kept in memory and tried again",
                database=self._path,
                reason=error,
            )

    def _connect(self) -> None:
        assert self._path is not None
        # A short timeout: a lock held by another program must not hold up the event loop.
        make_private(self._path)
        db = sqlite3.connect(self._path, timeout=0.05, isolation_level=None)
        try:
            if self._locking:
                db.execute("PRAGMA locking_mode=EXCLUSIVE")
            db.execute(f"PRAGMA journal_mode={self._journal_mode}")
            db.execute(f"PRAGMA synchronous={_SYNCHRONOUS[self._sync]}")
            self.is_new = self._db is None and not self._files and has_no_positions(db)
            make_tables(db)
            rows = [_saved_file(row) for row in read_rows(db, self._tell_fault)]
        except sqlite3.Error:
            db.close()
            raise
        self._db = db
        self.is_ready, self._is_locked_out = True, False
        known = {saved.id for saved in self._files}
        self._files = [saved for saved in rows if saved.id not in known] + self._files

    def _tell_fault(self, name: str, fault: str) -> None:
        message = "a stored position is damaged; lines of its file may be repeated"
        self._log.warning(message, database=self._path, file=name, because=fault)

    def _write(self) -> None:
        db = self._db
        assert db is not None
        db.execute("BEGIN IMMEDIATE")
        try:
            for saved in self._dirty.values():
                saved.id = write_row(db, saved.id, *_parts(saved))
            for row_id in self._gone:
                delete_row(db, row_id)
            db.execute("COMMIT")
        except BaseException:
            if db.in_transaction:
                db.execute("ROLLBACK")
            raise
        self._dirty.clear()
        self._gone.clear()


def _saved_file(row: Row) -> SavedFile:
    shared, own = row.shared, row.own or Own()
    offset, marker = shared.offset or 0, shared.marker or 0
    position = Position(offset, offset)
    # Our own row counts only if Fluent Bit has not moved the offset since.
    if own.offset == offset and own.ahead is not None:
        position = Position(offset, own.ahead, own.held, own.text, bool(own.skips))
    saved = SavedFile(shared.name, own.path or shared.name, own.device, shared.inode, position)
    saved.id, saved.created, saved.rotated = row.id, shared.created or 0, bool(shared.rotated)
    # Older versions of Fluent Bit know no markers: they move the offset and leave ours as it was.
    if own.offset == offset or own.marker is None or own.marker != shared.marker:
        saved.marker, saved.marker_size = marker, shared.marker_size or 0
    saved.head, saved.head_size = own.head or 0, own.head_size or 0
    saved.found_ns = own.found or saved.created * 1_000_000_000
    return saved


def _parts(saved: SavedFile) -> tuple[Shared, Own]:
    place = saved.position
    rotated = int(saved.rotated)
    shared = Shared(saved.name, place.offset, saved.inode, saved.created, rotated, saved.marker, saved.marker_size)
    own = Own(
        saved.path,
        saved.device,
        saved.head,
        saved.head_size,
        place.ahead,
        place.held,
        place.offset,
        saved.found_ns,
        place.text,
        saved.marker,
        int(place.skips),
    )
    return shared, own
