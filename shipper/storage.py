"""The buffers of an engine: made for every input, opened before records flow, closed after the last delivery.

Here they are in memory. What works with a `storage.path` is in `disk_storage.py`, which is imported only then: a
process that keeps everything in memory need not carry it.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import msgspec

from .accounts import count_dropped
from .buffers.base import Buffer, Loss
from .buffers.memory import MemoryBuffer, MemoryLimit
from .config.destination import Destination
from .context import Context
from .dispatcher import Dispatcher
from .log import Log
from .losses import Losses
from .router import Router

if TYPE_CHECKING:
    from .buffers.filesystem import FilesystemBuffer, RejectedStore

DEFAULT_MEMORY_LIMIT = 64_000_000
"""Resident bytes that the records of an input may take when Mem_Buf_Limit is not set."""

READ_AHEAD_LIMIT = 16_000_000
"""The same for an input whose source keeps what was not read; more would only grow the process, not the speed."""


def new_storage(context: Context) -> Storage:
    """The storage that the service section asks for."""
    if context.service.storage_path is None:
        return Storage(context)
    from .disk_storage import DiskStorage

    return DiskStorage(context)


def memory_limit(options: Any, *, keeps_source: bool) -> MemoryLimit:
    """What bounds the records of an input in memory: its Mem_Buf_Limit, and our own bounds below that.

    Reading ahead in a source that keeps what was not read makes the process larger and nothing faster, so that has a
    bound of its own, which a larger Mem_Buf_Limit does not raise.
    """
    wanted = int(options.mem_buf_limit)
    limit = READ_AHEAD_LIMIT if keeps_source else wanted or DEFAULT_MEMORY_LIMIT
    if wanted and wanted <= limit:
        return MemoryLimit(wanted, "Mem_Buf_Limit", "see to that output, or raise Mem_Buf_Limit")
    told = f"Mem_Buf_Limit {wanted}B" if wanted else "no Mem_Buf_Limit"
    if keeps_source:
        return MemoryLimit(limit, f"read-ahead {limit}B ({told})", "see to that output; the rest waits in its source")
    return MemoryLimit(limit, f"built-in {limit}B ({told})", "see to that output, or set Mem_Buf_Limit")


class Taker(msgspec.Struct, frozen=True):
    """An output as the storage knows it."""

    context: Context
    dispatcher: Dispatcher


class Storage:
    """The buffers of an engine.

    `add_output` comes first, then `buffer_for` once for each input, then `open`. What `running` gives runs while
    records flow, and `close` is called when no delivery is on its way any more.
    """

    rejected: RejectedStore | None = None
    """Where records are kept that an output refused, if that is switched on."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._service = context.service
        self._outputs: dict[str, Taker] = {}
        self._losses = Losses(lambda output: self._outputs[output].context.log, context.clock)

    def add_output(self, context: Context, options: Any, dispatcher: Dispatcher, destination: Destination) -> None:
        """Let this output read all buffers that are made from now on; `destination` is what it is known by again."""
        self._outputs[context.alias] = Taker(context, dispatcher)
        ask, name = self._context.metrics.gauge, context.alias
        ask("output_held_records", lambda: dispatcher.held()[0], name=name)
        ask("output_held_bytes", lambda: dispatcher.held()[1], name=name)

    def buffer_for(self, context: Context, options: Any, *, keeps_source: bool) -> Buffer:
        """The buffer of an input, with all outputs attached."""
        limit = memory_limit(options, keeps_source=keeps_source)
        buffer = self._new_buffer(context, options, limit, keeps_source)
        self._attach(context.alias, buffer)
        if self._service.storage_metrics:
            self._show(context.alias, buffer)
        return buffer

    def _new_buffer(self, context: Context, options: Any, limit: MemoryLimit, keeps_source: bool) -> Buffer:
        clock, outputs = self._context.clock, len(self._outputs)
        dropped = partial(self._dropped_from_ring, context) if options.storage_type == "memrb" else None
        return MemoryBuffer(context.alias, limit, clock, Log(""), outputs, skipped=dropped)

    def open(self, router: Router) -> None:
        """Find what earlier runs have left, for inputs that are gone, too; raises `ConfigError` if that cannot be.

        No records are read by that.
        """

    def running(self) -> list[tuple[str, FilesystemBuffer]]:
        """The buffers whose `run` is to run while records flow, by their names."""
        return []

    def held_records(self) -> int:
        """Records on disk that some output has still to get, counted once for each."""
        return 0

    def told(self) -> str:
        """What the start tells about it."""
        return "type=memory, positions are saved after delivery"

    async def tell_losses(self) -> None:
        """Tell of what the buffers have dropped, until cancelled; waits for losses."""
        await self._losses.run()

    def close(self) -> None:
        """Make durable what can be, release everything, and tell what was lost and not told."""
        self._losses.tell_rest()

    def _show(self, name: str, buffer: Buffer) -> None:
        """Let the numbers of a buffer be seen among the metrics."""
        gauge, ask = self._context.metrics.gauge, buffer.statistics
        gauge("input_storage_batches", lambda: ask().batches, name=name)
        gauge("input_storage_records", lambda: ask().records, name=name)
        gauge("input_storage_memory_bytes", lambda: ask().memory, name=name)
        gauge("input_storage_disk_bytes", lambda: ask().stored, name=name)
        gauge("input_ingestion_paused", lambda: ask().is_full, name=name)

    def _attach(self, name: str, buffer: Buffer, *, is_left: bool = False) -> None:
        for output in self._outputs.values():
            output.dispatcher.attach(name, buffer, is_backlog=is_left)

    def _dropped_from_ring(self, context: Context, loss: Loss) -> None:
        context.counter("memrb_dropped_chunks").add()
        context.counter("memrb_dropped_bytes").add(loss.size)
        self._skipped(context.alias, loss)

    def _skipped(self, input_name: str, loss: Loss) -> None:
        count_dropped(self._outputs[loss.output].context, input_name, loss.records, loss.size, loss.reason)
        self._losses.note(input_name, loss)
