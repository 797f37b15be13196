"""Read the log of the kernel."""

from __future__ import annotations

import os
import time
from collections.abc import Hashable, Mapping
from typing import Annotated, Any

from ..config.options import opt
from ..context import Context, Emit
from ..errors import OptionError
from ..record import Record, RecordBatch
from .base import Input, InputOptions
from .readiness import readable

_PATH = "/dev/kmsg"
_LONGEST_MESSAGE = 8192
_MOST_AT_ONCE = 1000
_PRIORITY_BITS = 7


class KmsgOptions(InputOptions):
    """Options of the kmsg input."""

    prio_level: Annotated[int, opt("Drop messages whose priority is a larger number than this.")] = 8


class KmsgInput(Input):
    """Emits what the kernel keeps of its log, then what it adds; a batch is what there is at once."""

    Options = KmsgOptions

    def __init__(self, options: KmsgOptions, context: Context, path: str = _PATH) -> None:
        self._prio_level = options.prio_level
        self._context = context
        self._tag = options.tag or context.name
        self._path = path
        self._fd = -1
        self._booted_ns = 0
        # The number that the next message of the kernel has, None before the first.
        self._next_sequence: int | None = None
        # The number of the first message that was not emitted; the device begins anew with all that the kernel keeps.
        self._not_emitted: int | None = None

    def handed_over(self) -> tuple[Hashable, Any] | None:
        return None if self._not_emitted is None else (self.source, self._not_emitted)

    def go_on_from(self, handed_over: Mapping[Hashable, Any]) -> None:
        self._not_emitted = self._next_sequence = handed_over.get(self.source)

    @property
    def source(self) -> Hashable:
        return "kmsg", self._tag

    async def open(self) -> None:
        try:
            self._fd = os.open(self._path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        except OSError as error:
            remedy = "run with the right to read the log of the kernel (CAP_SYSLOG)"
            raise OptionError("name", f"{self._path} cannot be opened: {error.strerror}", remedy) from error
        self._booted_ns = self._context.clock.time_ns() - time.clock_gettime_ns(time.CLOCK_BOOTTIME)

    async def run(self, emit: Emit) -> None:
        """Emit for ever; waits for messages and for the buffers."""
        while True:
            messages = self._read()
            records = [record for message in messages if (record := self._record(message)) is not None]
            if records:
                await emit(RecordBatch(self._tag, records, sum(map(len, messages))))
            elif not messages:
                await readable(self._fd, self._context.clock)
            self._not_emitted = self._next_sequence

    async def close(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def _read(self) -> list[bytes]:
        """The messages that are there; each call into the kernel gives one."""
        messages: list[bytes] = []
        while len(messages) < _MOST_AT_ONCE:
            try:
                message = os.read(self._fd, _LONGEST_MESSAGE)
            except BlockingIOError:
                break
            except BrokenPipeError:
                continue  # the kernel has overwritten what was next; the numbers tell how many were lost
            if not message:
                break
            messages.append(message)
        return messages

    def _record(self, message: bytes) -> Record | None:
        """The record of a message like `6,339,5140900,-;text`; lines after the first are the kernel's own fields."""
        head, _, rest = message.partition(b";")
        try:
            prefix, number, stamp_us = map(int, head.split(b",")[:3])
        except ValueError:
            self._context.log.error("a message of the kernel cannot be read", every=60.0, text=message[:80])
            self._context.dropped(1, len(message), "unreadable")
            return None
        if self._not_emitted is not None and number < self._not_emitted:
            return None
        self._count_lost(number)
        priority = prefix & _PRIORITY_BITS
        if priority > self._prio_level:
            self._context.dropped(1, len(message), "prio_level", wanted=True)
            return None
        seconds, microseconds = divmod(stamp_us, 1_000_000)
        body = {
            "priority": priority,
            "sequence": number,
            "sec": seconds,
            "usec": microseconds,
            "msg": rest.partition(b"\n")[0].decode("utf-8", "surrogateescape"),
        }
        return Record(self._booted_ns + stamp_us * 1000, body)

    def _count_lost(self, number: int) -> None:
        lost = number - self._next_sequence if self._next_sequence is not None else 0
        if lost > 0:
            self._context.log.error("the kernel has overwritten messages that were not read", every=60.0, messages=lost)
            self._context.dropped(lost, 0, "overwritten")
        self._next_sequence = number + 1
