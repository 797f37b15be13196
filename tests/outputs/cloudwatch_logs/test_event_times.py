"""Events that the service does not take for their time: sent until it has said so, then refused here, or clamped."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

import pytest

from shipper.buffers.base import Delivery
from shipper.codecs.json_lines import JsonEncoder
from shipper.outputs.cloudwatch_logs.emf import MetricFormat, parse_dimensions
from shipper.outputs.cloudwatch_logs.event_times import AHEAD_MS, IN_DOUBT_MS, OLDEST_MS, ROOM_MS, TimeBounds
from shipper.outputs.cloudwatch_logs.events import EventMaker, Packed, StreamNames
from shipper.outputs.cloudwatch_logs.requests import EVENT_LIMIT, Cut, Stream
from shipper.record import Record, RecordBatch
from shipper.testing import ManualClock
from tests.components.scripted_aws import Reply, ScriptedAws

from .making import batch_of, output_to, timed

pytestmark = pytest.mark.usefixtures("aws_keys")

NOW = 1_700_000_000.0
"""The time of a `ManualClock`."""

DAY_S, HOUR_S = 86_400.0, 3600.0
OLD, NEW = NOW - 15 * DAY_S, NOW + 3 * HOUR_S
REJECTS_OLD = Reply(body={"rejectedLogEventsInfo": {"tooOldLogEventEndIndex": 1}})
REJECTS_NEW = Reply(body={"rejectedLogEventsInfo": {"tooNewLogEventStartIndex": 1}})


def delivery_of(*records: tuple[float, str]) -> Delivery:
    return Delivery("lane", [timed(*records)])


async def sent(
    aws: ScriptedAws, deliveries: Sequence[Delivery], replies: Sequence[Reply] = (), **options: Any
) -> list[list[str]]:
    """The messages of the requests that the deliveries lead to, and which are answered with these."""
    options.setdefault("log_key", "log")
    url = options.pop("endpoint", aws.url)
    aws.script("PutLogEvents", *replies)
    output = output_to(url, ManualClock(), **options)
    await output.open()
    try:
        for delivery in deliveries:
            await output.send(delivery)
    finally:
        await output.close()
    return [call.messages for call in aws.calls()]


def refusals_of(delivery: Delivery) -> dict[str, list[str]]:
    """The texts of what was refused, by reason."""
    return {r.reason: [record.body["log"] for _, record in r.which()] for r in delivery.refusals}


async def test_every_time_is_sent_to_a_destination_that_has_rejected_none(scripted_aws: ScriptedAws) -> None:
    delivery = delivery_of((OLD, "old"), (NOW, "now"), (NEW, "new"))

    messages = await sent(scripted_aws, [delivery, delivery_of((OLD, "old again"))])

    assert messages == [["old"], ["now", "new"], ["old again"]]
    assert (delivery.accepted, delivery.refused) == (3, {})


async def test_after_a_rejection_events_that_are_as_old_are_refused_without_a_call(
    scripted_aws: ScriptedAws, caplog: pytest.LogCaptureFixture
) -> None:
    first = delivery_of((OLD, "first"), (OLD + 1, "second"))
    then = delivery_of((OLD, "a"), (NOW, "b"), (OLD + 1, "c"), (NOW - 1, "d"), (NEW, "e"))
    with caplog.at_level(logging.ERROR, "shipper"):
        messages = await sent(scripted_aws, [first, then], [REJECTS_OLD])

    assert messages == [["first", "second"], ["d", "b", "e"]]
    assert (then.accepted, then.refused) == (3, {"too_old": [2, 40]})
    assert refusals_of(then) == {"too_old": ["a", "c"]}
    assert "log events rejected, group=/my/group, stream=s, events=2, reason=too_old" in caplog.text


async def test_after_a_rejection_events_that_are_as_far_ahead_are_refused_without_a_call(
    scripted_aws: ScriptedAws,
) -> None:
    first = delivery_of((NOW, "first"), (NEW, "second"))
    then = delivery_of((NOW, "a"), (NEW, "b"), (OLD, "c"))

    messages = await sent(scripted_aws, [first, then], [REJECTS_NEW])

    assert messages == [["first", "second"], ["c"], ["a"]]
    assert refusals_of(then) == {"too_new": ["b"]}
    assert then.accepted == 2


async def test_near_the_bounds_the_destination_decides(scripted_aws: ScriptedAws) -> None:
    doubt, least = IN_DOUBT_MS / 1000, 0.001
    oldest, newest = NOW - OLDEST_MS / 1000 - doubt, NOW + AHEAD_MS / 1000 + doubt
    then = delivery_of((oldest, "oldest"), (oldest - least, "older"), (newest, "newest"), (newest + least, "newer"))

    messages = await sent(scripted_aws, [delivery_of((OLD, "x"), (NEW, "y")), then], [REJECTS_OLD, REJECTS_NEW])

    assert messages[2:] == [["oldest"], ["newest"]]
    assert refusals_of(then) == {"too_old": ["older"], "too_new": ["newer"]}


async def test_aws_is_sent_no_event_out_of_time_once_our_clock_is_proven_right(
    scripted_aws: ScriptedAws, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTP_PROXY", scripted_aws.url)
    deliveries = [delivery_of((OLD, "a"), (NOW, "b"), (NEW, "c")) for _ in range(3)]

    at_first, *then = await sent(scripted_aws, deliveries, endpoint="http://logs.us-east-1.amazonaws.com:8080")

    assert (at_first, then) == (["a"], [["b", "c"], ["b"], ["b"]])
    assert [refusals_of(d) for d in deliveries] == [{}, *[{"too_old": ["a"], "too_new": ["c"]}] * 2]


async def test_a_delivery_of_refused_events_alone_makes_no_call_and_is_done(scripted_aws: ScriptedAws) -> None:
    then = delivery_of((OLD, "a"), (OLD, "b"))

    messages = await sent(scripted_aws, [delivery_of((OLD, "first")), then], [REJECTS_OLD])

    assert messages == [["first"]]
    assert (then.accepted, then.refused_records) == (0, 2)


async def test_records_without_message_are_counted_as_such_whatever_their_time(scripted_aws: ScriptedAws) -> None:
    then = Delivery("lane", [RecordBatch("t", [Record(round(OLD) * 10**9, {"log": "a"}), Record(5, {"log": ""})], 20)])

    await sent(scripted_aws, [delivery_of((OLD, "first")), then], [REJECTS_OLD])

    assert {reason: records for reason, (records, _) in then.refused.items()} == {"too_old": 1, "empty_message": 1}
    assert refusals_of(then) == {"empty_message": [""], "too_old": ["a"]}


async def test_clamped_events_get_the_nearest_time_that_is_taken(scripted_aws: ScriptedAws) -> None:
    delivery = delivery_of((OLD, "old"), (NOW - 1, "past"), (NEW, "new"), (OLD + 1, "old too"))
    output = output_to(scripted_aws.url, ManualClock(), log_key="log", clamp_time=True)
    await output.open()
    await output.send(delivery)
    await output.close()

    now_ms = round(NOW * 1000)
    events = [(e["timestamp"], e["message"]) for call in scripted_aws.calls() for e in call.json["logEvents"]]
    assert events == [
        (now_ms - OLDEST_MS + ROOM_MS, "old"),
        (now_ms - OLDEST_MS + ROOM_MS, "old too"),
        (now_ms - 1000, "past"),
        (now_ms + AHEAD_MS - IN_DOUBT_MS, "new"),
    ]
    assert (delivery.accepted, delivery.refused) == (4, {})
    assert output._context.metrics.total("output_clamped_records_total") == 3


async def test_a_clamped_event_that_is_rejected_all_the_same_is_found(scripted_aws: ScriptedAws) -> None:
    delivery = delivery_of((OLD, "old"), (OLD + 1, "old too"))

    await sent(scripted_aws, [delivery], [REJECTS_OLD], clamp_time=True)

    assert refusals_of(delivery) == {"too_old": ["old"]}


NAMES = StreamNames(group="G", stream="S")
MAKER = EventMaker(NAMES, JsonEncoder(), None, MetricFormat("n", parse_dimensions("")), add_entity=False)


def packed(batches: list[RecordBatch], bounds: TimeBounds | None) -> Packed:
    return MAKER.pack(batches, EVENT_LIMIT, Cut(), bounds)


@pytest.mark.parametrize("order", [[0, 1, 2, 3, 4, 5], [0, 3, 1, 4, 2, 5], [5, 4, 3, 2, 1, 0]])
def test_what_is_left_makes_the_requests_that_it_would_make_alone(order: list[int]) -> None:
    """Three batches of lines, in order of time or not, some with events out of bounds and one of nothing else."""
    batches = [batch_of({"n": n}, {"n": n, "more": True}, time_ns=n * 10_000_000) for n in order]
    inside = [batch_of({"n": n}, {"n": n, "more": True}, time_ns=n * 10_000_000) for n in order if n in (2, 3)]
    inside += [batch_of({"n": 4}, time_ns=40_000_000)]
    bounds = TimeBounds(20, 40)

    found = packed(batches, bounds)

    [request] = found.requests[Stream("G", "S")]
    wanted = sorted((e for b in inside for e in b.content.records()), key=lambda r: r.time_ns)
    [expected] = packed([RecordBatch("t", wanted, 0)], None).requests[Stream("G", "S")]
    assert request == expected
    assert found.refused == {(Stream("G", "S"), "too_old"): 4, (Stream("G", "S"), "too_new"): 3}
