"""A small Fluent Bit: how its tail input uses the table of positions, by its documentation."""

from __future__ import annotations

import glob
import os
import sqlite3
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import xxhash

COLUMNS = {
    "id": "INTEGER PRIMARY KEY",
    "name": "TEXT NOT NULL",
    "offset": "INTEGER",
    "inode": "INTEGER",
    "created": "INTEGER",
    "rotated": "INTEGER DEFAULT 0",
    "offset_marker": "INTEGER DEFAULT 0",
    "offset_marker_size": "INTEGER DEFAULT 0",
}
VERSIONS = {
    "with markers": tuple(COLUMNS),
    "without markers": tuple(COLUMNS)[:6],
    "without rotated": tuple(COLUMNS)[:5],
}
"""The columns that a version of Fluent Bit knows."""

NOW_S = 1_700_000_000


def marker_of(data: bytes, offset: int) -> tuple[int, int]:
    """XXH3-64 of the last 32 bytes before the offset as a signed number, and how many they are; 0, 0 at the head."""
    before = data[max(0, offset - 32) : offset]
    digest: int = xxhash.xxh3_64_intdigest(before) if before else 0
    return digest - (1 << 64) if digest >= 1 << 63 else digest, len(before)


class FluentBit:
    """Reads files to their end with `Read_from_Head on` and keeps its positions; `columns` are those its version knows.

    A version that does not know the marker neither checks nor writes it.
    """

    def __init__(self, db: Path, pattern: Path, columns: Sequence[str] = tuple(COLUMNS)) -> None:
        self._db = db
        self._pattern = pattern
        self._columns = columns

    def run(self) -> list[str]:
        """Start, read what there is, stop; gives the lines."""
        connection = sqlite3.connect(self._db)
        connection.execute("PRAGMA journal_mode=WAL")
        schema = ", ".join(f"{name} {COLUMNS[name]}" for name in self._columns)
        connection.execute(f"CREATE TABLE IF NOT EXISTS in_tail_files ({schema})")
        present = [row[1] for row in connection.execute("PRAGMA table_info(in_tail_files)")]
        for name in self._columns:
            if name not in present:
                connection.execute(f"ALTER TABLE in_tail_files ADD COLUMN {name} {COLUMNS[name]}")
        lines = [line for path in sorted(glob.glob(str(self._pattern))) for line in self._read(connection, path)]
        self._delete_stale_rows(connection)
        connection.commit()
        connection.close()
        return lines

    def _read(self, connection: sqlite3.Connection, path: str) -> list[str]:
        data, inode = Path(path).read_bytes(), os.stat(path).st_ino
        row_id, offset = self._position(connection, path, inode, data)
        end = data.rfind(b"\n") + 1
        if end <= offset:
            return []
        values: dict[str, Any] = {"offset": end}
        if "offset_marker" in self._columns:
            values["offset_marker"], values["offset_marker_size"] = marker_of(data, end)
        assignments = ", ".join(f"{name}=?" for name in values)
        connection.execute(f"UPDATE in_tail_files SET {assignments} WHERE id=?", (*values.values(), row_id))
        return data[offset:end].decode().splitlines()

    def _position(self, connection: sqlite3.Connection, path: str, inode: int, data: bytes) -> tuple[int, int]:
        """The row of the file, made if there is none, and the offset from which it is read."""
        marks = ", offset_marker, offset_marker_size" if "offset_marker" in self._columns else ", 0, 0"
        found = connection.execute(
            f"SELECT id, offset{marks} FROM in_tail_files WHERE inode=? ORDER BY id DESC", (inode,)
        ).fetchone()
        if found is None:
            made = connection.execute(
                "INSERT INTO in_tail_files (name, offset, inode, created) VALUES (?, 0, ?, ?)", (path, inode, NOW_S)
            )
            return int(made.lastrowid or 0), 0
        row_id, offset, digest, size = found
        if offset > len(data) or (size and marker_of(data, offset)[0] != digest):
            connection.execute("UPDATE in_tail_files SET offset=0 WHERE id=?", (row_id,))
            offset = 0
        return row_id, offset

    def _delete_stale_rows(self, connection: sqlite3.Connection) -> None:
        monitored = [os.stat(path).st_ino for path in glob.glob(str(self._pattern))]
        places = ", ".join("?" * len(monitored))
        connection.execute(f"DELETE FROM in_tail_files WHERE inode NOT IN ({places})", monitored)
