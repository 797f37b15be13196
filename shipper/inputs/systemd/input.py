"""Read the journal of systemd."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Hashable, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Annotated, Any, TypeVar

from msgspec import field

from ...config.options import opt
from ...context import Context, Emit
from ...errors import OptionError
from ...record import Receipt, RecordBatch
from ..base import Input, InputOptions
from ..readiness import readable
from .cursors import SYNCHRONOUS, CursorOrder, CursorStore
from .entries import EntryReader, TagOfUnit
from .journal import MOST_BYTES, Journal, JournalMatch, Round, Where

T = TypeVar("T")

_FOLDERS = ("/var/log/journal", "/run/log/journal")
_LOOK_EVERY_S = 1.0
_GATHER_S = 0.05
"""Wait after a change, so that a program that writes without a break makes batches and not single records."""

_TRY_AGAIN_S = 1.0
_LONGEST_PAUSE_S = 60.0
_REMARK_EVERY_S = 60.0


class FilterType(str):
    """How several filters act together."""

    shown_as = "and|or"

    @classmethod
    def parse(cls, text: str) -> FilterType:
        word = text.strip().lower()
        if word not in ("and", "or"):
            raise ValueError(f"{text!r} is neither And nor Or")
        return cls(word)


class SystemdOptions(InputOptions):
    """Options of the systemd input."""

    path: Annotated[
        str | None, opt("Folder of journal files; default is the journal of this machine.", example="/var/log/journal")
    ] = None
    max_fields: Annotated[int, opt("Fields kept of an entry.")] = 8000
    max_entries: Annotated[int, opt("Entries read in one go.")] = 5000
    systemd_filter: Annotated[
        tuple[JournalMatch, ...], opt("Read entries with this FIELD=value.", example="_SYSTEMD_UNIT=docker.service")
    ] = ()
    systemd_filter_type: Annotated[FilterType, opt("Whether all filters must match, or any.")] = FilterType("or")
    read_from_tail: Annotated[bool, opt("Begin at the end, if no cursor was saved.")] = False
    lowercase: Annotated[bool, opt("Make field names lower case.")] = False
    strip_underscores: Annotated[bool, opt("Remove one leading underscore of field names.")] = False
    db: Annotated[str | None, opt("Database for the cursor.", example="/var/lib/shipper/journal.db")] = None
    db_sync: Annotated[str | None, opt("Synchronous mode of the database: extra, full, normal or off.")] = field(
        default=None, name="db.sync"
    )

    def __post_init__(self) -> None:
        if self.max_fields < 1:
            raise OptionError("max_fields", "must be at least 1, or nothing of an entry is left", "the default is 8000")

    def where(self) -> Where:
        """What of which journal is read."""
        return Where(
            path=self.path,
            matches=tuple(match.text for match in self.systemd_filter),
            filter_type="and" if self.systemd_filter_type == "and" else "or",
            read_from_tail=self.read_from_tail,
        )


class SystemdInput(Input):
    """Reads rounds of entries, makes one batch per tag of each, and saves the cursor of a round when all are settled.

    A `*` in the tag stands for the unit of the entry. Order is kept within a tag.
    """

    Options = SystemdOptions
    keeps_source = True

    def __init__(self, options: SystemdOptions, context: Context) -> None:
        self._options = options
        self._context = context
        self._log = context.log
        self._entries = EntryReader(
            lowercase=options.lowercase, strip_underscores=options.strip_underscores, max_fields=options.max_fields
        )
        tags = TagOfUnit(options.tag or context.name)
        self._journal = Journal(options.where(), self._entries, tags, self._log)
        self._store = CursorStore(options.db, options.db_sync, self._log)
        self._order = CursorOrder(self._note_move)
        self._most_bytes = min(MOST_BYTES, context.memory_limit or MOST_BYTES)
        self._worker: ThreadPoolExecutor | None = None
        # The cursor of the last entry that was emitted: a second `run` goes on behind it.
        self._emitted: str | None = None
        self._saved: str | None = None
        # What the input of the configuration before this one was to go on from: the cursor up to which it was safe, and
        # that of the tail where it was to begin if none was saved, as long as it could not find that out.
        self._handed_over: str | None = None
        self._tail: str | None = None
        # Whether reading must not begin because another program locks the database that may hold a cursor.
        self._awaits_cursor = False
        self._has_run = False
        self._has_moved = asyncio.Event()

    def handed_over(self) -> tuple[Hashable, Any] | None:
        safe, tail = self._order.safe, self._emitted if self._awaits_cursor else None
        return None if safe is None and tail is None else (self.source, (safe, tail))

    def go_on_from(self, handed_over: Mapping[Hashable, Any]) -> None:
        self._handed_over, self._tail = handed_over.get(self.source, (None, None))

    @property
    def source(self) -> Hashable:
        where = self._options.where()
        return "systemd", where.path, where.matches, where.filter_type, self._options.tag

    async def open(self) -> None:
        """Open the journal and the database; waits for the disk."""
        options = self._options
        _demand_library()
        if options.path is not None and not os.path.isdir(options.path):
            raise OptionError("path", f"{options.path!r} is no folder", "for example: path /var/log/journal")
        if options.db_sync is not None and options.db_sync.lower() not in SYNCHRONOUS:
            self._log.error("db.sync is ignored; it is one of extra, full, normal and off", given=options.db_sync)
        self._worker = ThreadPoolExecutor(1, "journal")
        await self._in_worker(self._tell_unreadable)
        self._saved = await self._in_worker(self._store.open)
        # What the database has may be older: it is not written while it is locked.
        known = self._handed_over or self._saved
        self._awaits_cursor = known is None and self._store.is_locked_out
        try:
            self._emitted = await self._in_worker(lambda: self._journal.open(known or self._tail))
        except (OSError, ValueError) as error:
            raise OptionError("path", f"the journal cannot be opened: {error}") from error
        if not self._awaits_cursor:
            await self._owe_the_rest()

    async def _owe_the_rest(self) -> None:
        """Save behind which entry reading begins: from there, as from the tail, all is owed, even if we are killed
        before anything is delivered."""
        if self._emitted is not None:
            self._order.begin(self._emitted, 0)
            await self._in_worker(self._save)

    async def run(self, emit: Emit) -> None:
        """Read on for ever; waits for changes, while the buffers are full, and for a database that is locked."""
        await self._wait_for_cursor()
        if self._has_run:
            # A bug ended the run before this one, maybe between the reading of entries and their emission.
            await self._in_worker(lambda: self._journal.open(self._emitted))
        self._has_run = True
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._save_cursors())
            await self._read(emit)

    async def _wait_for_cursor(self) -> None:
        """Wait while another program keeps the database from us: without its cursor we would repeat or lose entries."""
        while self._awaits_cursor:
            await self._context.clock.sleep(_TRY_AGAIN_S)
            self._saved = await self._in_worker(self._store.open)
            if not self._store.is_locked_out:
                # Without a saved cursor it is the tail, if that is wanted, as it was when we started.
                known = self._saved or self._emitted
                self._emitted = await self._in_worker(partial(self._journal.open, known))
                await self._owe_the_rest()
                self._awaits_cursor = False

    async def close(self) -> None:
        """Save the cursor and let the thread end."""
        if self._worker is None:
            return
        await self._in_worker(self._end)
        self._worker.shutdown(wait=False)
        self._worker = None

    def _tell_unreadable(self) -> None:
        """Warn of files that the library passes over in silence."""
        folders = [self._options.path] if self._options.path is not None else _FOLDERS
        patterns = ("*.journal", "*/*.journal")
        files = [file for folder in folders for pattern in patterns for file in Path(folder).glob(pattern)]
        unreadable = [file for file in files if _is_denied(file)]
        if unreadable:
            self._log.warning(
                f"{len(unreadable)} of {len(files)} journal files cannot be read",
                first=unreadable[0],
                remedy="give the process the capability DAC_READ_SEARCH, or the group systemd-journal",
            )

    # -- reading -----------------------------------------------------------------------------------------------------

    async def _read(self, emit: Emit) -> None:
        clock, pause_s = self._context.clock, 1.0
        most_entries = max(1, self._options.max_entries)
        while True:
            found = await self._in_worker(lambda: self._journal.read(most_entries, self._most_bytes))
            self._tell(found)
            if found.cursor is not None:
                await self._emit(emit, found.cursor, found)
                pause_s = 1.0
            elif found.error is not None:
                await clock.sleep(pause_s)
                pause_s = min(_LONGEST_PAUSE_S, pause_s * 2)
            if found.is_last:
                await self._until_changed()

    async def _until_changed(self) -> None:
        """Wait for a change of the journal; the library misses some, so not for long."""
        fd = self._journal.fd
        if fd is None:
            return
        if await readable(fd, self._context.clock, _LOOK_EVERY_S):
            await self._context.clock.sleep(_GATHER_S)

    async def _emit(self, emit: Emit, cursor: str, found: Round) -> None:
        """Emit the batches of a round; if that is cut short, nothing of it counts as read."""
        settle = self._order.begin(cursor, len(found.batches))
        try:
            for one in found.batches:
                await emit(RecordBatch(one.tag, one.records, one.size, Receipt(settle)))
        except BaseException:
            self._order.abandon_last()
            raise
        self._emitted = cursor

    def _tell(self, found: Round) -> None:
        """Count and log what went wrong in a round."""
        if found.error is not None:
            message = "the journal cannot be read and is opened again; files that are gone were not read to their end"
            self._log.error(message, every=_REMARK_EVERY_S, reason=found.error)
            self._context.counter("journal_errors_total").add()
        if found.broken or found.broken_fields:
            self._log.error(f"Skip {found.broken + found.broken_fields} broken entries")
        if found.broken:
            self._context.dropped(found.broken, 0, "broken_entry")
        if found.broken_fields:
            self._context.counter("journal_broken_fields_total").add(found.broken_fields)
        if self._entries.invalid:
            self._context.counter("invalid_utf8_records_total").add(self._entries.invalid)
            self._entries.invalid = 0

    # -- cursors -----------------------------------------------------------------------------------------------------

    def _note_move(self) -> None:
        self._has_moved.set()

    async def _save_cursors(self) -> None:
        """Save each cursor that takes effect, the newest if there are several."""
        while True:
            await self._has_moved.wait()
            self._has_moved.clear()
            if not await self._in_worker(self._save):
                await self._context.clock.sleep(_TRY_AGAIN_S)
                self._has_moved.set()

    def _save(self) -> bool:
        cursor = self._order.safe
        if cursor is None or cursor == self._saved:
            return True
        if not self._store.save(cursor):
            return False
        self._saved = cursor
        return True

    def _end(self) -> None:
        self._save()
        self._store.close()
        self._journal.close()

    async def _in_worker(self, work: Callable[[], T]) -> T:
        """Do this in the thread that the journal and the database belong to, and wait for it."""
        return await asyncio.get_running_loop().run_in_executor(self._worker, work)


def _is_denied(file: Path) -> bool:
    """Whether a file may not be read; tried, because access(2) leaves out the capabilities of who is not root."""
    try:
        os.close(os.open(file, os.O_RDONLY | os.O_CLOEXEC))
    except PermissionError:
        return True
    except OSError:
        return False  # it is gone
    return False


def _demand_library() -> None:
    try:
        import systemd._reader  # noqa: F401  # only to see whether it can be loaded
    except ImportError as error:
        remedy = "install libsystemd and shipper[systemd]"
        raise OptionError("name", f"the journal needs the library systemd-python: {error}", remedy) from error
