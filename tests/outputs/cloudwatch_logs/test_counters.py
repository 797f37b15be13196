"""What is counted of the calls: which, how many failed and of what, and what the service counts as ingested."""

from __future__ import annotations

import pytest

from shipper.buffers.base import Delivery
from shipper.errors import RetryLater
from shipper.metrics import Metrics
from shipper.outputs.cloudwatch_logs.requests import EVENT_OVERHEAD
from tests.components.scripted_aws import Reply, ScriptedAws, error

from .making import output_to, timed

pytestmark = pytest.mark.usefixtures("aws_keys")


async def counted(aws: ScriptedAws, failures: int, compress: str = "none") -> Metrics:
    """The counters after a delivery of two events that fails so often."""
    delivery = Delivery("lane", [timed((1_700_000_000.0, "a"), (1_700_000_000.0, "é" * 1000))])
    output = output_to(aws.url, log_key="log", compress=compress)
    await output.open()
    try:
        for _ in range(failures):
            with pytest.raises(RetryLater):
                await output.send(delivery)
        await output.send(delivery)
    finally:
        await output.close()
    return output._context.metrics


async def test_requests_are_counted_by_operation_and_failures_by_what_went_wrong(scripted_aws: ScriptedAws) -> None:
    scripted_aws.script("CreateLogStream", error("ResourceAlreadyExistsException"))
    scripted_aws.script("PutLogEvents", Reply(cut=True), error("ThrottlingException"), Reply(502, b"<html>"))

    metrics = await counted(scripted_aws, failures=2)

    assert metrics.by_label("output_requests_total", "operation") == {"CreateLogStream": 1, "PutLogEvents": 4}
    assert metrics.by_label("output_requests_failed_total", "reason") == {
        "ResourceAlreadyExistsException": 1,
        "no_answer": 1,
        "ThrottlingException": 1,
        "502": 1,
    }


async def test_a_code_that_is_none_is_counted_by_its_status(scripted_aws: ScriptedAws) -> None:
    scripted_aws.script("PutLogEvents", error("made up, and long " * 10, status=500))

    metrics = await counted(scripted_aws, failures=1)

    assert metrics.by_label("output_requests_failed_total", "reason") == {"500": 1}


@pytest.mark.parametrize("compress", ["none", "gzip"])
async def test_bytes_are_counted_as_sent_and_as_the_service_counts_them(
    scripted_aws: ScriptedAws, compress: str
) -> None:
    scripted_aws.script("PutLogEvents", error("ThrottlingException"))

    metrics = await counted(scripted_aws, failures=1, compress=compress)

    sent = metrics.by_label("output_sent_bytes_total", "operation")
    assert sent["PutLogEvents"] == sum(len(call.body) for call in scripted_aws.calls())
    assert (sent["PutLogEvents"] < 1000) == (compress == "gzip")
    assert metrics.total("output_event_bytes_total") == 2001 + 2 * EVENT_OVERHEAD


@pytest.mark.parametrize(
    ("reply", "counted_bytes"),
    [
        (Reply(), 3 + 2 * EVENT_OVERHEAD),
        (error("DataAlreadyAcceptedException"), 3 + 2 * EVENT_OVERHEAD),
        (Reply(body={"rejectedLogEventsInfo": {"tooOldLogEventEndIndex": 1}}), 2 + EVENT_OVERHEAD),
        (error("InvalidParameterException"), 3 + 2 * EVENT_OVERHEAD),  # in halves, which are accepted
        (Reply(body={"rejectedLogEventsInfo": {"tooOldLogEventEndIndex": 2}}), 0),
    ],
    ids=["accepted", "already", "one is too old", "halved", "both are too old"],
)
async def test_the_service_counts_what_it_has_accepted(
    scripted_aws: ScriptedAws, reply: Reply, counted_bytes: int
) -> None:
    scripted_aws.script("PutLogEvents", error("ThrottlingException"), reply)
    output = output_to(scripted_aws.url, log_key="log")
    ingested = output._context.counter("event_bytes_total")
    delivery = Delivery("lane", [timed((1_700_000_000.0, "a"), (1_700_000_001.0, "bb"))])
    await output.open()
    try:
        with pytest.raises(RetryLater):
            await output.send(delivery)
        before = ingested.value
        await output.send(delivery)
    finally:
        await output.close()

    assert (before, ingested.value) == (0, counted_bytes)


async def test_a_call_without_credentials_is_no_request(
    scripted_aws: ScriptedAws, monkeypatch: pytest.MonkeyPatch
) -> None:
    output = output_to(scripted_aws.url)
    await output.open()
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    with pytest.raises(RetryLater):
        await output.send(Delivery("lane", [timed((1_700_000_000.0, "a"))]))
    await output.close()

    metrics = output._context.metrics
    assert metrics.total("output_requests_total") == len(scripted_aws.sent) == 0
    assert metrics.by_label("output_requests_failed_total", "reason") == {"no_credentials": 1}
