"""Make records from a text in the configuration, at a steady rate."""

from __future__ import annotations

import json
import marshal
from typing import Annotated, Any

from ..config.options import opt
from ..context import Context, Emit
from ..record import Body, Record, RecordBatch
from .base import Input, InputOptions

_DEFAULT = '{"message":"dummy"}'
_SHORTEST_WAIT_S = 0.01
_MOST_AT_ONCE = 10_000
_LONGEST_ARREARS_S = 1.0


class DummyOptions(InputOptions):
    """Options of the dummy input."""

    dummy: Annotated[str, opt("One or several JSON objects.", example='{"message":"hello"}')] = _DEFAULT
    metadata: Annotated[str, opt("JSON object that every record has as metadata.")] = "{}"
    rate: Annotated[int, opt("Collections a second.")] = 1
    interval_sec: Annotated[int, opt("Seconds between collections, instead of a rate.")] = 0
    interval_nsec: Annotated[int, opt("Nanoseconds added to interval_sec.")] = 0
    samples: Annotated[int, opt("Stop after so many collections; 0 for no end.")] = 0
    copies: Annotated[int, opt("Times that a collection repeats all objects.")] = 1
    start_time_sec: Annotated[int, opt("Time of the first record; -1 for now.")] = -1
    start_time_nsec: Annotated[int, opt("Nanoseconds of the time of the first record.")] = -1
    fixed_timestamp: Annotated[bool, opt("Give all records the time of the first.")] = False
    flush_on_startup: Annotated[bool, opt("Collect at once instead of after one period.")] = False

    def period_s(self) -> float:
        """Seconds from one collection to the next."""
        interval = max(self.interval_sec, 0) + max(self.interval_nsec, 0) / 1e9
        return interval or 1 / max(self.rate, 1)

    def start_time_ns(self) -> int | None:
        """The time of the first record, if it is set."""
        if self.start_time_sec < 0 and self.start_time_nsec < 0:
            return None
        return max(self.start_time_sec, 0) * 1_000_000_000 + max(self.start_time_nsec, 0)


class DummyInput(Input):
    """Emits the objects `copies` times in every period, until `samples` periods have passed.

    Collections that fall due while the buffers are full are made up for one second, older ones are left out.
    """

    Options = DummyOptions

    def __init__(self, options: DummyOptions, context: Context) -> None:
        self._options = options
        self._context = context
        self._tag = options.tag or context.name
        self._size = len(options.dummy.encode("utf-8", "replace"))
        # Filters change bodies in place, so every record needs its own; marshal makes deep copies fastest.
        metadata = _objects(options.metadata, context, "{}")
        self._encoded = marshal.dumps((_objects(options.dummy, context, _DEFAULT), metadata[0]))
        self._start_ns = options.start_time_ns()
        self._first_ns: int | None = None

    async def run(self, emit: Emit) -> None:
        """Emit until the samples are used up; waits for periods to pass and for the buffers."""
        clock, options = self._context.clock, self._options
        period, left = options.period_s(), options.samples
        next_at = clock.monotonic() + (0 if options.flush_on_startup else period)
        while True:
            await clock.sleep(self._pause(next_at - clock.monotonic(), period))
            now = clock.monotonic()
            due = int(max(0.0, now - next_at) / period) + 1
            due = min(due, max(1, _MOST_AT_ONCE // max(1, options.copies)))
            if options.samples > 0:
                due = min(due, left)
                left -= due
            next_at = max(next_at + due * period, now - _LONGEST_ARREARS_S)
            await self._emit(emit, due * max(0, options.copies))
            if options.samples > 0 and left == 0:
                return

    @staticmethod
    def _pause(until_next: float, period: float) -> float:
        # At high rates a wake-up for every collection would cost more than its records.
        shortest = _SHORTEST_WAIT_S if period < _SHORTEST_WAIT_S and until_next > -_SHORTEST_WAIT_S else 0.0
        return max(until_next, shortest)

    async def _emit(self, emit: Emit, repeats: int) -> None:
        time_ns = self._time_ns()
        while repeats > 0:
            now = min(repeats, _MOST_AT_ONCE)
            records: list[Record] = []
            for _ in range(now):
                objects, metadata = self._fresh()
                records += [Record(time_ns, body, metadata or None) for body in objects]
            await emit(RecordBatch(self._tag, records, self._size * now))
            repeats -= now

    def _fresh(self) -> tuple[list[Body], Body]:
        fresh: tuple[list[Body], Body] = marshal.loads(self._encoded)
        return fresh

    def _time_ns(self) -> int:
        now = self._context.clock.time_ns()
        if self._first_ns is None:
            self._first_ns = now
        start = self._first_ns if self._start_ns is None else self._start_ns
        return start if self._options.fixed_timestamp else start + now - self._first_ns


def _objects(text: str, context: Context, default: str) -> list[Body]:
    """The objects of a text; the default's if it is no JSON or has none."""
    decoder = json.JSONDecoder()
    values: list[Any] = []
    position = 0
    try:
        while rest := text[position:].lstrip():
            value, used = decoder.raw_decode(rest)
            values.append(value)
            position = len(text) - len(rest) + used
    except ValueError as error:
        context.log.warning("invalid JSON, the default is used", text=text, error=error, default=default)
        return [json.loads(default)]
    objects = [v for v in values if isinstance(v, dict)]
    if not objects:
        context.log.warning("no JSON object, the default is used", text=text, default=default)
    return objects or [json.loads(default)]
