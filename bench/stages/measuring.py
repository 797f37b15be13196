"""Times one stage: some work on fixed data, again and again, for a fraction of a second."""

from __future__ import annotations

import asyncio
import gc
import time
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from pytest_benchmark.fixture import BenchmarkFixture

T = TypeVar("T")
R = TypeVar("R")

_SECONDS = 0.3
_FEWEST_ROUNDS, _MOST_ROUNDS = 3, 300


class Stage:
    """Measures one stage; `loop` runs what is asynchronous."""

    def __init__(self, benchmark: BenchmarkFixture, loop: asyncio.Runner) -> None:
        self._benchmark = benchmark
        self._loop = loop

    def measure(self, work: Callable[[], R], *, records: int) -> R:
        """Time work that leaves its data as they are; gives what the last round made, for the test to check it."""
        return self.measure_fresh(lambda: None, lambda _: work(), records=records)

    def measure_fresh(self, fresh: Callable[[], T], work: Callable[[T], R], *, records: int) -> R:
        """Time work that uses its data up; `fresh` makes them before each round, and that is not timed."""
        self._benchmark.extra_info["records"] = records
        rounds = self._rounds(fresh, work)
        made: R = self._benchmark.pedantic(  # type: ignore[no-untyped-call]  # the library tells no types
            work, setup=lambda: ((fresh(),), {}), rounds=rounds, warmup_rounds=1
        )
        return made

    def wait(self, coroutine: Coroutine[Any, Any, R]) -> R:
        """Run a coroutine to its end."""
        return self._loop.run(coroutine)

    @staticmethod
    def _rounds(fresh: Callable[[], T], work: Callable[[T], R]) -> int:
        """How many rounds fit into the time, as the first one tells."""
        gc.collect()
        begin = time.perf_counter()
        work(fresh())
        each_s = time.perf_counter() - begin
        return max(_FEWEST_ROUNDS, min(_MOST_ROUNDS, int(_SECONDS / each_s)))
