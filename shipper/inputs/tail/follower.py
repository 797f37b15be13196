"""One container path and the files it has named over time.

A path such as `/var/log/containers/x.log` names one file after another: rotation renames the file and puts a new one
in its place. Each of these files is a *generation*. A follower holds them oldest first, opens every one on sight, reads
the oldest that has unread bytes, and lets go of a rotated one only when it was read to its end and stayed quiet. State
that spans lines belongs to the follower, so a record that begins in one generation may end in the next.

A *step* is one block read and what became of it. Steps are settled in any order but take effect in order: the position
of a generation never passes a byte whose records are still owed.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable

from ...disk import Disk
from ...record import Content, Origin, Receipt, Record, RecordBatch, RecordList
from .access import read_whole
from .assembly import Assembler, Block
from .generation import Generation, Identity, Step, Update
from .holes import size_of_hole, start_of_hole
from .lag import Lag
from .long_lines import LongLines, cut_at_character, end_of_fitting_lines
from .positions import HEAD_SIZE, MARKER_SIZE, Position, Span, as_converted, spans_before
from .source import Source


class Follower:
    """Follows one path; see the module's text."""

    def __init__(
        self,
        path: str,
        tag: str,
        assembler: Assembler,
        long_lines: LongLines,
        disk: Disk,
        on_safe: Callable[[Generation], None],
        on_begun: Callable[[Generation], None],
        on_restart: Callable[[Follower, Generation, int], bool] = lambda follower, generation, unread: False,
        joins_at_rotation: bool = False,
    ) -> None:
        self.path = path
        self.tag = tag
        self.assembler = assembler
        self.generations: list[Generation] = []
        self.past: dict[Identity, int] = {}
        """Rotated files that were there before the path was followed, with their times; they are not ours."""
        self.read_bytes = 0
        """Bytes taken from the files so far."""
        self.open_bytes = 0
        """Bytes of the lines of records that are not finished."""
        self._read_ns = 0
        """When it was read last, in nanoseconds since the epoch."""
        self._lag = Lag()
        self._long_lines = long_lines
        self._disk = disk
        self._on_safe = on_safe
        self._on_begun = on_begun
        self._on_restart = on_restart
        self._joins_at_rotation = joins_at_rotation
        self._steps: deque[Step] = deque()
        self._holding: dict[int, Generation] = {}
        """The generations that have bytes of open records, by number."""
        self._pending_updates: list[Update] = []
        self._overwritten: set[tuple[int, int]] = set()
        """Number of the generation and start of open records whose bytes are no longer in their file."""

    def __repr__(self) -> str:
        return (
            f"Follower({self.path!r}, tag {self.tag!r}, {len(self.generations)} generations, {len(self._steps)} steps)"
        )

    @property
    def newest(self) -> Generation | None:
        return self.generations[-1] if self.generations else None

    @property
    def is_settled(self) -> bool:
        """Whether nothing that was read is owed any more."""
        return not self._steps

    def unread(self) -> int:
        """Bytes known to be on disk and not read."""
        return sum(max(0, g.size - g.offset) for g in self.generations)

    @property
    def oldest_owed_ns(self) -> int | None:
        """When the oldest bytes were read that are still owed; None if nothing is."""
        return self._steps[0].read_ns if self._steps else None

    def note_lag(self, now: float) -> None:
        """Take note of whether there is more to read."""
        self._lag.note(self.read_bytes, self.unread(), now)

    def behind_for_s(self, now: float) -> float:
        """Age in seconds of the oldest byte that is known to be there and was not read; 0 if all was."""
        return self._lag.age_s(now)

    def is_unchanged(self, state: os.stat_result) -> bool:
        """Whether there is one plain file, read to its end, whose state is still this one."""
        if len(self.generations) != 1:
            return False
        one = self.generations[0]
        is_same = one.size == state.st_size and one.mtime_ns == state.st_mtime_ns
        return is_same and one.source is None and not one.has_unread

    def has_data(self) -> bool:
        """Whether a look at the files shows bytes that were not looked at."""
        return self._next_generation() is not None

    def read(self, size: int, now_ns: int) -> RecordBatch | None:
        """Read one block of at most `size` bytes and turn it into records; None if none came of it."""
        self._read_ns = now_ns
        generation = self._next_generation()
        if generation is None:
            return None
        if generation.replay:
            return self._replay(generation, now_ns)
        data = self._unread_bytes(generation, max(size, self._long_lines.limit + 1))
        if generation.source is None and not self._is_what_was_read(generation):
            # It was truncated and has grown since the look.
            self.restart(generation, generation.size - generation.offset)
            return None
        if generation.is_skipping:
            return self._skip(generation, data)
        if b"\0" in data:
            if hole := size_of_hole(data, is_begun=not generation.offset or generation.last_bytes.endswith(b"\0")):
                return self._step(generation, data[:hole], None)
            data = data[: start_of_hole(data)]
        end = end_of_fitting_lines(data, self._long_lines.limit)
        if end == 0:
            if len(data) >= self._long_lines.limit:
                return self._long_line(generation, data, now_ns)
            generation.looked = generation.offset + len(data)
            return None
        is_last = generation.offset + len(data) >= generation.size and generation is self.newest
        taken = self.assembler.take(Block(data[:end], generation.offset, generation.number, is_last), now_ns)
        return self._step(generation, data[: taken.consumed], taken.content)

    def flush(self, now: float, idle_s: float | None, now_ns: int) -> RecordBatch | None:
        """Hand out records that were open and idle for `idle_s`, or longer than their own time."""
        content = self.assembler.flush(now, idle_s, now_ns)
        if content is None or not self.generations:
            return None
        return self._step(self.generations[-1], b"", content)

    def cut(self, now_ns: int) -> RecordBatch | None:
        """Hand out the open records as they are; what follows of them becomes records of its own."""
        content = self.assembler.cut(now_ns)
        if content is None or not self.generations:
            return None
        return self._step(self.generations[-1], b"", content)

    def can_end_line(self, generation: Generation) -> bool:
        """Whether the bytes behind the last newline of a finished generation can be taken as a line now."""
        return generation.has_unfinished_line and self._continuation(generation) is not None

    @property
    def is_held_back(self) -> bool:
        """Whether a younger file waits for the end of a finished one's last line, which will be taken as a line."""
        return any(self.can_end_line(generation) for generation in self.generations[:-1])

    def end_unfinished_line(self, generation: Generation, now_ns: int) -> RecordBatch | None:
        """Take the bytes behind the last newline of a finished generation, with what continues them, as a line."""
        data = self._unread_bytes(generation, self._long_lines.limit)
        rest = self._continuation(generation)
        if not data or b"\n" in data or not generation.has_unfinished_line or rest is None:
            return None
        line = data + (rest or b"\n")
        taken = self.assembler.take(Block(line, generation.offset, generation.number, True), now_ns)
        if not rest:
            return self._step(generation, data, taken.content)
        self._advance(generation, data)
        self._pending_updates += self._updates(generation, data)
        return self._step(self._after(generation), rest, taken.content)

    def _continuation(self, generation: Generation) -> bytes | None:
        """The rest of an unfinished line in the next file, empty if there is none, None if it is not written yet."""
        following = self._after(generation)
        if not self._joins_at_rotation or following is generation or following.offset:
            return b""
        self.look_at(following)
        room = self._long_lines.limit - (generation.looked - generation.offset)
        data = self._unread_bytes(following, max(0, room))
        end = data.find(b"\n") + 1
        # Text that is still to be converted may be more of the line.
        may_go_on = not following.is_rotated or following.size > following.offset + len(data)
        if not end and len(data) < room and may_go_on:
            return None
        return data[:end]

    def _after(self, generation: Generation) -> Generation:
        """The next younger generation, the given one if it is the newest."""
        return self.generations[min(self.generations.index(generation) + 1, len(self.generations) - 1)]

    def abandon(self, generation: Generation) -> int:
        """Give up what was not read of a file that is about to be closed; gives its number of bytes."""
        self.look_at(generation)
        self._forget_open_spans(generation)
        return max(0, generation.size - generation.offset)

    def restart(self, generation: Generation, unread: int = 0) -> None:
        """Begin the file again: what it holds now is not what was read, which may go on in a copy.

        `unread` is how many bytes are known to have been there and not read.
        """
        if self._on_restart(self, generation, unread):
            return
        self._forget_open_spans(generation)
        generation.offset = generation.looked = generation.whole_to = 0
        generation.first_bytes = generation.last_bytes = b""
        generation.marked = 0
        generation.replay = ()
        generation.is_skipping = generation.is_blocked = False
        generation.saved.head_size = 0
        generation.saved.begin_again()
        if generation.source is not None:
            generation.source.restart()
            generation.size = generation.source.text_size(generation.looked)
        step = Step([*self._pending_updates, Update(generation, Position(), b"")], self._read_ns)
        self._pending_updates = []
        self._steps.append(step)
        self._settle(step)

    def convert_positions(self, generation: Generation) -> None:
        """The generation goes on in a compressed copy; what is still to take effect are positions in that."""
        for step in self._steps:
            step.updates = [
                Update(one, as_converted(u.position), None) if (one := u.generation) is generation else u
                for u in step.updates
            ]

    def shorten(self, generation: Generation, size: int) -> None:
        """The generation goes on in a copy that ends before what was read of it; nothing behind `size` is there.

        What was read is owed and delivered all the same.
        """
        last_line, last_bytes = size, None
        if generation.source is None:
            start = max(0, size - self._long_lines.limit)
            end = self._read_at(generation, size - start, start)
            last_line, last_bytes = start + end.rfind(b"\n") + 1, end[-MARKER_SIZE:]
        spans = self.assembler.open_spans()
        self._overwritten |= {(n, begin) for n, begin, _ in spans if n == generation.number and begin >= last_line}
        generation.end_at(size, last_line, last_bytes)
        for step in self._steps:
            step.updates = [
                u.cut_at(size, last_line, last_bytes) if u.generation is generation else u for u in step.updates
            ]

    def _forget_open_spans(self, generation: Generation) -> None:
        """The bytes of open records can no longer be found in this file."""
        self._overwritten |= {(n, start) for n, start, _ in self.assembler.open_spans() if n == generation.number}
        self._holding.pop(generation.number, None)

    def _next_generation(self) -> Generation | None:
        """The oldest generation with unread bytes.

        Before going on to a younger one the older ones are looked at again: the writer turns to the new file only after
        its last line in the old one, so what is seen in the new file proves that the old one is complete.
        """
        chosen = self._oldest_unread()
        if chosen is not None and chosen is not self.generations[0]:
            chosen = self._oldest_unread()
        return chosen

    def _oldest_unread(self) -> Generation | None:
        for generation in self.generations:
            self.look_at(generation)
            if generation.has_unread:
                return generation
            if generation.has_unfinished_line:
                return None  # what follows in the next file belongs to this line, or comes after it
        return None

    def look_at(self, generation: Generation) -> None:
        """Take note of the file's size, and of a truncation."""
        stat = self._disk.fstat(generation.fd)
        if generation.source is not None:
            self._look_at_converted(generation, generation.source, stat)
            return
        if stat.st_size == generation.size and stat.st_mtime_ns == generation.mtime_ns:
            return
        # An empty file that was touched may have been filled, copied and truncated since the last look.
        has_shrunk = stat.st_size < (generation.looked or generation.size) or not stat.st_size
        unread = max(0, generation.size - generation.offset)
        generation.mtime_before_ns = generation.mtime_ns
        generation.size, generation.mtime_ns = stat.st_size, stat.st_mtime_ns
        generation.quiet_since = None
        # So may one of which nothing is known have been, that was empty then and is not now.
        if has_shrunk or not generation.first_bytes or not self._is_what_was_read(generation):
            self.restart(generation, unread)
        if len(generation.first_bytes) < HEAD_SIZE:
            self._on_begun(generation)

    def _look_at_converted(self, generation: Generation, source: Source, stat: os.stat_result) -> None:
        if stat.st_size != source.file_size or stat.st_mtime_ns != generation.mtime_ns:
            source.file_size, generation.mtime_ns = stat.st_size, stat.st_mtime_ns
            generation.quiet_since = None
            generation.size = source.text_size(generation.looked)
            if not source.is_what_was_read():
                self.restart(generation)
        if source.ends_before(generation.offset):
            if generation.is_rotated:
                self.shorten(generation, source.text_size(0))
            else:
                self.restart(generation)

    def _is_what_was_read(self, generation: Generation) -> bool:
        first, last = generation.first_bytes, generation.last_bytes
        return (
            self._read_at(generation, len(last), generation.offset - len(last)) == last
            and self._read_at(generation, len(first), 0) == first
        )

    def _unread_bytes(self, generation: Generation, size: int) -> bytes:
        if generation.source is None:
            return self._read_at(generation, min(size, generation.size - generation.offset), generation.offset)
        data = generation.source.read(size, generation.offset)
        generation.size = generation.source.text_size(generation.looked)
        return data

    def _read_at(self, generation: Generation, size: int, offset: int) -> bytes:
        return read_whole(self._disk, generation.fd, size, offset)

    def _replay(self, generation: Generation, now_ns: int) -> RecordBatch | None:
        """Read the bytes of records again that were open when the program stopped."""
        source, spans = generation.source, generation.replay
        if source is None:
            parts = [self._read_at(generation, end - start, start) for start, end in spans]
        elif (found := source.read_spans(spans)) is not None:
            parts = found
        else:
            return None
        records: list[Record] = []
        for (start, end), data in zip(spans, parts, strict=False):  # of a file that was cut since, there are fewer
            if not data:
                continue
            size = end - start
            if not data.endswith(b"\n"):
                # The newline was put in: in place of the rest of a line that was cut, or behind a file's last line.
                data = data[: size - 1] + b"\n"
            content = self.assembler.take(Block(data, start, generation.number, True), now_ns).content
            records += content.records() if content is not None else []
            self.open_bytes += size
        generation.replay = ()
        return self._step(generation, b"", RecordList(records))

    def _skip(self, generation: Generation, data: bytes) -> RecordBatch | None:
        end = data.find(b"\n") + 1
        dropped = data[:end] if end else data
        generation.is_skipping = not end
        self._long_lines.dropped_bytes += len(dropped)
        return self._step(generation, dropped, None)

    def _long_line(self, generation: Generation, data: bytes, now_ns: int) -> RecordBatch | None:
        rules = self._long_lines
        if not (rules.skip or rules.truncate):
            generation.is_blocked = True
            generation.looked = generation.offset
            rules.blocked += 1
            return None
        end = data.find(b"\n") + 1
        line = data[:end] if end else data
        generation.is_skipping = not end
        if rules.skip:
            rules.skipped += 1
            rules.dropped_bytes += len(line)
            return self._step(generation, line, None)
        rules.truncated += 1
        kept = cut_at_character(line, rules.limit)
        rules.dropped_bytes += len(line) - len(kept)
        taken = self.assembler.take(Block(kept + b"\n", generation.offset, generation.number, True), now_ns)
        return self._step(generation, line, taken.content)

    def _step(self, generation: Generation, consumed: bytes, content: Content | None) -> RecordBatch | None:
        """Move the generation over the consumed bytes; what becomes safe waits for the records' receipt."""
        size = len(consumed) + self.open_bytes
        if not generation.last_bytes:
            self._on_safe(generation)  # should we be killed, the next life must know what these records are of
        self._advance(generation, consumed)
        begin = generation.whole_to
        step = Step(self._pending_updates + self._updates(generation, consumed), self._read_ns)
        self._pending_updates = []
        self._steps.append(step)
        if content is None or not len(content):
            self._settle(step)
            return None
        origin = Origin(generation.content_name, begin, generation.whole_to)
        receipt = Receipt(lambda: self._settle(step), origin)
        return RecordBatch(self.tag, content, size - self.open_bytes, receipt)

    def _advance(self, generation: Generation, consumed: bytes) -> None:
        if len(generation.first_bytes) < HEAD_SIZE:
            self._on_begun(generation)
        if consumed:
            generation.held_end = None
        generation.offset += len(consumed)
        self.read_bytes += len(consumed)
        generation.looked = max(generation.looked, generation.offset)
        generation.last_bytes = (generation.last_bytes + consumed[-MARKER_SIZE:])[-MARKER_SIZE:]

    def _updates(self, generation: Generation, consumed: bytes) -> list[Update]:
        spans: dict[int, list[Span]] = {}
        self.open_bytes = 0
        for source, start, end in self.assembler.open_spans():
            self.open_bytes += end - start
            if (source, start) not in self._overwritten:
                spans.setdefault(source, []).append((start, end))
        touched = {**self._holding, generation.number: generation}
        self._holding = {number: g for number, g in touched.items() if number in spans}
        updates = []
        for number, one in touched.items():
            held = tuple(spans.get(number, ()))
            if one.held_end is not None:
                held = spans_before(one.held_end, held)
            safe = one.whole_to = held[0][0] if held else one.offset
            if one.source is not None:
                place = one.source.break_before(safe)
                position = Position(place.file, one.offset, held, place.text, one.is_skipping)
                updates.append(Update(one, position, one.source.marker_at(place)))
                continue
            before = self._bytes_before(one, safe, consumed if one is generation else b"")
            updates.append(Update(one, Position(safe, one.offset, held, skips=one.is_skipping), before))
        return updates

    def _bytes_before(self, generation: Generation, safe: int, consumed: bytes) -> bytes | None:
        """The bytes before `safe`, from the consumed block that ends at the offset if they are there; None if known."""
        if safe == generation.marked:
            return None
        generation.marked = safe
        start = len(consumed) - (generation.offset - safe)
        if start == len(consumed):
            return generation.last_bytes
        if start > 0:
            return consumed[max(0, start - MARKER_SIZE) : start]
        size = min(MARKER_SIZE, safe)
        return self._read_at(generation, size, safe - size)

    def _settle(self, step: Step) -> None:
        step.is_settled = True
        while self._steps and self._steps[0].is_settled:
            for update in self._steps.popleft().updates:
                update.take_effect()
                self._on_safe(update.generation)
