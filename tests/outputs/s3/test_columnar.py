"""Parquet and Arrow objects, read back with the library that everybody reads them with."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import pytest

from .making import batch_of, options_of, running
from .server import SmallS3

pa = pytest.importorskip("pyarrow")
parquet = pytest.importorskip("pyarrow.parquet")
pytestmark = pytest.mark.usefixtures("aws_keys")

EVENT = {
    "metadata": {"name": "web.1", "namespace": "shop", "managedFields": [{"manager": "kubelet"}]},
    "involvedObject": {"kind": "Pod", "namespace": "shop", "name": "web", "uid": "u1"},
    "reason": "Scheduled",
    "message": "Successfully assigned",
    "source": {},
    "firstTimestamp": "2023-11-14T22:13:20Z",
    "count": 1,
    "reportingComponent": "default-scheduler",
    "reportingInstance": "",
}


def table_of(data: bytes, name: str) -> Any:
    return parquet.read_table(io.BytesIO(data)) if name == "parquet" else pa.ipc.open_file(data).read_all()


async def stored(s3: SmallS3, folder: Path, lines: str, *bodies: dict[str, Any]) -> Any:
    async with running(options_of(s3.url, folder, f"total_file_size 10M\n{lines}")) as one:
        one.put(batch_of(*bodies))
        await one.drain()
    [found] = s3.objects.values()
    assert "content-encoding" not in found.headers
    return table_of(found.data, "arrow" if "arrow" in lines else "parquet").to_pylist()


@pytest.mark.parametrize(
    "lines",
    [
        "format parquet",
        "format parquet\ncompression gzip",
        "format parquet\ncompression zstd",
        "format parquet\ncompression snappy",
        "compression parquet",
        "format arrow",
        "format arrow\ncompression zstd",
    ],
)
async def test_rows_and_columns(s3: SmallS3, tmp_path: Path, lines: str) -> None:
    rows = await stored(s3, tmp_path, lines, {"log": "a", "k": {"pod": "p"}}, {"log": "é", "n": 2})

    assert rows == [
        {"date": "2023-11-14T22:13:20.001000Z", "log": "a", "k": {"pod": "p"}, "n": None},
        {"date": "2023-11-14T22:13:20.002000Z", "log": "é", "k": None, "n": 2},
    ]


async def test_events_of_kubernetes_have_the_columns_that_are_asked_for(s3: SmallS3, tmp_path: Path) -> None:
    [row] = await stored(s3, tmp_path, "format parquet", EVENT)

    assert row["date"] == "2023-11-14T22:13:20.001000Z"
    assert row["firstTimestamp"] == "2023-11-14T22:13:20Z"
    assert row["involvedObject"] == EVENT["involvedObject"]
    assert (row["reason"], row["message"], row["reportingComponent"]) == (
        "Scheduled",
        "Successfully assigned",
        "default-scheduler",
    )


async def test_values_of_several_types_are_text(s3: SmallS3, tmp_path: Path) -> None:
    rows = await stored(
        s3,
        tmp_path,
        "format parquet",
        {"v": 1, "w": 1, "deep": {"x": 1}, "huge": 1, "list": [1, "a"]},
        {"v": "one", "w": 1.5, "deep": {"x": [True]}, "huge": 2**64 - 1},
        {"v": {"a": None}, "empty": {}},
    )

    assert [row["v"] for row in rows] == ["1", '"one"', '{"a":null}']
    assert [row["w"] for row in rows] == [1.0, 1.5, None]
    assert [row["deep"] and row["deep"]["x"] for row in rows] == ["1", "[true]", None]
    assert rows[1]["huge"] == float(2**64 - 1)
    assert rows[0]["list"] == ["1", '"a"']
    assert rows[2]["empty"] == "{}"


def nested(levels: int, kind: str) -> Any:
    value: Any = 1
    for level in range(levels):
        value = {"a": value} if kind == "maps" or (kind == "both" and level % 2) else [value]
    return value


@pytest.mark.parametrize("lines", ["format parquet", "format arrow"])
@pytest.mark.parametrize("kind", ["maps", "lists", "both"])
@pytest.mark.parametrize("levels", [20, 60, 120, 300])
async def test_a_value_that_is_nested_deep_does_not_make_the_object_unreadable(
    s3: SmallS3, tmp_path: Path, lines: str, kind: str, levels: int
) -> None:
    value = nested(levels, kind)
    first, second = await stored(s3, tmp_path, lines, {"n": 1, "deep": value}, {"n": 2})

    assert (first["n"], second["n"], second["deep"]) == (1, 2, None)
    found = json.dumps(first["deep"], separators=(",", ":")).replace("\\", "")
    assert found.count("[") + found.count("{") == levels


async def test_a_large_object_is_written_in_stretches(
    s3: SmallS3, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shipper.outputs.s3.columnar._STRETCH", 200)
    bodies: list[dict[str, Any]] = [{"n": n} if n % 7 else {"n": n, "late": n} for n in range(1, 100)]
    rows = await stored(s3, tmp_path, "format parquet\ncompression zstd", *bodies)

    assert [row["n"] for row in rows] == list(range(1, 100))
    assert [row["late"] for row in rows if row["late"]] == list(range(7, 100, 7))
