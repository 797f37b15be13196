"""The buffer that the engine sees: stores what is put, keeps what is recent in memory, and serves the readers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import chain

from ...clock import Clock
from ...disk import Disk
from ...log import Log
from ...metrics import Metrics
from ...record import RecordBatch
from ..base import OVER_LIMIT, BatchLimits, Buffer, BufferStatistics, Lane, Loss, Skipped
from .cache import BatchCache
from .cursors import Cursor, CursorFile
from .encoding import encode_content
from .entry import Entry
from .frames import Damage, encode_frame, join_names
from .limits import FreeSpace
from .log import SegmentLog
from .log_source import LogSource, stored_receipt
from .names import log_folder, quarantine_folder
from .quarantine import Quarantine
from .reader import StoredReader
from .retention import Retention
from .segment import Segment
from .settings import StorageSettings
from .writer import POLL_S, Put, Writer

MOST_OWED = 32 << 20
"""Bytes that may be put and not be durable yet; beyond that the input waits."""

MOST_NAMES = 10_000
"""Pairs of tag and outputs that are remembered as they are written."""

_REMARK_EVERY_S = 60.0
_PAUSE_TOLD_EVERY_S = 30.0


class FilesystemBuffer(Buffer):
    """Stores batches in a log of segments and settles their receipts as soon as they are durable.

    Durable is what was written, or with sync `full` what `fsync` has returned for. Readers come first, then `open`;
    `close` is last. While `run` runs, `fsync` is waited for in a thread, and failed writes are tried again even if
    nobody waits for room. A batch that cannot be written stays in memory, and its receipt is owed, until it can or
    until all its outputs have committed it. `name` names the folder, `shown` is what people and counters are told.
    """

    def __init__(
        self,
        name: str,
        settings: StorageSettings,
        clock: Clock,
        log: Log,
        disk: Disk,
        metrics: Metrics,
        skipped: Skipped,
        *,
        shown: str = "",
    ) -> None:
        folder = log_folder(settings.path, name)
        is_full = settings.sync == "full"
        quarantine = Quarantine(disk, quarantine_folder(settings.path, name), clock)
        name = shown or name
        self.folder = folder
        self._name = name
        self._settings = settings
        self._clock = clock
        self._tell = log
        self.disk = disk
        self.skipped = skipped
        self._failures = metrics.counter("storage_failures_total", name=name)
        self._log = SegmentLog(disk, folder, quarantine, settings.usual_segment(), clock.time_ns, syncs=is_full)
        self._writer = Writer(self._log, disk, clock, log, self._failures, syncs=is_full)
        self.segments = self._log.segments
        self._cursor_file = CursorFile(disk, folder, syncs=is_full)
        self._cursors = self._cursor_file.cursors
        self._are_cursors_stale = False
        self._cache = BatchCache(settings.memory)
        self._free = FreeSpace(disk, settings.path, settings.floor)
        self._sources: dict[str, LogSource] = {}
        self._notify: dict[str, Callable[[], None]] = {}
        self._is_open = False
        self._next = self.first = 1
        self._retention = Retention(self._log, self._cursors, log, self._failures, metrics, name)
        self._kept = self._retention.kept
        self._waiting = 0
        self._names: dict[tuple[str, tuple[str, ...]], bytes] = {}
        if settings.budget is not None:
            settings.budget.watch(lambda: self._kept.stored)

    # -- life --------------------------------------------------------------------------------------------------------

    def open(self) -> None:
        """Find what an earlier run has left; reads no records. Raises `OSError` if the folder cannot be used."""
        self._log.open()
        if not self._cursor_file.load():
            self._tell.warning(
                "the file of cursors is damaged; some records may come twice", file=self._cursor_file.path
            )
        known = [cursor.seen for cursor in self._cursors.values()]
        # One number is left out, so that damage at the end is never taken for a write that was made again.
        self._next = self.first = max(chain(known, (s.last for s in self.segments), (0,))) + 2
        for segment in self.segments:
            self._kept.plus(segment.all)
            if segment.damage is not None:
                self._tell_damage(segment, segment.damage)
        self._is_open = True
        for source in self._sources.values():
            source.cursor = self._cursor_of(source.name)
            source.start()
        self._retention.sweep()
        self._tell_strangers()

    async def run(self) -> None:
        """Wait for the disk without holding up the loop, and try again what has failed, until cancelled."""
        await self._writer.run()

    def close(self) -> None:
        """Make everything durable that can be, and end the segment; readers must not be used any more."""
        self._writer.close()
        self._retention.sweep()
        self._save_stale_cursors()
        for source in self._sources.values():
            source.close()
        self._cursor_file.close()

    # -- the contract ------------------------------------------------------------------------------------------------

    async def room(self, size: int) -> None:
        """Wait until a batch of this many bytes as read may be put: for the disk, for `fsync`, for the chunk budget."""
        reason = self._why_wait(size)
        if reason is not None:
            await self._wait_for_room(size, reason)

    def put(self, batch: RecordBatch, outputs: Sequence[str], *, is_limited: bool = True) -> None:
        """See `Buffer`; what is on its way already must not be refused or skipped, and is put without `is_limited`."""
        limits = self._settings.limits if is_limited else {}
        named = self._wanted_by(outputs, batch) if limits else tuple(outputs)
        if not named:
            batch.receipt.settle()
            return
        # The lanes come first: an output that cannot name one must not leave the batch with some readers only.
        takers = [(source, source.lane_of(batch)) for source in map(self._sources.__getitem__, named)]
        content, size, records = batch.content, batch.size, len(batch)
        payload = encode_content(content)
        sequence, now_ns = self._next, self._clock.time_ns()
        stored_names = tuple([source.cursor.output for source, _ in takers])
        names = self._names_of(batch.tag, stored_names)
        data = encode_frame(sequence, names, size, now_ns, records, payload.form, payload.parts)
        kept = RecordBatch(batch.tag, payload.content, size, stored_receipt(now_ns))
        entry = Entry(sequence, stored_names, records, size, len(data), now_ns, self._clock.monotonic(), kept)
        if limits:
            self._make_room_for(entry, named)
        self._next = sequence + 1
        self._kept.put(entry)
        put = Put(entry, data, batch.receipt)
        durable = self._writer.put(put)
        self._retention.note_active()
        news = [source.name for source, lane in takers if source.put(entry, lane, put.segment)]
        for source in self._sources.values():
            source.note_seen(sequence)
        if entry.users:
            self._cache.add(entry)
        elif entry.path is not None:
            entry.batch = None
        self._writer.settle(durable)
        for output in news:
            self._notify[output]()

    def reader(self, output: str, lane: Lane, limits: BatchLimits, notify: Callable[[], None]) -> StoredReader:
        source = LogSource(self, output, self._cursor_of(output) if self._is_open else Cursor(output), lane, limits)
        self._sources[output] = source
        self._notify[output] = notify
        if output in self._settings.limits:
            self._settings.limits[output].watch(source, keeps_source=self._settings.keeps_source)
        if self._is_open:
            source.start()
        return StoredReader(source, notify, source.keep_rows)

    def statistics(self) -> BufferStatistics:
        kept = self._kept
        return BufferStatistics(
            kept.batches, kept.records, kept.size, self._waiting > 0, self._cache.weight, kept.stored
        )

    def held(self) -> dict[str, int]:
        """By output the records that it has not committed."""
        return {output: source.held.records for output, source in self._sources.items()}

    @property
    def stored(self) -> int:
        """Bytes on disk of what is held."""
        return self._kept.stored

    @property
    def memory(self) -> int:
        """Resident bytes that batches in memory are taken to have."""
        return self._cache.weight

    # -- what sources ask for; see `Store` -----------------------------------------------------------------------------

    def unwritten(self) -> list[Entry]:
        return self._writer.unwritten()

    def remember(self, entry: Entry) -> None:
        self._cache.add(entry)

    def release(self, entries: Sequence[Entry]) -> None:
        for entry in entries:
            entry.users -= 1
            if entry.users == 0 and entry.path is not None:
                self._cache.remove(entry)

    def finished(self, cursor: Cursor, entries: Sequence[Entry]) -> None:
        self._save(cursor)
        done = []
        for entry in entries:
            if self._retention.finished(entry):
                done.append(entry.sequence)
                self._cache.remove(entry)
        self._writer.finished(done)
        if self._retention.is_due(cursor):
            self._retention.sweep()
        if self._waiting:
            self._writer.progress.set()

    def moved(self, cursor: Cursor) -> None:
        self._save(cursor)
        self._retention.sweep()

    def damaged(self, segment: Segment, damage: Damage) -> None:
        was_active = segment is self._log.active
        if self._log.note_damage(segment, damage):
            self._next += was_active  # see `open`
            self._tell_damage(segment, damage)

    def read_failed(self, path: str, error: OSError) -> None:
        self._failures.add()
        self._tell.error(
            "stored records cannot be read; it is tried again", every=_REMARK_EVERY_S, file=path, reason=error
        )

    # -- room --------------------------------------------------------------------------------------------------------

    def has_room_for(self, output: str, size: int) -> bool:
        """Whether so many bytes that wait for this output elsewhere may wait here; see `StorageLimit.takes`."""
        limit = self._settings.limits.get(output)
        return limit is None or limit.takes(size, keeps_source=self._settings.keeps_source)

    def _wanted_by(self, outputs: Sequence[str], batch: RecordBatch) -> tuple[str, ...]:
        """The outputs for which the batch is stored; for the others it is counted as skipped."""
        limits, keeps_source = self._settings.limits, self._settings.keeps_source
        wanted = []
        for output in outputs:
            if output in limits and limits[output].refuses(batch.size, keeps_source=keeps_source):
                self.skipped(Loss(output, len(batch), batch.size, OVER_LIMIT, batch.tag, self._clock.time_ns()))
            else:
                wanted.append(output)
        return tuple(wanted)

    def _make_room_for(self, entry: Entry, outputs: Sequence[str]) -> None:
        limits = self._settings.limits
        for output in outputs:
            if output in limits:
                limits[output].make_room(entry.stored)

    def _why_wait(self, size: int) -> str | None:
        """What is to be told about a wait, an empty text if nothing is; None if there is no need to wait."""
        writer, budget = self._writer, self._settings.budget
        if writer.failure is not None:
            self._give_up_active()
            writer.write()
            if writer.failure is not None:
                return f"the disk refuses: {writer.failure}"
        if writer.owed_bytes > MOST_OWED:
            return ""
        if budget is not None and self._kept.batches and budget.is_used_up:
            return f"storage buf overlimit {budget.used()}/{budget.limit} of storage.max_chunks_up"
        for output in self._settings.limits.keys() & self._sources.keys():
            limit = self._settings.limits[output]
            is_patient = limit.on_full(keeps_source=self._settings.keeps_source) == "pause"
            if is_patient and self._sources[output].held.batches and not limit.has_room(size):
                return f"{limit.used()}B wait for {output}, its storage.total_limit_size is {limit.limit}B"
        path, floor = self._settings.path, self._settings.floor
        try:
            if not self._free.allows(size) and not (self._give_up_active() and self._free.allows(size)):
                return f"{self._free.free}B free in {path}, storage.free_space_floor is {floor}B"
        except OSError as error:
            return f"the disk refuses: {error}"
        return None

    def _give_up_active(self) -> bool:
        """End the active segment if nobody needs it, so that its space is free; true if it was."""
        active = self._log.active
        if active is None or not active.all.batches or active.finished.batches < active.all.batches:
            return False
        self._log.seal()
        self._retention.sweep()
        return True

    async def _wait_for_room(self, size: int, reason: str) -> None:
        self._waiting += 1
        is_told = False
        try:
            while True:
                self._writer.progress.clear()
                if reason and not is_told:
                    is_told = True
                    self._tell.warning(f"[input] {self._name} paused ({reason})", every=_PAUSE_TOLD_EVERY_S)
                await self._clock.wait(self._writer.progress, POLL_S)
                again = self._why_wait(size)
                if again is None:
                    break
                reason = again
        finally:
            self._waiting -= 1
        if is_told:
            self._tell.info(f"[input] {self._name} resume ({reason})", every=_PAUSE_TOLD_EVERY_S)

    # -- cursors and segments ----------------------------------------------------------------------------------------

    def _cursor_of(self, output: str) -> Cursor:
        return self._cursor_file.cursor(self._settings.names.get(output, output))

    def _save(self, cursor: Cursor) -> None:
        try:
            self._cursor_file.save(cursor)
            self._are_cursors_stale = False
        except OSError as error:
            self._note_stale(error)

    def _save_stale_cursors(self) -> None:
        if self._are_cursors_stale:
            try:
                self._cursor_file.rewrite()
                self._are_cursors_stale = False
            except OSError as error:
                self._note_stale(error)

    def _note_stale(self, error: OSError) -> None:
        self._are_cursors_stale = True
        self._failures.add()
        self._tell.error(
            "cursors cannot be saved; if the process ended now, some records would come twice",
            every=_REMARK_EVERY_S,
            reason=error,
        )

    def _names_of(self, tag: str, outputs: tuple[str, ...]) -> bytes:
        found = self._names.get((tag, outputs))
        if found is None:
            if len(self._names) > MOST_NAMES:
                self._names.clear()
            found = self._names[tag, outputs] = join_names(tag, outputs)
        return found

    # -- telling -----------------------------------------------------------------------------------------------------

    def _tell_damage(self, segment: Segment, damage: Damage) -> None:
        tell = self._tell.warning if damage.is_torn else self._tell.error
        tell(
            "a stored segment is not intact; what stands before that is delivered",
            file=segment.path,
            offset=damage.offset,
            reason=damage.reason,
        )

    def _tell_strangers(self) -> None:
        """Tell of records for outputs that are not configured any more; they stay where they are."""
        owed: dict[str, int] = {}
        ours = {source.cursor.output for source in self._sources.values()}
        for segment in self.segments:
            for output, sums in segment.by_output.items():
                cursor = self._cursors.get(output)
                if output not in ours and (cursor is None or cursor.committed < segment.last):
                    owed[output] = owed.get(output, 0) + sums.records
        for output, records in owed.items():
            self._tell.warning(
                "records are stored for an output that is not configured; they stay on disk",
                output=output,
                records=records,
                remedy=f"give the output that is to get them the alias {output}, or remove what it owes",
            )

    def __repr__(self) -> str:
        return f"FilesystemBuffer({self._name!r}, {len(self.segments)} segments, {self._kept})"
