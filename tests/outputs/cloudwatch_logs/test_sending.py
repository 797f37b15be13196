"""What the output does with the answers it gets, over HTTP on the loopback."""

from __future__ import annotations

import asyncio
import gzip
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from shipper.buffers.base import Delivery
from shipper.errors import Counts, RetryLater
from shipper.outputs.cloudwatch_logs.output import CloudwatchLogsOutput
from shipper.record import RecordBatch
from shipper.testing import ManualClock
from tests.components.scripted_aws import Reply, ScriptedAws, error

from .making import batch_of, output_to, timed

pytestmark = pytest.mark.usefixtures("aws_keys")

DAY_S = 86_400.0
T = 1_700_000_000.0


@asynccontextmanager
async def opened(url: str, **options: Any) -> AsyncIterator[CloudwatchLogsOutput]:
    options.setdefault("log_key", "log")
    output = output_to(url, **options)
    await output.open()
    work = asyncio.ensure_future(output.work())
    try:
        yield output
    finally:
        work.cancel()
        await asyncio.gather(work, return_exceptions=True)
        await output.close()


def delivery_of(*batches: RecordBatch) -> Delivery:
    return Delivery("lane", batches)


async def refused(output: CloudwatchLogsOutput, delivery: Delivery) -> RetryLater:
    """The `RetryLater` that this delivery ends with."""
    with pytest.raises(RetryLater) as caught:
        await output.send(delivery)
    return caught.value


def three_days() -> Delivery:
    """A delivery that needs three requests."""
    return delivery_of(timed((T, "a"), (T + DAY_S, "b"), (T + 2 * DAY_S, "c")))


def refusals_of(delivery: Delivery) -> list[tuple[str, list[Any]]]:
    """Status and texts of what was refused."""
    return [(r.status, [record.body["log"] for _, record in r.which()]) for r in delivery.refusals]


async def test_stream_is_created_before_the_first_events(scripted_aws: ScriptedAws) -> None:
    delivery = delivery_of(timed((T, "a"), (T, "b")))
    async with opened(scripted_aws.url, log_format="json/emf", extra_user_agent="container-insights") as output:
        await output.send(delivery)

    create, put = scripted_aws.sent
    assert (create.operation, create.body) == ("CreateLogStream", b'{"logGroupName":"/my/group","logStreamName":"s"}')
    assert put.body == (
        b'{"logGroupName":"/my/group","logStreamName":"s","logEvents":[{"timestamp":1700000000000,"message":"a"},'
        b'{"timestamp":1700000000000,"message":"b"}]}'
    )
    assert put.headers["content-type"] == "application/x-amz-json-1.1"
    assert put.headers["x-amzn-logs-format"] == "json/emf"
    assert put.headers["user-agent"].endswith("aws-fluent-bit-plugin-container-insights")
    assert put.headers["authorization"].startswith("AWS4-HMAC-SHA256 Credential=x/")
    assert "x-amzn-logs-format" not in create.headers
    assert (delivery.accepted, delivery.progress) == (2, {})


async def test_compressed_events_are_the_same_events(scripted_aws: ScriptedAws) -> None:
    records = timed((T, "a" * 5000), (T, "b" * 5000))
    async with opened(scripted_aws.url) as output:
        await output.send(delivery_of(records))
    scripted_aws.script("PutLogEvents", error("ThrottlingException"))
    async with opened(scripted_aws.url, compress="gzip") as output:
        delivery = delivery_of(records)
        await refused(output, delivery)
        await output.send(delivery)

    _, plain, create, compressed, again = scripted_aws.sent
    assert compressed.headers["content-encoding"] == "gzip"
    assert "content-encoding" not in {*plain.headers, *create.headers}
    assert gzip.decompress(compressed.body) == plain.body
    assert again.body == compressed.body
    assert len(compressed.body) < len(plain.body) / 10


async def test_stream_is_created_once(scripted_aws: ScriptedAws) -> None:
    scripted_aws.script("CreateLogStream", error("ResourceAlreadyExistsException"))
    async with opened(scripted_aws.url) as output:
        await output.send(delivery_of(timed((T, "a"))))
        await output.send(delivery_of(timed((T, "b"))))

    assert scripted_aws.operations == ["CreateLogStream", "PutLogEvents", "PutLogEvents"]
    assert scripted_aws.connections == 1


@pytest.mark.parametrize(
    ("options", "body"),
    [
        ({}, b'{"logGroupName":"/my/group"}'),
        (
            {"log_group_class": "INFREQUENT_ACCESS"},
            b'{"logGroupName":"/my/group", "logGroupClass":"INFREQUENT_ACCESS"}',
        ),
        ({"log_group_class": "STANDARD"}, b'{"logGroupName":"/my/group", "logGroupClass":"STANDARD"}'),
    ],
)
async def test_missing_group_is_created(scripted_aws: ScriptedAws, options: dict[str, Any], body: bytes) -> None:
    scripted_aws.script("CreateLogStream", error("ResourceNotFoundException"))
    async with opened(scripted_aws.url, auto_create_group=True, log_retention_days=14, **options) as output:
        await output.send(delivery_of(timed((T, "a"))))

    assert scripted_aws.operations == [
        "CreateLogStream", "CreateLogGroup", "PutRetentionPolicy", "CreateLogStream", "PutLogEvents",
    ]  # fmt: skip
    assert scripted_aws.sent[1].body == body
    assert scripted_aws.sent[2].body == b'{"logGroupName":"/my/group","retentionInDays":14}'


async def test_group_is_created_once_for_many_streams(scripted_aws: ScriptedAws) -> None:
    scripted_aws.script("CreateLogStream", *[error("ResourceNotFoundException")] * 4)
    batch = batch_of(*({"log": "x", "n": n} for n in range(4)))
    async with opened(scripted_aws.url, auto_create_group=True, log_stream_template="$n") as output:
        await output.send(delivery_of(batch))

    assert scripted_aws.operations.count("CreateLogGroup") == 1
    assert scripted_aws.operations.count("PutLogEvents") == 4


async def test_missing_group_that_may_not_be_created_blocks_its_stream_only(
    scripted_aws: ScriptedAws, caplog: pytest.LogCaptureFixture
) -> None:
    scripted_aws.script("CreateLogStream", error("ResourceNotFoundException"))
    delivery = delivery_of(batch_of(*({"log": f"m{n}", "n": n} for n in range(10))))
    with caplog.at_level(logging.ERROR, "shipper"):
        async with opened(scripted_aws.url, log_stream_template="$n") as output:
            reason = await refused(output, delivery)

    assert "group /my/group not found" in str(reason)
    assert "Log Group /my/group not found and `auto_create_group` disabled." in caplog.text
    assert len(scripted_aws.calls()) == delivery.accepted == 9
    assert len(delivery.progress) == 1


async def test_retention_that_cannot_be_set_holds_up_nothing_and_is_tried_again(scripted_aws: ScriptedAws) -> None:
    clock = ManualClock()
    scripted_aws.script("CreateLogStream", error("ResourceNotFoundException"))
    scripted_aws.script("PutRetentionPolicy", *[error("AccessDeniedException")] * 2)
    async with opened(scripted_aws.url, clock=clock, auto_create_group=True, log_retention_days=7) as output:
        await output.send(delivery_of(timed((T, "a"))))
        async with asyncio.timeout(20):
            while len(scripted_aws.calls("PutRetentionPolicy")) < 3:
                await clock.advance(61)
        await output.send(delivery_of(timed((T, "b"))))
        await clock.advance(600)
        await output.send(delivery_of(timed((T, "c"))))

    retention = "PutRetentionPolicy"
    assert scripted_aws.operations[2:] == [
        retention, "CreateLogStream", "PutLogEvents", retention, retention, "PutLogEvents", "PutLogEvents",
    ]  # fmt: skip


@pytest.mark.parametrize("reply", [Reply(delay_s=600), error("ThrottlingException"), Reply(cut=True)])
async def test_retention_that_gets_no_answer_holds_up_nothing(scripted_aws: ScriptedAws, reply: Reply) -> None:
    clock = ManualClock()
    scripted_aws.script("CreateLogStream", error("ResourceNotFoundException"))
    scripted_aws.script("PutRetentionPolicy", *[reply] * 20)
    async with opened(scripted_aws.url, clock=clock, auto_create_group=True, log_retention_days=7) as output:
        first = asyncio.ensure_future(output.send(delivery_of(timed((T, "a")))))
        await scripted_aws.wait_for(1, "PutRetentionPolicy")
        await clock.advance(1.1)
        async with asyncio.timeout(20):
            await first
            for _ in range(5):
                await output.send(delivery_of(timed((T, "b"))))

        assert len(scripted_aws.calls()) == 6


async def test_stream_that_may_not_be_created_is_sent_to_all_the_same(scripted_aws: ScriptedAws) -> None:
    scripted_aws.script("CreateLogStream", error("AccessDeniedException"))
    delivery = delivery_of(timed((T, "a")))
    async with opened(scripted_aws.url) as output:
        await output.send(delivery)

    assert delivery.accepted == 1


async def test_group_that_may_not_be_created_holds_its_records(scripted_aws: ScriptedAws) -> None:
    scripted_aws.script("CreateLogStream", error("ResourceNotFoundException"))
    scripted_aws.script("CreateLogGroup", error("AccessDeniedException"))
    delivery = delivery_of(timed((T, "a")))
    async with opened(scripted_aws.url, auto_create_group=True) as output:
        reason = await refused(output, delivery)

    assert "not allowed: logs:CreateLogGroup on log group /my/group" in str(reason)
    assert scripted_aws.operations == ["CreateLogStream", "CreateLogGroup"]


async def test_creation_keeps_to_the_quota(scripted_aws: ScriptedAws) -> None:
    clock = ManualClock()
    delivery = delivery_of(batch_of(*({"log": "x", "n": n} for n in range(50))))
    async with opened(scripted_aws.url, clock=clock, log_stream_template="$n") as output:
        sending = asyncio.create_task(output.send(delivery))
        await scripted_aws.wait_for(45)
        created_at_once = len(scripted_aws.calls("CreateLogStream"))
        while not sending.done():
            await clock.advance(1.1)
        await sending

    assert created_at_once == 45
    assert delivery.accepted == 50


async def test_only_what_was_not_accepted_is_sent_again(scripted_aws: ScriptedAws) -> None:
    scripted_aws.script("PutLogEvents", Reply(), error("ThrottlingException", "Rate exceeded"))
    delivery = three_days()
    async with opened(scripted_aws.url) as output:
        reason = await refused(output, delivery)
        accepted_first = delivery.accepted
        await output.send(delivery)

    assert "ThrottlingException" in str(reason)
    assert accepted_first == 1
    assert [c.messages for c in scripted_aws.calls()] == [["a"], ["b"], ["b"], ["c"]]
    assert scripted_aws.calls()[1].body == scripted_aws.calls()[2].body
    assert delivery.accepted == 3


@pytest.mark.parametrize(
    ("reply", "after"),
    [
        (Reply(500, b"<html>oops</html>", {"Content-Type": "text/html"}), None),
        (Reply(503, b"", {"Retry-After": "7"}), 7.0),
        (Reply(502, b"[]"), None),
        (Reply(500, b"\xff\xfe"), None),
        (error("ServiceUnavailableException", status=503), None),
        (error("SomethingNew"), None),
    ],
)
async def test_trouble_of_the_service_means_later(scripted_aws: ScriptedAws, reply: Reply, after: float | None) -> None:
    scripted_aws.script("PutLogEvents", reply)
    delivery = delivery_of(timed((T, "a")))
    async with opened(scripted_aws.url) as output:
        reason = await refused(output, delivery)
        await output.send(delivery)

    assert reason.after == after
    assert (delivery.accepted, delivery.refused) == (1, {})
    assert len(scripted_aws.calls()) == 2


@pytest.mark.parametrize("reply", [Reply(cut=True), Reply(request_id=None), Reply(200, b"<html>", request_id=None)])
async def test_without_an_answer_of_aws_a_request_is_sent_once_more_at_once(
    scripted_aws: ScriptedAws, reply: Reply
) -> None:
    scripted_aws.script("PutLogEvents", reply)
    delivery = delivery_of(timed((T, "a")))
    async with opened(scripted_aws.url) as output:
        await output.send(delivery)

    assert len(scripted_aws.calls()) == 2
    assert delivery.accepted == 1


async def test_two_requests_without_answer_mean_later(scripted_aws: ScriptedAws) -> None:
    scripted_aws.script("PutLogEvents", Reply(cut=True), Reply(cut=True))
    delivery = delivery_of(timed((T, "a")))
    async with opened(scripted_aws.url) as output:
        await refused(output, delivery)

    assert len(scripted_aws.calls()) == 2
    assert delivery.accepted == 0


async def test_resending_at_once_can_be_switched_off(scripted_aws: ScriptedAws) -> None:
    scripted_aws.script("PutLogEvents", Reply(cut=True))
    off = output_to(scripted_aws.url)._options.auto_retry_requests.parse("off")
    async with opened(scripted_aws.url, auto_retry_requests=off) as output:
        await refused(output, delivery_of(timed((T, "a"))))

    assert len(scripted_aws.calls()) == 1


async def test_a_hanging_destination_is_given_up_after_the_deadline(scripted_aws: ScriptedAws) -> None:
    scripted_aws.script("PutLogEvents", Reply(delay_s=1.5))
    async with opened(scripted_aws.url, io_timeout=0.5) as output:
        reason = await refused(output, delivery_of(timed((T, "a"))))

    assert "PutLogEvents" in str(reason)
    assert len(scripted_aws.calls()) == 1


async def test_nobody_listening_means_later() -> None:
    async with opened("http://127.0.0.1:1") as output:
        reason = await refused(output, delivery_of(timed((T, "a"))))

    assert "127.0.0.1:1" in str(reason)


async def test_trouble_with_the_destination_stops_the_other_streams_too() -> None:
    delivery = delivery_of(batch_of(*({"log": "x", "n": n} for n in range(100))))
    async with opened("http://127.0.0.1:1", log_stream_template="$n") as output:
        await refused(output, delivery)

    assert len(delivery.progress) == 100


async def test_missing_stream_is_created_and_the_same_request_sent(scripted_aws: ScriptedAws) -> None:
    scripted_aws.script("PutLogEvents", Reply(), error("ResourceNotFoundException"))
    async with opened(scripted_aws.url) as output:
        await output.send(delivery_of(timed((T, "a"))))
        await output.send(delivery_of(timed((T, "b"))))

    assert scripted_aws.operations == [
        "CreateLogStream", "PutLogEvents", "PutLogEvents", "CreateLogStream", "PutLogEvents",
    ]  # fmt: skip
    assert scripted_aws.sent[2].body == scripted_aws.sent[4].body


async def test_stream_that_stays_missing_means_later(scripted_aws: ScriptedAws) -> None:
    scripted_aws.script("PutLogEvents", *[error("ResourceNotFoundException")] * 10)
    async with opened(scripted_aws.url) as output:
        await refused(output, delivery_of(timed((T, "a"))))

    assert len(scripted_aws.calls()) == 3


async def test_what_had_arrived_before_counts_as_delivered(scripted_aws: ScriptedAws) -> None:
    scripted_aws.script("PutLogEvents", error("DataAlreadyAcceptedException", expectedSequenceToken="t9"))
    delivery = delivery_of(timed((T, "a")))
    async with opened(scripted_aws.url) as output:
        await output.send(delivery)
        await output.send(delivery_of(timed((T, "b"))))

    first, second = scripted_aws.calls()
    assert b"sequenceToken" not in first.body
    assert b'"sequenceToken":"t9","logEvents":[' in second.body
    assert delivery.accepted == 1


@pytest.mark.parametrize(
    "asked",
    [
        error("InvalidSequenceTokenException", expectedSequenceToken="t2"),
        error("InvalidSequenceTokenException", "It is invalid. The next expected sequenceToken is: t2"),
    ],
)
async def test_destination_that_wants_tokens_gets_them_from_then_on(scripted_aws: ScriptedAws, asked: Reply) -> None:
    scripted_aws.script(
        "PutLogEvents",
        Reply(body={"nextSequenceToken": "ignored"}),
        asked,
        Reply(body={"nextSequenceToken": "t3"}),
    )
    async with opened(scripted_aws.url) as output:
        for text in "abc":
            await output.send(delivery_of(timed((T, text))))

    assert [c.json.get("sequenceToken") for c in scripted_aws.calls()] == [None, None, "t2", "t3"]
    assert [c.messages for c in scripted_aws.calls()] == [["a"], ["b"], ["b"], ["c"]]


async def test_a_refused_event_is_found_by_halving_and_dropped_alone(scripted_aws: ScriptedAws) -> None:
    no = error("InvalidParameterException", "Log event is bad")
    # Eight events, the sixth is bad: all, its half, its quarter and itself are refused.
    scripted_aws.script("PutLogEvents", no, Reply(), no, no, Reply(), no, Reply())
    delivery = delivery_of(timed(*((T + n, str(n)) for n in range(8))))
    async with opened(scripted_aws.url) as output:
        await output.send(delivery)

    asked = ["".join(c.messages) for c in scripted_aws.calls()]
    assert asked == ["01234567", "0123", "4567", "45", "4", "5", "67"]
    assert delivery.accepted == 7
    assert delivery.refused == {"refused_by_destination": [1, delivery.share(1)]}
    assert refusals_of(delivery) == [("400", ["5"])]
    assert "Log event is bad" in delivery.refusals[0].message


async def test_events_too_large_for_the_destination_are_cut_to_its_limit(scripted_aws: ScriptedAws) -> None:
    message = "Log event too large: 300026 bytes exceeds limit of 262144"
    scripted_aws.script("PutLogEvents", error("InvalidParameterException", message))
    delivery = delivery_of(timed((T, "x" * 300_000), (T, "small")))
    async with opened(scripted_aws.url) as output:
        await output.send(delivery)
        await output.send(delivery_of(timed((T, "y" * 300_000))))

    assert [[len(m) for m in c.messages] for c in scripted_aws.calls()] == [[300_000, 5], [262_118, 5], [262_118]]
    assert (delivery.accepted, delivery.refused) == (2, {})


async def test_request_too_large_for_a_proxy_is_sent_in_parts(scripted_aws: ScriptedAws) -> None:
    scripted_aws.script("PutLogEvents", Reply(413, b"<html>Too Large</html>", request_id=None))
    delivery = delivery_of(timed((T, "a"), (T, "b"), (T, "c")))
    async with opened(scripted_aws.url) as output:
        await output.send(delivery)

    assert [c.messages for c in scripted_aws.calls()] == [["a", "b", "c"], ["a"], ["b", "c"]]
    assert delivery.accepted == 3


@pytest.mark.parametrize(
    ("info", "refused_records"),
    [
        ({"tooOldLogEventEndIndex": 2}, {"too_old": 2}),
        ({"tooNewLogEventStartIndex": 4}, {"too_new": 1}),
        ({"expiredLogEventEndIndex": 1, "tooOldLogEventEndIndex": 3}, {"expired": 1, "too_old": 2}),
        ({"expiredLogEventEndIndex": 2, "tooNewLogEventStartIndex": 3}, {"expired": 2, "too_new": 2}),
        ({"tooOldLogEventEndIndex": 99}, {"too_old": 5}),
        ({"tooNewLogEventStartIndex": 0}, {"too_new": 5}),
    ],
)
async def test_rejected_events_of_an_accepted_request_are_counted_by_kind(
    scripted_aws: ScriptedAws, info: dict[str, int], refused_records: dict[str, int], caplog: pytest.LogCaptureFixture
) -> None:
    scripted_aws.script("PutLogEvents", Reply(body={"rejectedLogEventsInfo": info}))
    delivery = delivery_of(timed(*((T + n, "m") for n in range(5))))
    with caplog.at_level(logging.ERROR, "shipper"):
        async with opened(scripted_aws.url) as output:
            await output.send(delivery)

    assert {reason: records for reason, (records, _) in delivery.refused.items()} == refused_records
    assert delivery.accepted + delivery.refused_records == 5
    assert [len(texts) for _, texts in refusals_of(delivery)] == list(refused_records.values())
    assert caplog.text.count("log events rejected, group=/my/group, stream=s") == len(refused_records)


async def test_denied_events_are_held_and_the_missing_action_named(
    scripted_aws: ScriptedAws, caplog: pytest.LogCaptureFixture
) -> None:
    scripted_aws.script("PutLogEvents", *[error("AccessDeniedException", "no policy allows it")] * 2)
    delivery = delivery_of(timed((T, "a")))
    with caplog.at_level(logging.ERROR, "shipper"):
        async with opened(scripted_aws.url) as output:
            reason = await refused(output, delivery)
            await refused(output, delivery)
            await output.send(delivery)

    assert "logs:PutLogEvents on log group /my/group" in str(reason)
    assert caplog.text.count("not allowed: logs:PutLogEvents on log group /my/group") == 1
    assert (delivery.accepted, delivery.refused) == (1, {})


async def test_a_refusal_that_quotes_words_of_a_denial_is_a_refusal(scripted_aws: ScriptedAws) -> None:
    no = error("InvalidParameterException", "the value 'AccessDenied: Expired' is not possible")
    scripted_aws.script("PutLogEvents", no, Reply(), no)
    delivery = delivery_of(timed((T, "good"), (T + 1, "bad")))
    async with opened(scripted_aws.url) as output:
        await output.send(delivery)

    assert (delivery.accepted, refusals_of(delivery)) == (1, [("400", ["bad"])])


async def test_a_wrong_clock_is_told_as_such(scripted_aws: ScriptedAws, caplog: pytest.LogCaptureFixture) -> None:
    scripted_aws.script("PutLogEvents", error("InvalidSignatureException", "Signature expired: 1 is earlier than 2"))
    with caplog.at_level(logging.ERROR, "shipper"):
        async with opened(scripted_aws.url) as output:
            reason = await refused(output, delivery_of(timed((T, "a"))))

    assert reason.counts is Counts.NEVER
    assert "signed by a clock that differs too much from that of AWS: logs:PutLogEvents" in caplog.text
    assert "not allowed" not in caplog.text


async def test_without_credentials_records_are_held_until_there_are_some(
    scripted_aws: ScriptedAws, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    delivery = delivery_of(timed((T, "a")))
    async with opened(scripted_aws.url) as output:
        reason = await refused(output, delivery)
        calls_without = len(scripted_aws.sent)
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", "late")
        await output.send(delivery)

    assert "no AWS credentials" in str(reason)
    assert calls_without == 0
    assert "Credential=late/" in scripted_aws.calls()[0].headers["authorization"]


async def test_records_that_make_no_event_are_counted_once(scripted_aws: ScriptedAws) -> None:
    scripted_aws.script("PutLogEvents", error("ThrottlingException"))
    delivery = delivery_of(batch_of({"log": "a"}, {"other": 1}, {"log": ""}))
    async with opened(scripted_aws.url) as output:
        await refused(output, delivery)
        await output.send(delivery)

    assert delivery.refused == {"missing_log_key": [1, 100], "empty_message": [1, 100]}
    assert delivery.accepted == 1
    assert [record.body for _, record in delivery.refusals[0].which()] == [{"other": 1}, {"log": ""}]


async def test_cancelled_request_is_still_owed(scripted_aws: ScriptedAws) -> None:
    scripted_aws.script("PutLogEvents", Reply(), Reply(delay_s=0.2))
    delivery = three_days()
    async with opened(scripted_aws.url) as output:
        sending = asyncio.create_task(output.send(delivery))
        await scripted_aws.wait_for(2)
        sending.cancel()
        await asyncio.wait([sending])
        await output.send(delivery)

    assert sending.cancelled()
    assert [c.messages for c in scripted_aws.calls()] == [["a"], ["b"], ["b"], ["c"]]
    assert delivery.accepted == 3


async def test_bodies_above_a_megabyte_are_sent_whole(scripted_aws: ScriptedAws) -> None:
    delivery = delivery_of(timed((T, '"' * 1_048_550)))
    async with opened(scripted_aws.url) as output:
        await output.send(delivery)

    assert scripted_aws.calls()[0].messages == ['"' * 1_048_550]


# -- events in parts ---------------------------------------------------------------------------------------------------

LARGE = "".join(map(str, range(500_000)))[:2_500_000]
"""Comes in three parts."""

OLD_LIMIT = error("InvalidParameterException", "Log event too large: 1048576 bytes exceeds limit of 262144")


def joined(messages: list[str]) -> str:
    """What parts say without their markers."""
    return "".join(message.partition("] ")[2] for message in messages)


async def test_a_large_event_in_parts_is_one_record_that_is_delivered_whole(scripted_aws: ScriptedAws) -> None:
    delivery = delivery_of(timed((T, "before"), (T, LARGE), (T, "behind")))
    async with opened(scripted_aws.url, on_oversize="split") as output:
        await output.send(delivery)

    before, *parts, behind = (m for call in scripted_aws.calls() for m in call.messages)
    assert (before, behind, joined(parts)) == ("before", "behind", LARGE)
    assert [part[:10] for part in parts] == ["[part=1/3 ", "[part=2/3 ", "[part=3/3 "]
    assert len({part.partition("id=")[2][:16] for part in parts}) == 1
    assert (delivery.accepted, delivery.refused) == (3, {})


async def test_only_the_parts_that_were_not_accepted_are_sent_again(scripted_aws: ScriptedAws) -> None:
    scripted_aws.script("PutLogEvents", Reply(), error("ThrottlingException"))
    delivery = delivery_of(timed((T, LARGE)))
    async with opened(scripted_aws.url, on_oversize="split") as output:
        await refused(output, delivery)
        accepted_first = delivery.accepted
        await output.send(delivery)

    sent = [c.body for c in scripted_aws.calls()]
    assert sent[1] == sent[2]
    assert [c.messages[0][:9] for c in scripted_aws.calls()] == ["[part=1/3", "[part=2/3", "[part=2/3", "[part=3/3"]
    assert (accepted_first, delivery.accepted) == (0, 1)


@pytest.mark.parametrize("bad_part", [1, 2, 3])
@pytest.mark.parametrize(
    ("reply", "reason", "status"),
    [
        (error("InvalidParameterException", "Log event is bad"), "refused_by_destination", "400"),
        (Reply(body={"rejectedLogEventsInfo": {"tooOldLogEventEndIndex": 1}}), "too_old", "200"),
        (Reply(413, b"<html>Too Large</html>", request_id=None), "refused_by_destination", "413"),
    ],
)
async def test_a_record_is_dropped_once_and_as_a_whole_if_a_part_is_refused(
    scripted_aws: ScriptedAws, bad_part: int, reply: Reply, reason: str, status: str
) -> None:
    scripted_aws.script("PutLogEvents", *[Reply()] * bad_part, reply)
    delivery = delivery_of(timed((T, "before"), (T, LARGE), (T, "behind")))
    async with opened(scripted_aws.url, on_oversize="split") as output:
        await output.send(delivery)

    assert len(scripted_aws.calls()) == 1 + bad_part + 1
    assert delivery.accepted == 2
    assert {why: records for why, (records, _) in delivery.refused.items()} == {reason: 1}
    assert refusals_of(delivery) == [(status, [LARGE])]


async def test_what_had_arrived_before_of_a_record_in_parts_counts_with_its_last(scripted_aws: ScriptedAws) -> None:
    scripted_aws.script("PutLogEvents", *[error("DataAlreadyAcceptedException")] * 3)
    delivery = delivery_of(timed((T, LARGE)))
    async with opened(scripted_aws.url, on_oversize="split") as output:
        await output.send(delivery)

    assert len(scripted_aws.calls()) == 3
    assert delivery.accepted == 1


async def test_a_destination_that_takes_less_gets_smaller_parts(scripted_aws: ScriptedAws) -> None:
    scripted_aws.script("PutLogEvents", OLD_LIMIT)
    delivery = delivery_of(timed((T, LARGE), (T, "behind")))
    async with opened(scripted_aws.url, on_oversize="split") as output:
        await output.send(delivery)
        await output.send(delivery_of(timed((T, LARGE))))

    _, *parts = (m for call in scripted_aws.calls() for m in call.messages)
    assert joined(parts[:10]) == LARGE
    assert parts[10] == "behind"
    assert parts[11:] == parts[:10]
    assert max(map(len, parts)) <= 262_144 - 26
    assert (delivery.accepted, delivery.refused) == (2, {})


async def test_parts_that_are_refused_as_too_large_although_they_fit_are_not_made_for_ever(
    scripted_aws: ScriptedAws,
) -> None:
    scripted_aws.script("PutLogEvents", *[OLD_LIMIT] * 5)
    delivery = delivery_of(timed((T, LARGE)))
    async with opened(scripted_aws.url, on_oversize="split") as output:
        await output.send(delivery)

    assert len(scripted_aws.calls()) == 2
    assert (delivery.accepted, delivery.refused_records) == (0, 1)
    assert refusals_of(delivery) == [("400", [LARGE])]
