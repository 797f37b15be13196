"""An engine in the test's own loop, over plugins that the test makes and a clock that it moves."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager
from typing import Any

from shipper.config.service import ServiceOptions
from shipper.context import Context, Emit
from shipper.engine import Engine
from shipper.filters.base import Filter, FilterOptions
from shipper.inputs.base import Input, InputOptions
from shipper.metrics import Metrics
from shipper.outputs.base import Output, OutputOptions
from shipper.pipeline import Instance, Pipeline
from shipper.plugins import PluginKind
from shipper.record import RecordBatch
from shipper.testing import ManualClock, settle

from .written_options import options_from, section_of

_OPTIONS: dict[PluginKind, Any] = {"input": InputOptions, "filter": FilterOptions, "output": OutputOptions}


def instance_of(kind: PluginKind, number: int, plugin: Any, lines: str = "") -> Instance:
    """An instance that is this object, or what this function makes of a context."""
    name = f"{kind[:2]}.{number}"
    lines = lines if kind == "input" else f"Match *\n{lines}"
    is_made = isinstance(plugin, Input | Filter | Output)

    def make(options: Any, context: Context) -> Any:
        return plugin if is_made else plugin(context)

    return Instance(
        kind=kind,
        plugin=kind[:2],
        name=name,
        alias=name,
        type=make,  # type: ignore[arg-type]  # the engine only calls it
        options=options_from(_OPTIONS[kind], lines, kind),
        section=section_of(lines, kind),
    )


class EngineBench:
    """An engine with the given plugins; `run` is the task of its life and has its exit code."""

    def __init__(
        self,
        inputs: Sequence[Any],
        outputs: Sequence[Any],
        filters: Sequence[Any] = (),
        *,
        input_lines: str = "",
        output_lines: str = "",
        **service: Any,
    ) -> None:
        self.clock = ManualClock()
        pipeline = Pipeline(
            service=ServiceOptions(**service),
            inputs=tuple(instance_of("input", n, one, input_lines) for n, one in enumerate(inputs)),
            filters=tuple(instance_of("filter", n, one) for n, one in enumerate(filters)),
            outputs=tuple(instance_of("output", n, one, output_lines) for n, one in enumerate(outputs)),
        )
        self.engine = Engine(pipeline, self.clock)
        self.run: asyncio.Task[int] | None = None

    @property
    def metrics(self) -> Metrics:
        return self.engine.metrics

    def start(self) -> None:
        self.run = asyncio.ensure_future(self.engine.run())

    async def pass_time(self, seconds: float, steps: int = 10) -> None:
        for _ in range(steps):
            await self.clock.advance(seconds / steps)

    async def stop(self, within: float) -> int:
        """Stop it and let so much time pass; fails if it has not ended by then."""
        self.engine.request_stop()
        await self.pass_time(within, steps=20)
        assert self.run is not None and self.run.done(), f"the engine has not ended within {within} seconds"
        return self.run.result()

    def accounts_balance(self) -> bool:
        ledger = self.engine.ledger
        return all(a.is_balanced for a in ledger.inputs()) and all(a.is_balanced for a in ledger.outputs())


@asynccontextmanager
async def running(bench: EngineBench) -> AsyncIterator[EngineBench]:
    """Start the engine; at the end it is cancelled if it still runs."""
    bench.start()
    await settle()
    try:
        yield bench
    finally:
        if bench.run is not None and not bench.run.done():
            bench.run.cancel()
            await asyncio.gather(bench.run, return_exceptions=True)


class EndlessInput(Input):
    """Emits batches as long as it may, and knows which receipts were settled."""

    Options = InputOptions

    def __init__(self, batches: Iterable[RecordBatch]) -> None:
        self._batches = iter(batches)
        self.emitted: list[RecordBatch] = []
        self.was_closed = False

    async def run(self, emit: Emit) -> None:
        for batch in self._batches:
            await emit(batch)
            self.emitted.append(batch)
            await asyncio.sleep(0)
        await asyncio.Event().wait()

    async def close(self) -> None:
        self.was_closed = True

    @property
    def settled(self) -> int:
        return sum(batch.receipt.is_settled for batch in self.emitted)
