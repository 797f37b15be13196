"""kinesis_streams and kinesis_firehose: what is put, in which pieces, and what is put again."""

from __future__ import annotations

import base64
import gzip
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from aiobotocore.session import get_session

from shipper.buffers.base import Delivery
from shipper.clock import SystemClock
from shipper.errors import ConfigError, RetryLater
from shipper.outputs.kinesis.firehose import KinesisFirehoseOptions, KinesisFirehoseOutput
from shipper.outputs.kinesis.put import PutOutput
from shipper.outputs.kinesis.streams import KinesisStreamsOptions, KinesisStreamsOutput
from shipper.record import Record
from shipper.testing import batch_of, context_of

from ...components.scripted_aws import Reply, ScriptedAws, error
from ...written_options import options_from
from ..samples import F1, delivery_of, sample_batch

pytestmark = pytest.mark.usefixtures("aws_keys")

THROUGHPUT = {"ErrorCode": "ProvisionedThroughputExceededException", "ErrorMessage": "slow down"}
TAKEN = {"SequenceNumber": "1", "ShardId": "shardId-0", "RecordId": "1"}


@asynccontextmanager
async def output_to(url: str, lines: str = "", kind: str = "streams") -> AsyncIterator[PutOutput]:
    text, context = f"region us-east-1\nendpoint {url}\n{lines}", context_of("output", clock=SystemClock())
    output: PutOutput = (
        KinesisStreamsOutput(options_from(KinesisStreamsOptions, f"stream s\n{text}", "output"), context)
        if kind == "streams"
        else KinesisFirehoseOutput(
            options_from(KinesisFirehoseOptions, f"delivery_stream s\n{text}", "output"), context
        )
    )
    await output.open()
    try:
        yield output
    finally:
        await output.close()


def answer(*results: dict[str, str], kind: str = "streams") -> Reply:
    failed = sum("ErrorCode" in result for result in results)
    if kind == "streams":
        return Reply(body={"FailedRecordCount": failed, "Records": list(results)})
    return Reply(body={"FailedPutCount": failed, "RequestResponses": list(results)})


def data_of(call: dict[str, Any]) -> list[str]:
    return [base64.b64decode(record["Data"]).decode() for record in call["Records"]]


async def put(aws: ScriptedAws, delivery: Delivery, lines: str = "", *, answers: int = 1) -> list[dict[str, Any]]:
    """The calls of a delivery that is taken whole in so many calls of one entry each."""
    aws.script("PutRecords", *[answer(TAKEN)] * answers)
    async with output_to(aws.url, lines) as output:
        await output.send(delivery)
    return [call.json for call in aws.calls("PutRecords")]


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        ("", '{"k":"v"}\n'),
        ("time_key t", '{"k":"v","t":"2023-11-14T22:13:20"}\n'),
        ("time_key t\ntime_key_format %Y %3N %6N %9N %L", '{"k":"v","t":"2023 500 500000 500000000 500"}\n'),
        ("log_key k", "v\n"),
    ],
)
async def test_an_entry_is_a_line_of_the_reference(scripted_aws: ScriptedAws, lines: str, expected: str) -> None:
    [call] = await put(scripted_aws, delivery_of(sample_batch(F1)), lines)

    assert list(call) == ["StreamName", "Records"]
    assert (call["StreamName"], data_of(call)) == ("s", [expected])
    assert call["Records"][0]["PartitionKey"][:10].isalnum()
    assert scripted_aws.calls("PutRecords")[0].headers["x-amz-target"] == "Kinesis_20131202.PutRecords"


async def test_a_delivery_stream_gets_data_alone(scripted_aws: ScriptedAws) -> None:
    scripted_aws.script("PutRecordBatch", answer({"RecordId": "1"}, kind="firehose"))
    async with output_to(scripted_aws.url, kind="firehose") as output:
        await output.send(delivery_of(sample_batch(F1)))

    [call] = scripted_aws.calls("PutRecordBatch")
    assert call.json == {
        "DeliveryStreamName": "s",
        "Records": [{"Data": base64.b64encode(b'{"k":"v"}\n').decode()}],
    }
    assert call.headers["x-amz-target"] == "Firehose_20150804.PutRecordBatch"


async def test_entries_are_compressed_one_by_one(scripted_aws: ScriptedAws) -> None:
    [call] = await put(scripted_aws, delivery_of(sample_batch(F1)), "compression gzip")

    assert gzip.decompress(base64.b64decode(call["Records"][0]["Data"])) == b'{"k":"v"}\n'


async def test_lines_share_an_entry_when_asked_for(scripted_aws: ScriptedAws) -> None:
    line = "x" * 400_000
    delivery = delivery_of(batch_of(line, line, line, "end"))
    scripted_aws.script("PutRecords", answer(TAKEN, TAKEN))
    async with output_to(scripted_aws.url, "simple_aggregation on\nlog_key log") as output:
        await output.send(delivery)

    [call] = [call.json for call in scripted_aws.calls("PutRecords")]
    assert data_of(call) == [f"{line}\n{line}\n", f"{line}\nend\n"]
    assert delivery.accepted == 4


@pytest.mark.parametrize(("kind", "largest"), [("streams", 1_048_556), ("firehose", 1_024_000)])
async def test_an_entry_that_is_too_large_is_refused_alone(scripted_aws: ScriptedAws, kind: str, largest: int) -> None:
    lines = ["x" * (largest - 1), "x" * largest, "small", ""]
    delivery = delivery_of(batch_of(*lines))
    operation = "PutRecords" if kind == "streams" else "PutRecordBatch"
    scripted_aws.script(operation, answer(TAKEN, TAKEN, kind=kind))
    async with output_to(scripted_aws.url, "log_key log", kind) as output:
        await output.send(delivery)

    [call] = scripted_aws.calls(operation)
    assert [len(data) for data in data_of(call.json)] == [largest, 6]
    assert delivery.accepted == 2
    assert {reason: records for reason, (records, _) in delivery.refused.items()} == {
        "record_too_large": 1,
        "missing_log_key": 1,
    }


@pytest.mark.parametrize(
    ("kind", "records", "size", "calls"),
    [
        ("streams", 1200, 10, [500, 500, 200]),
        ("streams", 12, 1_000_000, [5, 5, 2]),
        ("firehose", 600, 10, [500, 100]),
        ("firehose", 9, 1_000_000, [4, 4, 1]),
    ],
)
async def test_requests_keep_the_limits_of_the_service(
    scripted_aws: ScriptedAws, kind: str, records: int, size: int, calls: list[int]
) -> None:
    operation = "PutRecords" if kind == "streams" else "PutRecordBatch"
    scripted_aws.script(operation, *[answer(*[TAKEN] * count, kind=kind) for count in calls])
    delivery = delivery_of(batch_of(*["x" * size] * records))
    async with output_to(scripted_aws.url, "log_key log", kind) as output:
        await output.send(delivery)

    assert [len(call.json["Records"]) for call in scripted_aws.calls(operation)] == calls
    assert delivery.accepted == records


async def test_only_entries_that_failed_are_put_again_unchanged(scripted_aws: ScriptedAws) -> None:
    scripted_aws.script(
        "PutRecords", answer(TAKEN, THROUGHPUT, TAKEN, THROUGHPUT), answer(THROUGHPUT, TAKEN), answer(TAKEN)
    )
    delivery = delivery_of(batch_of(*"abcd"))
    async with output_to(scripted_aws.url, "log_key log") as output:
        await output.send(delivery)

    first, second, third = [call.json["Records"] for call in scripted_aws.calls("PutRecords")]
    assert second == [first[1], first[3]]
    assert third == [first[1]]
    assert (delivery.accepted, delivery.refused) == (4, {})


async def test_a_stream_that_takes_nothing_is_left_alone_for_a_while(scripted_aws: ScriptedAws) -> None:
    scripted_aws.script("PutRecords", answer(THROUGHPUT, THROUGHPUT), answer(TAKEN, TAKEN))
    delivery = delivery_of(batch_of("a", "b"))
    async with output_to(scripted_aws.url) as output:
        with pytest.raises(RetryLater, match="2 entries were not taken: Provisioned"):
            await output.send(delivery)
        await output.send(delivery)

    bodies = [call.body for call in scripted_aws.calls("PutRecords")]
    assert bodies[0] == bodies[1]
    assert delivery.accepted == 2


@pytest.mark.parametrize(
    "reply",
    [
        error("ProvisionedThroughputExceededException"),
        error("ServiceUnavailableException", status=503),
        error("ResourceNotFoundException", "Stream s not found"),
        error("AccessDeniedException", "not authorized to perform kinesis:PutRecords"),
        error("ValidationException", "1 validation error at 'streamName'"),
        Reply(body={}),
    ],
)
async def test_records_are_held_and_put_again(scripted_aws: ScriptedAws, reply: Reply) -> None:
    scripted_aws.script("PutRecords", reply, answer(TAKEN))
    delivery = delivery_of(batch_of("a"))
    async with output_to(scripted_aws.url) as output:
        with pytest.raises(RetryLater):
            await output.send(delivery)
        await output.send(delivery)

    assert (delivery.accepted, delivery.refused) == (1, {})


@pytest.mark.parametrize(("kind", "operation"), [("streams", "PutRecords"), ("firehose", "PutRecordBatch")])
@pytest.mark.parametrize("failures", [None, 0, 2])
async def test_an_answer_that_proves_nothing_delivers_nothing(
    scripted_aws: ScriptedAws, kind: str, operation: str, failures: int | None
) -> None:
    member = "Records" if kind == "streams" else "RequestResponses"
    count = {} if failures is None else {"FailedRecordCount": failures, "FailedPutCount": failures}
    scripted_aws.script(operation, Reply(body={member: [{}, {}], **count}), answer(TAKEN, TAKEN, kind=kind))
    delivery = delivery_of(batch_of("a", "b"))
    async with output_to(scripted_aws.url, "", kind) as output:
        with pytest.raises(RetryLater):
            await output.send(delivery)
        accepted_at_first = delivery.accepted
        await output.send(delivery)

    assert (accepted_at_first, delivery.accepted, delivery.refused) == (0, 2, {})


async def test_more_failures_than_entries_that_failed_deliver_nothing(scripted_aws: ScriptedAws) -> None:
    scripted_aws.script("PutRecords", Reply(body={"FailedRecordCount": 1, "Records": [TAKEN, TAKEN]}))
    delivery = delivery_of(batch_of("a", "b"))
    async with output_to(scripted_aws.url) as output:
        with pytest.raises(RetryLater, match="contradicts itself: FailedRecordCount is 1"):
            await output.send(delivery)

    assert delivery.accepted == 0


async def test_an_entry_without_its_number_is_put_again_alone(scripted_aws: ScriptedAws) -> None:
    scripted_aws.script("PutRecords", Reply(body={"Records": [TAKEN, {}]}), answer(TAKEN))
    delivery = delivery_of(batch_of("a", "b"))
    async with output_to(scripted_aws.url, "log_key log") as output:
        await output.send(delivery)

    assert [data_of(call.json) for call in scripted_aws.calls("PutRecords")] == [["a\n", "b\n"], ["b\n"]]
    assert delivery.accepted == 2


async def test_an_entry_that_is_refused_costs_only_itself(scripted_aws: ScriptedAws) -> None:
    bad = error("ValidationException", "bad data")
    scripted_aws.script("PutRecords", bad, answer(TAKEN), bad)
    delivery = delivery_of(batch_of("a", "bad"))
    async with output_to(scripted_aws.url) as output:
        await output.send(delivery)

    assert delivery.accepted == 1
    assert delivery.refused["refused_by_destination"][0] == 1


@pytest.mark.parametrize(("again", "calls"), [("on", 2), ("off", 1)])
async def test_a_call_without_answer_is_made_once_more_at_once(
    scripted_aws: ScriptedAws, again: str, calls: int
) -> None:
    scripted_aws.script("PutRecords", Reply(cut=True), Reply(cut=True))
    async with output_to(scripted_aws.url, f"auto_retry_requests {again}") as output:
        with pytest.raises(RetryLater):
            await output.send(delivery_of(batch_of("a")))

    assert len(scripted_aws.calls("PutRecords")) == calls


async def test_requests_failures_and_bytes_are_counted(scripted_aws: ScriptedAws) -> None:
    scripted_aws.script(
        "PutRecords", Reply(cut=True), error("AccessDeniedException"), answer(TAKEN, THROUGHPUT), answer(TAKEN)
    )
    delivery = delivery_of(batch_of("a", "b"))
    async with output_to(scripted_aws.url) as output:
        with pytest.raises(RetryLater):
            await output.send(delivery)
        await output.send(delivery)

    metrics = output._context.metrics
    assert metrics.by_label("output_requests_total", "operation") == {"PutRecords": 4}
    assert metrics.by_label("output_requests_failed_total", "reason") == {"no_answer": 1, "AccessDeniedException": 1}
    assert metrics.by_label("output_entries_failed_total", "reason") == {THROUGHPUT["ErrorCode"]: 1}
    sizes = [len(call.body) for call in scripted_aws.calls("PutRecords")]
    assert metrics.total("output_sent_bytes_total") == sum(sizes)


async def test_records_arrive_in_a_real_stream(moto_url: str) -> None:
    async with get_session().create_client("kinesis", region_name="us-east-1", endpoint_url=moto_url) as client:
        await client.create_stream(StreamName="s", ShardCount=1)
        delivery = delivery_of(batch_of(*map(str, range(700))))
        async with output_to(moto_url, "log_key log") as output:
            await output.send(delivery)
        place = await client.get_shard_iterator(
            StreamName="s", ShardId="shardId-000000000000", ShardIteratorType="TRIM_HORIZON"
        )
        found = (await client.get_records(ShardIterator=place["ShardIterator"]))["Records"]

    assert [record["Data"].decode() for record in found] == [f"{n}\n" for n in range(700)]
    assert delivery.accepted == 700


async def test_records_arrive_in_the_bucket_of_a_real_delivery_stream(moto_url: str) -> None:
    session = get_session()
    async with (
        session.create_client("firehose", region_name="us-east-1", endpoint_url=moto_url) as firehose,
        session.create_client("s3", region_name="us-east-1", endpoint_url=moto_url) as s3,
    ):
        await s3.create_bucket(Bucket="firehose-test")
        target = {"RoleARN": "arn:aws:iam::123456789012:role/r", "BucketARN": "arn:aws:s3:::firehose-test"}
        await firehose.create_delivery_stream(DeliveryStreamName="s", S3DestinationConfiguration=target)
        async with output_to(moto_url, "log_key log", "firehose") as output:
            await output.send(delivery_of(batch_of("a", "b")))
        objects = (await s3.list_objects_v2(Bucket="firehose-test"))["Contents"]
        answers = [await s3.get_object(Bucket="firehose-test", Key=found["Key"]) for found in objects]
        text = b"".join([await found["Body"].read() for found in answers])

    assert text == b"a\nb\n"


@pytest.mark.parametrize(
    ("lines", "option"),
    [("stream s", "region"), ("region r", "stream"), ("region r\nstream s\nendpoint ftp://x", "endpoint"),
     ("region r\nstream s\ncompression lz4", "compression")],
)  # fmt: skip
def test_options_that_cannot_be_used_are_refused(lines: str, option: str) -> None:
    with pytest.raises(ConfigError, match=option):
        options_from(KinesisStreamsOptions, lines, "output")


def test_records_without_fields_get_a_time(scripted_aws: ScriptedAws) -> None:
    options = options_from(KinesisStreamsOptions, "region r\nstream s\ntime_key t", "output")
    output = KinesisStreamsOutput(options, context_of("output"))

    [request] = output._entries.requests(delivery_of(sample_batch(Record(F1.time_ns, {}))))

    assert base64.b64decode(request.entries[0].text.split(b'"')[3]) == b'{"t":"2023-11-14T22:13:20"}\n'
