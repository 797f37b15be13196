"""The small part of the engine that a plugin sees."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Protocol

import msgspec

from .clock import Clock, SystemClock
from .config.service import ServiceOptions
from .disk import Disk, SystemDisk
from .log import Log
from .metrics import Counter, Metrics
from .net.settings import ConnectionCount
from .parsers.base import ParserLibrary
from .record import RecordBatch

Emit = Callable[[RecordBatch], Awaitable[None]]
"""Hands a batch on; waits while the buffers are full."""


class StopService(Protocol):
    """Ends the whole service gracefully; `status` is what the process exits with."""

    def __call__(self, status: int = 0) -> None: ...


def _stop_nothing(status: int = 0) -> None:
    """For an instance that stands alone, outside of a service."""


class Context(msgspec.Struct, kw_only=True):
    """What an instance may use: its name, the seams, its log, its counters, the parsers.

    `name` is the instance name (`tail.0`), `alias` what logs and metrics call it. `emit` is there for filters that
    make batches of another tag; inputs are given theirs when they run. `memory_limit` is the room of its buffer in
    bytes of records as read, so that an input can read in pieces that fit. `stop_service` ends the whole service
    gracefully; the first status that it is given counts. `folder` is that of the main configuration file, where files
    that the options name are looked for if they are not in the working folder. `own_log_tags` are those of our own log.
    """

    kind: str
    name: str
    alias: str
    log: Log
    clock: Clock = msgspec.field(default_factory=SystemClock)
    disk: Disk = msgspec.field(default_factory=SystemDisk)
    metrics: Metrics = msgspec.field(default_factory=Metrics)
    service: ServiceOptions = msgspec.field(default_factory=ServiceOptions)
    parsers: ParserLibrary = msgspec.field(default_factory=ParserLibrary)
    emit: Emit | None = None
    stop_service: StopService = _stop_nothing
    memory_limit: int = 0
    folder: str = ""
    own_log_tags: frozenset[str] = frozenset()
    connection_counts: list[Callable[[], ConnectionCount]] = []

    def counter(self, name: str, **labels: str) -> Counter:
        """A counter of this instance, exported as `<kind>_<name>` with the instance as label."""
        return self.metrics.counter(f"{self.kind}_{name}", name=self.alias, **labels)

    def count_connections(self, ask: Callable[[], ConnectionCount]) -> None:
        """Show the connections of a client among the metrics, added to those of others of this instance."""
        asked, gauge = self.connection_counts, self.metrics.gauge
        asked.append(ask)
        gauge(f"{self.kind}_upstream_total_connections", lambda: sum(a().total for a in asked), name=self.alias)
        gauge(f"{self.kind}_upstream_busy_connections", lambda: sum(a().busy for a in asked), name=self.alias)

    def dropped(self, records: int, size: int, reason: str, *, wanted: bool = False) -> None:
        """Count records that end here: the only way in which records may disappear.

        `wanted` says that the configuration asked for it (grep, throttle); otherwise it is a loss.
        """
        why = "yes" if wanted else "no"
        self.counter("dropped_records_total", reason=reason, wanted=why).add(records)
        self.counter("dropped_bytes_total", reason=reason, wanted=why).add(size)
