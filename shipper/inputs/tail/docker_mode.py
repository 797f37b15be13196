"""`Docker_Mode On`: the JSON lines of Docker's json-file driver, joined by their `log` texts.

Docker cuts long lines; only the last part of one ends in a newline. The parts become one JSON line: the last of them,
its `log` replaced by the texts of all, still escaped. With a parser of first lines whole lines are joined too: a record
then goes on until a first line comes or silence ends it. What comes out goes through the input's parser like any line.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from ...parsers.base import Parser
from ...record import Content, Record, RecordList
from .assembly import CUT, Assembler, Block, Fields, OpenSpan, Taken, Tally, decode_lines, line_offsets
from .open_lines import OpenLines

_LOG = re.compile(r'"log"\s*:\s*"((?:[^"\\]++|\\.)*+)"')
_ENDS_WITH_NEWLINE = re.compile(r"(?<!\\)(?:\\\\)*\\n$")


class DockerRules:
    """The parsers of docker mode, and the time after which a record without an end is handed out."""

    def __init__(self, firstline: Parser | None, parser: Parser | None, flush_s: float) -> None:
        self.firstline = firstline
        self.parser = parser
        self.flush_s = flush_s


class DockerLines(Assembler):
    """Records joined from docker JSON lines."""

    def __init__(self, rules: DockerRules, fields: Fields, skip_empty: bool, tally: Tally) -> None:
        self._rules = rules
        self._fields = fields
        self._skip_empty = skip_empty
        self._tally = tally
        self._lines = OpenLines(rules.flush_s)
        self._texts: list[str] = []
        """The escaped `log` texts of the open record."""
        self._last: re.Match[str] | None = None
        """Where the `log` text stands in the last line of the open record."""
        self._start = 0
        self._is_whole = False
        """Whether the open record ends with a newline, so that only a first line can tell whether it goes on."""
        self._joins_lines = False
        """Whether a first line was seen; until then whole lines are records of their own."""

    def take(self, block: Block, now_ns: int) -> Taken:
        offsets = line_offsets(block.data, block.start)
        finished: list[Record] = []
        for line, start, end in zip(decode_lines(block.data, self._tally), offsets[:-1], offsets[1:], strict=True):
            if self._skip_empty and line in ("", "\r"):
                continue
            found = _LOG.search(line)
            if found is None:
                finished.append(self._record(line, start, now_ns))
                continue
            self._end_before(line, now_ns, finished)
            if not self._texts:
                self._start = start
            self._lines.add(block, start, end)
            self._append(found, now_ns, finished)
        return Taken(RecordList(finished), len(block.data))

    def open_spans(self) -> Sequence[OpenSpan]:
        return self._lines.spans

    def touch(self, now: float) -> None:
        self._lines.touch(now)

    def deadline(self) -> float | None:
        return self._lines.deadline

    def flush(self, now: float, idle_s: float | None, now_ns: int) -> Content | None:
        if not self._lines.is_due(now, idle_s):
            return None
        finished: list[Record] = []
        self._finish(now_ns, finished)
        return RecordList(finished)

    def cut(self, now_ns: int) -> Content | None:
        finished: list[Record] = []
        self._finish(now_ns, finished, cut=True)
        return RecordList(finished)

    def _end_before(self, line: str, now_ns: int, finished: list[Record]) -> None:
        """Finish the open record if this line begins another one; a line that was cut is never ended by that."""
        firstline = self._rules.firstline
        if firstline is None:
            return
        is_first = firstline.parse(line) is not None
        self._joins_lines = self._joins_lines or is_first
        if self._is_whole and (is_first or not self._joins_lines):
            self._finish(now_ns, finished)

    def _append(self, found: re.Match[str], now_ns: int, finished: list[Record]) -> None:
        self._texts.append(found[1])
        self._last = found
        self._is_whole = _ENDS_WITH_NEWLINE.search(found[1]) is not None
        if self._is_whole and self._rules.firstline is None:
            self._finish(now_ns, finished)

    def _finish(self, now_ns: int, finished: list[Record], cut: bool = False) -> None:
        last = self._last
        if last is None:
            return
        line = last.string
        if len(self._texts) > 1:
            line = "".join((line[: last.start(1)], *self._texts, line[last.end(1) :]))
        record = self._record(line, self._start, now_ns)
        if cut:
            record.metadata = dict(CUT)
            self._tally.truncated += 1
        finished.append(record)
        self._texts = []
        self._last = None
        self._is_whole = False
        self._lines.clear()

    def _record(self, line: str, offset: int, now_ns: int) -> Record:
        parsed = self._rules.parser.parse(line) if self._rules.parser else None
        added = self._fields.added(offset)
        if parsed is None:
            added[self._fields.key] = line
            return Record(now_ns, added)
        time_ns, body = parsed
        body.update(added)
        return Record(time_ns or now_ns, body)
