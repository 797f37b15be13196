"""Of ten records a service refuses one: nine are delivered, one is kept with the status and the service's words."""

from __future__ import annotations

import base64
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest

from shipper.outputs.base import Output
from shipper.outputs.es.opensearch import OpensearchOutput
from shipper.outputs.es.output import EsOutput
from shipper.outputs.http.output import HttpOutput
from shipper.outputs.kinesis.firehose import KinesisFirehoseOutput
from shipper.outputs.kinesis.streams import KinesisStreamsOutput
from shipper.outputs.loki.output import LokiOutput
from shipper.outputs.s3.output import S3Output
from shipper.record import Record, RecordBatch

from ..components.bulk_server import BulkStore
from ..components.http_server import Got, Says, http_server
from ..components.loki import Limits, LokiStandIn
from .answers import TAKEN
from .delivering import delivering
from .s3.server import SmallS3

pytestmark = pytest.mark.usefixtures("aws_keys")

SECOND = 1_000_000_000
NOW_NS = 1_790_000_000 * SECOND
OLD_NS, NEW_NS = NOW_NS - 30 * 86_400 * SECOND, NOW_NS + 3600 * SECOND
LOG: dict[str, Any] = {"log": "bad"}
LONG: dict[str, Any] = {"log": "bad and too long"}
RAW = "drop_single_key raw"
GOOD = [f"good {n}" for n in range(9)]


class Place(msgspec.Struct):
    """A running destination: options that lead to it, and the texts it has taken so far."""

    lines: str
    texts: Callable[[], list[str]]


Destination = Callable[[], AbstractAsyncContextManager[Place]]


def loki(limits: Limits, *options: str) -> Destination:
    @asynccontextmanager
    async def running() -> AsyncIterator[Place]:
        server = LokiStandIn(limits)
        await server.start()
        try:
            lines = "\n".join([f"host 127.0.0.1\nport {server.port}", *options])
            yield Place(lines, lambda: [text for text in server.lines if text.startswith("good")])
        finally:
            await server.stop()

    return running


@asynccontextmanager
async def unlike_loki() -> AsyncIterator[Place]:
    """Something before Loki that refuses whole requests in words of its own."""
    taken: list[str] = []

    def judge(got: Got) -> Says:
        texts = [value[1] for stream in got.json["streams"] for value in stream["values"]]
        if "bad" in texts:
            return Says(400, b"bad is not a word")
        taken.extend(texts)
        return Says(204)

    async with http_server(judge) as server:
        yield Place(f"host 127.0.0.1\nport {server.port}\n{RAW}\nlabels t=$TAG", lambda: taken)


def http(*options: str) -> Destination:
    @asynccontextmanager
    async def running() -> AsyncIterator[Place]:
        taken: list[str] = []

        def judge(got: Got) -> Says:
            texts = [value["log"] for value in got.lines] if got.body[:1] == b"{" else [got.body.decode()]
            if any(text.startswith("bad") for text in texts):
                return Says(422, b"bad is not a word")
            taken.extend(texts)
            return Says()

        async with http_server(judge) as server:
            yield Place("\n".join([f"host 127.0.0.1\nport {server.port}", *options]), lambda: taken)

    return running


def bulk(*options: str) -> Destination:
    @asynccontextmanager
    async def running() -> AsyncIterator[Place]:
        store = BulkStore()
        store.status_of = lambda document: 400 if document["log"].startswith("bad") else 0
        async with http_server(store.judge) as server:
            lines = "\n".join([f"host 127.0.0.1\nport {server.port}", *options])
            yield Place(lines, lambda: [document["log"] for _, _, document in store.documents])

    return running


def kinesis(option: str, answers: str) -> Destination:
    """Stands for the service; an entry with a bad record gets an error of its own."""

    @asynccontextmanager
    async def running() -> AsyncIterator[Place]:
        taken: list[str] = []

        def result(text: str) -> dict[str, str]:
            if text.startswith("bad"):
                return {"ErrorCode": "InvalidArgumentException", "ErrorMessage": "bad is not a word"}
            taken.append(text)
            return TAKEN

        def judge(got: Got) -> Says:
            texts = [base64.b64decode(record["Data"]).decode().strip() for record in got.json["Records"]]
            headers = {"Content-Type": "application/x-amz-json-1.1", "x-amzn-RequestId": "1"}
            return Says(200, msgspec.json.encode({answers: [result(text) for text in texts]}), headers)

        async with http_server(judge) as server:
            lines = f"{option}\nregion us-east-1\nendpoint http://127.0.0.1:{server.port}\nlog_key log"
            yield Place(lines, lambda: taken)

    return running


@pytest.mark.parametrize(
    ("kind", "destination", "time_ns", "body", "status", "words"),
    [
        (LokiOutput, loki(Limits(now_ns=NOW_NS), RAW), OLD_NS, LOG, "400", "has timestamp too old"),
        (LokiOutput, loki(Limits(now_ns=NOW_NS), RAW), NEW_NS, LOG, "400", "has timestamp too new"),
        (LokiOutput, loki(Limits(line_size=10), RAW, "line_too_long drop"), NOW_NS, LONG, "400", "Max entry size '10'"),
        (LokiOutput, unlike_loki, NOW_NS, LOG, "400", "bad is not a word"),
        (HttpOutput, http("format json_lines"), NOW_NS, LOG, "422", "bad is not a word"),
        (HttpOutput, http("format json_lines", "header_tag X-Tag"), NOW_NS, LOG, "422", "bad is not a word"),
        (HttpOutput, http("body_key $log"), NOW_NS, LOG, "422", "bad is not a word"),
        (HttpOutput, http("body_key $log"), NOW_NS, {"b": 1}, "missing_body_key", ""),
        (EsOutput, bulk(), NOW_NS, LOG, "400", "words for 400"),
        (EsOutput, bulk("write_operation upsert", "id_key log"), NOW_NS, {"b": 1}, "missing_id", "a record has no id"),
        (OpensearchOutput, bulk(), NOW_NS, LOG, "400", "words for 400"),
        (KinesisStreamsOutput, kinesis("stream s", "Records"), NOW_NS, LOG, "200", "bad is not a word"),
        (KinesisStreamsOutput, kinesis("stream s", "Records"), NOW_NS, {"b": 1}, "missing_log_key", ""),
        (KinesisFirehoseOutput, kinesis("delivery_stream s", "RequestResponses"), NOW_NS, LOG, "200", "bad is not"),
    ],
)
async def test_a_refused_record_is_kept_and_the_others_are_delivered(
    kind: type[Output],
    destination: Destination,
    time_ns: int,
    body: dict[str, Any],
    status: str,
    words: str,
    tmp_path: Path,
) -> None:
    async with destination() as place, delivering(kind, place.lines, tmp_path) as one:
        one.put(*ten_records(time_ns, body))
        await one.drain()

        [kept] = one.kept
        assert (kept["status"], kept["record"], kept["record_time"], kept["tag"]) == (status, body, time_ns, "b")
        assert words in kept["message"]
        assert sorted(place.texts()) == GOOD
        assert one.count("proc_records_total") == 9
        assert one.count("dropped_records_total") == 1


async def test_of_a_loki_stream_those_entries_are_kept_that_are_too_far_behind(tmp_path: Path) -> None:
    first = RecordBatch("a", [Record(NOW_NS, {"log": "good first"})], 100)
    options = (RAW, "late_label off")
    async with loki(Limits(), *options)() as place, delivering(LokiOutput, place.lines, tmp_path) as one:
        one.put(first)
        await one.until_delivered()
        one.put(*ten_records(NOW_NS - 2 * 3600 * SECOND, LOG))
        await one.drain()

        [kept] = one.kept
        assert (kept["status"], kept["record"]) == ("400", LOG)
        assert "entry too far behind" in kept["message"]
        assert sorted(place.texts()) == [*GOOD, "good first"]


async def test_a_record_without_the_log_key_is_kept_beside_the_object(s3: SmallS3, tmp_path: Path) -> None:
    lines = f"bucket b\nendpoint {s3.url}\nstore_dir {tmp_path}/store\nlog_key log"
    async with delivering(S3Output, lines, tmp_path) as one:
        one.put(*ten_records(NOW_NS, {"b": 1}))
        await one.drain()

        [kept] = one.kept
        assert (kept["status"], kept["record"], kept["tag"]) == ("missing_log_key", {"b": 1}, "b")
        assert kept["message"] == "Could not find log_key 'log' in record"
        assert sorted(s3.lines()) == GOOD


def ten_records(time_ns: int, body: dict[str, Any]) -> list[RecordBatch]:
    """Two batches of good records with one between them that holds a bad one too."""
    good = [Record(NOW_NS + n, {"log": text}) for n, text in enumerate(GOOD)]
    bad = Record(time_ns, body)
    batches = [("a", good[:3]), ("b", [good[3], bad, *good[4:6]]), ("a", good[6:])]
    return [RecordBatch(tag, records, 100 * len(records)) for tag, records in batches]
