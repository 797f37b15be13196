"""What the services answer when all is well, and the options that lead to a stand-in for them."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from shipper.outputs.base import Output
from shipper.outputs.cloudwatch_logs.output import CloudwatchLogsOutput
from shipper.outputs.es.opensearch import OpensearchOutput
from shipper.outputs.es.output import EsOutput
from shipper.outputs.http.output import HttpOutput
from shipper.outputs.kinesis.firehose import KinesisFirehoseOutput
from shipper.outputs.kinesis.streams import KinesisStreamsOutput
from shipper.outputs.loki.output import LokiOutput

from ..components.http_server import Got, Says

_HOST = "host 127.0.0.1\nport {port}"
_AWS = "region us-east-1\nendpoint http://127.0.0.1:{port}"
_AWS_HEADERS = {"Content-Type": "application/x-amz-json-1.1", "x-amzn-RequestId": "1"}

TAKEN = {"SequenceNumber": "1", "RecordId": "1"}
"""What the services of Kinesis answer for an entry that is taken, each under its own name."""

LINES: Mapping[type[Output], str] = {
    CloudwatchLogsOutput: f"{_AWS}\nlog_group_name g\nlog_stream_name s",
    LokiOutput: _HOST,
    HttpOutput: _HOST,
    EsOutput: _HOST,
    OpensearchOutput: _HOST,
    KinesisStreamsOutput: f"{_AWS}\nstream s",
    KinesisFirehoseOutput: f"{_AWS}\ndelivery_stream s",
}
"""Options of each output; the port is to be filled in."""


def carries_records(got: Got) -> bool:
    """Whether the request is more than a preparation."""
    return not got.headers.get("x-amz-target", "").endswith(("CreateLogGroup", "CreateLogStream"))


def answer_of(kind: type[Output], got: Got) -> Says:
    """The answer that everything is taken."""
    if kind is CloudwatchLogsOutput:
        return Says(200, b"{}", _AWS_HEADERS)
    if kind in (KinesisStreamsOutput, KinesisFirehoseOutput):
        member = "Records" if kind is KinesisStreamsOutput else "RequestResponses"
        return Says(200, msgspec.json.encode({member: [TAKEN for _ in got.json["Records"]]}), _AWS_HEADERS)
    if kind is LokiOutput:
        return Says(204)
    return Says(200, b'{"errors":false}')
