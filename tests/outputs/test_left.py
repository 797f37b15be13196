"""What of a delivery that was taken in part is still to be sent, by the rows of its batches."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from shipper.clock import SystemClock
from shipper.errors import RetryLater
from shipper.outputs.base import Output
from shipper.outputs.es.output import EsOutput
from shipper.outputs.http.output import HttpOutput
from shipper.outputs.kinesis.firehose import KinesisFirehoseOutput
from shipper.outputs.kinesis.streams import KinesisStreamsOutput
from shipper.record import Record, RecordBatch
from shipper.testing import context_of

from ..components.http_server import Got, Says, http_server
from ..written_options import options_from
from .answers import LINES, TAKEN
from .samples import delivery_of

pytestmark = pytest.mark.usefixtures("aws_keys")

LEFT = [[1, 3], [], [0]]
"""Rows of three batches, of which the second is empty, that the server does not take."""

AWS_HEADERS = {"Content-Type": "application/x-amz-json-1.1", "x-amzn-RequestId": "1"}
Judge = Callable[[Got], Says]


def entries(member: str) -> Judge:
    def judge(got: Got) -> Says:
        count = len(got.json["Records"])
        taken: list[dict[str, str]] = [{"ErrorCode": "InternalFailure"}] * count
        if count == 6:
            taken = [TAKEN, {"ErrorCode": "Slow"}, TAKEN, {"ErrorCode": "Slow"}, {"ErrorCode": "Slow"}, TAKEN]
        return Says(200, msgspec.json.encode({member: taken}), AWS_HEADERS)

    return judge


def documents(got: Got) -> Says:
    items: list[Any] = [{"create": {"status": 429 if "bad" in line["log"] else 201}} for line in got.lines[1::2]]
    return Says(200, msgspec.json.encode({"errors": True, "items": items}))


def values(got: Got) -> Says:
    return Says(503 if b"bad" in got.body else 200)


@pytest.mark.parametrize(
    ("kind", "lines", "judge", "left"),
    [
        (KinesisStreamsOutput, "", entries("Records"), LEFT),
        (KinesisFirehoseOutput, "", entries("RequestResponses"), LEFT),
        (EsOutput, "", documents, LEFT),
        (HttpOutput, "body_key $log", values, [[1, 2, 3], [], [0, 1]]),
    ],
)
async def test_what_is_left_of_a_delivery_is_known_by_rows(
    kind: type[Output], lines: str, judge: Judge, left: list[list[int]]
) -> None:
    texts = [["a", "bad 1", "c", "bad 3"], [], ["bad 0", "f"]]
    batches = [RecordBatch("t", [Record(1, {"log": text}) for text in part], 10) for part in texts]
    delivery = delivery_of(*batches)
    async with http_server(judge) as server:
        options = f"{LINES[kind]}\n{lines}".replace("{port}", str(server.port))
        output = kind(options_from(kind.Options, options, "output"), context_of("output", "out.0", SystemClock()))
        await output.open()
        before = output.left(delivery)
        with pytest.raises(RetryLater):
            await output.send(delivery)
        await output.close()

    assert before is None
    assert output.left(delivery) == left
    assert delivery.accepted + delivery.refused_records == 6 - sum(map(len, left))
