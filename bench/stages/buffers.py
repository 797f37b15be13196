"""Batches into a buffer and out of it again, in memory and on disk: put, take and commit."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from shipper.buffers.base import BatchLimits, Buffer, Delivery, Loss
from shipper.buffers.filesystem import FilesystemBuffer, StorageSettings
from shipper.buffers.memory import MemoryBuffer
from shipper.clock import SystemClock
from shipper.disk import SystemDisk
from shipper.log import Log
from shipper.metrics import Metrics
from shipper.record import Receipt, RecordBatch

from .material import count, cri_batches, record_batches
from .measuring import Stage

_LIMIT = 100_000_000
_LIMITS = BatchLimits(size=1_000_000, records=10_000, seconds=1.0)
_TIMES = 4


def _nothing_is_skipped(loss: Loss) -> None:
    raise AssertionError(f"records are lost: {loss}")


@contextmanager
def _opened(kind: str, folder: Path) -> Iterator[Buffer]:
    clock, log = SystemClock(), Log("")
    if kind == "memory":
        yield MemoryBuffer("in.0", _LIMIT, clock, log)
        return
    settings = StorageSettings(path=str(folder), memory=_LIMIT, floor=0)
    stored = FilesystemBuffer("in.0", settings, clock, log, SystemDisk(), Metrics(), _nothing_is_skipped)
    stored.open()
    try:
        yield stored
    finally:
        stored.close()


def _batches(form: str) -> list[RecordBatch]:
    """Some megabytes of batches whose receipts are owed."""
    made = [batch for _ in range(_TIMES) for batch in (cri_batches("json") if form == "rows" else record_batches())]
    return [RecordBatch(batch.tag, batch.content, batch.size, Receipt()) for batch in made]


@pytest.mark.parametrize("form", ["rows", "records"])
@pytest.mark.parametrize("kind", ["memory", "filesystem"])
def test_put_and_take(stage: Stage, tmp_path: Path, kind: str, form: str) -> None:
    with _opened(kind, tmp_path) as buffer:
        reader = buffer.reader("out.0", lambda batch: batch.tag, _LIMITS, lambda: None)

        def pass_through(batches: list[RecordBatch]) -> tuple[list[RecordBatch], list[Delivery]]:
            for batch in batches:
                buffer.put(batch, ["out.0"])
            deliveries = []
            while (delivery := reader.take(0.0, flush=True)) is not None:
                deliveries.append(delivery)
                reader.commit(delivery)
            return batches, deliveries

        put, taken = stage.measure_fresh(lambda: _batches(form), pass_through, records=count(_batches(form)))

        assert sum(delivery.records for delivery in taken) == count(_batches(form))
        assert all(batch.receipt.is_settled for batch in put)
        assert reader.held() == (0, 0)
