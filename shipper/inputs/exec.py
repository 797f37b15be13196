"""Run a command and read what it prints."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Iterator
from contextlib import suppress
from typing import Annotated

from ..config.options import opt
from ..config.units import ByteSize
from ..context import Context, Emit
from ..record import Record, RecordBatch
from .base import Input
from .interval import IntervalOptions, ticks
from .listening import CUT_OFF, hand_on, parser_named

_READ_SIZE = 65_536
_PATIENCE_S = 0.3
"""Longest wait for a command to end after SIGTERM, then it gets SIGKILL; and for the end of what it has printed."""

_UNKNOWN_STATUS = 128
_REMARK_EVERY_S = 10.0


class ExecOptions(IntervalOptions, kw_only=True):
    """Options of the exec input."""

    command: Annotated[str, opt("Command for the shell.", example="uptime", secret=True)]
    parser: Annotated[str | None, opt("Parser of the lines; those that it does not fit are dropped.")] = None
    buf_size: Annotated[ByteSize, opt("Lines of so many bytes and more are split.")] = ByteSize(4096)
    oneshot: Annotated[bool, opt("Run the command once, at the start.")] = False
    exit_after_oneshot: Annotated[bool, opt("Stop the service when the command has ended.")] = False
    propagate_exit_code: Annotated[bool, opt("Then exit with the status of the command.")] = False


class ExecInput(Input):
    """Makes a record of every line of the command's standard output; one run ends before the next begins.

    The command runs in a session of its own, so that all its processes can be ended together.
    """

    Options = ExecOptions

    def __init__(self, options: ExecOptions, context: Context) -> None:
        self._options = options
        self._context = context
        self._tag = options.tag or context.name
        self._parser = parser_named(options.parser, context) if options.parser else None
        self._longest = max(1, options.buf_size - 1)
        self._process: asyncio.subprocess.Process | None = None
        # What was read of a line whose end has not come.
        self._rest = b""
        self._is_stopping = False

    async def run(self, emit: Emit) -> None:
        """Run the command once or for ever; waits for intervals, for the command and for the buffers."""
        options = self._options
        if not options.oneshot:
            async for _ in ticks(self._context.clock, options.period_s()):
                await self._execute(emit)
                if self._is_stopping:
                    return
        status = await self._execute(emit)
        if options.exit_after_oneshot and not self._is_stopping:
            self._context.stop_service(status if options.propagate_exit_code else 0)

    async def stop(self) -> bool:
        """Ask a running command to end; what it has printed is still read, or counted if there is no time for that."""
        self._is_stopping = True
        if self._process is None:
            return False
        _signal_all(self._process, signal.SIGTERM)
        return True

    async def _execute(self, emit: Emit) -> int:
        """Run the command to its end; gives its status as a shell tells it."""
        try:
            process = await asyncio.create_subprocess_exec(
                "/bin/sh",
                "-c",
                self._options.command,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE,
                start_new_session=True,
            )
        except OSError as error:
            self._context.log.error("the command cannot be run", every=_REMARK_EVERY_S, reason=error)
            return _UNKNOWN_STATUS
        assert process.stdout is not None
        self._process, self._rest = process, b""
        try:
            await self._read(process.stdout, emit)
            status = await process.wait()
        except asyncio.CancelledError:
            await _end(process)
            await self._drop_unread(process.stdout)
            raise
        finally:
            self._process = None
            await _end(process)
        return status if status >= 0 else 128 - status

    async def _read(self, output: asyncio.StreamReader, emit: Emit) -> None:
        while data := await output.read(_READ_SIZE):
            await self._emit(emit, self._whole_lines(data))
        if self._rest:
            rest, self._rest = self._rest, b""
            await self._emit(emit, [rest])

    async def _drop_unread(self, output: asyncio.StreamReader) -> None:
        """Count what a command that has ended printed in vain: it will not print that again."""
        count, size = 0, len(self._rest)
        with suppress(TimeoutError):
            async with asyncio.timeout(_PATIENCE_S):
                while data := await output.read(_READ_SIZE):
                    count += len(self._whole_lines(data))
                    size += len(data)
        if size:
            self._context.dropped(count + bool(self._rest), size, CUT_OFF)

    def _whole_lines(self, data: bytes) -> list[bytes]:
        """The lines, and pieces of long ones, that are whole with this; what is left of it waits for more."""
        lines = (self._rest + data).split(b"\n")
        pieces = list(_pieces(lines.pop(), self._longest))
        self._rest = pieces.pop()
        return [piece for line in lines for piece in _pieces(line, self._longest)] + pieces

    async def _emit(self, emit: Emit, lines: list[bytes]) -> None:
        now_ns, parser = self._context.clock.time_ns(), self._parser
        texts = [line.decode("utf-8", "surrogateescape") for line in lines]
        size = sum(map(len, lines)) + len(lines)
        if parser is None:
            records = [Record(now_ns, {"exec": text}) for text in texts]
        else:
            parsed = [found for text in texts if (found := parser.parse(text)) is not None]
            records = [Record(now_ns if time_ns is None else time_ns, body) for time_ns, body in parsed]
            if lost := len(texts) - len(parsed):
                self._context.log.error("parser returned an error", every=_REMARK_EVERY_S, lines=lost)
                self._context.dropped(lost, 0, "unparsed")
        if records:
            await hand_on(RecordBatch(self._tag, records, size), emit, self._context)


def _pieces(line: bytes, longest: int) -> Iterator[bytes]:
    """The line in pieces of at most so many bytes, none of which ends within a character; an empty line is one."""
    while len(line) > longest:
        end = longest
        while end > max(0, longest - 3) and line[end] & 0xC0 == 0x80:
            end -= 1
        end = end or longest
        yield line[:end]
        line = line[end:]
    yield line


async def _end(process: asyncio.subprocess.Process) -> None:
    """End a command that still runs, and all that it has started; waits for that, but not for long."""
    if process.returncode is not None:
        return
    _signal_all(process, signal.SIGTERM)
    try:
        async with asyncio.timeout(_PATIENCE_S):
            await process.wait()
    except TimeoutError:
        _signal_all(process, signal.SIGKILL)
        await process.wait()


def _signal_all(process: asyncio.subprocess.Process, number: signal.Signals) -> None:
    with suppress(ProcessLookupError):
        os.killpg(process.pid, number)
