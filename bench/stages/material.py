"""The fixed data of the stages: the head of the corpus, and what the steps before a stage make of it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cache
from itertools import chain
from typing import Any, Literal

import msgspec

from shipper.inputs.tail.cri_block import CriBlock, read_cri_block
from shipper.record import Body, Record, RecordBatch

from ..corpus import cached

Text = Literal["json", "plain"]
"""What the containers of the corpus write: JSON lines of about 214 bytes, or plain text of about 163."""

NOW_NS = 1_795_000_000_000_000_000
TAG = "kube.var.log.containers.web-7d4b9c-abcde_shop_web-" + "a" * 64 + ".log"
BLOCK = 128 << 10
"""Bytes that tail reads at once."""

RECORDS = 2_000
"""Records that filters are given at a time, as four batches."""

_EACH = 500
_LONGEST_LINE = 1_000
_BLOCKS = 6
_SCALE = 0.01
_FILES = {"plain": 0, "json": 1}
_KUBERNETES = {
    "pod_name": "web-7d4b9c-abcde",
    "namespace_name": "shop",
    "pod_id": "8e6ebccc-2136-4c79-80e4-1d023677a66a",
    "labels": {"app.kubernetes.io/name": "web", "app.kubernetes.io/part-of": "shop", "pod-template-hash": "7d4b9c"},
    "annotations": {"prometheus.io/scrape": "true", "prometheus.io/port": "9102"},
    "host": "ip-192-168-71-180.eu-west-1.compute.internal",
    "pod_ip": "192.168.1.5",
    "container_name": "web",
    "docker_id": "a" * 64,
    "container_hash": "registry.example/shop/web@sha256:" + "c" * 64,
    "container_image": "registry.example/shop/web:1.2.3",
}


@cache
def cri_lines(text: Text, *, with_partials: bool = False) -> list[bytes]:
    """The first lines of the corpus; without partial lines, what belonged to them stands as lines of its own."""
    head = cached("two", _SCALE).files[_FILES[text]].read_bytes()[: _BLOCKS * BLOCK]
    lines = head[: head.rindex(b"\n") + 1].splitlines(keepends=True)
    return lines if with_partials else [line.replace(b" P ", b" F ", 1) for line in lines]


def blocks_of(lines: Sequence[bytes]) -> list[bytes]:
    """The lines in blocks as tail reads them; none ends with a partial line, and an open one at the end is left out."""
    return list(_blocks_of(lines))


def _blocks_of(lines: Sequence[bytes]) -> Iterator[bytes]:
    block: list[bytes] = []
    size = 0
    for line in lines:
        block.append(line)
        size += len(line)
        if size >= BLOCK - _LONGEST_LINE and b" P " not in line:
            yield b"".join(block)
            block, size = [], 0


def texts(text: Text) -> list[str]:
    """What the containers have written, line by line."""
    return [line.decode().rstrip("\n").split(" ", 3)[3] for line in cri_lines(text)]


def cri_batches(text: Text) -> list[RecordBatch]:
    """Batches as tail makes them of CRI lines: rows of texts, no objects."""
    return [RecordBatch(TAG, rows, rows.consumed) for rows in _rows(text)]


@cache
def _rows(text: Text) -> list[CriBlock]:
    blocks = blocks_of(cri_lines(text, with_partials=True))
    found = [rows for block in blocks if (rows := read_cri_block(block, NOW_NS)) is not None]
    assert sum(rows.consumed for rows in found) == sum(map(len, blocks))
    return found


@cache
def _structured() -> list[tuple[int, Body]]:
    """Times and bodies as they are behind the usual filters: a CRI line and the fields of its JSON."""
    found = []
    for record in chain.from_iterable(cri_batches("json")):
        fields = msgspec.json.decode(record.body["log"])
        found.append((record.time_ns, {**record.body, "log": fields.pop("msg"), **fields}))
    return found[:RECORDS]


def record_batches(logs: Sequence[str] = (), **more: Any) -> list[RecordBatch]:
    """Batches of new records, with these texts and some more fields; whoever gets them may change them."""
    records = [
        Record(time_ns, {**body, **{key: _copy(value) for key, value in more.items()}})
        for time_ns, body in _structured()
    ]
    for record, log in zip(records, logs, strict=False):
        record.body["log"] = log
    return [RecordBatch(TAG, records[start : start + _EACH], 200 * _EACH) for start in range(0, RECORDS, _EACH)]


def _copy(value: Any) -> Any:
    return {k: _copy(v) for k, v in value.items()} if isinstance(value, dict) else value


def pod_batches() -> list[RecordBatch]:
    """Batches of new records that tell their pod."""
    return record_batches(kubernetes=_KUBERNETES)


def encoded_pod_batches() -> list[RecordBatch]:
    """The same with the map as the filter kubernetes adds it, encoded ahead."""
    return record_batches(kubernetes=msgspec.Raw(msgspec.json.encode(_KUBERNETES)))


def count(batches: Sequence[RecordBatch]) -> int:
    return sum(map(len, batches))
