"""Read records from the standard input."""

from __future__ import annotations

import os
import re
import stat
from collections.abc import AsyncIterator, Hashable, Mapping
from typing import Annotated, Any

from ..config.options import opt
from ..config.units import ByteSize
from ..context import Context, Emit
from ..errors import OptionError
from ..parsers.base import Parser
from ..record import Record, RecordBatch
from .base import Input, InputOptions
from .depth import TOO_DEEP, without_deep
from .listening import InvalidJson, count_cut_off, hand_on, parser_named, read_values
from .readiness import readable

_LONGEST_VALUE = 2_000_000
_REMARK_EVERY_S = 10.0
_SECOND = 1_000_000_000
_LAST_SECOND = 1 << 33
_TOKEN = re.compile(rb'"(?:[^"\\]++|\\.)*+"|[{}\[\]]', re.DOTALL)


class StdinOptions(InputOptions):
    """Options of the stdin input."""

    parser: Annotated[str | None, opt("Parser of the lines; without one the text is a stream of JSON values.")] = None
    buffer_size: Annotated[ByteSize, opt("Bytes read at a time.")] = ByteSize(16_000)


class StdinInput(Input):
    """Reads until the end of the input, then stops the service; one batch for each read.

    Without a parser an object is a record, and `[time, object]` or `[[time, metadata], object]` one with a time.
    """

    Options = StdinOptions

    def __init__(self, options: StdinOptions, context: Context, fd: int = 0) -> None:
        self._context = context
        self._tag = options.tag or context.name
        self._parser = parser_named(options.parser, context) if options.parser else None
        self._step = max(1, options.buffer_size)
        self._fd = fd
        self._can_be_awaited = False
        # What was read and belongs to a value or line whose end has not come.
        self._rest = b""
        self._is_handing_on = False
        self._is_stopping = False

    def handed_over(self) -> tuple[Hashable, Any] | None:
        return (self.source, self._rest) if self._rest else None

    def go_on_from(self, handed_over: Mapping[Hashable, Any]) -> None:
        self._rest = handed_over.get(self.source, b"")

    @property
    def source(self) -> Hashable:
        return "stdin", self._fd

    async def open(self) -> None:
        try:
            mode = os.fstat(self._fd).st_mode
        except OSError as error:
            raise OptionError("name", f"there is no standard input: {error.strerror}") from error
        # Files and devices such as /dev/null can always be read, and a loop refuses to watch them.
        self._can_be_awaited = stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode) or os.isatty(self._fd)

    async def run(self, emit: Emit) -> None:
        """Emit until the input ends, or `stop`; waits for it and for the buffers."""
        async for data in self._pieces():
            self._rest += data
            size = len(self._rest)
            records = self._take_lines(self._parser, not data) if self._parser else self._take_values(not data)
            self._bound_rest()
            if records:
                await self._hand_on(RecordBatch(self._tag, records, size - len(self._rest)), emit)
            if self._is_stopping:
                return
        self._context.log.warning("end of file (stdin closed by remote end)")
        self._context.stop_service()

    async def stop(self) -> bool:
        """Read no more; what was read is still handed on, or counted if there is no time for that."""
        self._is_stopping = True
        return self._is_handing_on

    async def close(self) -> None:
        """Count what has no end by now, unless the next input reads on from there."""
        if self._rest.strip() and not self.is_succeeded:
            count_cut_off(1, len(self._rest), self._context)
            self._rest = b""

    async def _hand_on(self, batch: RecordBatch, emit: Emit) -> None:
        self._is_handing_on = True
        try:
            await hand_on(batch, emit, self._context)
        finally:
            self._is_handing_on = False

    async def _pieces(self) -> AsyncIterator[bytes]:
        """What comes, and an empty piece at the end."""
        while True:
            if self._can_be_awaited:
                await readable(self._fd, self._context.clock)
            try:
                data = os.read(self._fd, self._step)
            except BlockingIOError:
                continue
            yield data
            if not data:
                return

    def _bound_rest(self) -> None:
        """Give up what has grown beyond all bounds."""
        if len(self._rest) > _LONGEST_VALUE:
            self._drop(1, len(self._rest), "too_long", "what is read has no end and is dropped")
            self._rest = b""

    def _drop(self, records: int, size: int, reason: str, told: str) -> None:
        self._context.log.error(told, every=_REMARK_EVERY_S, bytes=size)
        self._context.dropped(records, size, reason)

    # -- lines -------------------------------------------------------------------------------------------------------

    def _take_lines(self, parser: Parser, is_end: bool) -> list[Record]:
        """The records of the lines that are whole; lines that the parser does not fit are dropped."""
        lines = self._rest.split(b"\n")
        self._rest = b"" if is_end else lines.pop()
        now_ns, records = self._context.clock.time_ns(), []
        for line in lines:
            parsed = parser.parse(line.decode("utf-8", "surrogateescape")) if line else None
            if parsed is not None:
                time_ns, body = parsed
                records.append(Record(now_ns if time_ns is None else time_ns, body))
            elif line:
                self._context.dropped(1, len(line), "unparsed")
        return records

    # -- values ------------------------------------------------------------------------------------------------------

    def _take_values(self, is_end: bool) -> list[Record]:
        """The records of the values that are whole; all that was read and is not emitted goes with invalid JSON."""
        data = self._rest
        try:
            values, used = read_values(data, is_end)
        except InvalidJson as error:
            lost = len(error.values) + _count_values(data[error.start :])
            self._drop(lost, len(data), "invalid_json", "invalid JSON message, skipping")
            self._rest = b""
            return []
        self._rest = data[used:]
        if is_end and self._rest.strip():
            self._drop(1, len(self._rest), "invalid_json", "the input ends within a JSON message")
            self._rest = b""
        now_ns = self._context.clock.time_ns()
        found = [_record(value, now_ns) for value in values]
        records = [record for record in found if record is not None]
        if len(records) < len(found):
            told = "a JSON value is neither an object nor [time, object] with a time from 1970 to 2242"
            self._drop(len(found) - len(records), 0, "no_record", told)
        kept = without_deep(records)
        if kept is not records:
            self._drop(len(records) - len(kept), 0, TOO_DEEP, "a JSON value is nested too deeply")
        return kept


def _record(value: Any, now_ns: int) -> Record | None:
    """The record that a JSON value stands for, None if it stands for none or its time cannot be one."""
    match value:
        case dict():
            return Record(now_ns, value)
        case [[time_s, dict() as metadata], dict() as body] if _is_time(time_s):
            return Record(_nanoseconds(time_s), body, metadata or None)
        case [time_s, dict() as body] if _is_time(time_s):
            return Record(_nanoseconds(time_s), body)
    return None


def _is_time(time_s: Any) -> bool:
    return type(time_s) in (int, float) and 0 <= time_s < _LAST_SECOND


def _nanoseconds(time_s: float) -> int:
    whole = int(time_s)
    return whole * _SECOND + round((time_s - whole) * 1e9)


def _count_values(data: bytes) -> int:
    """How many values there seem to be where the first one is no JSON: that one, and then objects and arrays."""
    count, depth = int(data[:1] not in (b"{", b"[")), 0
    for token in _TOKEN.finditer(data):
        first = data[token.start()]
        if first in b"{[":
            count += depth == 0
            depth += 1
        elif first in b"}]":
            depth = max(0, depth - 1)
    return count
