"""Users' rows L1 to L3, and disks that are full, read-only or closed to us."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.components.shipper_process import shipper_command

from .harness import assert_complete
from .storing import Station


def test_l1_what_is_skipped_at_the_limit_is_counted(tmp_path: Path) -> None:
    """Scale 1 to 2: 100,000 records; the other output gets all of them."""
    with Station(tmp_path, ["a:storage.total_limit_size 2M; storage.on_full drop_oldest", "b"]) as station:
        log = station.log()
        station.start()
        station.close()
        log.write(100_000)
        station.until_arrived("b")
        station.until_read()
        station.open()
        station.until(lambda: station.arrived("a")[-1:] == station.arrived("b")[-1:])
        ledger = station.stop()
        verdict = station.verdict("a")

        assert ledger["a"]["dropped.storage_limit"] == ledger["a"]["dropped"] == verdict.lost > 50_000
        assert ledger["a"]["delivered"] + ledger["a"]["dropped"] == 100_000
        assert (ledger["b"]["delivered"], ledger["b"]["dropped"]) == (100_000, 0)
        assert (verdict.broken, verdict.disordered, verdict.duplicates) == (0, 0, 0)
        assert station.told("stored records are dropped, storage.total_limit_size is reached, output=a")


def test_l2_at_the_limit_a_tail_waits_and_nothing_is_skipped(tmp_path: Path) -> None:
    """Scale 1 to 300: the output is away for about two seconds."""
    with Station(tmp_path, output="storage.total_limit_size 2M") as station:
        log = station.log()
        station.start()
        station.close()
        log.write(60_000)
        station.until_told(r"\[input\] tail.0 paused \(\d+B wait for a, its storage.total_limit_size is 2000000B\)")
        time.sleep(1)
        stored = station.stored_bytes()
        station.open()
        station.until_arrived()
        ledger = station.stop()

        assert stored < 2_600_000
        assert ledger["a"]["dropped"] == 0
        assert_complete(station.verdict())


def test_l3_the_limit_holds_however_many_outputs_there_are(tmp_path: Path) -> None:
    """Scale 1 to 10: a limit of 10 MB. Above it may be one segment that is only partly needed, and one batch."""
    names = [f"o{number}" for number in range(10)]
    with Station(tmp_path, names, output="storage.total_limit_size 10M; storage.on_full drop_oldest") as station:
        log = station.log()
        station.start()
        for name in names:
            station.close(name)
        most = 0
        for _ in range(12):
            log.write(10_000)
            station.until_read()
            most = max(most, station.stored_bytes())
        for name in names:
            station.open(name)
        station.until(lambda: all(station.arrived(n)[-1:] == log.path.read_text().splitlines()[-1:] for n in names))
        ledger = station.stop()

        assert 8_000_000 < most < 11_500_000
        for name in names:
            assert ledger[name]["delivered"] + ledger[name]["dropped.storage_limit"] == log.written


@contextmanager
def small_disk(folder: Path, size: str) -> Iterator[None]:
    """A file system of this size in this folder."""
    folder.mkdir()
    mounting = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)], check=False)
    if mounting.returncode:
        pytest.skip("a file system cannot be mounted here")
    try:
        yield
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


def test_a_disk_that_is_full_pauses_the_input_until_there_is_space_again(tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    with (
        small_disk(disk, "4m"),
        Station(tmp_path, service="storage.free_space_floor 0", path=str(disk / "storage")) as station,
    ):
        log = station.log()
        station.start()
        station.close()
        log.write(50_000)
        station.until_told(r"\[error\] records cannot be stored; .*No space left on device")
        station.until_told(r"\[input\] tail.0 paused \(the disk refuses: .*No space left")
        station.open()
        station.until_arrived()
        ledger = station.stop()

        assert station.told("records can be stored again")
        assert ledger["a"]["dropped"] == 0
        assert_complete(station.verdict())


def test_the_floor_of_free_space_is_kept(tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    with (
        small_disk(disk, "20m"),
        Station(tmp_path, service="storage.free_space_floor 15M", path=str(disk / "storage")) as station,
    ):
        log = station.log()
        station.start()
        station.close()
        log.write(60_000)
        station.until_told(r"\[input\] tail.0 paused \(\d+B free in .*, storage.free_space_floor is 15000000B\)")
        found = os.statvfs(disk)
        free = found.f_bavail * found.f_frsize
        station.open()
        station.until_arrived()
        station.stop()

        assert 14_000_000 < free < 16_500_000
        assert_complete(station.verdict())


def test_on_a_read_only_disk_the_input_waits_until_it_can_be_written(tmp_path: Path) -> None:
    """It is made read-only while nothing is open for writing; the system would refuse it otherwise."""
    disk = tmp_path / "disk"
    with small_disk(disk, "100m"), Station(tmp_path, path=str(disk / "storage")) as station:
        log = station.log()
        station.start()
        log.write(1000)
        station.until_arrived()
        station.stop()
        subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
        station.start()
        station.close()
        log.write(20_000)
        station.until_told(r"records cannot be stored; .*Read-only file system")
        station.until_told(r"\[input\] tail.0 paused \(the disk refuses: .*Read-only file system")
        subprocess.run(["mount", "-o", "remount,rw", str(disk)], check=True)
        station.until_told("records can be stored again")
        station.open()
        station.until_arrived()
        ledger = station.stop()

        assert ledger["a"]["dropped"] == 0
        assert_complete(station.verdict())


def test_when_permission_is_lost_the_input_waits_until_it_is_back(tmp_path: Path) -> None:
    """No file can be made in a folder that is immutable, whoever asks."""
    with Station(tmp_path, output="storage.total_limit_size 32M") as station:
        log = station.log()
        station.start()
        station.close()
        log.write(100)
        station.until_read()
        (folder,) = {path.parent for path in station.storage.rglob("*.seg")}
        if subprocess.run(["chattr", "+i", str(folder)], check=False, capture_output=True).returncode:
            pytest.skip("a folder cannot be made immutable here")
        try:
            log.write(30_000)
            station.until_told(r"records cannot be stored; .*Operation not permitted")
            station.until_told(r"\[input\] tail.0 paused \(the disk refuses: .*Operation not permitted")
        finally:
            subprocess.run(["chattr", "-i", str(folder)], check=True)
        station.until_told("records can be stored again")
        station.open()
        station.until_arrived()
        ledger = station.stop()

        assert ledger["a"]["dropped"] == 0
        assert_complete(station.verdict())


def test_a_folder_that_cannot_be_made_is_told_at_the_start(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with Station(tmp_path, path=f"{tmp_path}/file/storage") as station:
        station.start(until_watching=False)
        process = station.shipper.check()
        code = process.wait(timeout=20)

        assert code == 255
        assert station.told(r"storage.path /.*/file/storage cannot be used: .*Not a directory")


def test_a_second_process_is_kept_out_of_the_folder(tmp_path: Path) -> None:
    """It would write into the same files. When the first one was killed the folder is free."""
    with Station(tmp_path) as station:
        station.start()
        first = station.shipper.check().pid
        command = [shipper_command(), "-c", str(tmp_path / "shipper.conf")]
        second = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
        station.shipper.kill()
        station.start()
        station.stop()

        assert second.returncode == 255
        assert f"storage.path {station.storage} is in use by process {first}" in second.stderr
