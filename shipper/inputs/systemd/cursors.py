"""How far the journal was delivered, kept in Fluent Bit's SQLite table so that either goes on where the other stopped.

The table `in_systemd_cursor` has one row with the cursor of the last entry that is safe, `(null)` before there is one.
Who begins at the tail has one at once: that of the tail. If nothing that is looked for has come yet, it is that of the
last entry of all, and in an empty journal `t=0`. Fluent Bit goes on there too; what it cannot do is tell these from an
entry that it has read, so it leaves out the first one behind them.
"""

from __future__ import annotations

import sqlite3
import time
from collections import deque
from collections.abc import Callable

import msgspec

from ...damaged import move_aside
from ...disk import make_private
from ...log import Log

_SCHEMA = "CREATE TABLE IF NOT EXISTS in_systemd_cursor (cursor TEXT NOT NULL, updated INTEGER)"
_NONE = "(null)"
_LONGEST_WAIT_S = 0.5
"""Longest wait for a lock of another program: meanwhile the thread reads nothing. Then it is tried again."""

_REMARK_EVERY_S = 60.0

SYNCHRONOUS = {"off": 0, "normal": 1, "full": 2, "extra": 3}


class CursorStore:
    """The saved cursor of one input; without a path, or if the database cannot be opened, nothing is saved.

    While another program locks the database from the start, `is_locked_out` says so, and `open` and `save` may be tried
    again. It belongs to the thread that calls `open`.
    """

    def __init__(self, path: str | None, sync: str | None, log: Log) -> None:
        self._path = path
        self._sync = sync.lower() if sync else None
        self._log = log
        self._db: sqlite3.Connection | None = None
        self.is_locked_out = False

    def open(self) -> str | None:
        """Open or create the database; gives the cursor that was saved, None if there is none or it is not known."""
        self.is_locked_out = False
        if self._path is None:
            return None
        try:
            return self._connect(self._path)
        except sqlite3.OperationalError as error:
            self.is_locked_out = _is_lock(error)
            message = "database cannot be opened, so the cursor is not saved"
            if self.is_locked_out:
                message = "database is locked by another program; it is tried again until the cursor is known"
            self._log.error(message, every=_REMARK_EVERY_S, database=self._path, reason=error)
        except sqlite3.DatabaseError as error:
            return self._begin_anew(self._path, error)
        return None

    def save(self, cursor: str) -> bool:
        """Save the cursor; false if the database cannot be written now."""
        if self.is_locked_out:
            self.open()
        if self._db is None:
            return not self.is_locked_out
        values = (cursor, int(time.time()))
        try:
            if not self._db.execute("UPDATE in_systemd_cursor SET cursor=?, updated=?", values).rowcount:
                self._db.execute("INSERT INTO in_systemd_cursor (cursor, updated) VALUES (?,?)", values)
        except sqlite3.Error as error:
            message = "database cannot be written; the cursor is kept in memory and tried again"
            self._log.error(message, every=_REMARK_EVERY_S, database=self._path, reason=error)
            return False
        return True

    def close(self) -> None:
        if self._db is not None:
            self._db.close()
            self._db = None

    def _connect(self, path: str) -> str | None:
        make_private(path)
        db = sqlite3.connect(path, timeout=_LONGEST_WAIT_S, isolation_level=None)
        try:
            if self._sync in SYNCHRONOUS:
                db.execute(f"PRAGMA synchronous={SYNCHRONOUS[self._sync]}")
            db.execute(_SCHEMA)
            rows = db.execute("SELECT rowid, cursor FROM in_systemd_cursor ORDER BY rowid DESC").fetchall()
            if not rows:
                db.execute("INSERT INTO in_systemd_cursor (cursor, updated) VALUES (?,?)", (_NONE, int(time.time())))
            elif len(rows) > 1:
                self._log.warning("the table has several cursors; the newest row is kept", database=path)
                db.execute("DELETE FROM in_systemd_cursor WHERE rowid<>?", (rows[0][0],))
        except sqlite3.Error:
            db.close()
            raise
        self._db = db
        return str(rows[0][1]) if rows and rows[0][1] != _NONE else None

    def _begin_anew(self, path: str, error: sqlite3.Error) -> str | None:
        """Move a damaged database aside, with the journal that belongs to it, and create an empty one."""
        message = "database is damaged and moved aside; the journal is read as if for the first time"
        try:
            self._log.error(message, database=path, moved_to=move_aside(path), reason=error)
            return self._connect(path)
        except (OSError, sqlite3.Error) as failure:
            self._log.error("no new database can be made, so the cursor is not saved", database=path, reason=failure)
            return None


def _is_lock(error: sqlite3.Error) -> bool:
    # The upper bits tell more precisely what is locked; an error of Python's own module has no code.
    return getattr(error, "sqlite_errorcode", 0) & 0xFF in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)


class _Round(msgspec.Struct, eq=False):
    """The batches that were read together, of which `owed` are not settled; `cursor` is that of their last entry."""

    cursor: str
    owed: int


class CursorOrder:
    """Lets cursors take effect in the order of their rounds, each when all batches of its round are settled.

    `safe` is the cursor up to which everything is settled, None before there is one; `on_moved` is told when it moves.
    """

    def __init__(self, on_moved: Callable[[], None]) -> None:
        self.safe: str | None = None
        self._on_moved = on_moved
        self._rounds: deque[_Round] = deque()

    def begin(self, cursor: str, batches: int) -> Callable[[], None]:
        """Owe a round; the result is called once for each of its batches when that is settled."""
        one = _Round(cursor, batches)
        self._rounds.append(one)
        self._advance()

        def settle() -> None:
            one.owed -= 1
            if one.owed == 0:
                self._advance()

        return settle

    def abandon_last(self) -> None:
        """Forget the round that was begun last: it was not emitted as a whole, and will be read again."""
        self._rounds.pop()

    def _advance(self) -> None:
        before = self.safe
        while self._rounds and self._rounds[0].owed == 0:
            self.safe = self._rounds.popleft().cursor
        if self.safe != before:
            self._on_moved()

    def __repr__(self) -> str:
        return f"CursorOrder({len(self._rounds)} rounds owed, safe up to {self.safe})"
