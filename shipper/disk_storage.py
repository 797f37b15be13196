"""The buffers of an engine with a `storage.path`: on disk, or in memory with the disk behind it, and what was left."""

from __future__ import annotations

import os
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
from .buffers.filesystem.lock import FolderInUse, FolderLock
from .buffers.filesystem.names import log_folder
from .buffers.filesystem.output_names import load_known, save_known, stored_names
from .buffers.memory import MemoryLimit
from .buffers.spilling import SpillingBuffer
from .config.destination import Destination
from .context import Context
from .dispatcher import Dispatcher
from .errors import ConfigError, Problem
from .log import Log
from .router import Router
from .storage import Storage

STORED_IN_MEMORY = 24_000_000
"""Resident bytes of records that are in memory beside their file; readers that fall behind read the file."""

BACKLOG = "storage_backlog"
"""What chunk files of Fluent Bit are called where the name of an input is shown."""

CHUNKS_UP = 128
"""What storage.max_chunks_up 0 stands for."""


class _Stored(msgspec.Struct, frozen=True):
    """A buffer on disk, and what its input is called in the counters; `is_left` if no input puts into it."""

    name: str
    buffer: FilesystemBuffer | ChunkBacklog
    is_left: bool = False


class DiskStorage(Storage):
    """Buffers with a folder; see `Storage`."""

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        service = context.service
        self._path = service.storage_path or ""
        self._lock = FolderLock(self._path)
        self._stored: list[_Stored] = []
        self._spilling: list[SpillingBuffer] = []
        chunks = service.storage_max_chunks_up or CHUNKS_UP
        self._memory = min(int(service.storage_backlog_mem_limit), chunks * PIECE)
        self._budget = ChunkBudget(chunks)
        self._limits: dict[str, StorageLimit] = {}
        self._destinations: list[Destination] = []
        self._names: dict[str, str] = {}
        """What the outputs are called in the files; known when they are opened."""
        if service.storage_keep_rejected:
            folder = f"{self._path}/{service.storage_rejected_path}"
            limit = int(service.storage_rejected_limit)
            self.rejected = RejectedStore(folder, limit, context.clock, context.log, context.disk, context.metrics)

    def add_output(self, context: Context, options: Any, dispatcher: Dispatcher, destination: Destination) -> None:
        super().add_output(context, options, dispatcher, destination)
        self._destinations.append(destination)
        if options.total_limit_size:
            limit = int(options.total_limit_size)
            self._limits[context.alias] = StorageLimit(limit, options.on_full)

    def _new_buffer(self, context: Context, options: Any, limit: MemoryLimit, keeps_source: bool) -> Buffer:
        if options.storage_type == "memrb" or not options.may_be_stored:
            return super()._new_buffer(context, options, limit, keeps_source)
        is_stored = options.storage_type == "filesystem"
        budget = self._budget if is_stored and options.pause_on_chunks_overlimit else None
        files = self._filesystem_buffer(
            context.name, context.alias, self._beside_file(limit), budget, keeps_source=keeps_source
        )
        self._stored.append(_Stored(context.alias, files))
        if is_stored:
            return files
        clock, outputs = self._context.clock, len(self._outputs)
        buffer = SpillingBuffer(context.alias, limit, files, clock, Log(""), outputs, keeps_source=keeps_source)
        self._spilling.append(buffer)
        return buffer

    def _beside_file(self, limit: MemoryLimit) -> int:
        return min(limit.size, self._memory, STORED_IN_MEMORY)

    def open(self, router: Router) -> None:
        try:
            self._context.disk.mkdirs(self._path)
            self._lock.acquire()
            self._name_outputs()
            self._add_what_is_left(router)
            for stored in self._stored:
                stored.buffer.open()
                for output, records in stored.buffer.held().items():
                    self._count_routed(stored.name, output, records)
            if self.rejected is not None:
                self.rejected.open()
        except FolderInUse as error:
            message = f"storage.path {self._path} is in use by {error}"
            remedy = "end that process, or give each its own folder with storage.path"
            raise ConfigError([Problem(message, None, remedy, 255)]) from error
        except OSError as error:
            message = f"storage.path {self._path} cannot be used: {error}"
            remedy = "see that the folder exists and can be written, or name another one with storage.path"
            if isinstance(error, PermissionError):
                remedy = f"let user {os.geteuid()}, who runs this, own the folder and all in it, or run as its owner"
            raise ConfigError([Problem(message, None, remedy, 255)]) from error

    def running(self) -> list[tuple[str, FilesystemBuffer]]:
        return [(s.name, s.buffer) for s in self._stored if isinstance(s.buffer, FilesystemBuffer)]

    def held_records(self) -> int:
        return sum(sum(stored.buffer.held().values()) for stored in self._stored)

    def told(self) -> str:
        service = self._service
        return (
            f"type=memory+filesystem, sync={service.storage_sync}, path={self._path}, "
            f"checksum={'on' if service.storage_checksum else 'off'}, "
            f"max_chunks_up={service.storage_max_chunks_up or CHUNKS_UP}"
        )

    def close(self) -> None:
        for spilling in self._spilling:
            spilling.close()
        for _, buffer in self.running():
            buffer.close()
        self._lock.release()
        super().close()

    def _filesystem_buffer(
        self, name: str, shown: str, memory: int, budget: ChunkBudget | None, *, keeps_source: bool
    ) -> FilesystemBuffer:
        service, context = self._service, self._context
        settings = StorageSettings(
            path=self._path,
            sync=service.storage_sync,
            memory=memory,
            floor=int(service.storage_free_space_floor),
            limits=self._limits,
            names=self._names,
            budget=budget,
            keeps_source=keeps_source,
        )
        skipped = partial(self._skipped, shown or name)
        return FilesystemBuffer(
            name, settings, context.clock, Log(""), context.disk, context.metrics, skipped, shown=shown
        )

    def _name_outputs(self) -> None:
        """Find out what the outputs are called in the files, and remember for the next time where they send."""
        context = self._context
        known = load_known(context.disk, self._path)
        self._names.update(stored_names(self._destinations, known))
        for output in self._destinations:
            before = known.get(output.name)
            if before and before[0] != output.place and self._names[output.name] == output.name:
                told = "output sends elsewhere than before, and what is stored for it goes there"
                context.log.info(told, output=output.name, remedy="an alias of its own would keep it apart")
        now = known | {self._names[d.name]: (d.place, d.whole) for d in self._destinations}
        if now == known:
            return
        try:
            save_known(context.disk, self._path, now)
        except OSError as error:
            told = "where outputs send cannot be remembered; until then none of them should be moved or removed"
            context.log.error(told, reason=error)

    def _add_what_is_left(self, router: Router) -> None:
        """Buffers for what inputs have stored that this configuration does not have or lets store elsewhere."""
        context, path = self._context, self._path
        used = {s.buffer.folder for s in self._stored if isinstance(s.buffer, FilesystemBuffer)}
        for name in stored_inputs(context.disk, path):
            if log_folder(path, name) not in used:
                # Nothing new comes from there, so nothing of it need be skipped either.
                memory = min(self._memory, STORED_IN_MEMORY)
                buffer = self._filesystem_buffer(name, name, memory, None, keeps_source=True)
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
            partial(self._skipped, BACKLOG),
            memory=min(self._memory, STORED_IN_MEMORY),
            verify=self._service.storage_checksum,
            names=self._names,
        )
        self._attach(BACKLOG, chunks, is_left=True)
        self._stored.append(_Stored(BACKLOG, chunks, is_left=True))

    def _count_routed(self, name: str, output: str, records: int) -> None:
        """Records of an earlier run begin to count as routed when they are found."""
        if records:
            self._context.metrics.counter("routing_records_total", input=name, output=output).add(records)
