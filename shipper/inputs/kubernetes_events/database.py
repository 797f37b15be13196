"""The events that were delivered, in the SQLite table of Fluent Bit; either program continues from the other's."""

from __future__ import annotations

import sqlite3

from ...damaged import move_aside
from ...disk import make_private
from ...log import Log
from .sent import DatabaseAway, SentEvent

_SCHEMA = """
CREATE TABLE IF NOT EXISTS in_kubernetes_events (
  id INTEGER PRIMARY KEY, uid TEXT NOT NULL, resourceVersion INTEGER NOT NULL, created INTEGER NOT NULL);
CREATE INDEX IF NOT EXISTS shipper_kubernetes_events_uid ON in_kubernetes_events (uid);
"""
_SYNCHRONOUS = {"off": 0, "normal": 1, "full": 2, "extra": 3}
_LONGEST_WAIT_S = 0.05
_REMARK_EVERY_S = 60.0
_MOST_UNWRITTEN = 100_000


class EventDatabase:
    """The table of events that were delivered; either program continues from what the other has written.

    While the database cannot be written, rows wait in memory and are tried again. One that is damaged is moved aside.
    """

    def __init__(self, path: str, sync: str, locking: bool, journal_mode: str, log: Log) -> None:
        self._path = path
        self._sync = sync
        self._locking = locking
        self._journal_mode = journal_mode
        self._log = log
        self._db: sqlite3.Connection | None = None
        # By their uids; a newer version takes the place of an older one.
        self._unwritten: dict[str, SentEvent] = {}

    def open(self) -> None:
        """Open or create the database; raises `OSError` or `DatabaseAway`."""
        try:
            self._connect()
        except sqlite3.OperationalError as error:
            raise DatabaseAway(str(error)) from error
        except sqlite3.DatabaseError as error:
            self._begin_anew(error)

    def version(self, uid: str) -> int | None:
        """The newest version that was delivered of this event; None if there is none. Raises `DatabaseAway`."""
        waiting = self._unwritten.get(uid)
        query = "SELECT max(resourceVersion) FROM in_kubernetes_events WHERE uid=?"
        try:
            found: int | None = self._opened().execute(query, (uid,)).fetchone()[0]
        except sqlite3.Error as error:
            raise DatabaseAway(str(error)) from error
        return waiting.version if waiting is not None else found

    def add(self, rows: list[SentEvent]) -> None:
        """Have the rows written with the next `flush`."""
        for row in rows:
            self._unwritten[row.uid] = row
        while len(self._unwritten) > _MOST_UNWRITTEN:
            del self._unwritten[next(iter(self._unwritten))]

    def flush(self) -> bool:
        """Write what waits in one transaction; false if that is not possible now."""
        rows = list(self._unwritten.values())
        if not rows:
            return True
        try:
            db = self._opened()
            with db:
                db.execute("BEGIN IMMEDIATE")
                for row in rows:
                    self._write(db, row)
        except sqlite3.Error as error:
            self._log.error(
                "database cannot be written; sent events are kept in memory and tried again",
                every=_REMARK_EVERY_S,
                database=self._path,
                reason=error,
            )
            return False
        self._unwritten.clear()
        return True

    def forget(self, before_ns: int) -> None:
        """Delete the rows of events that are too old to be emitted; what cannot be deleted now is another time."""
        try:
            with self._opened() as db:
                db.execute("DELETE FROM in_kubernetes_events WHERE created <= ?", (before_ns,))
        except sqlite3.Error as error:
            self._log.warning("old events stay in the database", every=_REMARK_EVERY_S, reason=error)

    def close(self) -> None:
        if self._db is not None:
            self.flush()
            self._db.close()
            self._db = None

    @staticmethod
    def _write(db: sqlite3.Connection, row: SentEvent) -> None:
        values = (row.version, row.time_ns, row.uid)
        changed = db.execute("UPDATE in_kubernetes_events SET resourceVersion=?, created=? WHERE uid=?", values)
        if not changed.rowcount:
            db.execute("INSERT INTO in_kubernetes_events (resourceVersion, created, uid) VALUES (?,?,?)", values)

    def _opened(self) -> sqlite3.Connection:
        if self._db is None:
            raise sqlite3.OperationalError("the database is not open")
        return self._db

    def _connect(self) -> None:
        make_private(self._path)
        db = sqlite3.connect(self._path, timeout=_LONGEST_WAIT_S, isolation_level=None)
        try:
            if self._locking:
                db.execute("PRAGMA locking_mode=EXCLUSIVE")
            db.execute(f"PRAGMA journal_mode={self._journal_mode}")
            db.execute(f"PRAGMA synchronous={_SYNCHRONOUS[self._sync]}")
            db.executescript(_SCHEMA)
        except sqlite3.Error:
            db.close()
            raise
        self._db = db

    def _begin_anew(self, error: sqlite3.DatabaseError) -> None:
        message = "database is damaged and moved aside; events that it held may be sent again"
        self._log.error(message, database=self._path, moved_to=move_aside(self._path), reason=error)
        self._connect()
