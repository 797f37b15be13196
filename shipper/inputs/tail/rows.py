"""The two tables of the position database: how they are made, read and written.

`in_tail_files` is Fluent Bit's own, `shipper_files` stands beside it and has the same ids. Names are kept as the bytes
that they are, valid UTF-8 or not, as Fluent Bit keeps them.

A row is read part by part, because another program may have written it, or a damaged disk. A part that cannot be is
left out: without what is ours Fluent Bit's part still counts, without an offset the file is read from its beginning,
and without an inode it is known by its content.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable
from contextlib import suppress
from typing import Annotated, Any, TypeVar

import msgspec

_SCHEMA = """
CREATE TABLE IF NOT EXISTS in_tail_files (
  id INTEGER PRIMARY KEY, name TEXT NOT NULL, offset INTEGER, inode INTEGER, created INTEGER,
  rotated INTEGER DEFAULT 0, offset_marker INTEGER DEFAULT 0, offset_marker_size INTEGER DEFAULT 0);
CREATE TABLE IF NOT EXISTS shipper_files (
  id INTEGER PRIMARY KEY, device INTEGER, path TEXT, head INTEGER, head_size INTEGER,
  ahead INTEGER, held TEXT, offset INTEGER, found INTEGER, text INTEGER, marker INTEGER, skips INTEGER);
"""
_SHARED = "name=CAST(? AS TEXT), offset=?, inode=?, created=?, rotated=?, offset_marker=?, offset_marker_size=?"

MARKER_SIZE = 32
HEAD_SIZE = 256

_SIGNED = 1 << 63

Size = Annotated[int, msgspec.Meta(ge=0)]
Faults = Callable[[str, str], None]
"""Is told the name of a file and what is wrong with its row."""


class Shared(msgspec.Struct):
    """What Fluent Bit knows of a file."""

    name: str
    offset: Size | None = 0
    inode: int = 0
    created: int | None = 0
    rotated: int | None = 0
    marker: int | None = 0
    marker_size: Annotated[int, msgspec.Meta(ge=0, le=MARKER_SIZE)] | None = 0


class Own(msgspec.Struct):
    """What we know beyond it; without `ahead` nothing is known of what was delivered beyond the offset."""

    path: str | None = None
    device: int | None = None
    head: int | None = 0
    head_size: Annotated[int, msgspec.Meta(ge=0, le=HEAD_SIZE)] | None = 0
    ahead: Size | None = None
    held: tuple[tuple[Size, Size], ...] = ()
    offset: Size | None = None
    found: int | None = 0
    text: int | None = None
    marker: int | None = None
    skips: int | None = None


Part = TypeVar("Part", Shared, Own)


class Row(msgspec.Struct):
    """One file; `own` is None if Fluent Bit alone has written of it."""

    id: int
    shared: Shared
    own: Own | None


def has_no_positions(db: sqlite3.Connection) -> bool:
    return db.execute("SELECT 1 FROM sqlite_master WHERE name='in_tail_files'").fetchone() is None


def make_tables(db: sqlite3.Connection) -> None:
    """Make the tables, or the columns that those of older versions lack."""
    db.executescript(_SCHEMA)
    present = {row[1] for row in db.execute("PRAGMA table_info(in_tail_files)")}
    for column in ("rotated", "offset_marker", "offset_marker_size"):
        if column not in present:
            db.execute(f"ALTER TABLE in_tail_files ADD COLUMN {column} INTEGER DEFAULT 0")
    present = {row[1] for row in db.execute("PRAGMA table_info(shipper_files)")}
    for column in ("text", "marker", "skips"):
        if column not in present:
            db.execute(f"ALTER TABLE shipper_files ADD COLUMN {column} INTEGER")


def read_rows(db: sqlite3.Connection, on_fault: Faults) -> list[Row]:
    """All rows, in the order of their ids; parts that cannot be are left out and told."""
    db.text_factory = os.fsdecode
    rows = []
    for row in db.execute(
        "SELECT f.id, f.name, f.offset, f.inode, f.created, f.rotated, f.offset_marker, f.offset_marker_size,"
        " s.id, s.path, s.device, s.head, s.head_size, s.ahead, s.held, s.offset, s.found, s.text, s.marker,"
        " s.skips"
        " FROM in_tail_files f LEFT JOIN shipper_files s ON s.id = f.id ORDER BY f.id"
    ):
        name = row[1] if isinstance(row[1], str) else os.fsdecode(row[1])
        shared = _valid(Shared, (name, *row[2:8]), name, on_fault)
        shared.inode = _unsigned(shared.inode)
        rows.append(Row(row[0], shared, None if row[8] is None else _own(row[9:], name, on_fault)))
    return rows


def _own(values: tuple[Any, ...], name: str, on_fault: Faults) -> Own:
    held = values[5]
    with suppress(msgspec.DecodeError, TypeError):  # what it is instead is no list of spans
        held = msgspec.json.decode(held) if held else ()
    own = _valid(Own, (*values[:5], held, *values[6:]), name, on_fault)
    if own.device is not None:
        own.device = _unsigned(own.device)
    ahead = own.ahead
    if ahead is not None and not all(start < end <= ahead + 1 for start, end in own.held):
        on_fault(name, f"no open records can be at {own.held}")
        own.ahead = None
    return own


def _valid(kind: type[Part], values: tuple[Any, ...], name: str, on_fault: Faults) -> Part:
    """The struct of these values; those that cannot be have their defaults."""
    written = dict(zip(kind.__struct_fields__, values, strict=True))
    try:
        return msgspec.convert(written, kind)
    except msgspec.ValidationError as error:
        on_fault(name, str(error))
    first = kind.__struct_fields__[0]
    sound: dict[str, Any] = {first: name}
    for field, value in written.items():
        try:
            msgspec.convert({first: name, field: value}, kind)
            sound[field] = value
        except msgspec.ValidationError:
            # Without the open records nothing may be passed over.
            if field == "held":
                written["ahead"] = sound["ahead"] = None
    return msgspec.convert(sound, kind)


def write_row(db: sqlite3.Connection, row_id: int | None, shared: Shared, own: Own) -> int | None:
    """Write a file's row over the one of this id, or a new one if there is none; gives its id."""
    values = (
        os.fsencode(shared.name),
        shared.offset,
        _signed(shared.inode),
        shared.created,
        shared.rotated,
        shared.marker,
        shared.marker_size,
    )
    if row_id is None or not db.execute(f"UPDATE in_tail_files SET {_SHARED} WHERE id=?", (*values, row_id)).rowcount:
        row_id = db.execute(
            "INSERT INTO in_tail_files (name, offset, inode, created, rotated, offset_marker, offset_marker_size)"
            " VALUES (CAST(? AS TEXT),?,?,?,?,?,?)",
            values,
        ).lastrowid
    db.execute(
        "INSERT OR REPLACE INTO shipper_files (id, device, path, head, head_size, ahead, held, offset, found, text,"
        " marker, skips) VALUES (?,?,CAST(? AS TEXT),?,?,?,?,?,?,?,?,?)",
        (
            row_id,
            None if own.device is None else _signed(own.device),
            os.fsencode(own.path or shared.name),
            own.head,
            own.head_size,
            own.ahead,
            msgspec.json.encode(own.held).decode(),
            own.offset,
            own.found,
            own.text,
            own.marker,
            own.skips,
        ),
    )
    return row_id


def delete_row(db: sqlite3.Connection, row_id: int) -> None:
    db.execute("DELETE FROM in_tail_files WHERE id=?", (row_id,))
    db.execute("DELETE FROM shipper_files WHERE id=?", (row_id,))


def _signed(number: int) -> int:
    """As SQLite stores a number of 64 bits; network and layered file systems use all bits of an inode."""
    return number - 2 * _SIGNED if number >= _SIGNED else number


def _unsigned(number: int) -> int:
    return number + 2 * _SIGNED if number < 0 else number
