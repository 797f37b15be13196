"""What every stage is given."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Iterator
from pathlib import Path

import pytest
import uvloop
from pytest_benchmark.fixture import BenchmarkFixture

from shipper.engine import _settle_memory
from shipper.record import RecordBatch

from .measuring import Stage
from .pods import enriched_batches


@pytest.fixture(scope="session", autouse=True)
def memory_of_an_engine() -> Iterator[None]:
    """Have memory and the garbage collector behave as in a running engine, which costs or saves a good part."""
    usual = gc.get_threshold()
    _settle_memory()
    yield
    gc.set_threshold(*usual)
    gc.unfreeze()


@pytest.fixture
def stage(benchmark: BenchmarkFixture) -> Iterator[Stage]:
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as loop:
        yield Stage(benchmark, loop)


@pytest.fixture
def enriched(tmp_path: Path) -> list[RecordBatch]:
    """Batches as the kubernetes filter with Merge_Log leaves them."""
    return enriched_batches(tmp_path)
