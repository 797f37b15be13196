"""`Multiline On`: a parser knows the first line of a record, others may know the lines that follow.

    line                                        effect
    the first-line parser takes it              the open record is finished, a new one begins with its fields
    another parser takes it                     its fields are added, a second value of one as another line of its text
    none does, and there is text to append to   appended to the last text of the fields that were added last
    none does otherwise                         a record of its own, as it is

There is text to append to if a record is open whose first line ends in a field that is a text. A record whose own time
is older than `ignore_older` is left out with all its lines.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from ...parsers.base import Parser
from ...record import Body, Content, Record, RecordList
from .assembly import CUT, Assembler, Block, Fields, OpenSpan, Taken, Tally, decode_lines, line_offsets
from .open_lines import OpenLines


class MultilineRules:
    """The parsers and limits of `Multiline On`; `largest` is the most bytes of a record, 0 for no limit."""

    def __init__(
        self, firstline: Parser, others: Sequence[Parser], flush_s: float, ignore_older_s: float, largest: int
    ) -> None:
        self.firstline = firstline
        self.others = others
        self.flush_s = flush_s
        self.ignore_older_s = ignore_older_s
        self.largest = largest


class OldMultiline(Assembler):
    """Records joined from lines by the old multiline mode."""

    def __init__(self, rules: MultilineRules, fields: Fields, skip_empty: bool, tally: Tally) -> None:
        self._rules = rules
        self._fields = fields
        self._skip_empty = skip_empty
        self._tally = tally
        self._lines = OpenLines(rules.flush_s)
        self._record: _OpenRecord | None = None
        self._is_too_old = False
        """Whether the last first line was too old, so that its record is left out."""

    def take(self, block: Block, now_ns: int) -> Taken:
        offsets = line_offsets(block.data, block.start)
        finished: list[Record] = []
        for line, start, end in zip(decode_lines(block.data, self._tally), offsets[:-1], offsets[1:], strict=True):
            if not (self._skip_empty and line in ("", "\r")):
                self._append(line, block, (start, end), now_ns, finished)
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
        self._finish(finished)
        return RecordList(finished)

    def cut(self, now_ns: int) -> Content | None:
        finished: list[Record] = []
        self._finish(finished, cut=True)
        return RecordList(finished)

    def _append(self, line: str, block: Block, place: tuple[int, int], now_ns: int, finished: list[Record]) -> None:
        start, end = place
        parsed = self._rules.firstline.parse(line)
        if parsed is not None:
            self._finish(finished)
            self._is_too_old = self._is_older(parsed[0], now_ns)
            if not self._is_too_old:
                self._record = _OpenRecord(parsed[0] or now_ns, parsed[1])
        elif not self._is_too_old and not self._continues(line):
            finished.append(self._alone(line, start, now_ns))
            return
        if self._is_too_old:
            self._tally.too_old_lines += 1
            self._tally.too_old_bytes += end - start
            return
        self._lines.add(block, start, end)
        if self._rules.largest and self._lines.size >= self._rules.largest:
            self._finish(finished, cut=True)

    def _continues(self, line: str) -> bool:
        """Add the line to the open record, if it belongs to it."""
        record = self._record
        if record is None:
            return False
        for parser in self._rules.others:
            parsed = parser.parse(line)
            if parsed is not None:
                record.add_fields(parsed[1])
                return True
        return record.add_text(line)

    def _is_older(self, time_ns: int | None, now_ns: int) -> bool:
        oldest_s = self._rules.ignore_older_s
        return bool(oldest_s and time_ns) and (time_ns or 0) < now_ns - oldest_s * 1e9

    def _finish(self, finished: list[Record], cut: bool = False) -> None:
        if self._record is None:
            return
        body: Body = {self._fields.path_key: self._fields.path} if self._fields.path_key else {}
        body.update(self._record.whole_body())
        self._tally.truncated += cut
        finished.append(Record(self._record.time_ns, body, dict(CUT) if cut else None))
        self._record = None
        self._lines.clear()

    def _alone(self, line: str, offset: int, now_ns: int) -> Record:
        body = self._fields.added(offset)
        body[self._fields.key] = line
        return Record(now_ns, body)


class _OpenRecord:
    """The fields of a record so far, and the texts that follow them, each in a line of its own."""

    __slots__ = ("_body", "_following", "_takes_text", "_text_key", "time_ns")

    def __init__(self, time_ns: int, body: Body) -> None:
        self.time_ns = time_ns
        self._body = body
        self._following: dict[str, list[str]] = {}
        self._text_key = next(reversed(body), None)
        self._takes_text = self._text_key is not None and isinstance(body[self._text_key], str)

    def add_fields(self, fields: Body) -> None:
        for key, value in fields.items():
            if key in self._body:
                self._follow(key, _as_text(value))
            else:
                self._body[key] = value
            if isinstance(value, str):
                self._text_key = key

    def add_text(self, line: str) -> bool:
        if not self._takes_text or self._text_key is None:
            return False
        self._follow(self._text_key, line)
        return True

    def whole_body(self) -> Body:
        for key, texts in self._following.items():
            self._body[key] = "\n".join((_as_text(self._body[key]), *texts))
        self._following = {}
        return self._body

    def _follow(self, key: str, text: str) -> None:
        self._following.setdefault(key, []).append(text)


def _as_text(value: Any) -> str:
    return value if isinstance(value, str) else msgspec.json.encode(value).decode()
