"""Our own log lines, as an input.

A line that is written because such a record could not be delivered becomes a record as well. That must not grow
without bound: only so many lines are taken in a second, the rest is counted as dropped, and what an output says about
records of this input is repeated no faster than it fails.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque

from ..context import Context, Emit
from ..log import LEVELS, TRACE
from ..record import Record, RecordBatch
from .base import Input, InputOptions

LINES_A_SECOND = 200
"""Most lines that are taken; an error that repeats itself is not worth more."""

TOO_MANY_LINES = "too_many_own_lines"

_COLLECT_EVERY_S = 1.0
_LONGEST = 4000
_WORDS = {logging.ERROR: "error", logging.WARNING: "warn", logging.INFO: "info", logging.DEBUG: "debug", TRACE: "trace"}


class FluentbitLogsOptions(InputOptions):
    """Options of the input `fluentbit_logs`."""


class FluentbitLogsInput(Input):
    """Emits every line of the log of this process as a record with its level and its text."""

    Options = FluentbitLogsOptions

    def __init__(self, options: FluentbitLogsOptions, context: Context) -> None:
        self._context = context
        self._tag = options.tag or context.name
        self._lines = _Lines()
        self._lines.setLevel(LEVELS[context.service.log_level])
        self._stopping = asyncio.Event()

    async def open(self) -> None:
        logging.getLogger("shipper").addHandler(self._lines)

    async def run(self, emit: Emit) -> None:
        """Emit once a second what was logged, until asked to stop; waits for the buffers."""
        while True:
            is_last = await self._context.clock.wait(self._stopping, _COLLECT_EVERY_S)
            records, size, left_out = self._lines.take()
            if left_out:
                self._context.dropped(left_out, 0, TOO_MANY_LINES)
            if records:
                await emit(RecordBatch(self._tag, records, size))
            if is_last:
                return

    async def stop(self) -> bool:
        self._stopping.set()
        return True

    async def close(self) -> None:
        logging.getLogger("shipper").removeHandler(self._lines)


class _Lines(logging.Handler):
    """Lines since the last `take`, the first of each second; others are only counted. Threads may log, too."""

    def __init__(self) -> None:
        super().__init__()
        self._lines: deque[tuple[int, str, str]] = deque()
        self._left_out = 0

    def emit(self, record: logging.LogRecord) -> None:
        if len(self._lines) >= LINES_A_SECOND:
            self._left_out += 1
            return
        text = record.getMessage()
        if record.exc_info:
            text += "\n" + logging.Formatter().formatException(record.exc_info)
        word = _WORDS.get(record.levelno, "unknown")
        self._lines.append((int(record.created * 1e9), word, text[:_LONGEST]))

    def take(self) -> tuple[list[Record], int, int]:
        """The lines as records, their size, and how many were left out."""
        lines = [self._lines.popleft() for _ in range(len(self._lines))]
        left_out, self._left_out = self._left_out, 0
        records = [Record(ns, {"level": word, "message": text}) for ns, word, text in lines]
        return records, sum(len(text) for _, _, text in lines), left_out
