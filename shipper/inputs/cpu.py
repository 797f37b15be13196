"""Tell how busy the processors are."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import msgspec

from ..config.options import opt
from ..context import Context, Emit
from ..record import Body, Record, RecordBatch
from .base import Input
from .interval import IntervalOptions, ticks

_REMARK_EVERY_S = 60.0


class CpuOptions(IntervalOptions):
    """Options of the cpu input."""

    pid: Annotated[int, opt("Process to look at, instead of the whole machine.")] = -1


class _Busy(msgspec.Struct, frozen=True):
    """Ticks that were spent for programs and in the kernel since the start."""

    user: int
    system: int


class CpuInput(Input):
    """Emits one record per interval: percent of the time since the last look, in all and by processor."""

    Options = CpuOptions

    def __init__(self, options: CpuOptions, context: Context, proc: Path = Path("/proc")) -> None:
        self._options = options
        self._context = context
        self._tag = options.tag or context.name
        self._proc = proc
        self._ticks_per_s = os.sysconf("SC_CLK_TCK")

    async def run(self, emit: Emit) -> None:
        """Emit for ever, after one interval for the first time; waits for intervals and for the buffers."""
        clock = self._context.clock
        before, looked_at = self._try_to_look(), clock.monotonic()
        async for _ in ticks(clock, self._options.period_s()):
            now, passed = self._try_to_look(), clock.monotonic() - looked_at
            looked_at += passed
            if before and now and passed > 0:
                body = self._body(before, now, 100 / (passed * self._ticks_per_s))
                size = sum(map(len, body)) + 8 * len(body)
                await emit(RecordBatch(self._tag, [Record(clock.time_ns(), body)], size))
            before = now

    def _body(self, before: dict[str, _Busy], now: dict[str, _Busy], percent_per_tick: float) -> Body:
        body: Body = {}
        processors = max(1, len(now) - 1)
        for name, busy in now.items():
            old = before.get(name, busy)  # a processor may have been switched on
            user, system = busy.user - old.user, busy.system - old.system
            share = percent_per_tick / processors if name == "cpu" else percent_per_tick
            numbers = ((user + system) * share, user * share, system * share)
            keys = ("cpu_p", "user_p", "system_p") if name == "cpu" else _keys_of(name)
            body |= zip(keys, numbers, strict=True)
        return body

    def _try_to_look(self) -> dict[str, _Busy]:
        try:
            return self._of_process() if self._options.pid >= 0 else self._of_machine()
        except (OSError, ValueError, IndexError) as error:
            self._context.log.error("processor times cannot be told", every=_REMARK_EVERY_S, reason=error)
            return {}

    def _of_machine(self) -> dict[str, _Busy]:
        """By name: `cpu` for all, and each processor."""
        words = [line.split() for line in (self._proc / "stat").read_text().splitlines() if line.startswith("cpu")]
        return {name: _Busy(int(user) + int(nice), int(system)) for name, user, nice, system, *_ in words}

    def _of_process(self) -> dict[str, _Busy]:
        # The name of the process stands in parentheses and may hold anything.
        words = (self._proc / str(self._options.pid) / "stat").read_text().rpartition(")")[2].split()
        return {"cpu": _Busy(int(words[11]), int(words[12]))}


def _keys_of(processor: str) -> tuple[str, str, str]:
    return f"{processor}.p_cpu", f"{processor}.p_user", f"{processor}.p_system"
