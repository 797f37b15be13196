"""Rotation, truncation and deletion: every line once, in order, under one tag."""

from __future__ import annotations

import asyncio
import gzip
import os
import random
import shutil
import time
from pathlib import Path

import pytest

from shipper.inputs.tail.stalled import Watchdog

from .running import Tail, append, inode, numbered, rows, write

CRI = "2026-01-01T00:00:00.000000001Z stdout"


class Pod:
    """A log file behind a link, rotated as the kubelet does it."""

    def __init__(self, root: Path) -> None:
        self.folder = root / "pods" / "ns_pod_uid" / "c"
        self.folder.mkdir(parents=True)
        self.log = self.folder / "0.log"
        self.link = root / "containers" / "c.log"
        self.link.parent.mkdir()
        self.link.symlink_to(self.log)
        self.rotations = 0

    def rename(self) -> Path:
        self.rotations += 1
        rotated = self.folder / f"0.log.20260101-10101{self.rotations}"
        self.log.rename(rotated)
        return rotated

    def rotate(self, *lines: str) -> Path:
        rotated = self.rename()
        write(self.log, *lines)
        return rotated

    def options(self, more: str = "") -> str:
        return f"path {self.link}\nread_from_head on\ntag kube.*\n{more}"


@pytest.fixture
def pod(tmp_path: Path) -> Pod:
    return Pod(tmp_path)


@pytest.mark.parametrize("watcher", ["on", "off"])
async def test_a_renamed_file_is_read_on_and_so_is_its_successor(pod: Pod, watcher: str) -> None:
    write(pod.log, "one")

    async with Tail(pod.options(f"path_key p\ninotify_watcher {watcher}")) as tail:
        await tail.has(1)
        rotated = pod.rotate("two")
        await tail.has(2)
        append(rotated, "late")
        append(pod.log, "three")
        lines = await tail.has(4)

    assert sorted(lines) == ["late", "one", "three", "two"]
    assert lines.index("two") < lines.index("three")
    assert {b["p"] for b in tail.bodies()} == {str(pod.link)}
    assert len(set(tail.tags())) == 1
    assert tail.count("files_rotated_total") == 1


async def test_two_rotations_between_two_looks_lose_nothing(pod: Pod) -> None:
    write(pod.log, "one")

    async with Tail(pod.options()) as tail:
        await tail.has(1)
        append(pod.log, "two")
        pod.rotate("three", "four")
        pod.rotate("five")
        lines = await tail.is_quiet()

    assert lines == ["one", "two", "three", "four", "five"]


async def test_five_rotations_while_the_pipeline_is_blocked_lose_nothing(pod: Pod) -> None:
    write(pod.log, *numbered(1, 3))

    async with Tail(pod.options()) as tail:
        await tail.has(3)
        tail.gate.clear()
        append(pod.log, *numbered(4, 6))
        for number in range(7, 22, 3):
            await asyncio.sleep(0.15)
            pod.rotate(*numbered(number, number + 2))
        await asyncio.sleep(0.3)
        tail.gate.set()
        lines = await tail.is_quiet()

    assert lines == numbered(1, 21)


async def test_a_rotated_file_that_is_deleted_while_the_pipeline_is_blocked_is_read(pod: Pod) -> None:
    write(pod.log, *numbered(1, 3))

    async with Tail(pod.options()) as tail:
        await tail.has(3)
        tail.gate.clear()
        append(pod.log, *numbered(4, 6))
        await asyncio.sleep(0.1)
        first = pod.rotate(*numbered(7, 9))
        await asyncio.sleep(0.3)
        second = pod.rotate(*numbered(10, 12))
        await asyncio.sleep(0.3)
        first.unlink()
        second.unlink()
        tail.gate.set()
        lines = await tail.is_quiet()

    assert lines == numbered(1, 12)


async def test_old_rotated_files_are_not_read_when_a_path_is_followed_for_the_first_time(pod: Pod) -> None:
    write(pod.log, "delivered by somebody else")
    os.utime(pod.log, (time.time() - 60,) * 2)
    pod.rotate("now")

    async with Tail(pod.options()) as tail:
        await tail.has(1)
        pod.rotate("next")
        lines = await tail.is_quiet()

    assert lines == ["now", "next"]


async def test_a_successor_that_comes_a_moment_after_the_rename_is_read(pod: Pod) -> None:
    write(pod.log, "one")

    async with Tail(pod.options("refresh_interval 60")) as tail:
        await tail.has(1)
        pod.rename()
        await asyncio.sleep(0.3)
        write(pod.log, "two")
        lines = await tail.has(2)

    assert lines == ["one", "two"]


@pytest.mark.parametrize("rotations", [0, 1, 3])
@pytest.mark.parametrize("from_head", ["on", "off"])
async def test_files_rotated_while_nobody_looked_are_read_oldest_first(
    pod: Pod, tmp_path: Path, rotations: int, from_head: str
) -> None:
    write(pod.log, *numbered(1, 3))
    options = pod.options(f"db {tmp_path}/p.db")
    async with Tail(options) as first:
        await first.has(3)
    append(pod.log, *numbered(4, 6))
    for number in range(rotations):
        pod.rotate(*numbered(7 + 3 * number, 9 + 3 * number))
        await asyncio.sleep(0.02)

    async with Tail(f"{options}\nread_from_head {from_head}") as second:
        lines = await second.is_quiet()
        append(pod.log, "new")
        await second.has(len(lines) + 1)

    assert lines == numbered(4, 6 + 3 * rotations)


async def test_a_rotated_file_is_read_on_though_its_successor_is_not_there_yet(pod: Pod, tmp_path: Path) -> None:
    write(pod.log, "one")
    options = pod.options(f"db {tmp_path}/p.db")
    async with Tail(options) as first:
        await first.has(1)
    append(pod.log, "two")
    pod.rename()

    async with Tail(options) as second:
        await second.has(1)
        write(pod.log, "three")
        lines = await second.has(2)

    assert lines == ["two", "three"]


async def test_a_file_compressed_while_nobody_looked_is_read_on_where_the_plain_one_was_left(
    pod: Pod, tmp_path: Path
) -> None:
    write(pod.log, *numbered(1, 20))
    options = pod.options(f"db {tmp_path}/p.db")
    async with Tail(options) as first:
        await first.has(20)
    append(pod.log, *numbered(21, 25))
    rotated = pod.rotate(*numbered(26, 30))
    compressed = Path(f"{rotated}.gz")
    compressed.write_bytes(gzip.compress(rotated.read_bytes()))
    rotated.unlink()
    pod.rotate(*numbered(31, 35))

    async with Tail(options) as second:
        lines = await second.is_quiet()
    async with Tail(options) as third:
        again = await third.is_quiet()

    assert lines == numbered(21, 35)
    assert again == []


async def test_a_compressed_file_is_read_on_however_far_its_text_was_read(tmp_path: Path) -> None:
    path, options = tmp_path / "a.log.gz", f"path {tmp_path}/a.log.gz\nread_from_head on\ndb {tmp_path}/p.db"
    data = gzip.compress(b"the same line again\n" * 20_000 + b"last\n")
    path.write_bytes(data[:-30])
    async with Tail(options) as first:
        await first.is_quiet()
    path.write_bytes(data)

    async with Tail(options) as second:
        lines = await second.is_quiet()

    assert first.lines() + lines == ["the same line again"] * 20_000 + ["last"]


async def test_a_line_cut_by_rotation_is_joined(pod: Pod) -> None:
    write(pod.log, f"{CRI} F whole", f"{CRI} P first ")

    async with Tail(pod.options("multiline.parser cri")) as tail:
        await tail.has(1)
        pod.rotate(f"{CRI} F second", f"{CRI} F third")
        lines = await tail.has(3)

    assert lines == ["whole", "first second", "third"]


async def test_a_line_cut_by_rotation_is_joined_after_a_restart(pod: Pod, tmp_path: Path) -> None:
    write(pod.log, f"{CRI} F whole", f"{CRI} P first ")
    options = pod.options(f"multiline.parser cri\ndb {tmp_path}/p.db")
    async with Tail(options) as tail:
        await tail.has(1)
        await asyncio.sleep(0.1)
        await tail.kill()
    pod.rotate(f"{CRI} F second")

    async with Tail(options) as after:
        lines = await after.is_quiet()

    assert tail.lines() == ["whole"]
    assert lines == ["first second"]


async def test_the_unfinished_last_line_of_a_rotated_file_becomes_a_record_of_its_own(pod: Pod) -> None:
    pod.log.write_text("one\nunfinished")

    async with Tail(pod.options()) as tail:
        await tail.has(1)
        pod.rotate("two")
        pod.rotate("three")
        lines = await tail.has(4)

    assert lines == ["one", "unfinished", "two", "three"]


async def test_exit_on_eof_waits_for_the_file_behind_an_unfinished_line(pod: Pod, tmp_path: Path) -> None:
    pod.log.write_text("one\nunfinished")
    async with Tail(pod.options(f"db {tmp_path}/p.db")) as tail:
        await tail.has(1)
    pod.rotate("two")

    async with Tail(pod.options(f"db {tmp_path}/p.db\nexit_on_eof on")) as after:
        await after.until(lambda: after.stopped_service)

    assert after.lines() == ["unfinished", "two"]


async def test_a_file_that_waits_for_the_end_of_another_ones_last_line_is_not_stalled(pod: Pod) -> None:
    pod.log.write_text("one\nunfinished")

    async with Tail(pod.options("rotate_wait 60")) as tail:
        await tail.has(1)
        pod.rotate("two")
        (follower,) = vars(tail.input)["_catalogue"]
        await tail.until(lambda: len(follower.generations) == 2 and follower.unread() > len("unfinished"))
        watchdog = Watchdog()
        found = [watchdog.stalled([follower], now, 10.0) for now in (0.0, 11.0, 22.0)]

    assert found == [[], [], []]


async def test_a_file_deleted_right_after_its_last_line_is_read(tmp_path: Path) -> None:
    path = tmp_path / "job.log"
    write(path, "one")

    async with Tail(f"path {tmp_path}/*.log\nread_from_head on\ndb {tmp_path}/p.db") as tail:
        await tail.has(1)
        append(path, *numbered(1, 50))
        await asyncio.sleep(0.05)
        path.unlink()
        lines = await tail.has(51)
        await tail.until(lambda: tail.count("files_closed_total") == 1)
        await tail.until(lambda: rows(tmp_path / "p.db") == [])

    assert lines == ["one", *numbered(1, 50)]


async def test_a_finished_file_is_closed_and_its_descriptor_freed(pod: Pod) -> None:
    write(pod.log, "one")

    async with Tail(pod.options()) as tail:
        await tail.has(1)
        pod.rotate("two")
        await tail.has(2)
        await tail.until(lambda: tail.count("files_closed_total") == 1)
        still_open = [os.readlink(f"/proc/self/fd/{fd}") for fd in os.listdir("/proc/self/fd") if _is_open(fd)]

    assert not [name for name in still_open if "0.log.2026" in name]


def _is_open(fd: str) -> bool:
    return os.path.lexists(f"/proc/self/fd/{fd}")


async def test_a_file_is_held_until_what_was_read_of_it_is_delivered(pod: Pod) -> None:
    write(pod.log, "one")

    async with Tail(pod.options(), settling="later") as tail:
        await tail.has(1)
        pod.rotate("two")
        await tail.is_quiet()
        held = tail.count("files_closed_total")
        tail.settle()
        await tail.until(lambda: tail.count("files_closed_total") == 1)

    assert held == 0


# -- truncation ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("watcher", ["on", "off"])
async def test_a_file_that_was_copied_and_truncated_begins_again(tmp_path: Path, watcher: str) -> None:
    path = tmp_path / "a.log"
    write(path, *numbered(1, 5))

    async with Tail(f"path {path}\nread_from_head on\ninotify_watcher {watcher}") as tail:
        await tail.has(5)
        shutil.copy(path, tmp_path / "a.log.1")
        os.truncate(path, 0)
        append(path, "n")
        lines = await tail.has(6)

    assert lines == [*numbered(1, 5), "n"]


async def test_a_copy_within_the_glob_is_not_read_again(tmp_path: Path) -> None:
    path = tmp_path / "a.log"
    write(path, *numbered(1, 20))

    async with Tail(f"path {tmp_path}/a.log*\nread_from_head on") as tail:
        await tail.has(20)
        for number in range(5):
            shutil.copy(path, tmp_path / f"a.log.{number}")
            os.truncate(path, 0)
            append(path, *numbered(21 + number * 20, 40 + number * 20))
            await tail.has(40 + number * 20)
            await asyncio.sleep(0.4)
        lines = await tail.is_quiet()

    assert lines == numbered(1, 120)


async def test_the_rest_of_a_copy_is_read_if_the_file_was_truncated_first(tmp_path: Path) -> None:
    path = tmp_path / "a.log"
    write(path, *numbered(1, 20))

    async with Tail(f"path {path}\nread_from_head on") as tail:
        await tail.has(20)
        append(path, *numbered(21, 25))
        shutil.copy(path, tmp_path / "a.log.1")
        os.truncate(path, 0)
        append(path, "next")
        lines = await tail.is_quiet()

    assert sorted(lines) == sorted([*numbered(1, 25), "next"])


async def test_nul_bytes_left_by_a_truncated_writer_are_passed_over(tmp_path: Path) -> None:
    path = tmp_path / "a.log"
    with path.open("w") as writer:
        writer.write("x" * 200_000 + "\n")
        writer.flush()
        async with Tail(f"path {path}\nread_from_head on\nbuffer_max_size 1M") as tail:
            await tail.has(1)
            os.truncate(path, 0)
            writer.write("after\n")
            writer.flush()
            lines = await tail.has(2)

    assert lines[1:] == ["after"]


async def test_more_nul_bytes_than_the_longest_line_are_passed_over(tmp_path: Path) -> None:
    path = tmp_path / "a.log"
    path.write_bytes(b"\0" * 3_000_000 + b"after\nnext\n")

    async with Tail(f"path {path}\nread_from_head on\noffset_key o") as tail:
        await tail.has(2)

    assert tail.bodies() == [{"o": 3_000_000, "log": "after"}, {"o": 3_000_006, "log": "next"}]


@pytest.mark.parametrize("tail_of_line", ["", " and a text of some length that is the same in every line"])
async def test_a_file_overwritten_in_place_with_the_same_length_is_read_again(
    tmp_path: Path, tail_of_line: str
) -> None:
    path = tmp_path / "a.log"
    old = [f"id={n:03d}{tail_of_line}" for n in range(20)]
    new = [f"id={n:03d}{tail_of_line}" for n in range(500, 520)]
    write(path, *old)

    async with Tail(f"path {path}\nread_from_head on") as tail:
        await tail.has(20)
        await asyncio.sleep(0.05)
        write(path, *new)
        lines = await tail.has(40)

    assert lines == old + new


async def test_a_truncated_file_is_not_read_twice_after_a_restart(tmp_path: Path) -> None:
    path, options = tmp_path / "a.log", f"path {tmp_path}/a.log\nread_from_head on\ndb {tmp_path}/p.db"
    write(path, *numbered(1, 30))
    async with Tail(options) as tail:
        await tail.has(30)
        os.truncate(path, 0)
        append(path, *numbered(31, 33))
        await tail.has(33)

    async with Tail(options) as after:
        lines = await after.is_quiet()

    assert lines == []


async def test_what_is_owed_of_a_file_when_it_becomes_a_compressed_copy_is_read_again_in_that(tmp_path: Path) -> None:
    path, options = tmp_path / "a.log", f"path {tmp_path}/a.log\nread_from_head on\ndb {tmp_path}/p.db"
    # Compressed they take more than the first of them do as they are.
    lines = [f"{n:03d} {random.Random(n).randbytes(60).hex()}" for n in range(130)]
    write(path, *lines[:30])
    async with Tail(options, settling="later") as tail:
        await tail.has(30)
        count = len(tail.batches)
        append(path, *lines[30:])
        await tail.has(130)
        Path(f"{path}.1.gz").write_bytes(gzip.compress(path.read_bytes()))
        os.truncate(path, 0)
        append(path, "after")
        await tail.has(131)
        tail.settle(count)
        tail.save()
        await tail.kill()

    async with Tail(options) as after:
        again = await after.has(101)

    assert again == [*lines[30:], "after"]


# -- names and identity --------------------------------------------------------------------------------------------


async def test_a_glob_that_matches_rotated_names_reads_nothing_twice(tmp_path: Path) -> None:
    path, options = tmp_path / "app.log", f"path {tmp_path}/app.log*\nread_from_head on\ndb {tmp_path}/p.db"
    write(path, *numbered(0, 9))

    async with Tail(options) as tail:
        await tail.has(10)
        for rotation in range(1, 6):
            _shift(path, 4)
            write(path, *numbered(rotation * 10, rotation * 10 + 9))
            await tail.has(rotation * 10 + 10)
            await asyncio.sleep(0.7)
        lines = await tail.is_quiet()
        opened, closed = tail.count("files_opened_total"), tail.count("files_closed_total")
    async with Tail(options) as after:
        _shift(path, 4)
        write(path, *numbered(60, 69))
        later = await after.is_quiet()

    assert sorted(lines) == numbered(0, 59)
    assert later == numbered(60, 69)
    assert (opened, closed) == (6, 5)


def _shift(path: Path, kept: int) -> None:
    """Rotate as logrotate does: every file moves one number up, the oldest goes."""
    for number in range(kept, 0, -1):
        older = Path(f"{path}.{number}")
        if older.exists():
            if number == kept:
                older.unlink()
            else:
                older.rename(f"{path}.{number + 1}")
    path.rename(f"{path}.1")


async def test_files_followed_under_numbered_names_are_let_go_when_they_vanish(tmp_path: Path) -> None:
    path, options = tmp_path / "app.log", f"path {tmp_path}/app.log*\nread_from_head on"
    write(path, "one")
    write(Path(f"{path}.1"), "zero")

    async with Tail(options) as tail:
        await tail.has(2)
        for number in range(4):
            _shift(path, 2)
            write(path, f"new {number}")
            await asyncio.sleep(0.15)
        await tail.has(6)
        await tail.until(lambda: tail.count("files_opened_total") - tail.count("files_closed_total") <= 1)

    assert sorted(tail.lines()) == ["new 0", "new 1", "new 2", "new 3", "one", "zero"]


async def test_a_file_renamed_away_and_back_goes_on(tmp_path: Path) -> None:
    path, other = tmp_path / "a.log", tmp_path / "elsewhere"
    write(path, "one")

    async with Tail(f"path {tmp_path}/*.log\nread_from_head on") as tail:
        await tail.has(1)
        path.rename(other)
        await tail.until(lambda: tail.count("files_rotated_total") == 1)
        other.rename(path)
        append(path, "two")
        await tail.has(2)
        await asyncio.sleep(0.8)
        append(path, "three")
        lines = await tail.has(3)

    assert lines == ["one", "two", "three"]


async def test_a_new_file_with_the_inode_of_a_finished_one_is_read_from_its_beginning(tmp_path: Path) -> None:
    path = tmp_path / "app.log"
    write(path, *numbered(1, 20))
    async with Tail(f"path {tmp_path}/app.log*\nread_from_head on\nrefresh_interval 60") as tail:
        await tail.has(20)
        rotated = Path(f"{path}.1")
        path.rename(rotated)
        await tail.until(lambda: tail.count("files_closed_total") == 1)
        number = inode(rotated)
        # As if the file was deleted and the file system gave its inode to the next one.
        os.truncate(rotated, 0)
        append(rotated, "another", "file")
        os.utime(tmp_path)
        lines = await tail.has(22)

    assert inode(rotated) == number
    assert lines[20:] == ["another", "file"]


async def test_a_file_that_stopped_at_a_long_line_does_not_keep_the_reader_busy(tmp_path: Path) -> None:
    path = tmp_path / "a.log"
    path.write_text("ok\n" + "y" * 100)
    options = f"path {path}\nread_from_head on\nbuffer_chunk_size 128\nbuffer_max_size 128"

    async with Tail(options) as tail:
        await tail.has(1)
        await asyncio.sleep(0.1)
        with path.open("a") as file:
            file.write("y" * 100)
        await asyncio.sleep(0.2)
        path.rename(tmp_path / "a.log.1")
        write(path, "next")
        await tail.has(2)
        await asyncio.sleep(0.6)
        used = time.process_time()
        await asyncio.sleep(0.5)
        used = time.process_time() - used

    assert tail.lines() == ["ok", "next"]
    assert used < 0.2


async def test_what_is_emitted_while_the_pipeline_is_blocked_is_kept_at_the_stop(pod: Pod, tmp_path: Path) -> None:
    options = pod.options(f"db {tmp_path}/p.db")
    write(pod.log, *numbered(1, 10))
    async with Tail(options, settling="later") as tail:
        tail.gate.clear()
        await asyncio.sleep(0.1)
        before = len(tail.batches)
        stopping = asyncio.ensure_future(tail.stop())
        await stopping
    append(pod.log, *numbered(11, 12))

    async with Tail(options) as after:
        lines = await after.is_quiet()

    assert before == 0
    assert lines == numbered(1, 12)


async def test_the_input_stops_when_it_is_cancelled_while_blocked(pod: Pod, tmp_path: Path) -> None:
    options = pod.options(f"db {tmp_path}/p.db")
    write(pod.log, *numbered(1, 10))
    async with Tail(options) as tail:
        tail.gate.clear()
        await asyncio.sleep(0.1)
        await tail.kill()

    async with Tail(options) as after:
        lines = await after.has(10)

    assert tail.lines() == []
    assert lines == numbered(1, 10)


@pytest.mark.parametrize("begun", ["", "of a"])
async def test_an_unfinished_line_waits_for_its_rest_however_long_the_writer_is_silent(
    tmp_path: Path, begun: str
) -> None:
    path = tmp_path / "a.log"
    path.write_text("one\nthe tail ")

    async with Tail(f"path {path}\nread_from_head on\nunfinished_line_at_rotation join\nrotate_wait 0.2") as tail:
        await tail.has(1)
        path.rename(tmp_path / "a.log.1")
        path.write_text(begun)
        await tail.is_quiet(0.6)
        append(path, " line", "two")
        lines = await tail.has(3)

    assert lines == ["one", f"the tail {begun} line", "two"]
