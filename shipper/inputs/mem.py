"""Tell how much memory is in use."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated

from ..config.options import opt
from ..config.units import shown_size
from ..context import Context, Emit
from ..record import Body, Record, RecordBatch
from .base import Input
from .interval import IntervalOptions, ticks

_RESIDENT = re.compile(r"^VmRSS:\s+(\d+) kB", re.MULTILINE)
_REMARK_EVERY_S = 60.0


class MemOptions(IntervalOptions):
    """Options of the mem input."""

    pid: Annotated[int, opt("Process whose memory is told too; 0 for none.")] = 0


class MemInput(Input):
    """Emits one record per interval: kilobytes of memory and swap, in all, in use and free."""

    Options = MemOptions

    def __init__(self, options: MemOptions, context: Context, proc: Path = Path("/proc")) -> None:
        self._options = options
        self._context = context
        self._tag = options.tag or context.name
        self._proc = proc

    async def run(self, emit: Emit) -> None:
        """Emit for ever; waits for intervals to pass and for the buffers."""
        async for _ in ticks(self._context.clock, self._options.period_s()):
            try:
                body = self._look()
            except (OSError, KeyError) as error:
                self._context.log.error("memory cannot be told", every=_REMARK_EVERY_S, reason=error)
                continue
            size = sum(map(len, body)) + 8 * len(body)
            await emit(RecordBatch(self._tag, [Record(self._context.clock.time_ns(), body)], size))

    def _look(self) -> Body:
        found = dict(line.split(":", 1) for line in (self._proc / "meminfo").read_text().splitlines() if ":" in line)
        total, free, swap, swap_free = (
            int(found[name].split()[0]) for name in ("MemTotal", "MemFree", "SwapTotal", "SwapFree")
        )
        body: Body = {
            "Mem.total": total,
            "Mem.used": total - free,
            "Mem.free": free,
            "Swap.total": swap,
            "Swap.used": swap - swap_free,
            "Swap.free": swap_free,
        }
        if self._options.pid > 0:
            body |= self._of_process(self._options.pid)
        return body

    def _of_process(self, pid: int) -> Body:
        """What is resident of a process; nothing once it has ended."""
        try:
            found = _RESIDENT.search((self._proc / str(pid) / "status").read_text())
        except FileNotFoundError:
            return {}
        size = int(found[1]) * 1024 if found else 0
        return {"proc_bytes": size, "proc_hr": shown_size(size)}
