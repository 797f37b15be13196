"""Short ways to make what the tests of this output need."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from shipper.buffers.base import Delivery
from shipper.clock import Clock, SystemClock
from shipper.config.service import ServiceOptions
from shipper.net.settings import HttpAnswer, NoAnswer
from shipper.outputs.loki.destination import Destination
from shipper.outputs.loki.output import LokiOptions, LokiOutput
from shipper.outputs.loki.requests import Request, requests_of
from shipper.record import Record, RecordBatch
from shipper.testing import context_of

from ...written_options import options_from

T0 = 1_700_000_000_000_000_000
MS = 1_000_000

R1: dict[str, Any] = {
    "kubernetes": {"pod_name": "p1", "labels": {"app.kubernetes.io/name": "web", "1x": "y", "num": 5}},
    "log": 'hello "w" é',
    "stream": "stdout",
    "tenant": "t1",
}
R2: dict[str, Any] = {
    "kubernetes": {"pod_name": "p1", "labels": {"app.kubernetes.io/name": "web"}},
    "log": "second",
    "stream": "stdout",
    "tenant": "t2",
    "n": 7,
    "arr": [1, "x"],
    "f": 2.0,
}
R3: dict[str, Any] = {"log": "third", "tenant": "t1"}


def batch(*bodies: dict[str, Any], tag: str = "app.web", first_ns: int = T0 + MS) -> RecordBatch:
    """A batch whose records follow each other at a distance of one millisecond."""
    return RecordBatch(tag, [Record(first_ns + i * MS, body) for i, body in enumerate(bodies)], 100 * len(bodies))


def logs(*lines: str, tag: str = "app.web", first_ns: int = T0 + MS) -> RecordBatch:
    return batch(*[{"log": line} for line in lines], tag=tag, first_ns=first_ns)


def output(lines: str = "", clock: Clock | None = None, *, escape: bool = True) -> LokiOutput:
    """An output with options as a user writes them."""
    service = ServiceOptions(escape_unicode=escape)
    context = context_of("output", "loki.0", clock or SystemClock(), service=service)
    return LokiOutput(options_from(LokiOptions, lines or "match *", "output"), context)


def requests(made: LokiOutput, *batches: RecordBatch) -> list[Request]:
    """The requests that an output makes of batches."""
    progress = requests_of(made._streams.prepare(batches))
    return [request for queue in progress.values() for request in queue]


def bodies(lines: str, *batches: RecordBatch, escape: bool = True) -> list[bytes]:
    made = output(lines, escape=escape)
    return [made._push.body(request) for request in requests(made, *batches)]


def streams(lines: str, *batches: RecordBatch) -> list[tuple[dict[str, str], list[list[Any]]]]:
    """The streams of all requests, with their values without the times."""
    pushed = [stream for body in bodies(lines, *batches) for stream in msgspec.json.decode(body)["streams"]]
    return [(stream["stream"], [value[1:] for value in stream["values"]]) for stream in pushed]


def lines_of(options: str, *batches: RecordBatch) -> list[str]:
    return [value[0] for _, values in streams(options, *batches) for value in values]


class ScriptedHttp:
    """Answers in the order of a script, afterwards with 204; keeps what was sent."""

    def __init__(self, *script: HttpAnswer | NoAnswer) -> None:
        self._script = list(script)
        self.sent: list[tuple[str | None, Any]] = []

    async def open(self) -> None: ...

    async def close(self) -> None: ...

    async def request(self, method: str, target: str, headers: Mapping[str, str], body: bytes = b"") -> HttpAnswer:
        self.sent.append((headers.get("X-Scope-OrgID"), msgspec.json.decode(body)))
        step = self._script.pop(0) if self._script else HttpAnswer(204, {}, b"")
        if isinstance(step, NoAnswer):
            raise step
        return step

    @property
    def lines(self) -> list[list[str]]:
        """The lines of each request."""
        return [[v[1] for s in body["streams"] for v in s["values"]] for _, body in self.sent]


def says(status: int, text: str = "", **headers: str) -> HttpAnswer:
    return HttpAnswer(status, {k.replace("_", "-"): v for k, v in headers.items()}, text.encode())


class Sending:
    """An output that talks to a script, and the one delivery it is given."""

    def __init__(self, http: ScriptedHttp, lines: str = "labels job=x", clock: Clock | None = None) -> None:
        self.http = http
        self.output = output(lines, clock)
        self.context = self.output._context
        made = self.output
        made._destination = Destination(http, made._push, made._shape, self.context, made._options.late_label)

    async def send(self, *batches: RecordBatch) -> Delivery:
        delivery = Delivery("", batches)
        await self.output.send(delivery)
        return delivery
