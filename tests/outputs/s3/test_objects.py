"""What arrives in the bucket: keys, bytes, headers."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from pathlib import Path

import pytest

from shipper.record import Record, RecordBatch

from .making import T0, batch_of, lines_from, options_of, running
from .server import SmallS3

pytestmark = pytest.mark.usefixtures("aws_keys")

POD = {"pod_name": "p1", "labels": {"app.kubernetes.io/name": "web", "1x": "y", "num": 5}}
FIRST = {"kubernetes": POD, "log": 'hello "w" é', "stream": "stdout", "tenant": "t1"}
SECOND = {
    "kubernetes": {"pod_name": "p1", "labels": {"app.kubernetes.io/name": "web"}},
    "log": "second",
    "stream": "stdout",
    "tenant": "t2",
    "n": 7,
    "arr": [1, "x"],
    "f": 2.0,
}
THIRD = {"log": "third", "tenant": "t1"}
PUT = "total_file_size 1M\nupload_timeout 1m\n"


async def test_the_objects_of_kubernetes_events_are_as_recorded(s3: SmallS3, tmp_path: Path) -> None:
    key = "/fluentbit-logs/k8s_events/year=%Y/month=%m/day=%d/%H-%M-%S"
    lines = f"total_file_size 10M\nupload_timeout 1m\ns3_key_format {key}"
    async with running(options_of(s3.url, tmp_path, lines)) as one:
        one.put(batch_of(FIRST, SECOND, THIRD))
        await one.drain()

    [(found, stored)] = s3.objects.items()
    assert re.fullmatch("fluentbit-logs/k8s_events/year=2023/month=11/day=14/22-13-20-object[0-9A-Za-z]{8}", found)
    assert len(stored.data) == 442
    digest = "3b680f40c8e1ff658bafb507da090a1dbf73275f137b67fdeb514311541fe3d3"
    assert stored.headers["x-amz-content-sha256"] == hashlib.sha256(stored.data).hexdigest() == digest
    assert stored.headers["content-length"] == "442"
    assert stored.headers["user-agent"].startswith("aws-fluent-bit-plugin")
    assert stored.headers["authorization"].startswith("AWS4-HMAC-SHA256 Credential=x/")
    assert not {"content-type", "content-encoding", "content-md5", "if-none-match"} & set(stored.headers)


async def test_events_in_an_object_match_the_pattern_of_a_hive_table(s3: SmallS3, tmp_path: Path) -> None:
    event = {
        "metadata": {"name": "web.17a", "namespace": "shop", "uid": "u0"},
        "involvedObject": {"kind": "Pod", "namespace": "shop", "name": "web", "uid": "u1"},
        "reason": "Scheduled",
        "message": "Successfully assigned shop/web to n1",
        "source": {},
        "type": "Normal",
        "reportingComponent": "default-scheduler",
        "reportingInstance": "n1",
    }
    async with running(options_of(s3.url, tmp_path, "total_file_size 10M")) as one:
        one.put(batch_of(event, event, tag="k8s_events"))
        await one.drain()

    pattern = (
        r'\{"date":"([^"]*)","metadata":[^ ]*"involvedObject":\{"kind":"([^"]*)","namespace":"([^"]*)","name":"([^"]*)"'
        r'[^ ]*"reason":"([^"]*)","message":"([^"]*)".*"reportingComponent":"([^"]*)","reportingInstance":"([^"]*)"\}'
    )
    [stored] = s3.objects.values()
    rows = [re.fullmatch(pattern, line) for line in stored.text.splitlines()]
    assert [row and row.groups()[1:] for row in rows] == [
        ("Pod", "shop", "web", "Scheduled", "Successfully assigned shop/web to n1", "default-scheduler", "n1")
    ] * 2
    assert stored.text.endswith("\n")


@pytest.mark.parametrize("word", ["otlp_json", "otlp_json_pretty"])
async def test_documents_of_opentelemetry_are_there_once_after_a_kill(s3: SmallS3, tmp_path: Path, word: str) -> None:
    options = options_of(s3.url, tmp_path, f"{PUT}format {word}")
    async with running(options) as one:
        one.put(batch_of({"log": "a", "n": 1}, {"log": "b\nc"}, origin=lines_from(0, 2)))
        await one.until(lambda: one.buffer.statistics().records == 0)
    async with running(options) as one:
        one.put(batch_of({"log": "a", "n": 1}, {"log": "b\nc"}, {"log": "d"}, origin=lines_from(0, 3)))
        await one.drain()

    text, records = "".join(stored.text for stored in s3.objects.values()), []
    while text:
        document, end = json.JSONDecoder().raw_decode(text)
        records += document["resourceLogs"][0]["scopeLogs"][0]["logRecords"]
        text = text[end:].lstrip()
    assert sorted(r["body"]["stringValue"] for r in records) == ["a", "b\nc", "d"]
    assert {r["timeUnixNano"] for r in records} == {str(T0 + n * 1_000_000) for n in range(3)}


async def test_headers_of_objects_come_from_the_options(s3: SmallS3, tmp_path: Path) -> None:
    lines = (
        "content_type application/json\ncanned_acl private\nstorage_class STANDARD_IA\nsend_content_md5 on\n"
        "server_side_encryption aws:kms\nsse_kms_key_id k1\n"
    )
    async with running(options_of(s3.url, tmp_path, PUT + lines)) as one:
        one.put(batch_of(THIRD))
        await one.drain()

    [stored] = s3.objects.values()
    wanted = {
        "content-type": "application/json",
        "x-amz-acl": "private",
        "x-amz-storage-class": "STANDARD_IA",
        "x-amz-server-side-encryption": "aws:kms",
        "x-amz-server-side-encryption-aws-kms-key-id": "k1",
        "content-md5": base64.b64encode(hashlib.md5(stored.data).digest()).decode(),
    }
    assert {name: stored.headers.get(name) for name in wanted} == wanted


@pytest.mark.parametrize("compression", ["gzip", "zstd", "snappy"])
async def test_compressed_objects_say_how(s3: SmallS3, tmp_path: Path, compression: str) -> None:
    async with running(options_of(s3.url, tmp_path, f"{PUT}compression {compression}")) as one:
        for number in range(5):
            one.put(batch_of({"n": number}))
        await one.drain()

    [stored] = s3.objects.values()
    assert stored.headers["content-encoding"] == compression
    assert [line.partition('"n":')[2] for line in stored.text.splitlines()] == [f"{n}}}" for n in range(5)]


@pytest.mark.parametrize(
    ("lines", "text"),
    [
        ("", '{"date":"2023-11-14T22:13:20.001000Z","log":"a","n":1}\n'),
        ("json_date_key at", '{"at":"2023-11-14T22:13:20.001000Z","log":"a","n":1}\n'),
        ("json_date_key false", '{"log":"a","n":1}\n'),
        ("json_date_format double", '{"date":1700000000.001,"log":"a","n":1}\n'),
        ("json_date_format epoch", '{"date":1700000000,"log":"a","n":1}\n'),
        ("log_key log", "a\n"),
        ("log_key n", "1\n"),
    ],
)
async def test_lines_are_as_the_options_say(s3: SmallS3, tmp_path: Path, lines: str, text: str) -> None:
    async with running(options_of(s3.url, tmp_path, PUT + lines)) as one:
        one.put(batch_of({"log": "a", "n": 1}))
        await one.drain()

    assert [stored.text for stored in s3.objects.values()] == [text]


async def test_records_without_the_log_key_are_counted_and_left_out(s3: SmallS3, tmp_path: Path) -> None:
    async with running(options_of(s3.url, tmp_path, f"{PUT}log_key log")) as one:
        one.put(batch_of({"log": "line\nof two"}, {"other": 1}, {"log": {"a": [1]}}))
        await one.drain()

        assert one.count("proc_records_total") == 2
        assert one.context.metrics.by_label("output_dropped_records_total", "reason", name="s3.0") == {
            "missing_log_key": 1
        }
    assert [stored.text for stored in s3.objects.values()] == ['line\nof two\n{"a":[1]}\n']


async def test_metadata_comes_behind_the_date(s3: SmallS3, tmp_path: Path) -> None:
    batch = RecordBatch("t", [Record(T0, {"log": "x"}, {"trace": "abc"})], 10)
    async with running(options_of(s3.url, tmp_path, PUT)) as one:
        one.put(batch)
        await one.drain()

    assert s3.lines() == [
        '{"date":"2023-11-14T22:13:20.001000Z","__internal__":{"log_metadata":{"trace":"abc"}},"log":"x"}'
    ]


async def test_each_tag_has_objects_of_its_own_and_hostile_tags_stay_in_the_bucket(s3: SmallS3, tmp_path: Path) -> None:
    tags = ["../../../etc/passwd", "a b?x=1&y#z", "/abs", "a\nb", "x" * 3000, "%n", "$INDEX", "..", "é"]
    folder = tmp_path / "store"
    async with running(options_of(s3.url, folder, f"{PUT}s3_key_format /l/$TAG/o\nstatic_file_path on")) as one:
        one.put(*(batch_of({"tag": tag}, tag=tag) for tag in tags))
        await one.drain()

    assert len(s3.objects) == len(tags)
    assert all(key.startswith("l/") and ".." not in key.split("/") for key in s3.objects)
    assert [path.name for path in tmp_path.iterdir()] == ["store"]


async def test_objects_end_with_the_delivery_that_fills_them(s3: SmallS3, tmp_path: Path) -> None:
    async with running(options_of(s3.url, tmp_path, f"{PUT}s3_key_format /part-$INDEX")) as one:
        for number in range(5):
            one.put(batch_of({"n": number, "pad": "x" * 400_000}))
            await one.until(lambda n=number: one.buffer.statistics().records == 0)
        await one.drain()

    assert sorted(s3.objects) == ["part-0", "part-1"]
    assert [s3.objects[key].text.count("\n") for key in sorted(s3.objects)] == [3, 2]


async def test_a_small_object_is_sent_when_its_time_is_over(s3: SmallS3, tmp_path: Path) -> None:
    async with running(options_of(s3.url, tmp_path, "total_file_size 1M\nupload_timeout 0.1")) as one:
        one.put(batch_of(THIRD))
        await one.until(lambda: len(s3.objects) == 1)
        await one.until(lambda: one.count("proc_records_total") == 1)

        assert one.dispatcher.held() == (0, 0)


async def test_the_index_counts_for_each_prefix_and_goes_on_after_a_restart(s3: SmallS3, tmp_path: Path) -> None:
    options = options_of(s3.url, tmp_path, f"{PUT}s3_key_format /$TAG/%Y-$INDEX")
    for number in range(3):
        async with running(options) as one:
            one.put(batch_of({"n": number}, tag="a"))
            if number != 1:
                one.put(batch_of({"n": number}, tag="b"))
            await one.drain()

    assert sorted(s3.objects) == ["a/2023-0", "a/2023-1", "a/2023-2", "b/2023-0", "b/2023-1"]


async def test_an_object_that_exists_is_not_written_over(s3: SmallS3, tmp_path: Path) -> None:
    options = options_of(s3.url, tmp_path, f"{PUT}s3_key_format /fixed\nstatic_file_path on")
    for number in range(3):
        async with running(options) as one:
            one.put(batch_of({"n": number}))
            await one.drain()

    assert len(s3.objects) == 3
    assert '"n":0' in s3.objects["fixed"].text
    assert sum(key.startswith("fixed-object") for key in s3.objects) == 2


async def test_a_receipt_is_settled_when_the_object_is_complete(s3: SmallS3, tmp_path: Path) -> None:
    batch = batch_of(THIRD)
    async with running(options_of(s3.url, tmp_path, PUT)) as one:
        one.put(batch)
        await one.until(lambda: one.buffer.statistics().records == 0)
        before = (batch.receipt.is_settled, one.dispatcher.held(), one.count("proc_records_total"), len(s3.objects))
        await one.drain()

        assert before == (False, (1, 100), 0, 0)
        assert batch.receipt.is_settled
        assert one.count("proc_records_total") == 1
        assert not list(tmp_path.rglob("*.data"))
