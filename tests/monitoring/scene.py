"""One input, one output and what watches them, around a clock that the test moves."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import msgspec
import pytest

from shipper.buffers.memory import MemoryBuffer, MemoryLimit
from shipper.config.service import ServiceOptions
from shipper.context import Context
from shipper.dispatcher import Dispatcher
from shipper.ledger import Ledger
from shipper.log import Log
from shipper.metrics import Metrics
from shipper.monitoring.health import Health
from shipper.monitoring.names import describe_process
from shipper.monitoring.pages import Pages
from shipper.monitoring.server import Answer, Request
from shipper.monitoring.view import SeenFilter, SeenInput, SeenOutput, View, offer_gauges
from shipper.outputs.base import Output
from shipper.retry import Backoff
from shipper.testing import ManualClock, MemoryOutput, batch_of, context_of


class Scene:
    """The tail input `app` and the output `out.0`, in one registry; `reload` is what the reload page calls."""

    def __init__(
        self,
        output: Output | None = None,
        reload: Callable[[], bool] | None = None,
        *,
        limit: int = 1_000_000,
        retries: int | None = None,
        has_storage: bool = False,
        **service: Any,
    ) -> None:
        self.clock = ManualClock()
        self.service = ServiceOptions(**{"http_server": True, "health_check": True, **service})
        self.metrics = Metrics()
        output = output or MemoryOutput()
        self.input = self.context("input", "app")
        for what in ("records_total", "bytes_total"):
            self.input.counter(what)
        self.output = self.context("output", "out.0")
        self.dispatcher = Dispatcher(output, self.output, 1, retries, Backoff(1, 1))
        self.buffer = MemoryBuffer("app", limit, self.clock, Log(""))
        self.dispatcher.attach("app", self.buffer)
        self.view = View(
            metrics=self.metrics,
            ledger=Ledger(self.metrics, ["app"], [self.dispatcher]),
            inputs=[SeenInput("app", "tail", self.buffer, MemoryLimit(limit), limit)],
            filters=[SeenFilter("grep.0", "grep")],
            outputs=[SeenOutput("out.0", "memory", output, self.dispatcher)],
            has_storage=has_storage,
        )
        self.health = Health(self.service, self.clock)
        self.pages = Pages(self.service, self.metrics, self.clock, self.health, reload)
        describe_process(self.metrics, self.clock)

    def context(self, kind: str, name: str) -> Context:
        context = context_of(kind, name, self.clock, service=self.service)
        context.metrics = self.metrics
        return context

    def watch(self) -> None:
        """As the monitor does when the pipeline runs."""
        offer_gauges(self.view, with_storage=self.service.storage_metrics)
        self.health.watch(self.view)
        self.pages.view = self.view

    def put(self, *lines: str) -> None:
        """Let the input bring these lines."""
        batch = batch_of(*lines)
        self.input.counter("records_total").add(len(batch))
        self.input.counter("bytes_total").add(batch.size)
        self.input.counter("stored_records_total").add(len(batch))
        self.metrics.counter("routing_records_total", input="app", output="out.0").add(len(batch))
        self.buffer.put(batch, ["out.0"])

    async def pass_time(self, seconds: int) -> None:
        """Let whole seconds pass, with a look of the health in each."""
        for _ in range(seconds):
            await self.clock.advance(1)
            self.health.sample()

    def get(self, path: str, method: str = "GET") -> Answer:
        return self.pages.answer(Request(method, path, is_local=True))

    def json(self, path: str, method: str = "GET") -> Any:
        return msgspec.json.decode(self.get(path, method).body)


@asynccontextmanager
async def delivering(scene: Scene) -> AsyncIterator[Scene]:
    """Watch the scene while its output delivers."""
    scene.watch()
    run = asyncio.ensure_future(scene.dispatcher.run())
    try:
        yield scene
    finally:
        run.cancel()
        await asyncio.gather(run, return_exceptions=True)


def own_address() -> str:
    """An address of this machine that is not the loopback."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as one:
        try:
            one.connect(("192.0.2.1", 9))  # nothing is sent by that
        except OSError:
            pytest.skip("this machine has no other address")
        return str(one.getsockname()[0])
