"""How the lines of a block become records: as they are, through a parser, or joined by the multiline engine."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

import msgspec

from ...parsers.base import Parser
from ...parsers.joiner import Joiner
from ...parsers.pending import Joined
from ...record import Body, Content, Record, RecordList
from .cri_block import read_cri_block
from .mending import mended

OpenSpan = tuple[int, int, int]
"""Bytes of a record that is still open: number of the generation, start, end."""


CUT: Body = {"multiline_truncated": True}
"""The metadata of a record that a limit has ended."""


class Block(msgspec.Struct, frozen=True):
    """Whole lines read from a file, each with its newline.

    `start` is the offset of the first byte, `source` the number of the generation. `is_last` says that nothing follows
    in the file at present.
    """

    data: bytes
    start: int
    source: int
    is_last: bool


class Taken(msgspec.Struct, frozen=True):
    """What an assembler made of a block: the records that were finished, and how many bytes it used up."""

    content: Content | None
    consumed: int


class Fields(msgspec.Struct, frozen=True):
    """Names of the fields that the input adds, and the path that goes into one of them."""

    key: str
    path_key: str | None
    offset_key: str | None
    path: str

    def added(self, offset: int) -> Body:
        """The fields that the input adds to a record of the line at this offset."""
        body: Body = {}
        if self.path_key:
            body[self.path_key] = self.path
        if self.offset_key:
            body[self.offset_key] = offset
        return body


class Tally:
    """What assemblers count: lines, and those that were no valid UTF-8, were cut, or were left out as too old.

    `unparsed` are lines on which a parser failed; they were taken as if it did not know them.
    """

    def __init__(self) -> None:
        self.lines = 0
        self.invalid_utf8 = 0
        self.truncated = 0
        self.unparsed = 0
        self.too_old_lines = 0
        self.too_old_bytes = 0


class Assembler(ABC):
    """Turns the lines of one container path into records."""

    @abstractmethod
    def take(self, block: Block, now_ns: int) -> Taken:
        """The records that this block finishes."""

    def open_spans(self) -> Sequence[OpenSpan]:
        """The bytes of records that are not finished yet, in the order in which they were read."""
        return ()

    def touch(self, now: float) -> None:
        """The reader is at the end of the file: from now on silence counts for open records."""

    def deadline(self) -> float | None:
        """When an open record is due to be handed out as it is."""
        return None

    def flush(self, now: float, idle_s: float | None, now_ns: int) -> Content | None:
        """The open records that are due, and those that have been idle for `idle_s` if that is given."""
        return None

    def cut(self, now_ns: int) -> Content | None:
        """All open records as they are, because they take too much room; they are marked and counted as cut."""
        return None


class LineAssembler(Assembler):
    """One record a line: raw, or the fields that a parser finds in it."""

    def __init__(self, fields: Fields, parser: Parser | None, skip_empty: bool, tally: Tally) -> None:
        self._fields = fields
        self._parser = parser
        self._skip_empty = skip_empty
        self._tally = tally
        self._is_plain = parser is None and fields.path_key is None and fields.offset_key is None

    def take(self, block: Block, now_ns: int) -> Taken:
        data = block.data
        if self._is_plain and not self._skip_empty:
            lines = decode_lines(data, self._tally)
            return Taken(PlainLines(lines, self._fields.key, now_ns), len(data))
        return Taken(RecordList(self._records(data, block.start, now_ns)), len(data))

    def _records(self, data: bytes, start: int, now_ns: int) -> list[Record]:
        offsets = line_offsets(data, start) if self._fields.offset_key else None
        records = []
        for number, line in enumerate(decode_lines(data, self._tally)):
            if self._skip_empty and line in ("", "\r"):
                continue
            parsed = self._parser.parse(line) if self._parser else None
            time_ns, body = (parsed[0] or now_ns, parsed[1]) if parsed else (now_ns, {})
            if parsed is None:
                body = self._added(offsets, number)
                body[self._fields.key] = line
            else:
                body.update(self._added(offsets, number))
            records.append(Record(time_ns, body))
        return records

    def _added(self, offsets: list[int] | None, number: int) -> Body:
        body: Body = {}
        if self._fields.path_key:
            body[self._fields.path_key] = self._fields.path
        if offsets is not None and self._fields.offset_key:
            body[self._fields.offset_key] = offsets[number]
        return body


class PlainLines:
    """Content that is a list of lines, each the only field of its record, all with the time of reading."""

    __slots__ = ("_key", "_lines", "_now_ns")

    has_metadata = False

    def __init__(self, lines: list[str], key: str, now_ns: int) -> None:
        self._lines = lines
        self._key = key
        self._now_ns = now_ns

    def __len__(self) -> int:
        return len(self._lines)

    def records(self) -> list[Record]:
        key, now_ns = self._key, self._now_ns
        return [Record(now_ns, {key: line}) for line in self._lines]

    def times_ns(self) -> list[int]:
        return [self._now_ns] * len(self._lines)

    def bodies(self) -> list[Body]:
        key = self._key
        return [{key: line} for line in self._lines]

    def json_lines(self) -> None:
        return None


class JoinedLines(Assembler):
    """Records joined from lines by the multiline engine.

    A block of nothing but whole CRI lines, met with no record open, takes a shorter way to the same records; what the
    two ways make of any input is the same.
    """

    def __init__(self, joiner: Joiner, flush_s: float, fields: Fields, skip_empty: bool, cri_first: bool, tally: Tally):
        self._joiner = joiner
        self._flush_s = flush_s
        self._fields = fields
        self._skip_empty = skip_empty
        self._cri_first = cri_first and fields.path_key is None and fields.offset_key is None
        self._tally = tally
        self._has_odd_bytes = False
        """Whether open records may hold bytes that are no UTF-8 by themselves; a runtime may cut a character in two."""

    def take(self, block: Block, now_ns: int) -> Taken:
        if self._cri_first and self._joiner.is_idle:
            content = read_cri_block(block.data, now_ns)
            if content is not None and content.lines:
                consumed = content.consumed
                if consumed == len(block.data) or (consumed and not block.is_last):
                    self._tally.lines += content.lines
                    return Taken(content, consumed)
        return Taken(self._joined(block, now_ns), len(block.data))

    def open_spans(self) -> Sequence[OpenSpan]:
        if self._joiner.is_idle:
            return ()
        return [(int(str(s.source)), s.start, s.end) for s in self._joiner.open_spans()]

    def touch(self, now: float) -> None:
        self._joiner.touch(now)

    def deadline(self) -> float | None:
        return self._joiner.deadline()

    def flush(self, now: float, idle_s: float | None, now_ns: int) -> Content | None:
        if self._joiner.is_idle:
            return None
        # A group that is due `flush_s` after its last line was idle for `idle_s` when it is due within the difference.
        self._joiner.flush_due(now if idle_s is None else now + max(0.0, self._flush_s - idle_s))
        return self._finished()

    def cut(self, now_ns: int) -> Content | None:
        self._joiner.flush_all(truncated=True)
        return self._finished()

    def _joined(self, block: Block, now_ns: int) -> Content | None:
        data = block.data
        offsets = line_offsets(data, block.start)
        append, source, skip_empty = self._joiner.append, block.source, self._skip_empty
        try:
            text = data.decode()
        except UnicodeDecodeError:
            text = data.decode("utf-8", "surrogateescape")
            self._has_odd_bytes = True
        lines = split_text(text)
        self._tally.lines += len(lines)
        for line, begin, end in zip(lines, offsets[:-1], offsets[1:], strict=True):
            if not (skip_empty and line in ("", "\r")):
                append(line, begin, end, source)
        return self._finished()

    def _finished(self) -> Content | None:
        joined = self._joiner.take()
        if not joined:
            return None
        self._tally.truncated += sum(1 for j in joined if j.truncated)
        if self._has_odd_bytes:
            for j in joined:
                j.body = self._mended(j.body)
            self._has_odd_bytes = not self._joiner.is_idle
        return RecordList([self._record(j) for j in joined])

    def _mended(self, body: Body) -> Body:
        """The same without bytes that are no UTF-8; a record that had some is counted."""
        damaged: list[str] = []
        whole: Body = mended(body, damaged)
        self._tally.invalid_utf8 += bool(damaged)
        return whole

    def _record(self, joined: Joined) -> Record:
        body, fields = joined.body, self._fields
        if fields.path_key:
            body[fields.path_key] = fields.path
        if fields.offset_key:
            body[fields.offset_key] = joined.offset
        return Record(joined.time_ns, body, dict(CUT) if joined.truncated else None)


def decode_lines(data: bytes, tally: Tally) -> list[str]:
    """The lines as text, without newline and without one carriage return before it.

    Bytes that are no UTF-8 become U+FFFD; the lines that had some are counted.
    """
    try:
        text = data.decode()
    except UnicodeDecodeError:
        text = data.decode("utf-8", "replace")
        tally.invalid_utf8 += sum(1 for line in data.split(b"\n") if _is_invalid(line))
    lines = split_text(text)
    tally.lines += len(lines)
    return lines


def split_text(text: str) -> list[str]:
    """The lines of a text that ends with a newline, each without one carriage return at its end."""
    lines = text.split("\n")
    lines.pop()
    if "\r" in text:
        lines = [line[:-1] if len(line) > 1 and line[-1] == "\r" else line for line in lines]
    return lines


def _is_invalid(line: bytes) -> bool:
    try:
        line.decode()
    except UnicodeDecodeError:
        return True
    return False


def line_offsets(data: bytes, start: int) -> list[int]:
    """The offset of each line, and of the end."""
    offsets = [start]
    for line in data.split(b"\n")[:-1]:
        start += len(line) + 1
        offsets.append(start)
    return offsets
