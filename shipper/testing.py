"""Fakes for tests, ours and those of plugin authors: a clock by hand, a scripted destination, a disk that fails."""

from __future__ import annotations

import asyncio
import copy
import errno
import heapq
import itertools
import os
from collections.abc import Callable, Hashable, Iterable
from typing import Any, Literal

from .buffers.base import BatchLimits, Delivery
from .clock import Clock
from .context import Context, Emit
from .disk import Disk, SystemDisk
from .inputs.base import Input, InputOptions
from .log import Log
from .metrics import Metrics
from .outputs.base import Output, OutputOptions
from .record import Body, Receipt, Record, RecordBatch


class ManualClock:
    """A clock that moves only when told; whoever waits on it is woken in order."""

    def __init__(self, time_ns: int = 1_700_000_000_000_000_000) -> None:
        self._time_ns = time_ns
        self._elapsed = 0.0
        self._sleepers: list[tuple[float, int, asyncio.Future[None]]] = []
        self._order = itertools.count()

    def time_ns(self) -> int:
        return self._time_ns + int(self._elapsed * 1e9)

    def monotonic(self) -> float:
        return self._elapsed

    async def sleep(self, seconds: float) -> None:
        if seconds <= 0:
            return await asyncio.sleep(0)
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        heapq.heappush(self._sleepers, (self._elapsed + seconds, next(self._order), future))
        await future

    async def wait(self, event: asyncio.Event, seconds: float | None) -> bool:
        if event.is_set():
            return True
        if seconds is None:
            return await event.wait()
        waits = [asyncio.ensure_future(event.wait()), asyncio.ensure_future(self.sleep(seconds))]
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()
            await asyncio.gather(*waits, return_exceptions=True)
        return event.is_set()

    async def advance(self, seconds: float) -> None:
        """Let time pass; everything that becomes due runs in its order."""
        end = self._elapsed + seconds
        await settle()
        while self._sleepers and self._sleepers[0][0] <= end:
            due, _, future = heapq.heappop(self._sleepers)
            self._elapsed = max(self._elapsed, due)
            if not future.done():
                future.set_result(None)
            await settle()
        self._elapsed = end
        await settle()


async def settle() -> None:
    """Let everything run that can run without time passing."""
    for _ in range(50):
        await asyncio.sleep(0)


class DiskCrash(BaseException):
    """The process ends here, right after a step of its disk; nothing may catch it but the test."""


FaultKind = Literal["error", "short", "crash"]


class FaultyDisk(SystemDisk):
    """The real disk, but the call number `fails_at` (counted from 1 over the named calls) goes wrong.

    An `error` raises `OSError` and nothing was done. A `short` one does it first, a write for half of the bytes, and
    then raises the same. A `crash` does it and raises `DiskCrash`. To see that an operation survives a failure at every
    step, repeat it with 1, 2, 3, … until `failed` stays false.
    """

    def __init__(
        self,
        fails_at: int,
        calls: Iterable[str] = ("pread", "open", "stat", "fstat"),
        error: int = errno.EIO,
        kind: FaultKind = "error",
    ) -> None:
        self._left = fails_at
        self._kind = kind
        self.failed = False
        for name in calls:
            setattr(self, name, self._failing(name, getattr(self, name), error))

    def fail_after(self, calls: int) -> None:
        """Let the call fail that comes after so many others, counted from now; 0 is the next one."""
        self._left, self.failed = calls + 1, False

    def _failing(self, name: str, call: Callable[..., Any], error: int) -> Callable[..., Any]:
        def step(*arguments: Any, **named: Any) -> Any:
            self._left -= 1
            if self._left != 0:
                return call(*arguments, **named)
            self.failed = True
            if self._kind == "short" and name == "write":
                fd, data = arguments
                call(fd, data[: len(data) // 2])
            elif self._kind != "error":
                call(*arguments, **named)
            if self._kind == "crash":
                raise DiskCrash(name)
            raise OSError(error, os.strerror(error))

        return step


def context_of(
    kind: str = "input", name: str = "test.0", clock: Clock | None = None, disk: Disk | None = None, **more: Any
) -> Context:
    """A context whose log prefix, counters and seams are the test's own."""
    return Context(
        kind=kind,
        name=name,
        alias=name,
        log=Log(f"[{kind}:{name}] "),
        clock=clock or ManualClock(),
        disk=disk or SystemDisk(),
        metrics=Metrics(),
        **more,
    )


def batch_of(
    *lines: str, tag: str = "test", receipt: Receipt | None = None, time_ns: int = 1_700_000_000_000_000_000
) -> RecordBatch:
    """A batch with one record `{"log": line}` per line."""
    records = [Record(time_ns, {"log": line}) for line in lines]
    return RecordBatch(tag, records, sum(len(line) + 1 for line in lines), receipt)


def lines_of(batch: RecordBatch) -> list[str]:
    """The `log` fields of a batch."""
    return [record.body["log"] for record in batch]


class BlockContent:
    """Content that is no list of records, as an input may make it of a block it has read.

    Its records are made anew on each call, so changing them changes nothing here.
    """

    has_metadata = False

    def __init__(self, bodies: Iterable[Body], time_ns: int = 1_700_000_000_000_000_000) -> None:
        self._bodies = list(bodies)
        self._time_ns = time_ns

    def __len__(self) -> int:
        return len(self._bodies)

    def records(self) -> list[Record]:
        return [Record(self._time_ns, body) for body in self.bodies()]

    def times_ns(self) -> list[int]:
        return [self._time_ns] * len(self._bodies)

    def bodies(self) -> list[Body]:
        return copy.deepcopy(self._bodies)

    def json_lines(self) -> None:
        return None


class ListInput(Input):
    """Emits the given batches in their order, then ends; `emitted` counts those that were taken over."""

    Options = InputOptions

    def __init__(self, batches: Iterable[RecordBatch]) -> None:
        self._batches = list(batches)
        self.emitted = 0

    async def run(self, emit: Emit) -> None:
        for batch in self._batches[self.emitted :]:
            await emit(batch)
            self.emitted += 1


class MemoryOutput(Output):
    """Keeps what it is sent; `script` says what happens to each attempt: an exception to raise, or None to accept.

    `sent` has the `log` fields of each accepted delivery. With `by_tag` each tag is a lane of its own. With `hang`
    every attempt waits for that event first.
    """

    Options = OutputOptions

    def __init__(
        self,
        script: Iterable[Exception | None] = (),
        limits: BatchLimits | None = None,
        by_tag: bool = False,
        hang: asyncio.Event | None = None,
    ) -> None:
        self.limits = limits or BatchLimits(1000, 1000, 1.0)
        self.sent: list[list[str]] = []
        self.attempts = 0
        self._script = iter(script)
        self._by_tag = by_tag
        self._hang = hang

    def lane(self, batch: RecordBatch) -> Hashable:
        return batch.tag if self._by_tag else ""

    async def send(self, delivery: Delivery) -> None:
        self.attempts += 1
        if self._hang is not None:
            await self._hang.wait()
        error = next(self._script, None)
        if error is not None:
            raise error
        self.sent.append([line for batch in delivery.batches for line in lines_of(batch)])
