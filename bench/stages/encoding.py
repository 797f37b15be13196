"""Batches into JSON and MessagePack.

Records are as filters leave them, rows as tail makes them of CRI lines, and enriched rows are those that the kubernetes
filter with Merge_Log leaves.
"""

from __future__ import annotations

import msgspec
import pytest

from shipper.codecs.json_lines import JsonEncoder
from shipper.codecs.msgpack_events import encode_bodies, encode_events
from shipper.record import RecordBatch

from .material import count, cri_batches, record_batches
from .measuring import Stage


@pytest.fixture(params=["records", "rows", "enriched rows"])
def batches(request: pytest.FixtureRequest, enriched: list[RecordBatch]) -> list[RecordBatch]:
    if request.param == "enriched rows":
        return enriched
    return record_batches() if request.param == "records" else cri_batches("json")


def test_JSON_lines(stage: Stage, batches: list[RecordBatch]) -> None:
    encode = JsonEncoder().encode_lines

    made = stage.measure(lambda: [encode(batch.content) for batch in batches], records=count(batches))

    lines = b"".join(made).splitlines()
    assert len(lines) == count(batches)
    assert _is_first(msgspec.json.decode(lines[0]), batches)


def test_JSON_with_dates(stage: Stage, batches: list[RecordBatch]) -> None:
    encode = JsonEncoder().encode_dated

    made = stage.measure(
        lambda: [encode(batch.content, "date", "iso8601") for batch in batches], records=count(batches)
    )

    assert sum(map(len, made)) == count(batches)
    body = msgspec.json.decode(made[0][0])
    assert body.pop("date").startswith("2026-11-20T10:00:00.")
    assert _is_first(body, batches)


def test_MessagePack_bodies(stage: Stage, batches: list[RecordBatch]) -> None:
    made = stage.measure(lambda: [encode_bodies(batch.content) for batch in batches], records=count(batches))

    assert sum(map(len, made)) == count(batches)
    assert _is_first(msgspec.msgpack.decode(made[0][0]), batches)


def test_MessagePack_events(stage: Stage, batches: list[RecordBatch]) -> None:
    made = stage.measure(lambda: [encode_events(batch.content) for batch in batches], records=count(batches))

    assert sum(map(len, made)) == count(batches)
    assert _is_first(msgspec.msgpack.decode(made[0][0])[1], batches)


def _is_first(body: object, batches: list[RecordBatch]) -> bool:
    """Whether this is the body of the first record, as JSON tells it."""
    first = batches[0].content.records()[0].body
    return bool(body == msgspec.json.decode(msgspec.json.encode(first)))
