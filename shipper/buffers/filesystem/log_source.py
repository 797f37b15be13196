"""How one output reads a log: what was just put comes straight from memory, what is older from the segments."""

from __future__ import annotations

import errno
from bisect import bisect_right
from collections.abc import Hashable, Sequence
from typing import Protocol

from ...disk import Disk
from ...record import Origin, Receipt, RecordBatch
from ..base import DAMAGED, OVER_LIMIT, BatchLimits, Lane, Loss, Skipped
from ..lanes import Lanes
from .cursors import Cursor
from .encoding import decode_content
from .entry import LONG_AGO, Entry
from .frames import SEGMENT_HEAD, Damage, Frame, FrameReader, split_names
from .segment import Segment, Sums, base_of

WINDOW = 8192
"""Batches of a reader that wait or are out; what comes behind them is left on the disk meanwhile."""

READ_TRIES = 10
"""Failures of the medium at one place after which the rest of the segment is given up."""


class Store(Protocol):
    """What a source sees of the buffer it reads."""

    disk: Disk
    segments: list[Segment]
    skipped: Skipped
    first: int
    """The number of the first entry that this run has put."""

    def unwritten(self) -> Sequence[Entry]:
        """Entries that are not on the disk yet, in their order."""

    def remember(self, entry: Entry) -> None:
        """Keep the entry's batch in memory, as long as there is room."""

    def release(self, entries: Sequence[Entry]) -> None:
        """A reader does not need the batches of these entries any more."""

    def finished(self, cursor: Cursor, entries: Sequence[Entry]) -> None:
        """These entries are finished for the cursor's output."""

    def moved(self, cursor: Cursor) -> None:
        """The cursor has gone on without entries of its own."""

    def damaged(self, segment: Segment, damage: Damage) -> None: ...

    def read_failed(self, path: str, error: OSError) -> None: ...


class LogSource:
    """The entries of one output, from its cursor to the end of the log.

    While `is_level` is true everything there is was looked at, and `put` adds what comes new. Otherwise `read_on` goes
    through the segments: everything up to `_at` was looked at, `_segment` is read up to the offset of `_reader`, and
    `_read` are the sums of what was seen of it for this output. `held` is all that is not finished, seen or not;
    `_active` counts what waits or is out. `name` is that of the output, which the files may call otherwise; the cursor
    is of the files.
    """

    def __init__(self, store: Store, name: str, cursor: Cursor, lane: Lane, limits: BatchLimits) -> None:
        self.lanes = Lanes[Entry](limits)
        self.held = Sums()
        self.has_failed = False
        self.is_level = True
        self.name = name
        self.cursor = cursor
        self.lane_of = lane
        self._store = store
        self._at = 0
        self._segment: Segment | None = None
        self._reader: FrameReader | None = None
        self._read = Sums()
        self._failures = 0
        self._load_failures = 0
        self._active = 0

    def start(self) -> None:
        """Find the cursor's place in the segments and add up what is held; raises `OSError`."""
        cursor, segments = self.cursor, self._store.segments
        # What was delivered from memory while the disk refused it may be nowhere.
        cursor.finish([n for n in cursor.open if not _is_in(segments, n)])
        for _, records, size, stored in cursor.open.values():
            self.held.add(1, records, size, stored)
        for segment in segments:
            sums = segment.by_output.get(cursor.output)
            if sums is not None and segment.last > cursor.seen:
                self.held.plus(sums)
                if segment.base <= cursor.seen:
                    self.held.plus(segment.position_of(self._store.disk, cursor.seen + 1, cursor.output)[1], -1)
        self._at = cursor.committed
        self.is_level = not segments

    def put(self, entry: Entry, name: Hashable, segment: Segment | None) -> bool:
        """Let a new entry wait; true if there is news. `segment` is where it is stored, if it is."""
        self.held.put(entry)
        if not self.is_level:
            return False
        if self._has_room():
            self._begin(entry)
            return self._add(entry, name)
        self.is_level = False
        self._at = self.cursor.seen
        if segment is not None:
            seen = segment.by_output[self.cursor.output].copy()
            seen.take(entry)
            self._enter(segment, entry.offset, seen)
        return True  # nothing that waits should go on waiting for a fuller delivery

    def note_seen(self, sequence: int) -> None:
        """Everything up to this number was put; what is for this output was told by `put`."""
        if self.is_level:
            self.cursor.seen = sequence

    def can_read(self) -> bool:
        return not self.is_level and self._has_room()

    def read_on(self) -> int:
        try:
            frame = self._next_frame()
            self._failures, self.has_failed = 0, False
        except OSError as error:
            self._note_failure(error)
            return 0
        if frame is None:
            self._become_level()
            return 0
        return frame.stored

    def load(self, entry: Entry) -> RecordBatch | None:
        batch = entry.batch
        if batch is None and entry.path is not None:
            try:
                batch = self._rest_of(entry.sequence, read_entry(self._store.disk, entry.path, entry.offset))
            except (OSError, Damage) as error:
                if isinstance(error, OSError) and self._may_load_later(entry.path, error):
                    raise
                self._give_up(entry, error)
            self._load_failures = 0
        return batch

    def is_replayed(self, entry: Entry) -> bool:
        return entry.sequence < self._store.first

    def name_of(self, entry: Entry) -> str:
        return ""

    def release(self, entries: Sequence[Entry]) -> None:
        self._active -= len(entries)
        self._store.release(entries)

    def finish(self, entries: Sequence[Entry], *, are_released: bool = False) -> None:
        if not are_released:
            self.release(entries)
        held = self.held
        for entry in entries:
            held.take(entry)
        self.cursor.finish([entry.sequence for entry in entries])
        self._store.finished(self.cursor, entries)

    def keep_rows(self, entry: Entry, rows: Sequence[int]) -> None:
        """Of this entry, which waits again and is not delivered by this process any more, only these rows are left."""
        before = self.cursor.left.get(entry.sequence)
        size = entry.size * len(rows) // entry.records
        self.held.add(0, len(rows) - entry.records, size - entry.size, 0)
        self.cursor.keep_rows(entry.sequence, list(rows) if before is None else [before[row] for row in rows], size)
        self._store.moved(self.cursor)

    def oldest_ns(self) -> int | None:
        """When the oldest entry was put that is not out; None if there is none."""
        entry = self._oldest()
        return None if entry is None else entry.time_ns

    def skip_oldest(self) -> int:
        """Finish the oldest entry that is not out, undelivered; gives its bytes on disk, 0 if there is none."""
        entry = self._oldest()
        if entry is None:
            return 0
        self.lanes.drop(entry.sequence)
        self._note_loss(entry, OVER_LIMIT)
        self.finish([entry])
        return entry.stored

    def close(self) -> None:
        if self._reader is not None:
            self._reader.close()
        self._reader = self._segment = None

    def _has_room(self) -> bool:
        return self._active < WINDOW

    def _begin(self, entry: Entry) -> None:
        self.cursor.begin((entry.sequence, entry.records, entry.size, entry.stored))

    def _add(self, entry: Entry, name: Hashable) -> bool:
        entry.users += 1
        self._active += 1
        return self.lanes.add(entry, name)

    def _oldest(self) -> Entry | None:
        found = self.lanes.first_waiting(self.cursor.open)
        while found is None and self.can_read():
            self.read_on()
            if self.has_failed:
                break
            found = self.lanes.first_waiting(self.cursor.open)
        return found

    def _next_frame(self) -> Frame | None:
        """Look at the next frame of a segment that may have some; None at the end of the log."""
        while True:
            if self._segment is None:
                segment = self._following_segment()
                if segment is None:
                    return None
                self._find_place(segment)
            segment, reader = self._segment, self._reader
            assert segment is not None and reader is not None
            if reader.offset < segment.end:
                try:
                    return self._look_at_frame(segment, reader)
                except Damage as damage:
                    self._store.damaged(segment, damage)
            elif self._store.segments[-1:] in ([], [segment]):
                return None
            else:
                self._leave(segment)

    def _look_at_frame(self, segment: Segment, reader: FrameReader) -> Frame:
        cursor = self.cursor
        frame = reader.head(segment.end)
        sequence = frame.sequence
        tag, outputs = split_names(frame.names)
        is_new = sequence > cursor.seen
        if cursor.output in outputs and sequence > self._at and (is_new or sequence in cursor.open):
            self._let_wait(segment, frame, tag, outputs, reader.payload(frame))
            if is_new:
                self._read.put(frame)
        reader.offset = frame.end
        cursor.seen = max(cursor.seen, sequence)
        self._at = max(self._at, sequence)
        return frame

    def _let_wait(self, segment: Segment, frame: Frame, tag: str, outputs: tuple[str, ...], payload: bytes) -> None:
        batch = self._rest_of(frame.sequence, _batch_of(frame, tag, payload))
        name = self.lane_of(batch)
        entry = Entry(frame.sequence, outputs, len(batch), batch.size, frame.stored, frame.time_ns, LONG_AGO, batch)
        entry.had = (frame.records - len(batch), frame.size - batch.size)
        entry.path, entry.offset = segment.path, frame.offset
        if frame.sequence > self.cursor.seen:
            self._begin(entry)
        self._store.remember(entry)
        self._add(entry, name)

    def _rest_of(self, sequence: int, batch: RecordBatch) -> RecordBatch:
        """What of a stored batch is left for this output."""
        rows = self.cursor.left.get(sequence)
        if rows is None:
            return batch
        records = batch.content.records()
        return RecordBatch(batch.tag, [records[row] for row in rows], self.cursor.open[sequence][2], batch.receipt)

    def _following_segment(self) -> Segment | None:
        """The first segment that may hold a frame which was not looked at; None if there is none."""
        cursor, segments = self.cursor, self._store.segments
        start = max(0, bisect_right(segments, self._at + 1, key=base_of) - 1)
        for segment in segments[start:]:
            if segment.last > self._at:
                if segment.last > cursor.seen and cursor.output in segment.by_output:
                    return segment
                if self._hidden(segment):
                    return segment
                self._at = segment.last
                cursor.seen = max(cursor.seen, segment.last)
        return None

    def _hidden(self, segment: Segment) -> list[int]:
        """The open frames of a segment that were not looked at since the start."""
        cursor, at = self.cursor, self._at
        if cursor.committed >= segment.last:
            return []
        return [n for n in cursor.open if n > at and segment.base <= n <= segment.last]

    def _find_place(self, segment: Segment) -> None:
        """Begin to read a segment, where the first frame is that was not looked at."""
        offset, seen = SEGMENT_HEAD.size, Sums()
        if segment.base <= self.cursor.seen:
            offset, seen = segment.position_of(self._store.disk, self.cursor.seen + 1, self.cursor.output)
        self._enter(segment, SEGMENT_HEAD.size if self._hidden(segment) else offset, seen)

    def _enter(self, segment: Segment, offset: int, seen: Sums) -> None:
        self.close()
        self._segment, self._read = segment, seen
        self._reader = FrameReader(self._store.disk, segment.path, offset)

    def _leave(self, segment: Segment) -> None:
        """Go on behind this segment; what it was to have for this output and was not found is lost."""
        lost = segment.by_output.get(self.cursor.output, Sums()).copy()
        lost.plus(self._read, -1)
        hidden = self._hidden(segment)
        for sequence in hidden:
            _, records, size, stored = self.cursor.open[sequence]
            lost.add(1, records, size, stored)
        if lost.batches > 0:
            self.held.plus(lost, -1)
            self._store.skipped(Loss(self.name, lost.records, lost.size, DAMAGED))
        self.cursor.finish(hidden)
        self.close()
        self._at = max(self._at, segment.last)
        self.cursor.seen = max(self.cursor.seen, segment.last)
        self._store.moved(self.cursor)

    def _become_level(self) -> None:
        """Take what is not on the disk yet, too; from now on `put` adds what comes new."""
        if self._segment is not None:
            self._leave(self._segment)
        self.is_level = True
        for entry in self._store.unwritten():
            if entry.sequence > self.cursor.seen:
                if self.cursor.output in entry.outputs and entry.batch is not None:
                    name = self.lane_of(entry.batch)
                    self._begin(entry)
                    self._add(entry, name)
                self.cursor.seen = entry.sequence

    def _note_failure(self, error: OSError) -> None:
        segment, reader = self._segment, self._reader
        self.has_failed = True
        self._store.read_failed(segment.path if segment is not None else str(error.filename), error)
        if segment is None or reader is None:
            return
        self._failures += error.errno == errno.EIO
        if self._failures >= READ_TRIES or isinstance(error, FileNotFoundError):
            self._failures = 0
            self._store.damaged(segment, Damage(reader.offset, f"it cannot be read: {error}"))

    def _may_load_later(self, path: str, error: OSError) -> bool:
        """Whether reading an entry again may go well."""
        self._load_failures += error.errno == errno.EIO
        if self._load_failures >= READ_TRIES or isinstance(error, FileNotFoundError):
            return False
        self._store.read_failed(path, error)
        return True

    def _give_up(self, entry: Entry, error: Exception) -> None:
        damage = error if isinstance(error, Damage) else Damage(entry.offset, f"it cannot be read: {error}")
        for segment in self._store.segments:
            if segment.path == entry.path:
                self._store.damaged(segment, damage)
        self._note_loss(entry, DAMAGED)
        self.finish([entry])

    def _note_loss(self, entry: Entry, reason: str) -> None:
        self._store.skipped(Loss(self.name, entry.records, entry.size, reason, entry.tag, entry.time_ns))

    def __repr__(self) -> str:
        return f"LogSource({self.cursor!r}, {'level' if self.is_level else 'behind'})"


def read_entry(disk: Disk, path: str, offset: int) -> RecordBatch:
    """The batch of the frame at this place; raises `Damage` or `OSError`."""
    reader = FrameReader(disk, path, offset)
    try:
        frame = reader.head(reader.size())
        return _batch_of(frame, split_names(frame.names)[0], reader.payload(frame))
    finally:
        reader.close()


def stored_receipt(time_ns: int) -> Receipt:
    """That of a stored batch; the time at which it was stored tells it from any other, also when numbers begin anew."""
    return Receipt(origin=Origin("stored", time_ns, time_ns + 1))


def _is_in(segments: Sequence[Segment], sequence: int) -> bool:
    at = bisect_right(segments, sequence, key=base_of) - 1
    return at >= 0 and sequence <= segments[at].last


def _batch_of(frame: Frame, tag: str, payload: bytes) -> RecordBatch:
    try:
        content = decode_content(frame.form, frame.records, payload)
        return RecordBatch(tag, content, frame.size, stored_receipt(frame.time_ns))
    except ValueError as error:
        raise Damage(frame.offset, str(error)) from error
