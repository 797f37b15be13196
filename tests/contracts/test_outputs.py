"""What every output promises, wherever it sends.

A new output is one more entry of `KINDS`; a test fails for as long as it has none.
"""

from __future__ import annotations

import base64
import copy
import os
import re
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import AbstractContextManager, asynccontextmanager, contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import pytest

from shipper.buffers.base import Delivery
from shipper.errors import RetryLater
from shipper.outputs.base import Output
from shipper.outputs.cloudwatch_logs.cloudwatch import CloudwatchOptions, CloudwatchOutput
from shipper.outputs.es.opensearch import OpensearchOptions, OpensearchOutput
from shipper.outputs.es.output import EsOptions, EsOutput
from shipper.outputs.file import FileOptions, FileOutput
from shipper.outputs.forward.output import ForwardOptions, ForwardOutput
from shipper.outputs.http.output import HttpOptions, HttpOutput
from shipper.outputs.kinesis.firehose import KinesisFirehoseOptions, KinesisFirehoseOutput
from shipper.outputs.kinesis.streams import KinesisStreamsOptions, KinesisStreamsOutput
from shipper.outputs.loki.grafana_loki import GrafanaLokiOptions, GrafanaLokiOutput
from shipper.outputs.loki.output import LokiOptions, LokiOutput
from shipper.outputs.null import NullOptions, NullOutput
from shipper.outputs.s3.options import S3Options
from shipper.outputs.s3.output import S3Output
from shipper.outputs.stdout import StdoutOptions, StdoutOutput
from shipper.plugins import plugin_names
from shipper.record import Receipt, RecordBatch
from shipper.testing import FaultyDisk, batch_of, context_of

from ..components.forward_server import ForwardServer, forward_server
from ..components.http_server import Got, HttpServer, Says, http_server
from ..components.loki import decoded
from ..components.moto_server import aws_keys
from ..components.scripted_aws import ScriptedAws, error, scripted_aws
from ..outputs.cloudwatch_logs.making import output_to
from ..written_options import options_from

__all__ = ["aws_keys", "scripted_aws"]  # fixtures

LINE = re.compile(r"line\d+")


class Destination(msgspec.Struct):
    """An output, what has arrived so far, and a way to make its next attempt fail (None if it cannot fail)."""

    output: Output
    arrived: Callable[[], list[str]]
    fail_once: Callable[[], None] | None


class Place:
    """Where the outputs under test may write."""

    def __init__(self, folder: Path, aws: ScriptedAws, http: HttpServer, forward: ForwardServer) -> None:
        self.folder = folder
        self.aws = aws
        self.http = http
        self.forward = forward


def accept(got: Got) -> Says:
    """What a server says that takes everything, whichever service it is."""
    if "x-amz-target" in got.headers:
        taken = [{"SequenceNumber": "1", "RecordId": "1"}] * len(got.json["Records"])
        return Says(200, msgspec.json.encode({"Records": taken, "RequestResponses": taken}))
    return Says(200, b'{"errors":false}') if got.target.endswith("_bulk") else Says(204)


def text_of(got: Got) -> str:
    """What a request holds, in a form that shows its lines."""
    if "x-amz-target" in got.headers:
        return "".join(base64.b64decode(record["Data"]).decode() for record in got.json["Records"])
    if "protobuf" in got.headers["content-type"]:
        return " ".join(entry.line for _, entries in decoded(got.headers, got.raw) for entry in entries)
    return got.body.decode()


@contextmanager
def _null(place: Place) -> Iterator[Destination]:
    output = NullOutput(options_from(NullOptions, "Format json", "output"), context_of("output"))
    yield Destination(output, list, None)


@contextmanager
def _stdout(place: Place) -> Iterator[Destination]:
    reader, writer = os.pipe()
    target = os.dup(writer)
    text = bytearray()

    def arrived() -> list[str]:
        os.set_blocking(reader, False)
        with suppress(BlockingIOError):
            text.extend(os.read(reader, 1 << 20))
        return LINE.findall(text.decode())

    def fail_once() -> None:
        broken_reader, broken_writer = os.pipe()
        os.close(broken_reader)
        os.dup2(broken_writer, target)
        os.close(broken_writer)
        repairs.append(lambda: os.dup2(writer, target))

    repairs: list[Callable[[], object]] = []

    class Repaired(StdoutOutput):
        """Standard output whose reader is back after one attempt."""

        async def send(self, delivery: Delivery) -> None:
            try:
                await super().send(delivery)
            finally:
                while repairs:
                    repairs.pop()()

    output = Repaired(options_from(StdoutOptions, "Format json_lines", "output"), context_of("output"), target)
    try:
        yield Destination(output, arrived, fail_once)
    finally:
        for fd in (reader, writer, target):
            os.close(fd)


@contextmanager
def _file(place: Place) -> Iterator[Destination]:
    disk = FaultyDisk(0, ("write",))

    def arrived() -> list[str]:
        return LINE.findall("".join(p.read_text() for p in sorted(place.folder.iterdir())))

    def fail_once() -> None:
        disk.fail_after(0)

    options = options_from(FileOptions, f"Path {place.folder}\nFile out\nFormat plain", "output")
    yield Destination(FileOutput(options, context_of("output", disk=disk)), arrived, fail_once)


@contextmanager
def _cloudwatch_logs(place: Place, *, is_go: bool = False) -> Iterator[Destination]:
    accepted: set[int] = set()

    def arrived() -> list[str]:
        calls = [call for number, call in enumerate(place.aws.calls()) if number not in accepted]
        return LINE.findall("".join(message for call in calls for message in call.messages))

    def fail_once() -> None:
        accepted.add(len(place.aws.calls()))
        place.aws.script("PutLogEvents", error("ServiceUnavailableException", status=503))

    output: Output = output_to(place.aws.url)
    if is_go:
        lines = f"region r\nlog_group_name /g\nlog_stream_name $(tag)\nendpoint {place.aws.url}"
        output = CloudwatchOutput(options_from(CloudwatchOptions, lines, "output"), context_of("output"))
    yield Destination(output, arrived, fail_once)


@contextmanager
def _over_http(place: Place, kind: Any, options: Any, lines: str) -> Iterator[Destination]:
    failed: set[int] = set()

    def arrived() -> list[str]:
        return LINE.findall(" ".join(text_of(got) for n, got in enumerate(place.http.got) if n not in failed))

    def fail_once() -> None:
        failed.add(len(place.http.got))
        place.http.script = [Says(503)]

    read = options_from(options, lines.replace("PORT", str(place.http.port)), "output")
    yield Destination(kind(read, context_of("output")), arrived, fail_once)


@contextmanager
def _forward(place: Place) -> Iterator[Destination]:
    def arrived() -> list[str]:
        return [body["log"] for _, body in place.forward.records]

    def fail_once() -> None:
        place.forward.script = ["cut"]

    lines = f"host 127.0.0.1\nport {place.forward.port}\nrequire_ack_response on"
    yield Destination(
        ForwardOutput(options_from(ForwardOptions, lines, "output"), context_of("output")), arrived, fail_once
    )


@contextmanager
def _s3(place: Place) -> Iterator[Destination]:
    """What it keeps on disk is what it has taken over; that it brings it to the bucket is shown by its own tests."""
    disk = FaultyDisk(0, ("write",))

    def arrived() -> list[str]:
        return LINE.findall("".join(p.read_text() for p in sorted(place.folder.rglob("*.data"))))

    def fail_once() -> None:
        disk.fail_after(0)

    lines = f"bucket b\nendpoint {place.aws.url}\nstore_dir {place.folder}"
    yield Destination(
        S3Output(options_from(S3Options, lines, "output"), context_of("output", disk=disk)), arrived, fail_once
    )


HTTP = "host 127.0.0.1\nport PORT"
AWS = "region r\nendpoint http://127.0.0.1:PORT"
OVER_HTTP: Mapping[str, tuple[Any, Any, str]] = {
    "es": (EsOutput, EsOptions, HTTP),
    "grafana-loki": (GrafanaLokiOutput, GrafanaLokiOptions, "url http://127.0.0.1:PORT/push"),
    "http": (HttpOutput, HttpOptions, HTTP),
    "kinesis_firehose": (KinesisFirehoseOutput, KinesisFirehoseOptions, f"delivery_stream s\n{AWS}"),
    "kinesis_streams": (KinesisStreamsOutput, KinesisStreamsOptions, f"stream s\n{AWS}"),
    "loki": (LokiOutput, LokiOptions, HTTP),
    "opensearch": (OpensearchOutput, OpensearchOptions, HTTP),
}
KINDS: dict[str, Callable[[Place], AbstractContextManager[Destination]]] = {
    "null": _null,
    "stdout": _stdout,
    "file": _file,
    "forward": _forward,
    "cloudwatch_logs": _cloudwatch_logs,
    "cloudwatch": partial(_cloudwatch_logs, is_go=True),
    "s3": _s3,
    **{name: partial(_over_http, kind=k, options=o, lines=lines) for name, (k, o, lines) in OVER_HTTP.items()},
}


@pytest.fixture
async def place(tmp_path: Path, scripted_aws: ScriptedAws, aws_keys: None) -> AsyncIterator[Place]:
    async with http_server(accept) as http, forward_server() as forward:
        yield Place(tmp_path, scripted_aws, http, forward)


@asynccontextmanager
async def opened(name: str, place: Place) -> AsyncIterator[Destination]:
    with KINDS[name](place) as destination:
        await destination.output.open()
        try:
            yield destination
        finally:
            await destination.output.close()


@pytest.fixture(params=sorted(KINDS))
async def destination(request: pytest.FixtureRequest, place: Place) -> AsyncIterator[Destination]:
    async with opened(request.param, place) as found:
        yield found


def delivery_of(*batches: RecordBatch, output: Output) -> Delivery:
    return Delivery(output.lane(batches[0]), batches)


def test_every_output_is_held_to_the_contract() -> None:
    assert sorted(KINDS) == plugin_names("output")


async def test_everything_arrives_in_its_order(destination: Destination) -> None:
    batches = [batch_of("line1", "line2"), batch_of("line3")]
    await destination.output.send(delivery_of(*batches, output=destination.output))

    assert destination.arrived() == (["line1", "line2", "line3"] if destination.fail_once else [])


@pytest.mark.parametrize("destination", sorted(KINDS.keys() - {"null"}), indirect=True)
async def test_a_delivery_that_failed_and_is_sent_again_arrives_once(destination: Destination) -> None:
    assert destination.fail_once is not None
    delivery = delivery_of(batch_of("line1", "line2"), batch_of("line3"), output=destination.output)
    destination.fail_once()
    with pytest.raises(RetryLater) as failure:
        await destination.output.send(delivery)
    arrived_at_first = destination.arrived()
    delivery.attempts += 1
    await destination.output.send(delivery)

    assert failure.value.reason
    assert arrived_at_first == []
    assert destination.arrived() == ["line1", "line2", "line3"]
    assert delivery.refused_records == 0
    assert delivery.accepted <= delivery.records


async def test_batches_and_their_receipts_are_left_as_they_are(destination: Destination) -> None:
    receipt = Receipt()
    batch = batch_of("line1", "line2", receipt=receipt)
    batch.records[0].body |= {"nested": {"a": [1, {"b": None}]}, "n": 2**63, "f": 0.5, "t": True}
    before = (batch.tag, batch.size, copy.deepcopy(batch.records))
    await destination.output.send(delivery_of(batch, output=destination.output))

    assert (batch.tag, batch.size, batch.records) == before
    assert not receipt.is_settled


async def test_it_may_be_closed_twice_and_without_a_delivery(destination: Destination) -> None:
    await destination.output.close()
    await destination.output.close()

    assert destination.arrived() == []


@pytest.mark.parametrize("name", sorted(KINDS))
async def test_it_may_be_closed_without_having_been_opened(name: str, place: Place) -> None:
    with KINDS[name](place) as destination:
        await destination.output.close()

        assert destination.arrived() == []


async def test_the_lane_of_a_batch_is_always_the_same(destination: Destination) -> None:
    lane = destination.output.lane
    batch, another = batch_of("line1"), batch_of("line2")

    assert lane(batch) == lane(batch) == lane(another)
    assert hash(lane(batch)) == hash(lane(another))


async def test_its_limits_let_something_through_and_are_bounded(destination: Destination) -> None:
    limits = destination.output.limits

    assert 1 <= limits.size <= 100_000_000
    assert 1 <= limits.records <= 1_000_000
    assert limits.seconds >= 0
    assert 1 <= destination.output.concurrency <= 1000
