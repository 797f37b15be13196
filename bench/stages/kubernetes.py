"""The kubernetes filter, its metadata known: over rows of CRI lines up to their JSON, and over records."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import msgspec
import pytest

from shipper.codecs.json_lines import JsonEncoder
from shipper.filters.kubernetes import KubernetesFilter
from shipper.record import RecordBatch

from .material import RECORDS, count, cri_batches, record_batches
from .measuring import Stage
from .pods import applied, filter_of

_FIELDS = {"user": "u-1", "took_ms": 12, "path": "/api/v1/orders"}

_encode_lines = JsonEncoder().encode_lines


def _lines(one: KubernetesFilter, batches: list[RecordBatch]) -> bytes:
    return b"".join([_encode_lines(left.content) for left in applied(one, batches)])


def test_rows(stage: Stage, tmp_path: Path) -> None:
    one, records = filter_of(tmp_path, ""), count(cri_batches("json"))

    lines = stage.measure_fresh(partial(cri_batches, "json"), partial(_lines, one), records=records)

    assert lines.count(b"\n") == records
    assert lines.count(b'"kubernetes":{"pod_name":"web-7d4b9c-abcde"') == records
    assert b'"app.kubernetes.io/name":"web"' in lines


@pytest.mark.parametrize(
    ("options", "has_log"),
    [("merge_log on", True), ("merge_log on\nkeep_log off", False)],
    ids=["with the log", "without the log"],
)
def test_merged_rows(stage: Stage, tmp_path: Path, options: str, has_log: bool) -> None:
    one, records = filter_of(tmp_path, options), count(cri_batches("json"))

    lines = stage.measure_fresh(partial(cri_batches, "json"), partial(_lines, one), records=records)

    first = msgspec.json.decode(lines.partition(b"\n")[0])
    assert lines.count(b'"pod_name":') == records
    assert first.keys() >= {"level", "msg", "trace_id", "status", "latency_ms"}
    assert ("log" in first) == has_log


@pytest.mark.parametrize("options", ["", "merge_log on\nmerge_log_key fields"], ids=["", "merged"])
def test_records(stage: Stage, tmp_path: Path, options: str) -> None:
    one = filter_of(tmp_path, options)
    with_json = partial(record_batches, log=msgspec.json.encode(_FIELDS).decode())

    left = stage.measure_fresh(with_json, partial(applied, one), records=RECORDS)

    assert count(left) == RECORDS
    body = left[0].records[0].body
    assert msgspec.json.decode(msgspec.json.encode(body["kubernetes"]))["namespace_name"] == "shop"
    assert body.get("fields") == (_FIELDS if options else None)


def test_records_of_merged_rows(stage: Stage, enriched: list[RecordBatch]) -> None:
    made = stage.measure(lambda: [batch.content.records() for batch in enriched], records=count(enriched))

    assert sum(map(len, made)) == count(enriched)
    assert made[0][0].body.keys() >= {"log", "trace_id", "kubernetes"}
