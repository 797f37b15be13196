"""The multiline engine: lines or records of one stream go in, finished records come out.

A stream is what one container, or one file, writes. Each definition keeps its own groups of pending lines, one for each
value of its `key_group` and one for lines without. A line goes to the first definition that accepts it, beginning with
the one that took the line before; a line that nobody accepts ends everything that is pending and stands alone.

The engine does no I/O and has no timer. It remembers which bytes of which source its pending lines came from, so that
the reader can keep its position at the first of them: what is pending is read again after a restart, never saved.

A stream is fed either with lines of text or with records, never with both. Of records it joins the texts of one field;
the finished record has the other fields and the time of the first, and the metadata of all.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import msgspec

from ..record import Record
from .multiline import MultilineDefinition
from .pending import EndLane, Group, Joined, RuleLane, Span, Stream


class JoinerStatistics(msgspec.Struct, frozen=True):
    """What a joiner holds now, and how many lines without text have vanished in it so far."""

    open_groups: int
    open_bytes: int
    vanished_lines: int


class Joiner:
    """Joins the lines of one stream to records by an ordered list of definitions.

    `buffer_limit` is the most bytes of a text joined by rules, 0 for no limit. `now_ns` gives the time of records that
    have none of their own.
    """

    def __init__(
        self, definitions: Sequence[MultilineDefinition], buffer_limit: int, now_ns: Callable[[], int]
    ) -> None:
        if not definitions:
            raise ValueError("a joiner needs a definition")
        self._stream = Stream(buffer_limit, now_ns)
        self._lanes = [
            RuleLane(definition, self._stream) if definition.type == "regex" else EndLane(definition, self._stream)
            for definition in definitions
        ]
        self._last = self._lanes[0]
        self._at_end = False

    def append(self, line: str, start: int, end: int, source: object = 0) -> None:
        """Take the next line, without its newline; it is the bytes from `start` up to `end` of `source`."""
        stream = self._stream
        stream.source = source
        stream.start = start
        stream.end = end
        self._at_end = False
        last = self._last
        if last.offer(line):
            return
        for lane in self._lanes:
            if lane is not last and lane.offer(line):
                self._last = lane
                return
        for lane in self._lanes:
            lane.flush_all()
        self._lanes[0].stand_alone(line)

    def append_record(self, record: Record, source: object = 0) -> None:
        """Take the next record; each definition joins the texts of its `key_content`, sizes and spans count records.

        The record belongs to the joiner from now on. One that no definition accepts is finished as it is.
        """
        stream = self._stream
        stream.source = source
        stream.start = stream.end
        stream.end += 1
        stream.metadata = record.metadata
        self._at_end = False
        last = self._last
        if last.offer_record(record):
            return
        for lane in self._lanes:
            if lane is not last and lane.offer_record(record):
                self._last = lane
                return
        for lane in self._lanes:
            lane.flush_all()
        stream.finished.append(Joined(record.time_ns, record.body, 1, stream.start, False, record.metadata))

    def take(self) -> list[Joined]:
        """The records finished since the last call, in order."""
        finished = self._stream.finished
        self._stream.finished = []
        return finished

    @property
    def is_idle(self) -> bool:
        """Whether no line is pending."""
        return not any(group.held for lane in self._lanes for group in lane.groups)

    def leaves_alone(self, texts: Sequence[str]) -> bool:
        """Whether it is plain to see that these texts, if they come next, all stay as they are.

        Nothing is pending then, and nothing in them begins a message. It is asked of a whole block at once because that
        takes a tenth of the time of trying line by line.
        """
        if not all(lane.begins_by_needles for lane in self._lanes) or not self.is_idle:
            return False
        block = "\n".join(texts)
        return not any(needle in block for lane in self._lanes for needle in lane.needles)

    def open_spans(self) -> list[Span]:
        """The bytes of all pending lines in the order in which they were read, neighbours merged."""
        held = sorted((h for g in self._open_groups() for h in g.held), key=lambda h: h.order)
        spans: list[Span] = []
        for h in held:
            if spans and spans[-1].end == h.start and spans[-1].source == h.source:
                spans[-1] = Span(h.source, spans[-1].start, h.end)
            else:
                spans.append(Span(h.source, h.start, h.end))
        return spans

    def touch(self, now: float) -> None:
        """Say that the reader is at the end of its source: from now on silence counts for the pending lines."""
        self._at_end = True
        for lane in self._lanes:
            for group in lane.groups:
                if group.held and group.deadline is None:
                    group.deadline = now + lane.flush_timeout_s

    def deadline(self) -> float | None:
        """When the first pending group is due; None if none is, or if lines came in since the last `touch`."""
        if not self._at_end:
            return None
        return min((g.deadline for g in self._open_groups() if g.deadline is not None), default=None)

    def flush_due(self, now: float) -> None:
        """Finish the groups whose deadline has come; does nothing if lines came in since the last `touch`."""
        if not self._at_end:
            return
        self._stream.start = self._stream.end
        for lane in self._lanes:
            for group in lane.groups:
                if group.deadline is not None and group.deadline <= now:
                    lane.flush(group)

    def flush_all(self, truncated: bool = False) -> None:
        """Finish everything that is pending, because the stream ended or, if `truncated`, because it is too much."""
        self._stream.start = self._stream.end
        for lane in self._lanes:
            lane.flush_all(truncated)

    def statistics(self) -> JoinerStatistics:
        """How much is pending now."""
        groups = self._open_groups()
        return JoinerStatistics(len(groups), sum(group.size for group in groups), self._stream.vanished_lines)

    def _open_groups(self) -> list[Group]:
        return [group for lane in self._lanes for group in lane.groups if group.held]

    def __repr__(self) -> str:
        names = ", ".join(lane.name for lane in self._lanes)
        return f"Joiner({names}; {self.statistics()}, {len(self._stream.finished)} finished)"
