"""What heals without the data uses up no retries: with none allowed, everything is delivered all the same."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import msgspec
import pytest

from shipper.outputs.base import Output
from shipper.outputs.cloudwatch_logs.output import CloudwatchLogsOutput
from shipper.outputs.es.opensearch import OpensearchOutput
from shipper.outputs.es.output import EsOutput
from shipper.outputs.http.output import HttpOutput
from shipper.outputs.kinesis.firehose import KinesisFirehoseOutput
from shipper.outputs.kinesis.streams import KinesisStreamsOutput
from shipper.outputs.loki.output import LokiOutput
from shipper.record import Record, RecordBatch

from ..components.http_server import Got, Says, http_server
from .answers import LINES, TAKEN, answer_of
from .delivering import delivering

pytestmark = pytest.mark.usefixtures("aws_keys")

AWS_HEADERS = {"Content-Type": "application/x-amz-json-1.1", "x-amzn-RequestId": "1"}
DENIALS = 5

Trouble = Callable[[Got, int], Says | None]
"""What goes wrong with a request; the number counts those of its kind, from 1."""


def aws_error(code: str, status: int = 400) -> Says:
    return Says(status, msgspec.json.encode({"__type": code, "message": "m"}), AWS_HEADERS)


def at_first(says: Says, ending: str = "") -> Trouble:
    """The first requests, or those to such a target, fail."""
    return lambda got, number: says if number <= DENIALS and got.target.endswith(ending) else None


def every_other(says: Says, operation: str = "") -> Trouble:
    def trouble(got: Got, number: int) -> Says | None:
        is_meant = got.headers.get("x-amz-target", "").endswith(operation)
        return says if is_meant and number % 2 == 0 else None

    return trouble


def entry_by_entry(answers: str, failure: Mapping[str, str]) -> Trouble:
    """One entry of every other request is taken."""

    def trouble(got: Got, number: int) -> Says:
        told = [failure] * len(got.json["Records"])
        if number % 2:
            told[0] = TAKEN
        return Says(200, msgspec.json.encode({answers: told}), AWS_HEADERS)

    return trouble


def one_document(status: int) -> Trouble:
    def trouble(got: Got, number: int) -> Says:
        items: list[Any] = [{"create": {"status": status}}] * (len(got.lines) // 2)
        items[0] = {"create": {"status": 201}}
        return Says(200, msgspec.json.encode({"errors": True, "items": items}))

    return trouble


def no_document(status: int) -> Trouble:
    def trouble(got: Got, number: int) -> Says | None:
        items = [{"create": {"status": status}}] * (len(got.lines) // 2)
        return Says(200, msgspec.json.encode({"errors": True, "items": items})) if number <= DENIALS else None

    return trouble


TOKENS = "oauth2.enable on\noauth2.token_url http://127.0.0.1:{port}/token"
TOO_MUCH = {"ErrorCode": "ProvisionedThroughputExceededException", "ErrorMessage": "slow down"}
BUSY = {"ErrorCode": "ServiceUnavailableException", "ErrorMessage": "slow down"}


@pytest.mark.parametrize(
    ("kind", "lines", "records", "trouble"),
    [
        (CloudwatchLogsOutput, "", 3, at_first(aws_error("AccessDeniedException"))),
        (CloudwatchLogsOutput, "log_stream_template $n", 4, every_other(aws_error("ThrottlingException"), "LogStream")),
        (CloudwatchLogsOutput, "log_stream_template $n", 4, every_other(aws_error("ThrottlingException"), "LogEvents")),
        (KinesisStreamsOutput, "", 1200, every_other(aws_error("ProvisionedThroughputExceededException"))),
        (KinesisStreamsOutput, "", 1200, every_other(aws_error("LimitExceededException"))),
        (KinesisStreamsOutput, "", 3, at_first(aws_error("UnrecognizedClientException"))),
        (KinesisStreamsOutput, "", 3, entry_by_entry("Records", TOO_MUCH)),
        (KinesisFirehoseOutput, "", 1200, every_other(aws_error("ServiceUnavailableException", 503))),
        (KinesisFirehoseOutput, "", 3, entry_by_entry("RequestResponses", BUSY)),
        (HttpOutput, "", 3, at_first(Says(401))),
        (HttpOutput, "", 3, at_first(Says(403))),
        (HttpOutput, "", 3, at_first(Says(404))),
        (HttpOutput, "body_key $log", 4, every_other(Says(429))),
        (HttpOutput, TOKENS, 3, at_first(Says(401), "/token")),
        (EsOutput, "", 3, at_first(Says(401))),
        (EsOutput, "", 3, at_first(Says(403))),
        (OpensearchOutput, "", 3, no_document(403)),
        (EsOutput, "", 4, one_document(429)),
        (LokiOutput, "", 3, at_first(Says(401))),
    ],
)
async def test_what_heals_without_the_data_uses_up_no_retries(
    tmp_path: Path, kind: type[Output], lines: str, records: int, trouble: Trouble
) -> None:
    counts: dict[str, int] = {}

    def judge(got: Got) -> Says:
        if got.target == "/token":
            return trouble(got, count(got)) or Says(200, b'{"access_token":"t"}')
        return trouble(got, count(got)) or answer_of(kind, got)

    def count(got: Got) -> int:
        operation = got.headers.get("x-amz-target", got.target)
        counts[operation] = counts.get(operation, 0) + 1
        return counts[operation]

    async with http_server(judge) as server:
        options = f"{LINES[kind]}\n{lines}".replace("{port}", str(server.port))
        async with delivering(kind, options, tmp_path, retries=0) as one:
            one.put(RecordBatch("t", [Record(n, {"n": n, "log": f"l{n}"}) for n in range(records)], 10 * records))
            await one.until_delivered()

            assert one.count("dropped_records_total") == 0
            assert one.count("proc_records_total") == records


@pytest.mark.parametrize(
    ("kind", "says"),
    [
        (HttpOutput, Says(429)),
        (EsOutput, Says(429)),
        (KinesisStreamsOutput, aws_error("ThrottlingException")),
        (CloudwatchLogsOutput, aws_error("ThrottlingException")),
    ],
)
async def test_a_destination_that_takes_nothing_at_all_uses_up_the_retries(
    tmp_path: Path, kind: type[Output], says: Says
) -> None:
    async with (
        http_server(lambda got: says) as server,
        delivering(kind, LINES[kind].replace("{port}", str(server.port)), tmp_path, retries=2) as one,
    ):
        one.put(RecordBatch("t", [Record(1, {"log": "x"})], 10))
        await one.until_delivered()

        assert one.count("dropped_records_total") == 1
