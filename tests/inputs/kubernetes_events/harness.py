"""A kubernetes_events input in front of a stand-in for the API server, and what it has emitted."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from shipper.clock import Clock, SystemClock
from shipper.inputs.kubernetes_events import KubernetesEventsInput, KubernetesEventsOptions
from shipper.metrics import Metrics
from shipper.record import Record, RecordBatch
from shipper.testing import context_of

from ...components.kubernetes import USUAL_TOKEN
from ...components.kubernetes_events import EventsStandIn
from ...written_options import options_from

_PATIENCE_S = 10.0
_NAME = "kubernetes_events.0"


class NotedClock(SystemClock):
    """The clock of the machine, `ahead_s` of it if a test says so; notes how long is slept, and sleeps a moment."""

    def __init__(self) -> None:
        self.ahead_s = 0
        self.slept: list[float] = []

    def time_ns(self) -> int:
        return time.time_ns() + self.ahead_s * 1_000_000_000

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        await asyncio.sleep(0.002)


class Collected:
    """What was emitted; receipts are settled at once, or kept in `owed` while `settles` is off."""

    def __init__(self, one: KubernetesEventsInput, metrics: Metrics) -> None:
        self.input = one
        self._metrics = metrics
        self.batches: list[RecordBatch] = []
        self.settles = True
        self.owed: list[RecordBatch] = []
        self.has_room = asyncio.Event()
        self.has_room.set()

    async def emit(self, batch: RecordBatch) -> None:
        await self.has_room.wait()
        self.batches.append(batch)
        if self.settles:
            batch.receipt.settle()
        else:
            self.owed.append(batch)

    @property
    def records(self) -> list[Record]:
        return [record for batch in self.batches for record in batch]

    @property
    def dropped(self) -> dict[str, int]:
        """Events that were left out and counted, by the reason."""
        return self._metrics.by_label("input_dropped_records_total", "reason", name=_NAME)

    @property
    def names(self) -> list[str]:
        """The names of the events, with their count if they have recurred."""
        return [_name(record.body) for record in self.records]


def _name(body: dict[str, Any]) -> str:
    count = body.get("count", 1)
    return str(body["metadata"]["name"]) + (f"*{count}" if count != 1 else "")


def options_for(api: EventsStandIn, folder: Path, more: str = "") -> KubernetesEventsOptions:
    """Options that lead to the stand-in; what is given wins."""
    token = folder / "token"
    if not token.exists():
        token.write_text(USUAL_TOKEN + "\n")
        (folder / "namespace").write_text("logging")
    lines = {
        "Kube_URL": api.url,
        "Kube_CA_File": str(api.ca_file or token),
        "Kube_Token_File": str(token),
        "Kube_Namespace_File": str(folder / "namespace"),
        "Interval_NSec": "20000000",
    }
    for line in more.strip().splitlines():
        key, _, value = line.strip().partition(" ")
        lines[key] = value
    return options_from(KubernetesEventsOptions, "\n".join(f"{k} {v}" for k, v in lines.items()), "input")


@asynccontextmanager
async def running(
    api: EventsStandIn, folder: Path, more: str = "", clock: Clock | None = None, before: Collected | None = None
) -> AsyncIterator[Collected]:
    """An input that runs as long as the block; it is stopped as the engine does it.

    `before` is what one has collected that has ended, and whose place it takes at a hot reload.
    """
    context = context_of("input", _NAME, clock or SystemClock())
    one = KubernetesEventsInput(options_for(api, folder, more), context)
    left = before.input.handed_over() if before is not None else None
    one.go_on_from({} if left is None else dict([left]))
    collected = Collected(one, context.metrics)
    await one.open()
    task = asyncio.create_task(one.run(collected.emit))
    try:
        yield collected
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await one.close()


async def until(condition: Callable[[], bool], patience_s: float = _PATIENCE_S) -> float:
    """Wait for the condition; gives the seconds it took."""
    begin = time.monotonic()
    while not condition():
        if time.monotonic() - begin > patience_s:
            raise AssertionError(f"in vain for {patience_s:g} s")
        await asyncio.sleep(0.005)
    return time.monotonic() - begin
