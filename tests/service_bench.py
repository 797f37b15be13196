"""A service in the test's own loop, whose configurations are pipelines of plugins that the test makes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from shipper.config.service import ServiceOptions
from shipper.errors import ConfigError, OptionError, Origin, Problem
from shipper.filters.base import Filter, FilterOptions
from shipper.pipeline import Pipeline
from shipper.record import RecordBatch
from shipper.service import Service
from shipper.testing import ManualClock, MemoryOutput, settle

from .engine_bench import instance_of


def pipeline_of(one: Any, output: Any, *filters: Any, input_lines: str = "", **service: Any) -> Pipeline:
    return Pipeline(
        service=ServiceOptions(**{"hot_reload": True, **service}),
        inputs=(instance_of("input", 0, one, input_lines),),
        filters=tuple(instance_of("filter", n, f) for n, f in enumerate(filters)),
        outputs=(instance_of("output", 0, output),),
    )


class ServiceBench:
    """A service whose configuration files are the pipelines of a list, in their order; an error is raised."""

    def __init__(self, first: Pipeline, *later: Pipeline | Exception) -> None:
        self.clock = ManualClock()
        self.loads = 0
        self._later = iter(later)
        self.service = Service(first, self._load, self.clock)
        self.run: asyncio.Task[int] | None = None

    async def _load(self, warnings: list[str]) -> Pipeline:
        self.loads += 1
        loaded = next(self._later)
        warnings.append(f"remark {self.loads}")
        if isinstance(loaded, Exception):
            raise loaded
        return loaded

    async def pass_time(self, seconds: float) -> None:
        for _ in range(20):
            await self.clock.advance(seconds / 20)

    async def reload(self) -> None:
        self.service.request_reload("SIGHUP")
        await self.pass_time(1)

    async def stop(self, within: float = 1) -> int:
        self.service.request_stop("SIGTERM")
        await self.pass_time(within)
        assert self.run is not None and self.run.done()
        return self.run.result()

    def value(self, name: str) -> float:
        return self.service.engine.metrics.value(name)


@asynccontextmanager
async def running(bench: ServiceBench) -> AsyncIterator[ServiceBench]:
    bench.run = asyncio.ensure_future(bench.service.run())
    await settle()
    try:
        yield bench
    finally:
        if not bench.run.done():
            bench.run.cancel()
        await asyncio.gather(bench.run, return_exceptions=True)


def told(caplog: pytest.LogCaptureFixture, text: str) -> int:
    return sum(text in message for message in caplog.messages)


def mistake() -> ConfigError:
    return ConfigError([Problem("what is this?", Origin("c.conf", 7), "mend it")])


class Watched(Filter):
    """Knows whether it is open; cannot be opened if it is told so."""

    Options = FilterOptions

    def __init__(self, *, fails: bool = False) -> None:
        self.fails = fails
        self.is_open = False

    async def open(self) -> None:
        if self.fails:
            raise OptionError("match", "cannot be")
        self.is_open = True

    def apply(self, batch: RecordBatch) -> RecordBatch | None:
        return batch

    async def close(self) -> None:
        self.is_open = False


class Unopenable(MemoryOutput):
    """Can be opened so many times."""

    def __init__(self, times: int = 0) -> None:
        super().__init__()
        self._left = times

    async def open(self) -> None:
        self._left -= 1
        if self._left < 0:
            raise OptionError("match", "the port is taken")
