"""Where the records of a pipeline wait: makes the buffer of each input, and looks after what is below storage.path."""

from __future__ import annotations

from functools import partial
from typing import Any

import msgspec

from .buffers.base import Buffer
from .buffers.filesystem import (
    ChunkBacklog,
    ChunkBudget,
    FilesystemBuffer,
    RejectedStore,
    StorageLimit,
    StorageSettings,
    stored_inputs,
)
from .buffers.filesystem.limits import PIECE
from .buffers.filesystem.names import log_folder
from .buffers.memory import MemoryBuffer, MemoryLimit
from .buffers.spilling import SpillingBuffer
from .context import Context
from .dispatcher import Dispatcher
from .errors import ConfigError, Problem
from .log import Log
from .router import Router

DEFAULT_MEMORY_LIMIT = 64_000_000
"""Resident bytes that the records of an input may take when Mem_Buf_Limit is not set."""

READ_AHEAD_LIMIT = 32_000_000
"""The same for an input whose source keeps what was not read; more would only grow the process, not the speed."""

STORED_IN_MEMORY = 24_000_000
"""Resident bytes of records that are in memory beside their file; readers that fall behind read the file."""

BACKLOG = "storage_backlog"
"""What chunk files of Fluent Bit are called where the name of an input is shown."""

CHUNKS_UP = 128
"""What storage.max_chunks_up 0 stands for."""


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


class _Taker(msgspec.Struct, frozen=True):
    """An output as the storage knows it."""

    context: Context
    dispatcher: Dispatcher


class _Stored(msgspec.Struct, frozen=True):
    """A buffer on disk, and what its input is called in the counters; `is_left` if no input puts into it."""

    name: str
    buffer: FilesystemBuffer | ChunkBacklog
    is_left: bool = False


class Storage:
    """The buffers of an engine.

    `add_output` comes first, then `buffer_for` once for each input, then `open`. What `running` gives runs while
    records flow, and `close` is called when no delivery is on its way any more.
    """

    def __init__(self, context: Context) -> None:
        service = context.service
        self._context = context
        self._service = service
        self._outputs: dict[str, _Taker] = {}
        self._path = service.storage_path
        self._stored: list[_Stored] = []
        chunks = service.storage_max_chunks_up or CHUNKS_UP
        self._memory = min(int(service.storage_backlog_mem_limit), chunks * PIECE)
        self._budget = ChunkBudget(chunks)
        self._limits: dict[str, StorageLimit] = {}
        self.rejected: RejectedStore | None = None
        if self._path and service.storage_keep_rejected:
            folder = f"{self._path}/{service.storage_rejected_path}"
            limit = int(service.storage_rejected_limit)
            self.rejected = RejectedStore(folder, limit, context.clock, context.log, context.disk, context.metrics)

    def add_output(self, context: Context, options: Any, dispatcher: Dispatcher) -> None:
        """Let this output read all buffers that are made from now on."""
        self._outputs[context.alias] = _Taker(context, dispatcher)
        if options.total_limit_size:
            limit, pauses = int(options.total_limit_size), options.on_full == "pause"
            self._limits[context.alias] = StorageLimit(context.alias, limit, context.log, pauses=pauses)
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
        if options.storage_type == "filesystem":
            budget = self._budget if options.pause_on_chunks_overlimit else None
            stored = self._filesystem_buffer(context.name, context.alias, self._beside_file(limit), budget)
            self._stored.append(_Stored(context.alias, stored))
            return stored
        clock, outputs = self._context.clock, len(self._outputs)
        if options.storage_type == "memrb":
            dropped = partial(self._dropped_from_ring, context)
            return MemoryBuffer(context.alias, limit, clock, Log(""), outputs, skipped=dropped)
        if self._path is None:
            return MemoryBuffer(context.alias, limit, clock, Log(""), outputs)
        files = self._filesystem_buffer(context.name, context.alias, self._beside_file(limit), None)
        self._stored.append(_Stored(context.alias, files))
        return SpillingBuffer(context.alias, limit, files, clock, Log(""), outputs, keeps_source=keeps_source)

    def _beside_file(self, limit: MemoryLimit) -> int:
        return min(limit.size, self._memory, STORED_IN_MEMORY)

    def open(self, router: Router) -> None:
        """Find what earlier runs have left, for inputs that are gone, too; raises `ConfigError` if that cannot be.

        No records are read by that.
        """
        if self._path is None:
            return
        try:
            self._add_what_is_left(router)
            for stored in self._stored:
                stored.buffer.open()
                for output, records in stored.buffer.held().items():
                    self._count_routed(stored.name, output, records)
            if self.rejected is not None:
                self.rejected.open()
        except OSError as error:
            message = f"storage.path {self._path} cannot be used: {error}"
            remedy = "see that the folder exists and can be written, or name another one with storage.path"
            raise ConfigError([Problem(message, None, remedy, 255)]) from error

    def running(self) -> list[tuple[str, FilesystemBuffer]]:
        """The buffers whose `run` is to run while records flow, by their names."""
        return [(s.name, s.buffer) for s in self._stored if isinstance(s.buffer, FilesystemBuffer)]

    def held_records(self) -> int:
        """Records on disk that some output has still to get, counted once for each."""
        return sum(sum(stored.buffer.held().values()) for stored in self._stored)

    def told(self) -> str:
        """What the start tells about it."""
        service = self._service
        if self._path is None:
            return "type=memory, positions are saved after delivery"
        return (
            f"type=memory+filesystem, sync={service.storage_sync}, path={self._path}, "
            f"checksum={'on' if service.storage_checksum else 'off'}, "
            f"max_chunks_up={service.storage_max_chunks_up or CHUNKS_UP}"
        )

    def close(self) -> None:
        """Make durable what can be, and release everything."""
        for _, buffer in self.running():
            buffer.close()

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

    def _filesystem_buffer(self, name: str, shown: str, memory: int, budget: ChunkBudget | None) -> FilesystemBuffer:
        service, context = self._service, self._context
        settings = StorageSettings(
            path=self._path or "",
            sync=service.storage_sync,
            memory=memory,
            floor=int(service.storage_free_space_floor),
            limits=self._limits,
            budget=budget,
        )
        return FilesystemBuffer(
            name, settings, context.clock, Log(""), context.disk, context.metrics, self._skipped, shown=shown
        )

    def _add_what_is_left(self, router: Router) -> None:
        """Buffers for what inputs have stored that this configuration does not have or lets store elsewhere."""
        context, path = self._context, self._path or ""
        used = {s.buffer.folder for s in self._stored if isinstance(s.buffer, FilesystemBuffer)}
        for name in stored_inputs(context.disk, path):
            if log_folder(path, name) not in used:
                buffer = self._filesystem_buffer(name, name, min(self._memory, STORED_IN_MEMORY), None)
                self._attach(name, buffer, is_left=True)
                self._stored.append(_Stored(name, buffer, is_left=True))
        chunks = ChunkBacklog(
            path,
            self._service.storage_rejected_path,
            router.outputs_for,
            context.clock,
            context.log,
            context.disk,
            context.metrics,
            lambda output, records: self._count_routed(BACKLOG, output, records),
            self._skipped,
            verify=self._service.storage_checksum,
        )
        self._attach(BACKLOG, chunks, is_left=True)
        self._stored.append(_Stored(BACKLOG, chunks, is_left=True))

    def _count_routed(self, name: str, output: str, records: int) -> None:
        """Records of an earlier run begin to count as routed when they are found."""
        if records:
            self._context.metrics.counter("routing_records_total", input=name, output=output).add(records)

    def _dropped_from_ring(self, context: Context, output: str, records: int, size: int, reason: str) -> None:
        context.counter("memrb_dropped_chunks").add()
        context.counter("memrb_dropped_bytes").add(size)
        self._skipped(output, records, size, reason)

    def _skipped(self, output: str, records: int, size: int, reason: str) -> None:
        self._outputs[output].context.dropped(records, size, reason)
