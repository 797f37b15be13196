"""Print records on standard output."""

from __future__ import annotations

import asyncio
import os
import select
import stat

from ..buffers.base import BatchLimits, Delivery
from ..context import Context
from ..errors import RetryLater
from .base import Output
from .record_format import FormatOptions, chosen_renderer, runs_of_one_tag

_STDOUT = 1


class StdoutOptions(FormatOptions):
    """Options of the stdout output."""


class StdoutOutput(Output):
    """Writes to the process's standard output, completely and once, and waits for a slow reader beside the loop."""

    Options = StdoutOptions
    limits = BatchLimits(size=1_000_000, records=10_000)

    def __init__(self, options: StdoutOptions, context: Context, fd: int = _STDOUT) -> None:
        self._render = chosen_renderer(options, context)
        self._fd = fd

    async def send(self, delivery: Delivery) -> None:
        """Print everything; waits while the reader of a pipe is slow.

        `delivery.progress` is what is left to write, so an attempt goes on in the middle of a line if need be.
        """
        if delivery.progress is None:
            pieces = [self._render(tag, batches) for tag, batches in runs_of_one_tag(delivery.batches)]
            delivery.progress = memoryview(b"".join(pieces))
        try:
            # A regular file never makes us wait; a pipe that is writable takes this much without blocking.
            most = len(delivery.progress) if stat.S_ISREG(os.fstat(self._fd).st_mode) else select.PIPE_BUF
            while delivery.progress:
                if not self._is_writable():
                    await self._writable()
                try:
                    written = os.write(self._fd, delivery.progress[:most])
                except BlockingIOError:  # the descriptor does not block, and another writer was faster
                    continue
                delivery.progress = delivery.progress[written:]
        except OSError as error:
            raise RetryLater(f"standard output cannot be written: {error.strerror}") from error

    def _is_writable(self) -> bool:
        poll = select.poll()
        poll.register(self._fd, select.POLLOUT)
        return bool(poll.poll(0))

    async def _writable(self) -> None:
        """Wait until the reader of the pipe makes room, or goes away."""
        loop = asyncio.get_running_loop()
        ready = asyncio.Event()
        loop.add_writer(self._fd, ready.set)
        try:
            await ready.wait()
        finally:
            loop.remove_writer(self._fd)
