"""Users' rows I1 to I9: inodes, the offset database, links and duplicates."""

from __future__ import annotations

import asyncio
import logging
import os
import random
import shutil
import sqlite3
import subprocess
import time
from pathlib import Path

import pytest

from tests.faults.test_kill_and_rotate import kill_at_random, lines_at
from tests.faults.world import World
from tests.inputs.tail.running import Tail, inode, rows

from .harness import Node, assert_complete
from .running import Reader, append, cri, numbered


def with_inode(wanted: int, path: Path, *lines: str) -> None:
    """Make the file with this inode, as ext4 does by itself for the next file; skips the test on other file systems."""
    for number in range(200):
        probe = path.with_name(f"probe-{number}")
        append(probe, *lines)
        if inode(probe) == wanted:
            probe.rename(path)
            return
    pytest.skip("this file system does not give inodes out again")


@pytest.mark.parametrize("when", ["stopped", "running"])
def test_i1_a_new_file_with_an_old_inode_is_read_from_its_head(tmp_path: Path, when: str) -> None:
    """As the row says; the stored row of the deleted file is put back while it is stopped, as after a crash."""
    with Reader(tmp_path) as reader:
        append(reader.log, *numbered(1, 20))
        reader.start()
        reader.until_delivered(20)
        old = inode(reader.log)
        if when == "stopped":
            reader.stop()
            reader.log.unlink()
            with_inode(old, reader.log, *numbered(101, 150))
            stored = rows(reader.db)
            reader.start()
        else:
            reader.log.unlink()
            reader.until(lambda: not any("app.log" in name for name in reader.shipper.open_files()))
            stored = rows(reader.db)
            with_inode(old, reader.log, *numbered(101, 150))
        lines = reader.when_quiet()
        reader.stop()

    assert [row[2] for row in stored] == ([old] if when == "stopped" else [])
    assert lines == numbered(1, 20) + numbered(101, 150)


async def test_i2_an_offset_beyond_the_file_is_not_believed(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """As the row says; a poll takes 0.1 s here."""
    path, db = tmp_path / "0.log", tmp_path / "p.db"
    append(path, "one")
    options = f"path {path}\ndb {db}\nread_from_head off\ndb.compare_filename on"
    async with Tail(options) as tail:
        await tail.until(lambda: len(rows(db)) == 1)
    with sqlite3.connect(db) as connection:
        connection.execute("UPDATE in_tail_files SET offset=5000000, offset_marker=7, offset_marker_size=32")
    connection.close()

    async with Tail(options) as after:
        append(path, "two")
        lines = await after.is_quiet()

    assert lines == ["one", "two"]
    assert caplog.text.count("file is read as a new one") == 1
    assert after.count("positions_refused_total") == 1


async def test_i3_positions_survive_a_locked_database(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Scale: the lock is held for 1.5 s instead of 60 s."""
    path, db = tmp_path / "a.log", tmp_path / "p.db"
    options = f"path {path}\ndb {db}\nread_from_head on"
    append(path, *numbered(1, 10))
    caplog.set_level(logging.INFO, logger="shipper")
    async with Tail(options) as tail:
        await tail.until(lambda: rows(db, "offset") == [(path.stat().st_size,)])
        other = sqlite3.connect(db, isolation_level=None)
        other.execute("BEGIN EXCLUSIVE")
        append(path, *numbered(11, 20))
        await tail.has(20)
        ages = []
        for _ in range(3):
            await asyncio.sleep(0.5)
            ages.append(tail.context.metrics.value("input_offset_persist_age_seconds", name="test.0"))
        logged = caplog.text.count("database cannot be written")
        other.execute("ROLLBACK")
        other.close()
        await tail.until(lambda: rows(db, "offset") == [(path.stat().st_size,)])
        await tail.until(lambda: not tail.context.metrics.value("input_offset_persist_age_seconds", name="test.0"))
        await tail.kill()
    append(path, *numbered(21, 22))
    async with Tail(options) as after:
        lines = await after.is_quiet()

    assert logged == 1
    assert 0 < ages[0] < ages[1] < ages[2]
    assert "database can be written again" in caplog.text
    assert lines == numbered(21, 22)


class Writers:
    """Many files that are written at a steady rate."""

    def __init__(self, folder: Path, files: int) -> None:
        self._fds = [os.open(folder / f"{n}.log", os.O_WRONLY | os.O_CREAT | os.O_APPEND) for n in range(files)]
        self.written = 0

    def write(self, lines_per_file: int) -> None:
        data = b"a line of fifty bytes, which is what they are here\n" * lines_per_file
        for fd in self._fds:
            os.write(fd, data)
        self.written += lines_per_file * len(self._fds)

    def close(self) -> None:
        for fd in self._fds:
            os.close(fd)


async def test_i4_many_busy_files_cost_two_commits_a_second(tmp_path: Path) -> None:
    """Scale: 3 s, after a second in which the start is over; a commit costs at most one fsync at `db.sync full`."""
    statements: list[str] = []
    writers = Writers(tmp_path, 200)
    seconds = 3.0
    async with Tail(f"path {tmp_path}/*.log\ndb {tmp_path}/p.db\ndb.sync full\nread_from_head on") as tail:
        await tail.until(lambda: len(rows(tmp_path / "p.db")) == 200)
        begin = time.monotonic()
        while (elapsed := time.monotonic() - begin) < seconds + 1:
            if elapsed > 1:
                vars(tail.input)["_store"]._db.set_trace_callback(statements.append)
            writers.write(10)
            await asyncio.sleep(0.1)
        commits = statements.count("COMMIT")
        await tail.until(lambda: sum(len(batch) for batch in tail.batches) >= writers.written)
    writers.close()

    assert writers.written > 20_000
    assert 1 <= commits <= 2 * seconds + 1


@pytest.mark.soak
def test_i4_many_busy_files_cost_two_fsyncs_a_second(tmp_path: Path) -> None:
    """As the row says, for 20 s."""
    strace = shutil.which("strace")
    if strace is None:
        pytest.skip("strace is not installed")
    trace = tmp_path / "strace.txt"
    with Reader(tmp_path) as reader:
        writers = Writers(reader.logs, 200)
        reader.start()
        calls = "trace=fsync,fdatasync,sync_file_range"
        pid = str(reader.shipper.check().pid)
        tracer = subprocess.Popen([strace, "-f", "-e", calls, "-o", str(trace), "-p", pid], stderr=subprocess.DEVNULL)
        begin = time.monotonic()
        while time.monotonic() - begin < 20:
            writers.write(10)
            time.sleep(0.1)
        assert tracer.poll() is None, "strace could not attach"
        tracer.terminate()
        tracer.wait(timeout=5)
        count = trace.read_text().count("sync")
        reader.until_delivered(writers.written)
        writers.close()

    assert count <= 40


def test_i5_of_several_rows_with_one_inode_the_newest_counts(tmp_path: Path) -> None:
    """As the row says."""
    with Reader(tmp_path) as reader:
        append(reader.log, *numbered(1, 50))
        size = len(numbered(1, 1)[0]) + 1
        with sqlite3.connect(reader.db) as db:
            db.execute(
                "CREATE TABLE in_tail_files (id INTEGER PRIMARY KEY, name TEXT NOT NULL, offset INTEGER,"
                " inode INTEGER, created INTEGER, rotated INTEGER DEFAULT 0)"
            )
            for count in (50, 5, 40):
                db.execute(
                    "INSERT INTO in_tail_files (name, offset, inode, created) VALUES (?, ?, ?, 1700000000)",
                    (str(reader.log), count * size, inode(reader.log)),
                )
        db.close()
        lives = []
        for _ in range(2):
            reader.start()
            lives.append(reader.when_quiet())
            reader.stop()

    assert lives == [numbered(41, 50)] * 2


def test_i6_a_glob_that_matches_rotated_names_sends_nothing_twice(tmp_path: Path) -> None:
    """10 rotations, as the row says, with a restart after the fifth; `rotate_wait` is 0.3 s."""
    with Node(tmp_path) as node:
        log = node.plain_file("app.log")
        node.start(path=f"{tmp_path}/var/*.log*", read_from_head="on", rotate_wait=0.3, refresh_interval=0.3)
        for number in range(10):
            log.write(50)
            node.until_arrived()
            log.rotate()
            time.sleep(0.2)
            if number == 5:
                node.stop()
                log.write(10)
                node.start()
        log.write(50)
        node.until_arrived()
        time.sleep(0.8)
        verdict = node.finish()

    assert verdict.written == 560
    assert_complete(verdict)


def test_i7_a_file_that_is_matched_by_its_link_too_is_read_once(tmp_path: Path) -> None:
    """As the row says, through a rotation and a restart."""
    pods, containers = tmp_path / "pods" / "ns_web_uid" / "web", tmp_path / "containers"
    pods.mkdir(parents=True)
    containers.mkdir()
    log, link = pods / "0.log", containers / "web.log"
    append(log, *numbered(1, 10))
    link.symlink_to(log)
    with Reader(tmp_path, f"path {containers}/*.log,{tmp_path}/pods/*/**/*.log\ntag t.*") as reader:
        tag = f"t.{str(link).strip('/').replace('/', '.')}"
        reader.start()
        reader.until(lambda: len(reader.texts(tag)) == 10)
        log.rename(pods / "0.log.20260101-000000")
        append(log, *numbered(11, 20))
        reader.until(lambda: len(reader.texts(tag)) == 20)
        time.sleep(0.8)
        reader.stop()
        reader.start()
        append(log, *numbered(21, 30))
        reader.until(lambda: len(reader.texts(tag)) == 30)
        time.sleep(0.8)
        reader.stop()

        assert reader.texts(tag) == numbered(1, 30)
        assert reader.tags() == [tag]


def killed_under_rotation(folder: Path, kills: int, seed: int) -> None:
    rate = 4000
    with World(folder) as world:
        world.start(*lines_at(rate, seed, rotate_bytes=400_000))
        kill_at_random(world, kills, random.Random(seed))
        world.finish()

        verdict = world.verdict()
        print(verdict)
        assert verdict.is_clean, str(verdict)
        assert verdict.duplicates <= kills * rate * 1.5, str(verdict)


def test_i8_kills_under_rotation_repeat_no_more_than_what_was_not_saved(tmp_path: Path) -> None:
    """Scale: 3 kills instead of 200. The audit excuses a line that came twice only if a kill followed within 1 s."""
    killed_under_rotation(tmp_path, 3, seed=8)


@pytest.mark.soak
def test_i8_many_kills_under_rotation_repeat_no_more_than_what_was_not_saved(tmp_path: Path) -> None:
    """As the row says; about ten minutes."""
    killed_under_rotation(tmp_path, 200, seed=88)


def cri_at(seconds_ago: float, text: str) -> str:
    then = time.time() - seconds_ago
    return f"{time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime(then))}.{int(then % 1 * 1e9):09d}Z stdout F {text}"


@pytest.mark.parametrize("loss", ["missing", "damaged"])
@pytest.mark.parametrize("policy", ["head", "tail", "since=10m"])
def test_i9_after_the_loss_of_the_database_old_lines_do_not_flood(tmp_path: Path, loss: str, policy: str) -> None:
    """Scale: about 4 MB of old lines instead of 1 GiB, one every second up to now."""
    count, within = 20_000, 600
    with Reader(tmp_path, f"multiline.parser cri\non_state_loss {policy}") as reader:
        append(reader.log, *[cri_at(count - n, f"id={n:06d} {'x' * 120}") for n in range(count)])
        forgotten = reader.logs / "quiet.log"
        append(forgotten, *[cri_at(5000, "of long ago")] * 10)
        os.utime(forgotten, (time.time() - 5000,) * 2)
        if loss == "damaged":
            reader.db.write_bytes(b"this is no database " * 300)
        begin = time.time()
        reader.start()
        append(reader.log, cri("new"))
        reader.until(lambda: "new" in reader.texts())
        lines = reader.when_quiet()
        took = time.time() - begin
        reader.stop()
        log = reader.shipper.log().decode()

    old = [int(line[3:9]) for line in lines if line.startswith("id=")]
    expected = {"head": count, "tail": 0, "since=10m": within}[policy]
    assert old == list(range(count - len(old), count))
    assert expected - took - 1 <= len(old) <= expected
    assert lines.count("of long ago") == (10 if policy == "head" else 0)
    assert f"on_state_loss={policy}" in log
