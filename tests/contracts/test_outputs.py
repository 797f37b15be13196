"""What every output promises, wherever it sends.

A new output is one more entry of `KINDS`; a test fails for as long as it has none.
"""

from __future__ import annotations

import copy
import os
import re
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractContextManager, asynccontextmanager, contextmanager, suppress
from pathlib import Path

import msgspec
import pytest

from shipper.buffers.base import Delivery
from shipper.errors import RetryLater
from shipper.outputs.base import Output
from shipper.outputs.file import FileOptions, FileOutput
from shipper.outputs.null import NullOptions, NullOutput
from shipper.outputs.stdout import StdoutOptions, StdoutOutput
from shipper.plugins import plugin_names
from shipper.record import Receipt, RecordBatch
from shipper.testing import FaultyDisk, batch_of, context_of

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

    def __init__(self, folder: Path, aws: ScriptedAws) -> None:
        self.folder = folder
        self.aws = aws


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
def _cloudwatch_logs(place: Place) -> Iterator[Destination]:
    accepted: set[int] = set()

    def arrived() -> list[str]:
        calls = [call for number, call in enumerate(place.aws.calls()) if number not in accepted]
        return LINE.findall("".join(message for call in calls for message in call.messages))

    def fail_once() -> None:
        accepted.add(len(place.aws.calls()))
        place.aws.script("PutLogEvents", error("ServiceUnavailableException", status=503))

    yield Destination(output_to(place.aws.url), arrived, fail_once)


KINDS: dict[str, Callable[[Place], AbstractContextManager[Destination]]] = {
    "null": _null,
    "stdout": _stdout,
    "file": _file,
    "cloudwatch_logs": _cloudwatch_logs,
}


@pytest.fixture
def place(tmp_path: Path, scripted_aws: ScriptedAws, aws_keys: None) -> Place:
    return Place(tmp_path, scripted_aws)


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
