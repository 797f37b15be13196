"""Users' rows F1 to F6: what is stored on disk survives, is found again, and costs little.

F5 is about probes; what they need to know is in the metrics of the storage.
"""

from __future__ import annotations

import os
import random
import re
import time
from itertools import pairwise
from pathlib import Path

import pytest

from tests.buffers.filesystem.chunks import chunk, event
from tests.buffers.filesystem.sparse import build_backlog

from .harness import assert_complete, write_steadily
from .storing import Station, resident_kb


def damage(path: Path, way: str, rng: random.Random) -> None:
    """Flip a bit in the records of a segment, or cut it short."""
    at = rng.randrange(40, path.stat().st_size * 9 // 10)
    if way == "cut":
        os.truncate(path, at)
        return
    with path.open("r+b") as file:
        file.seek(at)
        byte = file.read(1)[0]
        file.seek(at)
        file.write(bytes([byte ^ 1 << rng.randrange(8)]))


@pytest.mark.parametrize("way", ["flip", "cut"])
def test_f1_damaged_segments_cost_what_is_damaged_and_nothing_else(tmp_path: Path, way: str) -> None:
    """Scale 1 to 30: 30 segments, 12 of them damaged; a thousand are damaged in the tests of the buffer.

    Where a segment was cut, the end is missing that tells what it held, so the loss is seen and cannot be counted.
    """
    rng = random.Random(os.environ.get("FAULT_SEED") or f"f1 {way}")
    with Station(tmp_path, output="storage.total_limit_size 32M") as station:
        log = station.log()
        station.start()
        station.close()
        log.write(100_000)
        station.until_read()
        station.shipper.kill()
        segments = sorted(station.storage.rglob("*.seg"))
        picked = rng.sample(segments[:-1], 12)
        for segment in picked:
            damage(segment, way, rng)
        station.open()
        began = time.monotonic()
        station.start()
        started_s = time.monotonic() - began
        station.until(lambda: not list(station.storage.rglob("shipper/*/*.seg")))
        ledger = station.stop()
        verdict, quarantine = station.verdict(), station.storage / "quarantine" / "tail.0"

        assert len(segments) >= 30
        assert started_s < 3  # with the start of the interpreter
        assert (verdict.broken, verdict.disordered, verdict.duplicates) == (0, 0, 0)
        assert 0 < verdict.lost < log.written * 13 / len(segments)
        assert ledger["a"]["held"] == 0
        assert {path.name for path in quarantine.glob("*.seg")} == {segment.name for segment in picked}
        assert len(list(quarantine.glob("*.reason"))) == len(picked)
        if way == "flip":
            assert ledger["a"]["dropped.storage_damaged"] == ledger["a"]["dropped"] == verdict.lost


@pytest.mark.parametrize("sync", ["normal", "full"])
def test_f2_it_restarts_cleanly_whenever_it_is_killed(tmp_path: Path, sync: str) -> None:
    """A failure of every single step of the disk is in the tests of the buffer; here are kills of the process."""
    rng = random.Random(os.environ.get("FAULT_SEED") or f"f2 {sync}")
    with Station(tmp_path, service=f"storage.sync {sync}", output="storage.total_limit_size 100M") as station:
        log = station.log()
        station.start()
        for number in range(8):
            if number % 3 == 1:
                station.close()
            if number % 3 == 0 and number:
                station.open()
            for _ in write_steadily(log, 5000, rng.uniform(0.05, 0.6)):
                pass
            station.shipper.kill()
            station.start(until_watching=False)
        station.open()
        station.until_arrived()
        station.stop()
        verdict = station.verdict()

        assert (verdict.lost, verdict.broken) == (0, 0), str(verdict)
        assert not list(station.storage.rglob("shipper/*/*.seg"))


@pytest.mark.parametrize("megabytes", [300])
def test_f3_a_large_backlog_is_there_at_once_and_takes_little_memory(tmp_path: Path, megabytes: int) -> None:
    """Scale 1 to 70: 300 MB instead of 20 GiB, in sparse files; it is the start and the memory that are measured."""
    sections = "[OUTPUT]\n    name null\n    alias one\n    match *\n"
    with Station(tmp_path, (), sections=sections) as station:
        records = build_backlog(str(station.storage), megabytes << 20, "tail.0")
        log = station.log()
        began = time.monotonic()
        station.start()
        started_s = time.monotonic() - began
        log.write(10)
        peak_kb = 0

        def is_drained() -> bool:
            nonlocal peak_kb
            peak_kb = max(peak_kb, resident_kb(station.shipper.check().pid))
            return station.stored_bytes() < 20_000_000

        station.until(is_drained, 60)
        ledger = station.stop()

        assert started_s < 5
        assert peak_kb < 128_000
        assert ledger["one"]["delivered"] == records + 10


def test_f4_a_backlog_drains_while_live_records_are_delivered(tmp_path: Path) -> None:
    """Scale 1 to 25: 40 MB of backlog, live records at 1 MB/s.

    The streams of the backlog keep their order, so their live records come behind it; other streams do not wait.
    """
    with Station(tmp_path, output="storage.total_limit_size 1G") as station:
        log = station.log()
        station.start()
        station.close()
        log.write(250_000)
        station.until_read()
        backlog = station.stored_bytes()
        station.shipper.kill()
        station.open()
        station.start(until_watching=False)
        other = station.log("other")
        delays, backlogs = [], []
        for _ in range(5):
            began = time.monotonic()
            other.write(5000)
            last = f"other:stdout:{other.written - 1}"
            station.until(lambda last=last: any(line.startswith(last) for line in station.arrived()[-20_000:]))  # type: ignore[misc]
            delays.append(time.monotonic() - began)
            backlogs.append(station.stored_bytes())
            time.sleep(max(0.0, began + 1 - time.monotonic()))
        station.until_arrived()
        station.stop()

        assert backlog > 40_000_000
        assert max(delays) < 10
        assert backlogs[-1] < backlog / 2
        assert all(later < earlier + 2_000_000 for earlier, later in pairwise([backlog, *backlogs]))
        assert_complete(station.verdict())


def test_f6_with_memory_storage_nothing_is_written_twice(tmp_path: Path) -> None:
    """40 MB through a healthy sink; what the process makes the disk write is less than 1 % of that."""
    sections = "[OUTPUT]\n    name null\n    match *\n"
    with Station(tmp_path, (), tail="storage.type memory", sections=sections) as station:
        log = station.log()
        station.start()
        size = sum(log.write(25_000) for _ in range(8))
        station.until_read()
        written = int(re.findall(r"write_bytes: (\d+)", Path(f"/proc/{station.shipper.check().pid}/io").read_text())[0])
        station.stop()

        assert size > 30_000_000
        assert written < size / 100


def test_chunk_files_of_fluent_bit_are_delivered_at_the_start(tmp_path: Path) -> None:
    """Both forms of metadata, and one that cannot be read."""
    with Station(tmp_path, tail="storage.type memory") as station:
        folder = station.storage / "tail.3"
        folder.mkdir(parents=True)
        (folder / "1-1700000000.1.flb").write_bytes(chunk(event({"log": "first"}), b"t.one"))
        (folder / "1-1700000001.1.flb").write_bytes(chunk(event({"log": "second"}), b"t.two", is_legacy=True))
        (folder / "1-1700000002.1.flb").write_bytes(b"nothing of the kind")
        station.start()
        station.until(lambda: len(station.arrived()) == 2 and not list(folder.iterdir()))
        ledger = station.stop()

        assert station.arrived() == ["first", "second"]
        assert ledger["a"]["routed"] == ledger["a"]["delivered"] == 2
        assert (station.storage / "quarantine" / "tail.3" / "1-1700000002.1.flb").exists()
