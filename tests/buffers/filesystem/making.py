"""Filesystem buffers for tests, and what is left of them when their process has ended."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from shipper.buffers.base import BatchLimits, Delivery, Loss, Reader
from shipper.buffers.filesystem import FilesystemBuffer, StorageSettings
from shipper.buffers.filesystem.limits import StorageLimit
from shipper.clock import Clock, SystemClock
from shipper.disk import Disk
from shipper.log import Log
from shipper.metrics import Metrics
from shipper.record import RecordBatch
from shipper.testing import lines_of
from tests.buffers.filesystem.disks import ProcessDisk

LIMITS = BatchLimits(1_000_000, 10_000, 1.0)


class HandClock(SystemClock):
    """A clock that stands still until it is set."""

    now = 0.0

    def monotonic(self) -> float:
        return self.now


def by_tag(batch: RecordBatch) -> str:
    return batch.tag


class Stored:
    """A buffer and its readers, as one process has them; `end` is what `kill -9` does to it."""

    def __init__(
        self,
        folder: Path | str,
        outputs: tuple[str, ...] = ("one",),
        disk: Disk | None = None,
        limits: BatchLimits = LIMITS,
        clock: Clock | None = None,
        name: str = "in.0",
        output_limits: Mapping[str, StorageLimit] | None = None,
        **settings: Any,
    ) -> None:
        self.disk = disk or ProcessDisk()
        self.metrics = Metrics()
        self.skipped: list[Loss] = []
        self.told: list[str] = []
        self.buffer = FilesystemBuffer(
            name,
            StorageSettings(path=str(folder), limits=output_limits or {}, **{"floor": 0, **settings}),
            clock or HandClock(),
            Log(""),
            self.disk,
            self.metrics,
            self.skipped.append,
        )
        self.readers: dict[str, Reader] = {
            output: self.buffer.reader(output, by_tag, limits, lambda output=output: self.told.append(output))  # type: ignore[misc]
            for output in outputs
        }
        self.now = 0.0
        self.buffer.open()

    def end(self) -> None:
        """The process is gone; what it had open is closed."""
        if isinstance(self.disk, ProcessDisk):
            self.disk.end()

    def take(self, output: str = "one") -> Delivery | None:
        """The next delivery, at a time when everything is due and a failed read may be tried again."""
        for _ in range(3):
            self.now += 10.0
            delivery = self.readers[output].take(self.now, flush=True)
            if delivery is not None or not self.readers[output].held()[0]:
                return delivery
        return None

    def deliver(self, output: str = "one") -> list[str]:
        """Take and commit everything there is for this output; gives the lines."""
        lines: list[str] = []
        while (delivery := self.take(output)) is not None:
            lines += lines_in(delivery)
            self.readers[output].commit(delivery)
        return lines


def lines_in(delivery: Delivery | None) -> list[str]:
    assert delivery is not None
    return [line for batch in delivery.batches for line in lines_of(batch)]


def files_in(folder: Path | str) -> list[Path]:
    """All files below a folder, sorted."""
    return sorted(path for path in Path(folder).rglob("*") if path.is_file())


def segments_in(folder: Path | str) -> list[Path]:
    """The segments of all logs below a storage.path."""
    return [path for path in files_in(Path(folder) / "shipper") if path.suffix == ".seg"]
