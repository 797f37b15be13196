"""A delivery that is sent again is sent byte for byte, whatever has come meanwhile, so a receiver can tell it."""

from __future__ import annotations

from pathlib import Path

import pytest

from shipper.outputs.base import Output
from shipper.outputs.cloudwatch_logs.output import CloudwatchLogsOutput
from shipper.outputs.es.opensearch import OpensearchOutput
from shipper.outputs.es.output import EsOutput
from shipper.outputs.forward.output import ForwardOutput
from shipper.outputs.http.output import HttpOutput
from shipper.outputs.kinesis.firehose import KinesisFirehoseOutput
from shipper.outputs.kinesis.streams import KinesisStreamsOutput
from shipper.outputs.loki.output import LokiOutput
from shipper.record import Record, RecordBatch

from ..components.forward_server import ForwardServer, forward_server
from ..components.http_server import Got, Says, http_server
from .answers import LINES, answer_of, carries_records
from .delivering import delivering
from .s3.making import options_of, running
from .s3.server import Fault, SmallS3

pytestmark = pytest.mark.usefixtures("aws_keys")

T0 = 1_790_000_000_000_000_000
S3_LINES = "upload_timeout 0.05\ntotal_file_size 1M\nstatic_file_path on\n"


def batch(word: str) -> RecordBatch:
    """Some hundred records of one tag whose texts do not compress to nothing."""
    return RecordBatch("app", [Record(T0 + n, {"log": f"{word} {n} {n * 7919 % 1000}"}) for n in range(300)], 30_000)


@pytest.mark.parametrize("trouble", [Says(503), Says(cut=True)], ids=["503", "cut"])
@pytest.mark.parametrize(
    ("kind", "more"),
    [
        (CloudwatchLogsOutput, ""),
        (LokiOutput, "labels job=x, n=$log"),
        (LokiOutput, "compress gzip"),
        (LokiOutput, "format protobuf"),
        (HttpOutput, "format json"),
        (HttpOutput, "format msgpack\ncompress gzip"),
        (HttpOutput, "format gelf\ncompress zstd"),
        (EsOutput, "compress gzip"),
        (EsOutput, "current_time_index on\nlogstash_format on"),
        (OpensearchOutput, "generate_id on"),
        (KinesisStreamsOutput, "compression gzip\ntime_key t"),
        (KinesisFirehoseOutput, "compression zstd"),
    ],
)
async def test_the_body_of_a_request_is_the_same_again(
    kind: type[Output], more: str, trouble: Says, tmp_path: Path
) -> None:
    carried: list[bytes] = []

    def judge(got: Got) -> Says:
        if not carries_records(got):
            return answer_of(kind, got)
        carried.append(got.raw)
        if len(carried) == 1:
            one.put(batch("later"))  # what comes meanwhile must not get into the delivery
            return trouble
        return answer_of(kind, got)

    async with http_server(judge) as server:
        lines = f"{LINES[kind].format(port=server.port)}\n{more}"
        async with delivering(kind, lines, tmp_path) as one:
            one.put(batch("first"))
            await one.until_delivered()

    assert len(carried) > 2
    assert carried[1] == carried[0]
    assert len(set(carried)) == len(carried) - 1
    assert one.count("proc_records_total") == 600


@pytest.mark.parametrize("more", ["", "compress gzip", "tag t.$log", "time_as_integer on"])
async def test_a_message_of_forward_is_the_same_again_and_so_is_its_id(more: str, tmp_path: Path) -> None:
    async with forward_server() as server:
        server.script = ["silent"]
        lines = f"host 127.0.0.1\nport {server.port}\nrequire_ack_response on\nnet.io_timeout 0.1\n{more}"
        async with delivering(ForwardOutput, lines, tmp_path) as one:
            one.put(batch("first"))
            await one.until_delivered()

    half = len(server.raw) // 2
    ids = chunks(server)
    assert server.raw[:half] == server.raw[half:]
    assert ids[: len(ids) // 2] == ids[len(ids) // 2 :]
    assert all(ids)


def chunks(server: ForwardServer) -> list[str]:
    return [options["chunk"] for _, _, options in server.messages]


@pytest.mark.parametrize("fault", [Fault(), Fault(cut=True)], ids=["503", "cut"])
@pytest.mark.parametrize("more", ["", "compression gzip", "compression zstd", "compression snappy", "format parquet"])
async def test_an_object_is_the_same_again_under_the_same_key(
    s3: SmallS3, more: str, fault: Fault, tmp_path: Path
) -> None:
    s3.fail("PutObject", fault, fault)
    async with running(options_of(s3.url, tmp_path, S3_LINES + more)) as one:
        one.retry_after(0.01)
        one.put(batch("first"))
        await one.until(lambda: one.count("proc_records_total") == 300)

    sent = [(call.key, call.body) for call in s3.calls if call.operation == "PutObject"]
    assert len(sent) == 3
    assert len(set(sent)) == 1
