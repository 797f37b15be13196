"""How long segments stay: each goes when every output named in it has finished it."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping

from ...log import Log
from ...metrics import Counter, Metrics
from .cursors import Cursor
from .entry import Entry
from .log import SegmentLog
from .segment import Segment, Sums, base_of

_REMARK_EVERY_S = 60.0


class Retention:
    """Knows what of a log is finished, and removes segments that nobody needs any more.

    `kept` are the sums of what some output has still to finish; whoever puts something adds it.
    """

    def __init__(
        self, log: SegmentLog, cursors: Mapping[str, Cursor], tell: Log, failures: Counter, metrics: Metrics, name: str
    ) -> None:
        self.kept = Sums()
        self._log = log
        self._segments = log.segments
        self._cursors = cursors
        self._tell = tell
        self._failures = failures
        self._quarantined = metrics.counter("storage_quarantined_total", name=name)
        # A segment may be deleted when a cursor has come to this number; no entry means that nobody has looked yet.
        self._boundaries: dict[str, float] = {}
        self._active: Segment | None = None

    def finished(self, entry: Entry) -> bool:
        """An output has finished this entry; true if all have, and it is not kept any more."""
        if not self._is_finished(entry):
            return False
        records, size = entry.records + entry.had[0], entry.size + entry.had[1]
        self.kept.add(-1, -records, -size, -entry.stored)
        if entry.path is not None:
            self._note_finished(entry)
        return True

    def is_due(self, cursor: Cursor) -> bool:
        """Whether the cursor has come so far that it is worth to sweep."""
        return cursor.committed >= self._boundaries.get(cursor.output, -1)

    def note_active(self) -> None:
        """Something was put; sweep if that has begun a new segment."""
        if self._log.active is not self._active:
            self.sweep()

    def _is_finished(self, entry: Entry) -> bool:
        sequence, cursors = entry.sequence, self._cursors
        for output in entry.outputs:
            cursor = cursors.get(output)
            if cursor is None or not cursor.is_finished(sequence):
                return False
        return True

    def _note_finished(self, entry: Entry) -> None:
        segment = self._segments[bisect_right(self._segments, entry.sequence, key=base_of) - 1]
        segment.finished.add(1, entry.records + entry.had[0], entry.size + entry.had[1], entry.stored)
        # Segments of earlier runs have frames that were finished then and are not counted; `sweep` finds these.
        if segment.finished.batches == segment.all.batches and segment is not self._log.active:
            self._remove(segment)

    def sweep(self) -> None:
        """Give up the segments that every output named in them has finished, and find out when to look again."""
        self._active = self._log.active
        owed = self._segments_with_open()
        for segment in self._segments[:]:
            if segment is not self._active and not self._is_needed(segment, owed):
                self._remove(segment)
        ended = self._segments[:-1] if self._active is not None else self._segments
        for output, cursor in self._cursors.items():
            at = bisect_right(ended, cursor.committed, key=_last)
            self._boundaries[output] = ended[at].last if at < len(ended) else float("inf")

    def _segments_with_open(self) -> set[int]:
        """The bases of the segments in which some output has frames that are not finished."""
        bases = [segment.base for segment in self._segments]
        return {
            bases[at - 1]
            for cursor in self._cursors.values()
            for sequence in cursor.open
            if (at := bisect_right(bases, sequence)) > 0 and sequence <= self._segments[at - 1].last
        }

    def _is_needed(self, segment: Segment, owed: set[int]) -> bool:
        if segment.base in owed:
            return True
        seen = {output: cursor.seen for output, cursor in self._cursors.items()}
        return any(sums and seen.get(output, 0) < segment.last for output, sums in segment.by_output.items())

    def _remove(self, segment: Segment) -> None:
        try:
            moved = self._log.remove(segment)
        except OSError as error:
            self._failures.add()
            self._tell.error("a segment cannot be removed", every=_REMARK_EVERY_S, file=segment.path, reason=error)
            return
        self.kept.plus(segment.all, -1)
        self.kept.plus(segment.finished)
        if moved is not None:
            self._quarantined.add()
            self._tell.warning("a damaged segment was delivered as far as possible and moved", file=moved)


def _last(segment: Segment) -> int:
    return segment.last
