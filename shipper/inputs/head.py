"""Read the beginning of a file again and again."""

from __future__ import annotations

import itertools
import os
from typing import Annotated

from ..config.options import opt
from ..config.units import ByteSize
from ..context import Context, Emit
from ..record import Body, Record, RecordBatch
from .base import Input
from .interval import IntervalOptions, ticks

_LINES_IF_SPLIT = 10
_LONGEST_LINE = 64 * 1024
_REMARK_EVERY_S = 60.0


class HeadOptions(IntervalOptions, kw_only=True):
    """Options of the head input."""

    file: Annotated[str, opt("File to read.", example="/proc/uptime")]
    key: Annotated[str, opt("Field for what was read.")] = "head"
    buf_size: Annotated[ByteSize, opt("Bytes to read.")] = ByteSize(256)
    lines: Annotated[int, opt("Lines to read, instead of a number of bytes.")] = 0
    split_line: Annotated[bool, opt("Make a field of each line: line0, line1 and so on.")] = False
    add_path: Annotated[bool, opt("Add the name of the file as path.")] = False


class HeadInput(Input):
    """Emits one record per interval; none while the file cannot be read, which is logged."""

    Options = HeadOptions

    def __init__(self, options: HeadOptions, context: Context) -> None:
        self._options = options
        self._context = context
        self._tag = options.tag or context.name
        lines = max(0, options.lines)
        self._lines = lines or _LINES_IF_SPLIT if options.split_line else lines

    async def run(self, emit: Emit) -> None:
        """Emit for ever; waits for intervals to pass and for the buffers."""
        async for _ in ticks(self._context.clock, self._options.period_s()):
            try:
                body, size = self._read()
            except OSError as error:
                message = "the file cannot be read"
                self._context.log.error(message, every=_REMARK_EVERY_S, file=self._options.file, reason=error)
                continue
            await emit(RecordBatch(self._tag, [Record(self._context.clock.time_ns(), body)], size))

    def _read(self) -> tuple[Body, int]:
        """The body of one record, and the bytes that were read for it."""
        options = self._options
        path: Body = {"path": options.file} if options.add_path else {}
        if not self._lines:
            data = _first_bytes(options.file, options.buf_size)
            return {options.key: _text(data), **path}, len(data)
        lines = _first_lines(options.file, self._lines)
        size = sum(map(len, lines))
        if not options.split_line:
            return {options.key: _text(b"".join(lines)), **path}, size
        texts = itertools.chain((_text(line.rstrip(b"\n")) for line in lines), itertools.repeat(""))
        return {
            **path,
            **{f"line{number}": text for number, text in zip(range(self._lines), texts, strict=False)},
        }, size


def _first_bytes(path: str, size: int) -> bytes:
    # Opened so that a pipe without a writer holds nobody up.
    fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        return os.read(fd, size)
    finally:
        os.close(fd)


def _first_lines(path: str, count: int) -> list[bytes]:
    """At most so many lines with their line feeds; a long one is cut."""
    with open(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as file:
        lines = (file.readline(_LONGEST_LINE) for _ in range(count))
        return [line for line in lines if line]


def _text(data: bytes) -> str:
    return data.decode("utf-8", "surrogateescape")
