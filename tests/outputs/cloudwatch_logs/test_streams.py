"""Streams that several deliveries send to, and those of which much is left or nothing known any more."""

from __future__ import annotations

import asyncio

import pytest

from shipper.outputs.cloudwatch_logs import destination as module
from tests.components.scripted_aws import Reply, ScriptedAws, error

from .making import batch_of, timed
from .test_sending import DAY_S, T, delivery_of, opened, refused

pytestmark = pytest.mark.usefixtures("aws_keys")


async def test_deliveries_of_two_tags_to_one_stream_take_turns(scripted_aws: ScriptedAws) -> None:
    """Each needs three requests; with a template the tag tells nothing of the stream."""
    days = [T + n * DAY_S for n in range(3)]
    first, second = ([(day, f"{tag}{n}") for n, day in enumerate(days)] for tag in "ab")
    async with opened(scripted_aws.url, log_stream_template="always") as output:
        await asyncio.gather(
            output.send(delivery_of(timed(*first, tag="a"))), output.send(delivery_of(timed(*second, tag="b")))
        )

    assert [c.messages for c in scripted_aws.calls()] == [["a0"], ["a1"], ["a2"], ["b0"], ["b1"], ["b2"]]


async def test_the_stream_that_was_used_longest_ago_is_forgotten_when_there_are_too_many(
    scripted_aws: ScriptedAws, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_STREAMS_REMEMBERED", 10)
    async with opened(scripted_aws.url, log_stream_template="$n") as output:
        for n in [*range(10), 0, 10, 0, 1]:
            await output.send(delivery_of(batch_of({"log": "x", "n": n})))

    created = [call.json["logStreamName"] for call in scripted_aws.calls("CreateLogStream")]
    assert created == [*map(str, range(11)), "1"]


async def test_of_equal_events_of_one_time_as_many_are_left_as_were_not_accepted(scripted_aws: ScriptedAws) -> None:
    large = "x" * 600_000
    scripted_aws.script("PutLogEvents", Reply(), error("ThrottlingException"))
    delivery = delivery_of(timed((T, large), (T, large)))
    async with opened(scripted_aws.url) as output:
        await refused(output, delivery)
        left = output.left(delivery)

    assert left is not None
    assert (delivery.accepted, sum(map(len, left))) == (1, 1)
