"""Follow files: every line once, through rotation, restart and back-pressure."""

from __future__ import annotations

import asyncio
import math
import sqlite3
from collections.abc import Hashable, Mapping
from typing import Any

from ...context import Context, Emit
from ...record import RecordBatch
from ..base import Input
from ..unopened import unopened_database
from .assembly import Tally
from .catalogue import Catalogue
from .conversion import Conversion
from .counting import Counting
from .discovery import TagMaker
from .follower import Follower
from .generation import Generation
from .line_modes import LineModes
from .long_lines import LongLines
from .looking import PACE_S, Looking
from .matching import Matching
from .open_records import OpenRecords, most_open_bytes
from .opening import Opening, Start
from .options import TailOptions
from .patterns import Wanted
from .positions import PositionStore
from .saving import PacedSaving
from .state_loss import LostPositions, container_line_time
from .turns import Turns

LARGEST_BLOCK = 256 * 1024
SMALLEST_BLOCK = 4096

FLUSH_S = 1.0
"""Longest rest of the reader, after which it looks for open records that are due."""

LOCKED_S = 0.5
"""Time between tries to open a database that another program keeps locked."""

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
        self._long_lines = LongLines(
            int(options.buffer_max_size) - 1, options.skip_long_lines, options.truncate_long_lines
        )
        self._store = PositionStore(options.db, options.db_sync, options.db_locking, options.db_journal_mode, self._log)
        costs_fsync = options.db_journal_mode != "WAL" or options.db_sync in ("full", "extra")
        self._saving = PacedSaving(self._store, costs_fsync)
        count = context.counter
        self._matching = Matching(
            self._store, context.disk, options.db_compare_filename, count("positions_refused_total"), self._log
        )
        self._opening = Opening(
            self._store,
            context.disk,
            Start(options.read_from_head, options.read_newly_discovered_files_from_head),
            Conversion(context.disk, options.codec, self._log),
            self._matching,
            self._log,
            count("files_opened_total"),
        )
        self._counting = Counting(context, self._tally, self._long_lines)
        self._catalogue = Catalogue(
            self._store,
            context.disk,
            self._opening,
            self._make_follower,
            self._log,
            count("files_closed_total"),
            count("files_rotated_total"),
            count("files_truncated_total"),
            self._counting.abandoned,
            Wanted(options.path, options.exclude_path).__contains__,
        )
        most = min(int(options.static_batch_size), int(options.event_batch_size))
        self._turns = Turns(max(SMALLEST_BLOCK, min(block_size(context.memory_limit), most)))
        self._looking = Looking(
            options,
            context,
            self._catalogue,
            self._opening,
            self._matching,
            self._store,
            self._saving,
            self._turns,
            self._counting,
        )
        self._open_records = OpenRecords(most_open_bytes(int(context.service.multiline_buffer_limit)))
        self._waiting: dict[str, Follower] = {}
        """Those that were read to their end while a record was open; silence will finish it."""
        self._is_stopping = False

    def handed_over(self) -> tuple[Hashable, Any] | None:
        return None if self._store.is_persistent else (self.source, self._store.files())

    def go_on_from(self, handed_over: Mapping[Hashable, Any]) -> None:
        if not self._store.is_persistent:
            self._store.go_on_from(handed_over.get(self.source, ()))

    @property
    def source(self) -> Hashable:
        return "tail", self._options.path, self._options.tag

    async def open(self) -> None:
        """Open the database and listen for file events."""
        try:
            self._store.open()
        except (OSError, sqlite3.Error) as error:
            raise unopened_database(str(self._options.db), error) from error
        self._begin_without_positions()
        self._looking.open()
        if self._line_modes.definitions:
            self._log.info("multiline core started")
        self._counting.offer_gauges(self._catalogue, self._store)
        self._context.metrics.gauge("input_files_unopened", self._opening.unopened, name=self._context.alias)

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
            looking = tasks.create_task(self._looking.run())
            await self._keep_reading(emit)
            looking.cancel()

    async def _wait_for_positions(self) -> None:
        """Wait while another program keeps the database from us: without positions we would lose or repeat lines."""
        while not self._store.is_ready and not self._is_stopping:
            if not self._store.flush():
                await self._clock.sleep(LOCKED_S)

    async def _keep_reading(self, emit: Emit) -> None:
        """Read in turns, and rest when there is nothing to read."""
        while not self._is_stopping:
            await self._read_round(emit)
            await self._flush_open_records(emit)
            if not self._turns:
                if self._options.exit_on_eof and self._looking.has_scanned and not self._is_held_back():
                    await self._end_of_files(emit)
                    return
                filled = self._turns.is_filled
                filled.clear()
                if await self._clock.wait(filled, self._longest_rest_s()) and not self._is_stopping:
                    await self._clock.sleep(PACE_S)
        await self._hand_out(emit, IDLE_AT_STOP_S if self._store.is_persistent else 0.0)

    async def stop(self) -> bool:
        self._is_stopping = True
        self._turns.is_filled.set()
        return True

    async def close(self) -> None:
        self._saving.close()
        self._catalogue.close()
        self._looking.close()
        self._store.close()

    # -- reading -----------------------------------------------------------------------------------------------------

    async def _read_round(self, emit: Emit) -> None:
        """A turn for every file that may have something to read; a file read to its end leaves the round."""
        for follower in self._turns.round():
            while self._turns.has_turn(follower.path) and not self._is_stopping:
                begin = follower.read_bytes
                try:
                    batch = self._read(follower)
                except OSError as error:
                    # The other files go on; the next look tries this one again.
                    self._turns.remove(follower.path)
                    self._opening.tell_unreadable(follower.path, error)
                    break
                self._turns.spend(follower.path, follower.read_bytes - begin)
                self._looking.has_read(follower.path)
                if batch is not None:
                    await self._emit_held_up(batch, emit)
                self._open_records.note(follower.path, follower.open_bytes)
                while (path := self._open_records.too_large()) is not None:
                    await self._cut_open_records(path, emit)
                await asyncio.sleep(0)

    async def _emit_held_up(self, batch: RecordBatch, emit: Emit) -> None:
        self._looking.is_held_up = True
        await emit(batch)
        self._looking.is_held_up = False

    async def _cut_open_records(self, path: str, emit: Emit) -> None:
        """Hand out the open records of the file as they are, if they are as large as they were when noted."""
        follower = self._catalogue.get(path)
        size = 0 if follower is None else follower.open_bytes
        self._open_records.note(path, size)
        if follower is None or self._open_records.too_large() != path:
            return
        batch = follower.cut(self._clock.time_ns())
        self._open_records.note(path, 0)
        self._counting.count()
        message = (
            "records without an end take too much memory; those of the file with the most are handed out as they are"
        )
        self._log.warning(message, file=path, bytes=size, limit=self._open_records.most, every=60)
        if batch is not None:
            await self._emit_held_up(batch, emit)

    def _read(self, follower: Follower) -> RecordBatch | None:
        """The next block of the file; if there is none, the file leaves the round."""
        now_ns = self._clock.time_ns()
        if follower.has_data():
            blocked = self._long_lines.blocked
            batch = follower.read(self._turns.quantum, now_ns)
            follower.note_lag(self._clock.monotonic())
            self._counting.count()
            if self._long_lines.blocked > blocked:
                self._tell_blocked(follower)
            return batch
        batch = self._unfinished_line(follower, now_ns)
        if batch is None:
            self._turns.remove(follower.path)
            self._looking.look_at(follower)
            follower.note_lag(self._clock.monotonic())
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
            self._open_records.note(path, follower.open_bytes)
            self._counting.count()
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
            self._turns.add(follower)
        return has_more

    async def _hand_out(self, emit: Emit, idle_s: float) -> None:
        """Emit open records that have been idle; the others stay owed to the file, which is read again from there."""
        for follower in self._catalogue:
            batch = follower.flush(self._clock.monotonic(), idle_s, self._clock.time_ns())
            self._counting.count()
            if batch is not None:
                await emit(batch)

    def _is_held_back(self) -> bool:
        return any(follower.is_held_back for follower in self._catalogue)

    async def _end_of_files(self, emit: Emit) -> None:
        for follower in self._catalogue:
            follower.assembler.touch(self._clock.monotonic())
        await self._hand_out(emit, 0.0)
        self._log.info("all files are read to their end (Exit_On_Eof)")
        self._context.stop_service()

    # -- positions ----------------------------------------------------------------------------------------

    def _is_safe(self, generation: Generation) -> None:
        self._store.changed(generation.saved)
        self._saving.schedule()

    def _is_begun(self, generation: Generation) -> None:
        if self._opening.remember_head(generation):
            self._is_safe(generation)

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
            self._is_begun,
            self._catalogue.truncated,
            self._options.unfinished_line_at_rotation == "join",
        )


def block_size(memory_limit: int) -> int:
    """How much to read at once so that a few blocks fit into the memory limit (bytes of records as read)."""
    if not memory_limit:
        return LARGEST_BLOCK
    return max(SMALLEST_BLOCK, min(LARGEST_BLOCK, memory_limit // 4))
