"""Keeps records that a destination has refused for good, as lines of JSON with everything needed to send them again.

One file per output, in a folder of its own: Fluent Bit would take a file directly below the folder of rejected chunks
for one of its own. Nothing is ever deleted; when the limit is reached, no more is kept, and that is told and counted.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import Any

from ...clock import Clock
from ...codecs.json_lines import JsonEncoder, as_json_lines
from ...disk import Disk
from ...log import Log
from ...metrics import Metrics
from ...record import Record, RecordList
from .files import PRIVATE, release, write_all
from .names import safe_name

WARNING_AT = 0.9
"""Part of the limit from which on it is told that the store fills up."""

_REMARK_EVERY_S = 60.0
_FILE = "rejected.jsonl"


class RejectedStore:
    """The store of refused records below `folder`; `limit` is in bytes over all outputs, 0 for none.

    `open` comes first. A line is `{"time", "output", "status", "message", "tag", "record_time", "record"}`; times are
    nanoseconds since 1970, and `metadata` is added where a record has any.
    """

    def __init__(self, folder: str, limit: int, clock: Clock, log: Log, disk: Disk, metrics: Metrics) -> None:
        self._folder = folder
        self._limit = limit
        self._clock = clock
        self._log = log
        self._disk = disk
        self._encoder = JsonEncoder(escape_unicode=False)
        self._kept = metrics.counter("storage_rejected_kept_records_total")
        self._not_kept = metrics.counter("storage_rejected_not_kept_records_total")
        self._size = 0

    def open(self) -> None:
        """Learn how much is kept already; raises `OSError` if the folder cannot be used."""
        self._disk.mkdirs(self._folder)
        self._size = 0
        for name in self._disk.listdir(self._folder):
            try:
                self._size += self._disk.stat(f"{self._folder}/{name}/{_FILE}").st_size
            except (FileNotFoundError, NotADirectoryError):
                continue

    @property
    def size(self) -> int:
        """Bytes that are kept."""
        return self._size

    def keep(self, output: str, status: str, message: str, tag: str, records: Iterable[Record]) -> bool:
        """Append these records; false if they are not kept because of the limit or the disk."""
        bodies = [self._line(output, status, message, tag, record) for record in records]
        if not bodies:
            return True
        content = RecordList([Record(0, body) for body in bodies])
        data = as_json_lines(self._encoder.encode_bodies(content))
        if self._limit and self._size + len(data) > self._limit:
            self._not_kept.add(len(bodies))
            self._log.error("rejected records are not kept, storage.rejected.limit is reached", every=_REMARK_EVERY_S)
            return False
        try:
            self._append(f"{self._folder}/{safe_name(output)}", data)
        except OSError as error:
            self._not_kept.add(len(bodies))
            self._log.error("rejected records cannot be kept", every=_REMARK_EVERY_S, output=output, reason=error)
            return False
        self._kept.add(len(bodies))
        self._size += len(data)
        if self._limit and self._size > WARNING_AT * self._limit:
            self._log.warning(
                "the store of rejected records is nearly full",
                every=_REMARK_EVERY_S,
                size=self._size,
                limit=self._limit,
            )
        return True

    def _line(self, output: str, status: str, message: str, tag: str, record: Record) -> dict[str, Any]:
        line: dict[str, Any] = {
            "time": self._clock.time_ns(),
            "output": output,
            "status": status,
            "message": message,
            "tag": tag,
            "record_time": record.time_ns,
            "record": record.body,
        }
        if record.metadata:
            line["metadata"] = record.metadata
        return line

    def _append(self, folder: str, data: bytes) -> None:
        self._disk.mkdirs(folder)
        fd = self._disk.open(f"{folder}/{_FILE}", os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, PRIVATE)
        try:
            before = self._disk.fstat(fd).st_size
            try:
                write_all(self._disk, fd, data)
            except OSError:
                self._disk.truncate(fd, before)  # half a line would spoil the next one
                raise
        finally:
            release(self._disk, fd)

    def __repr__(self) -> str:
        return f"RejectedStore({self._folder!r}, {self._size} bytes)"
