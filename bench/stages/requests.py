"""Deliveries into the bodies of requests, for each output that sends any; nothing is sent.

Outputs are made from options as a user writes them, and their makers of requests are taken from them: between a
delivery and a body there is no other way that does not end in the network.
"""

from __future__ import annotations

import base64
import gzip
import hashlib
import re
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from pathlib import Path
from typing import Any, cast

import cramjam
import pytest
from botocore.credentials import ReadOnlyCredentials

from shipper.aws.signature import Signatures
from shipper.buffers.base import Delivery
from shipper.codecs.compression import Compression, compress_gzip, new_compressor
from shipper.outputs.base import Output
from shipper.outputs.cloudwatch_logs.output import CloudwatchLogsOutput
from shipper.outputs.cloudwatch_logs.requests import EVENT_LIMIT, Cut
from shipper.outputs.es.bulk import BulkOutput
from shipper.outputs.forward.output import ForwardOutput
from shipper.outputs.http.output import HttpOutput
from shipper.outputs.kinesis.put import PutOutput
from shipper.outputs.loki.output import LokiOutput
from shipper.outputs.loki.requests import requests_of
from shipper.outputs.s3.output import S3Output
from shipper.plugins import find_plugin
from shipper.record import RecordBatch
from shipper.testing import context_of
from tests.written_options import options_from

from .material import count, cri_batches
from .measuring import Stage

_SIGNATURES = Signatures("s3", "r")

Make = Callable[[Delivery], list[bytes]]
Read = Callable[[bytes], bytes]


def _maker_of(output: Output) -> Make:
    """What makes request bodies of a delivery in this output."""
    match output:
        case CloudwatchLogsOutput():
            return partial(_events, output)
        case S3Output():
            return partial(_object, output)
        case LokiOutput():
            return partial(_pushes, output)
        case HttpOutput():
            return lambda delivery: [output._compress(r.body) for r in output._maker.requests(delivery)]
        case BulkOutput():
            return lambda delivery: [b"".join(output._documents.prepare(delivery.batches).actions)]
        case ForwardOutput():
            return lambda delivery: [parcel.data for parcel in output._messages.parcels(delivery.batches)]
        case PutOutput():
            return lambda delivery: [r.body(output._head) for r in output._entries.requests(delivery)]
    raise AssertionError(f"it is not known how {output} makes requests")


def _object(output: S3Output, delivery: Delivery) -> list[bytes]:
    """The object of a delivery, with the hash and the signature that a PutObject needs."""
    compressor = new_compressor(cast(Compression, output._options.compression))
    body = compressor.add(output._lines.make(delivery.batches).text) + compressor.finish()
    keys = ReadOnlyCredentials("x", "y", None)
    url = "https://b.s3.r.amazonaws.com/fluent-bit-logs/app/2026/11/20/10/00/00-objectABCDEFGH"
    _SIGNATURES.headers(keys, "PUT", url, {}, hashlib.sha256(body).hexdigest())
    return [body]


def _events(output: CloudwatchLogsOutput, delivery: Delivery) -> list[bytes]:
    packed = output._events.pack(delivery.batches, EVENT_LIMIT, Cut())
    bodies = [request.body for requests in packed.requests.values() for request in requests]
    return list(map(compress_gzip, bodies)) if output._options.compress == "gzip" else bodies


def _pushes(output: LokiOutput, delivery: Delivery) -> list[bytes]:
    progress = requests_of(output._streams.prepare(delivery.batches))
    return [output._push.body(request) for requests in progress.values() for request in requests]


def _records_of_kinesis(body: bytes) -> bytes:
    return b"".join(map(base64.b64decode, re.findall(rb'"Data":"([^"]+)"', body)))


def _unpacked(body: bytes) -> bytes:
    return bytes(cramjam.snappy.decompress_raw(body))


_AWS = "region r\n"
_LABELS = "job=app,pod=$kubernetes['pod_name'],stream=$stream"
OUTPUTS: list[tuple[str, str, str, Read]] = [
    ("cloudwatch_logs", "", f"{_AWS}log_group_name g\nlog_stream_prefix from-", bytes),
    (
        "cloudwatch_logs",
        "gzip",
        f"{_AWS}log_group_name g\nlog_stream_prefix from-\ncompress gzip",
        gzip.decompress,
    ),
    ("cloudwatch_logs", "log_key", f"{_AWS}log_group_name g\nlog_stream_prefix from-\nlog_key log", bytes),
    (
        "cloudwatch_logs",
        "template",
        f"{_AWS}log_group_name g\nlog_stream_prefix from-\nlog_stream_template $stream",
        bytes,
    ),
    ("s3", "", "bucket b\nstore_dir STORE", bytes),
    ("s3", "gzip", "bucket b\nstore_dir STORE\ncompression gzip", gzip.decompress),
    ("s3", "log_key", "bucket b\nstore_dir STORE\nlog_key log", bytes),
    ("loki", "JSON", "labels job=app", bytes),
    ("loki", "labels of records", f"labels {_LABELS}", bytes),
    ("loki", "protobuf", "labels job=app\nformat protobuf", _unpacked),
    ("http", "json", "format json", bytes),
    ("http", "json_lines, gzip", "format json_lines\ncompress gzip", gzip.decompress),
    ("http", "msgpack", "format msgpack", bytes),
    ("http", "gelf", "format gelf\ngelf_short_message_key log", bytes),
    ("es", "", "logstash_format on\nsuppress_type_name on", bytes),
    ("es", "generate_id", "logstash_format on\nsuppress_type_name on\ngenerate_id on", bytes),
    ("forward", "", "require_ack_response on", bytes),
    ("kinesis_streams", "", f"{_AWS}stream s", _records_of_kinesis),
    ("kinesis_firehose", "", f"{_AWS}delivery_stream s", _records_of_kinesis),
]
NOT_MEASURED: Mapping[str, str] = {
    "cloudwatch": "makes requests as cloudwatch_logs does",
    "file": "makes no requests; its lines are measured by the subject encoding",
    "grafana-loki": "makes requests as loki does",
    "null": "makes nothing",
    "opensearch": "makes requests as es does",
    "stdout": "makes no requests; its lines are measured by the subject encoding",
}
_CASES = [
    pytest.param(name, lines, read, id=f"{name}, {about}" if about else name) for name, about, lines, read in OUTPUTS
]


def _output_of(name: str, lines: str, folder: Path) -> Output:
    plugin: Any = find_plugin("output", name)
    made = plugin(options_from(plugin.Options, lines.replace("STORE", str(folder)), "output"), context_of("output"))
    assert isinstance(made, Output)
    return made


def _occurrences(bodies: Iterable[bytes], read: Read) -> int:
    """How often the name of a field stands in the bodies that each record has in its text."""
    return sum(read(body).count(b"trace_id") for body in bodies)


@pytest.mark.parametrize(("name", "lines", "read"), _CASES)
def test_rows(stage: Stage, tmp_path: Path, name: str, lines: str, read: Read) -> None:
    batches: list[RecordBatch] = cri_batches("json")
    make = _maker_of(_output_of(name, lines, tmp_path))

    bodies = stage.measure_fresh(lambda: Delivery("", batches), make, records=count(batches))

    assert _occurrences(bodies, read) == count(batches)


@pytest.mark.parametrize(("name", "lines", "read"), _CASES)
def test_enriched_rows(
    stage: Stage, tmp_path: Path, enriched: list[RecordBatch], name: str, lines: str, read: Read
) -> None:
    make = _maker_of(_output_of(name, lines, tmp_path))

    bodies = stage.measure_fresh(lambda: Delivery("", enriched), make, records=count(enriched))

    # Merge_Log leaves the text beside the fields that were in it.
    assert _occurrences(bodies, read) == count(enriched) * (1 if "log_key" in lines else 2)
