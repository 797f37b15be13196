"""Follow files: every line once, through rotation, restart and back-pressure."""

from __future__ import annotations

import asyncio
import math
import os
import sqlite3

from ...context import Context, Emit
from ...errors import OptionError
from ...metrics import Counter
from ...record import RecordBatch
from ..base import Input
from .assembly import Tally
from .catalogue import Catalogue
from .conversion import Conversion
from .discovery import Discovery, TagMaker
from .follower import Follower
from .generation import Generation
from .line_modes import LineModes
from .long_lines import LongLines
from .notify import Notifier
from .opening import Opening, Start
from .options import TailOptions
from .positions import PositionStore
from .saving import PacedSaving
from .state_loss import LostPositions, container_line_time

LARGEST_BLOCK = 512 * 1024
SMALLEST_BLOCK = 4096

SCAN_S = 1.0
"""Time between looks at the folders for new files; a folder whose time did not change is not listed."""

SUCCESSOR_S = 5.0
"""How long after a rotation the path is looked at often, because its new file is not there at once."""

PACE_S = 0.05
"""Rest between rounds when every file was read to its end, so that a busy writer does not wake us for every line."""

FLUSH_S = 1.0
"""Longest rest of the reader, after which it looks for open records that are due."""

LOCKED_S = 0.5
"""Time between tries to open a database that another program keeps locked."""

STAT_POLL_S = 0.25
"""Time between looks at every file when there are no file events."""

IDLE_AT_STOP_S = 1.0
"""At the stop an open record that has not grown for this time is handed out; others are read again at the start."""


class TailInput(Input):
    """The tail input; see `docs/architecture.md` for how a line travels from here."""

    Options = TailOptions
    keeps_source = True

    def __init__(self, options: TailOptions, context: Context) -> None:
        self._options = options
        self._context = context
        self._log = context.log
        self._clock = context.clock
        self._tags = TagMaker(options.tag or context.name, options.tag_regex)
        self._tally = Tally()
        self._line_modes = LineModes(options, context, self._tally)
        self._told = (0, 0)
        self._long_lines = LongLines(
            int(options.buffer_max_size) - 1, options.skip_long_lines, options.truncate_long_lines
        )
        self._store = PositionStore(options.db, options.db_sync, options.db_locking, options.db_journal_mode, self._log)
        costs_fsync = options.db_journal_mode != "WAL" or options.db_sync in ("full", "extra")
        self._saving = PacedSaving(self._store, costs_fsync)
        self._discovery = Discovery(options.path, options.exclude_path, context.disk, self._log)
        self._notifier = Notifier(self._file_event, self._folder_event, self._log)
        count = context.counter
        self._opening = Opening(
            self._store,
            context.disk,
            Start(options.read_from_head, options.read_newly_discovered_files_from_head),
            Conversion(context.disk, options.codec, self._log),
            options.db_compare_filename,
            self._log,
            count("files_opened_total"),
            count("positions_refused_total"),
        )
        self._catalogue = Catalogue(
            self._store,
            context.disk,
            self._opening,
            self._make_follower,
            self._log,
            count("files_closed_total"),
            count("files_rotated_total"),
        )
        self._block = block_size(context.memory_limit)
        self._ready: dict[str, Follower] = {}
        self._waiting: dict[str, Follower] = {}
        """Those that were read to their end while a record was open; silence will finish it."""
        self._handles: dict[int, int | None] = {}
        self._wake = asyncio.Event()
        self._is_stopping = False
        self._is_scan_due = False
        self._look_is_due = asyncio.Event()
        self._is_held_up = False
        """Whether the reader waits for room; events of files are then looked into beside it."""
        self._noticed: set[str] = set()
        """Paths with events that the reader has not come to."""
        self._successors: dict[str, float] = {}
        """Paths whose file was renamed and that name no new one yet; until when they are looked at often."""
        self._until_eof: set[str] | None = None

    async def open(self) -> None:
        """Open the database and listen for file events."""
        try:
            self._store.open()
        except (OSError, sqlite3.Error) as error:
            raise OptionError(
                "db", f"could not open/create database {self._options.db}: {error}", "the folder must exist"
            ) from error
        self._begin_without_positions()
        if self._options.inotify_watcher:
            self._notifier.open()
        if self._line_modes.definitions:
            self._log.info("multiline core started")
        self._context.metrics.gauge(f"{self._context.kind}_lag_bytes", self._lag, name=self._context.alias)
        self._context.metrics.gauge(
            f"{self._context.kind}_offset_persist_age_seconds", self._store.failing_for_s, name=self._context.alias
        )

    def _begin_without_positions(self) -> None:
        rule = self._options.on_state_loss
        if rule is None or not (self._store.is_new or self._store.was_lost):
            return
        self._log.warning(
            f"there are no positions: files begin where on_state_loss={rule} says", database=self._options.db
        )
        self._opening.lost_positions = LostPositions(
            rule, self._context.disk, self._time_of_line, self._clock.time_ns()
        )

    def _time_of_line(self, line: bytes) -> int | None:
        """The time by the parser of the lines, or that of a container runtime."""
        parser = self._line_modes.parser
        parsed = parser.parse(line.decode("utf-8", "replace")) if parser else None
        return (parsed[0] if parsed else None) or container_line_time(line)

    async def run(self, emit: Emit) -> None:
        """Read what there is; beside it look for new and rotated files, also while `emit` waits for room."""
        await self._wait_for_positions()
        async with asyncio.TaskGroup() as tasks:
            looking = tasks.create_task(self._keep_looking())
            await self._keep_reading(emit)
            looking.cancel()

    async def _wait_for_positions(self) -> None:
        """Wait while another program keeps the database from us: without positions we would lose or repeat lines."""
        while not self._store.is_ready and not self._is_stopping:
            if not self._store.flush():
                await self._clock.sleep(LOCKED_S)

    async def _keep_looking(self) -> None:
        """Scan and look regularly, and scan at once after an event in a folder."""
        next_scan = next_look = next_full_scan = self._clock.monotonic()
        look_s = float(self._options.progress_check_interval) if self._options.inotify_watcher else STAT_POLL_S
        while True:
            now = self._clock.monotonic()
            self._look_at_noticed(now)
            if now >= next_scan or self._is_scan_due:
                is_full = now >= next_full_scan
                self._scan(is_full)
                next_scan = now + SCAN_S
                if is_full:
                    next_full_scan = now + float(self._options.refresh_interval)
                    next_scan = min(next_scan, next_full_scan)
            if now >= next_look:
                self._look_at_all()
                next_look = now + look_s
            if self._ready:
                self._wake.set()
            rest = min(next_scan, next_look) - self._clock.monotonic()
            if any(until > now for until in self._successors.values()):
                rest = min(rest, PACE_S)
            if await self._clock.wait(self._look_is_due, max(0.0, rest)):
                await self._clock.sleep(PACE_S)
                self._look_is_due.clear()

    async def _keep_reading(self, emit: Emit) -> None:
        """Read in turns, and rest when there is nothing to read."""
        while not self._is_stopping:
            await self._read_round(emit)
            await self._flush_open_records(emit)
            if not self._ready:
                if self._all_initial_files_are_read():
                    await self._end_of_files(emit)
                    return
                self._wake.clear()
                if await self._clock.wait(self._wake, self._longest_rest_s()) and not self._is_stopping:
                    await self._clock.sleep(PACE_S)
        await self._hand_out(emit, IDLE_AT_STOP_S if self._store.is_persistent else 0.0)

    async def stop(self) -> bool:
        self._is_stopping = True
        self._wake.set()
        return True

    async def close(self) -> None:
        self._saving.close()
        self._catalogue.close()
        self._notifier.close()
        self._store.close()

    # -- looking -----------------------------------------------------------------------------------------------------

    def _scan(self, is_full: bool) -> None:
        """Find new files. A folder that was not touched is passed over unless this is a full scan."""
        self._is_scan_due = False
        is_first = self._until_eof is None
        if not (self._discovery.has_changed() or is_full or self._catalogue.is_undecided):
            return
        self._catalogue.is_undecided = False
        now_s = self._clock.time_ns() / 1e9
        oldest = now_s - float(self._options.ignore_older) if self._options.ignore_older else 0.0
        for path, state in self._discovery.scan():
            if state.st_mtime < oldest and self._catalogue.get(path) is None:
                self._opening.pass_over(state)
                continue
            follower = self._found(path, state)
            if follower is not None:
                self._watch(follower)
                self._ready[path] = follower
        if self._options.inotify_watcher:
            self._notifier.watch_folders(self._discovery.folders())
        if is_first:
            self._first_scan_is_over()
        elif is_full:
            self._catalogue.forget_vanished()
        self._saving.schedule()

    def _found(self, path: str, state: os.stat_result) -> Follower | None:
        try:
            return self._catalogue.found(path, state)
        except OSError as error:
            self._tell_unreadable(path, error)
            return None

    def _first_scan_is_over(self) -> None:
        self._opening.first_scan_is_over()
        self._catalogue.resume_without_path(self._discovery.is_wanted)
        self._until_eof = {f.path for f in self._catalogue}
        if count := self._catalogue.forget_stale_rows():
            self._log.info(f"db: delete unmonitored stale inodes from the database: count={count}")

    def _look_at_all(self) -> None:
        """The regular look at every path and file, which makes good whatever events did not tell."""
        for follower in self._catalogue:
            try:
                self._look_at(follower)
            except OSError as error:
                self._tell_unreadable(follower.path, error)
        if self._store.failing_for_s():
            self._saving.schedule()

    def _look_at_noticed(self, now: float) -> None:
        """Look where files were renamed or, while the reader is held up, where anything happened.

        However long the reader waits, a rotated file has to be open before it is deleted.
        """
        awaited = {path for path, until in self._successors.items() if until > now}
        for path in awaited | (self._noticed if self._is_held_up else set()):
            self._noticed.discard(path)
            follower = self._catalogue.get(path)
            if follower is None:
                self._successors.pop(path, None)
                continue
            try:
                for generation in follower.generations[:]:
                    follower.look_at(generation)
                self._look_at(follower)
            except OSError as error:
                self._tell_unreadable(path, error)

    def _await_successor(self, follower: Follower) -> None:
        """Look often for a while whether a path whose file was renamed names a new one."""
        newest = follower.newest
        if newest is None or not newest.is_rotated:
            self._successors.pop(follower.path, None)
        elif follower.path not in self._successors:
            self._successors[follower.path] = self._clock.monotonic() + SUCCESSOR_S
            self._look_is_due.set()

    def _look_at(self, follower: Follower) -> None:
        newest = follower.newest
        state = self._catalogue.check(follower)
        if state is not None and follower.is_unchanged(state):
            return
        if follower.newest is not newest:
            self._watch(follower)
        self._await_successor(follower)
        if follower.has_data():
            self._ready[follower.path] = follower
            return
        now = self._clock.monotonic()
        for generation in follower.generations[:]:
            self._let_go(follower, generation, now)

    def _let_go(self, follower: Follower, generation: Generation, now: float) -> None:
        """Close a rotated file that was read to its end, is delivered, and stayed quiet for rotate_wait."""
        if not generation.is_rotated or generation.has_unread:
            return
        if generation.quiet_since is None:
            generation.quiet_since = now
        elif now - generation.quiet_since >= float(self._options.rotate_wait):
            if follower.can_end_line(generation):
                self._ready[follower.path] = follower  # its last line has no newline: the next round ends it
            elif generation.is_safe_to_its_end:
                if generation.is_blocked:
                    self._context.dropped(0, generation.size - generation.offset, "line_too_long")
                self._notifier.forget(self._handles.pop(generation.number, None))
                self._catalogue.finish(follower, generation)
                self._saving.schedule()

    def _watch(self, follower: Follower) -> None:
        newest = follower.newest
        if newest is not None and self._options.inotify_watcher and newest.number not in self._handles:
            self._handles[newest.number] = self._notifier.watch_file(follower.path, newest.fd)

    def _file_event(self, path: str) -> None:
        follower = self._catalogue.get(path)
        if follower is not None:
            self._ready[path] = follower
            self._noticed.add(path)
            self._wake.set()
            if self._is_held_up:
                self._look_is_due.set()

    def _folder_event(self) -> None:
        self._is_scan_due = True
        self._look_is_due.set()

    # -- reading -----------------------------------------------------------------------------------------------------

    async def _read_round(self, emit: Emit) -> None:
        """One block from every file that may have something to read; a file read to its end leaves the round."""
        for path, follower in list(self._ready.items()):
            if self._is_stopping:
                return
            try:
                batch = self._read(follower)
            except OSError as error:
                # The other files go on; the next look tries this one again.
                self._ready.pop(path, None)
                self._tell_unreadable(path, error)
                continue
            self._noticed.discard(path)
            if batch is not None:
                self._is_held_up = True
                await emit(batch)
                self._is_held_up = False
            await asyncio.sleep(0)

    def _read(self, follower: Follower) -> RecordBatch | None:
        """The next block of the file; if there is none, the file leaves the round."""
        now_ns = self._clock.time_ns()
        if follower.has_data():
            blocked = self._long_lines.blocked
            batch = follower.read(self._block, now_ns)
            self._count()
            if self._long_lines.blocked > blocked:
                self._tell_blocked(follower)
            return batch
        batch = self._unfinished_line(follower, now_ns)
        if batch is None:
            self._ready.pop(follower.path, None)
            self._look_at(follower)
            follower.assembler.touch(self._clock.monotonic())
            if follower.assembler.deadline() is not None:
                self._waiting[follower.path] = follower
        return batch

    def _unfinished_line(self, follower: Follower, now_ns: int) -> RecordBatch | None:
        """The last line of a finished file that ends without a newline, if there is one."""
        now = self._clock.monotonic()
        for generation in follower.generations:
            since = generation.quiet_since
            is_over = since is not None and now - since >= float(self._options.rotate_wait)
            if generation.is_rotated and is_over and follower.can_end_line(generation):
                return follower.end_unfinished_line(generation, now_ns)
        return None

    def _tell_unreadable(self, path: str, error: OSError) -> None:
        self._log.error(f"read error, check permissions: {path}", reason=error.strerror, every=60)

    def _tell_blocked(self, follower: Follower) -> None:
        self._log.error(
            f"file={follower.path} requires a larger buffer size, lines are too long. Skipping file until it rotates "
            "or is truncated; set Skip_Long_Lines or truncate_long_lines, or raise Buffer_Max_Size"
        )

    async def _flush_open_records(self, emit: Emit) -> None:
        now = self._clock.monotonic()
        for path, follower in list(self._waiting.items()):
            deadline = follower.assembler.deadline()
            if deadline is None:
                del self._waiting[path]
                continue
            if deadline > now or self._has_more(follower):
                continue
            batch = follower.flush(now, None, self._clock.time_ns())
            if batch is not None:
                await emit(batch)

    def _longest_rest_s(self) -> float:
        """Time until the first open record is due."""
        deadlines = (follower.assembler.deadline() for follower in self._catalogue)
        first = min((d for d in deadlines if d is not None), default=math.inf)
        return min(FLUSH_S, max(PACE_S, first - self._clock.monotonic()))

    def _has_more(self, follower: Follower) -> bool:
        """Whether the file has grown unnoticed; silence counts only at its end, however long the reader was held up."""
        try:
            has_more = follower.has_data()
        except OSError:
            return False  # the next look tells
        if has_more:
            self._ready[follower.path] = follower
        return has_more

    async def _hand_out(self, emit: Emit, idle_s: float) -> None:
        """Emit open records that have been idle; the others stay owed to the file, which is read again from there."""
        for follower in self._catalogue:
            batch = follower.flush(self._clock.monotonic(), idle_s, self._clock.time_ns())
            if batch is not None:
                await emit(batch)

    def _all_initial_files_are_read(self) -> bool:
        return self._options.exit_on_eof and self._until_eof is not None

    async def _end_of_files(self, emit: Emit) -> None:
        for follower in self._catalogue:
            follower.assembler.touch(self._clock.monotonic())
        await self._hand_out(emit, 0.0)
        self._log.info("all files are read to their end (Exit_On_Eof)")
        self._context.stop_service()

    # -- positions and counters ----------------------------------------------------------------------------------------

    def _is_safe(self, generation: Generation) -> None:
        self._opening.remember_head(generation)
        self._store.changed(generation.saved)
        self._saving.schedule()

    def _lag(self) -> int:
        return sum(f.unread() for f in self._catalogue)

    def _count(self) -> None:
        rules, tally, count = self._long_lines, self._tally, self._context.counter
        now = (rules.skipped + rules.truncated, tally.invalid_utf8 + tally.too_old_lines)
        if now == self._told:
            return
        self._told = now
        _raise_to(count("long_line_skipped_total"), rules.skipped)
        _raise_to(count("long_line_truncated_total"), rules.truncated)
        _raise_to(count("invalid_utf8_lines_total"), tally.invalid_utf8)
        if tally.too_old_lines:
            self._context.dropped(tally.too_old_lines, tally.too_old_bytes, "ignore_older", wanted=True)
            tally.too_old_lines = tally.too_old_bytes = 0
        if rules.skipped:
            self._log.warning("have long lines. Skipping long lines.", skipped=rules.skipped, every=60)

    # -- making --------------------------------------------------------------------------------------------------------

    def _make_follower(self, path: str) -> Follower | None:
        tag = self._tags.tag_of(path)
        if tag is None:
            self._log.error(f"invalid tag_regex pattern for file {path}", every=60)
            return None
        return Follower(
            path,
            tag,
            self._line_modes.assembler(path),
            self._long_lines,
            self._context.disk,
            self._is_safe,
            self._catalogue.truncated,
            self._options.unfinished_line_at_rotation == "join",
        )


def block_size(memory_limit: int) -> int:
    """How much to read at once so that a few blocks fit into the memory limit (bytes of records as read)."""
    if not memory_limit:
        return LARGEST_BLOCK
    return max(SMALLEST_BLOCK, min(LARGEST_BLOCK, memory_limit // 4))


def _raise_to(counter: Counter, value: int) -> None:
    counter.add(value - counter.value)
