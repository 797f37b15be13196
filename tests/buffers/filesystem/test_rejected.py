"""X3: records that a destination has refused are kept with its reason, as long as there is room."""

from __future__ import annotations

import errno
import json
from pathlib import Path

from shipper.buffers.filesystem.rejected import RejectedStore
from shipper.disk import Disk, SystemDisk
from shipper.log import Log
from shipper.metrics import Metrics
from shipper.record import Record
from shipper.testing import FaultyDisk, ManualClock


def store_in(folder: Path, limit: int = 0, disk: Disk | None = None, metrics: Metrics | None = None) -> RejectedStore:
    store = RejectedStore(str(folder), limit, ManualClock(5), Log(""), disk or SystemDisk(), metrics or Metrics())
    store.open()
    return store


def test_a_line_tells_everything_about_a_rejected_record(tmp_path: Path) -> None:
    store = store_in(tmp_path)
    kept = store.keep(
        "loki.0", "400", "too far behind", "app.web", [Record(7, {"log": "ä\nb"}), Record(8, {}, {"m": 1})]
    )
    lines = (tmp_path / "loki.0" / "rejected.jsonl").read_text().splitlines()

    assert kept
    common = {"time": 5, "output": "loki.0", "status": "400", "message": "too far behind", "tag": "app.web"}
    assert [json.loads(line) for line in lines] == [
        {**common, "record_time": 7, "record": {"log": "ä\nb"}},
        {**common, "record_time": 8, "record": {}, "metadata": {"m": 1}},
    ]


def test_records_are_added_to_those_of_earlier_runs_and_each_output_has_a_file(tmp_path: Path) -> None:
    store_in(tmp_path).keep("a", "1", "m", "t", [Record(1, {"n": 1})])
    again = store_in(tmp_path)
    again.keep("a", "1", "m", "t", [Record(1, {"n": 2})])
    again.keep("../b", "1", "m", "t", [Record(1, {"n": 3})])

    assert [json.loads(line)["record"]["n"] for line in (tmp_path / "a/rejected.jsonl").read_text().splitlines()] == [
        1,
        2,
    ]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["%2E.%2Fb", "a"]
    assert again.size == sum(path.stat().st_size for path in tmp_path.rglob("*.jsonl"))


def test_at_the_limit_no_more_is_kept_and_nothing_is_deleted(tmp_path: Path) -> None:
    metrics = Metrics()
    store = store_in(tmp_path, 200, metrics=metrics)
    kept = [store.keep("a", "1", "m", "t", [Record(1, {"n": n})]) for n in range(5)]

    assert kept == [True, True, False, False, False]
    assert store.size <= 200
    assert metrics.value("storage_rejected_kept_records_total") == 2
    assert metrics.value("storage_rejected_not_kept_records_total") == 3


def test_a_disk_that_fails_half_way_leaves_no_half_line(tmp_path: Path) -> None:
    disk = FaultyDisk(0, ("write",), errno.ENOSPC, "short")
    store = store_in(tmp_path, disk=disk)
    store.keep("a", "1", "m", "t", [Record(1, {"n": 1})])
    disk.fail_after(0)
    failed = store.keep("a", "1", "m", "t", [Record(1, {"n": 2})])
    store.keep("a", "1", "m", "t", [Record(1, {"n": 3})])
    lines = (tmp_path / "a" / "rejected.jsonl").read_text().splitlines()

    assert not failed
    assert [json.loads(line)["record"]["n"] for line in lines] == [1, 3]


def test_nothing_is_written_for_no_records(tmp_path: Path) -> None:
    assert store_in(tmp_path).keep("a", "1", "m", "t", [])
    assert list(tmp_path.iterdir()) == []
