"""Reads a journal in rounds, through libsystemd."""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import closing
from typing import TYPE_CHECKING, Literal, Self

import msgspec

from ...log import Log
from ...record import Body, Record
from .entries import Entry, EntryReader, TagOfUnit
from .fields import fields_of

if TYPE_CHECKING:
    from systemd._reader import _Reader

MOST_BYTES = 1_024_000
_LONGEST_S = 0.2
"""A round ends after so long: whoever wants to stop waits for it."""

_MOST_SKIPPED_AT_TAIL = 350
"""At the tail of several files the library gives some of their last entries once more."""

HEAD = "t=0"
"""Stands for the head where a cursor has to be told: a place in time before all entries, which Fluent Bit finds too."""

_SHOWN_OF_CURSOR = 40
_NAME_CHARACTERS = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_")


class JournalMatch:
    """A `FIELD=value` pair; the value has to be the same, byte for byte."""

    shown_as = "match"

    def __init__(self, text: str) -> None:
        self.text = text

    @classmethod
    def parse(cls, text: str) -> Self:
        name, equals, _ = text.partition("=")
        if not equals or not name:
            raise ValueError(f"expected FIELD=value, got {text!r}")
        if name.startswith("__") or not _NAME_CHARACTERS.issuperset(name):
            raise ValueError(f"{name!r} is no field that the journal can look for; write a name like _SYSTEMD_UNIT")
        return cls(text)


class Where(msgspec.Struct, frozen=True, kw_only=True):
    """What of which journal is read: all of the local machine if no path is given."""

    path: str | None = None
    matches: tuple[str, ...] = ()
    filter_type: Literal["and", "or"] = "or"
    read_from_tail: bool = False


class TagRecords(msgspec.Struct):
    """Records of one tag in a round, and the bytes they have in the journal."""

    tag: str
    records: list[Record]
    size: int = 0


class Round(msgspec.Struct, kw_only=True):
    """What was read in one go: records by tag, and the cursor of the last entry, None if there was no entry.

    `is_last` says that the journal was read to its end. `broken` entries could not be read at all, of others
    `broken_fields` were left out, and `error` is what ended the round early; the journal is opened again by the next.
    """

    batches: Sequence[TagRecords]
    cursor: str | None
    is_last: bool
    broken: int
    error: OSError | None
    broken_fields: int = 0


class Journal:
    """One journal and the place in it; belongs to the thread that uses it, and `fd` to whoever waits for changes."""

    def __init__(self, where: Where, reader: EntryReader, tags: TagOfUnit, log: Log) -> None:
        self._where = where
        self._entries = reader
        self._tags = tags
        self._log = log
        self._journal: _Reader | None = None
        # The entry that was read last, behind which the next round begins; None stands for the head.
        self._cursor: str | None = None
        self._was_read = False
        # Whether the library stands at that entry, or where it was, and has not been asked yet if it is there.
        self._is_resuming = False

    @property
    def fd(self) -> int | None:
        """A descriptor that can be read when the journal has changed, None while the journal is not open."""
        return None if self._journal is None else self._journal.fileno()

    def open(self, cursor: str | None) -> str | None:
        """Open the journal behind the entry with this cursor; gives the cursor that reading begins behind.

        Without a cursor, or with one that is none, it begins at the head; at the tail, if wanted and nothing was read
        yet, and then there always is a cursor to begin behind.
        Raises `OSError` or `ValueError` if the journal cannot be opened.
        """
        self.close()
        journal = self._opened()
        journal.fileno()  # from here on the library notes changes
        self._journal, self._is_resuming = journal, False
        self._cursor = self._sought(journal, cursor)
        return self._cursor

    def close(self) -> None:
        if self._journal is not None:
            self._journal.close()
            self._journal = None

    def read(self, most_entries: int, most_bytes: int) -> Round:
        """Read on from where the last round ended."""
        self._was_read = True
        gathered = _Gathered(self._entries, self._tags)
        cursor, error, is_last = None, None, False
        end = time.monotonic() + _LONGEST_S
        try:
            journal = self._ready()
            take = gathered.take
            while gathered.count < most_entries and gathered.size < most_bytes and time.monotonic() < end:
                if not self._next(journal):
                    is_last = True
                    break
                take(journal)
        except OSError as failure:
            error = failure
        try:
            cursor = self._advance() if gathered.count else None
        except OSError as failure:
            error = failure
        if error is not None:
            self.close()
        if cursor is None:
            # What was read without one is read again, so nothing of it must be emitted now.
            return Round(batches=[], cursor=None, is_last=is_last, broken=0, error=error)
        batches = list(gathered.by_unit.values())
        return Round(
            batches=batches,
            cursor=cursor,
            is_last=is_last,
            broken=gathered.broken,
            error=error,
            broken_fields=gathered.broken_fields,
        )

    def _advance(self) -> str:
        """Note the cursor of the entry that was read last, and give it."""
        assert self._journal is not None
        self._cursor = str(self._journal._get_cursor())
        return self._cursor

    def _ready(self) -> _Reader:
        """The journal with all its changes noted; it is opened if an error closed it."""
        if self._journal is None:
            self.open(self._cursor)
        assert self._journal is not None
        self._journal.process()
        return self._journal

    def _next(self, journal: _Reader) -> bool:
        """Go to the next entry that was not read yet; false if there is none."""
        if not journal._next():
            return False
        if not self._is_resuming:
            return True
        self._is_resuming = False
        if journal.test_cursor(self._cursor):
            return bool(journal._next())
        if self._is_gone(self._cursor):
            self._log.warning("the entry that was read last is gone; entries that came after it may be missing")
        return True

    def _is_gone(self, cursor: str | None) -> bool:
        """Whether the journal has no such entry any more; one that is not found may only not be looked for."""
        if cursor == HEAD:
            return False
        if not self._where.matches:
            return True
        with closing(self._unfiltered()) as everything:
            everything.seek_cursor(cursor)
            return not (everything._next() and everything.test_cursor(cursor))

    def _opened(self) -> _Reader:
        where, journal = self._where, self._unfiltered()
        for number, match in enumerate(where.matches):
            if number:
                # On its own the library takes matches of the same field as alternatives and those of others not.
                (journal.add_disjunction if where.filter_type == "or" else journal.add_conjunction)()
            journal.add_match(match)
        return journal

    def _unfiltered(self) -> _Reader:
        from systemd._reader import LOCAL_ONLY, _Reader

        path = self._where.path
        return _Reader(flags=LOCAL_ONLY) if path is None else _Reader(flags=0, path=path)

    def _sought(self, journal: _Reader, cursor: str | None) -> str | None:
        """Go where reading is to begin; gives the cursor of the entry before that, None if it is the head."""
        if cursor is not None:
            try:
                journal.seek_cursor(cursor)
            except (OSError, ValueError) as error:
                if self._was_read:
                    raise  # it was read from this journal, so it is good, and another try will find it
                self._log.warning("seek_cursor failed", cursor=cursor[:_SHOWN_OF_CURSOR], reason=error)
            else:
                self._is_resuming = True
                self._log.info(f"seek_cursor={cursor[:_SHOWN_OF_CURSOR]}... OK")
                return cursor
        if self._where.read_from_tail and not self._was_read:
            return self._go_to_tail(journal)
        journal.seek_head()
        return None

    def _go_to_tail(self, journal: _Reader) -> str:
        """Go behind the last entry; gives its cursor, or that of another one before which there is none to be read.

        Without it the next start would take what comes from now on for old, until the first of it is delivered.
        """
        last: str | None = None
        if self._where.matches:
            # This comes first, and then the changes up to now: no entry may come between and be left out.
            with closing(self._unfiltered()) as everything:
                last = _tail_of(everything)
            journal.process()
        if (found := _tail_of(journal)) is not None:
            return found
        journal.seek_head()
        return last or HEAD


def _tail_of(journal: _Reader) -> str | None:
    """Go behind the last entry; gives its cursor, None if there is no entry."""
    journal.seek_tail()
    if not journal._previous():
        return None
    skipped = 0
    while skipped < _MOST_SKIPPED_AT_TAIL and journal._next():
        skipped += 1
    return str(journal._get_cursor())


class _Gathered:
    """The entries of a round so far: their records by unit, how many there were, and how many bytes they have."""

    def __init__(self, entries: EntryReader, tags: TagOfUnit) -> None:
        self._entries = entries
        self._tags = tags
        self.by_unit: dict[bytes, TagRecords] = {}
        self.count = 0
        self.size = 0
        self.broken = 0
        self.broken_fields = 0

    def take(self, journal: _Reader) -> None:
        """Take the entry at which the library stands."""
        self.count += 1
        try:
            time_us = journal._get_realtime()
            entry, (body, size) = self._read(journal)
        except (OSError, ValueError):
            self.broken += 1
            return
        unit = self._tags.unit(entry)
        group = self.by_unit.get(unit)
        if group is None:
            group = self.by_unit[unit] = TagRecords(self._tags.tag(unit), [])
        group.records.append(Record(time_us * 1000, body))
        group.size += size
        self.size += size

    def _read(self, journal: _Reader) -> tuple[Entry, tuple[Body, int]]:
        try:
            entry: Entry = journal._get_all()
        except (OSError, ValueError):
            pass  # a datum that is no field; the others are good
        else:
            if (found := self._entries.read(entry)) is not None:
                return entry, found
        pairs, broken = fields_of(journal)
        self.broken_fields += broken
        return dict(reversed(pairs)), self._entries.read_one_by_one(pairs)
