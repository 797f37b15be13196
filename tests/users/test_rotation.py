"""Users' rows R1 to R9: bursts, fast rotation, removal before reading, restarts in between."""

from __future__ import annotations

import os
import random
import re
import time
from pathlib import Path

import pytest

from shipper.disk import SystemDisk
from tests.components.generator import message
from tests.inputs.tail.running import Tail, append

from .harness import Log, Node, assert_complete, write_steadily


def _burst(folder: Path, lines: int, down_s: float) -> None:
    """Write a burst and rotate; the destination takes nothing for so long, and memory holds little of the burst."""
    with Node(folder) as node:
        log = node.container()
        node.start(mem_buf_limit="1M")
        log.write(10)
        node.until_arrived()
        node.close_destination()
        log.write(lines)
        log.rotate()
        log.write(10)
        time.sleep(down_s)
        node.open_destination()
        node.until_arrived(patience_s=60)
        took_s = node.until(lambda: not any(str(log.rotated[0]) in name for name in node.shipper.open_files()), 60)
        verdict = node.finish()

    assert verdict.written == lines + 20
    assert took_s < 60
    assert_complete(verdict)


def test_r1_a_burst_before_rotation_arrives_whole(tmp_path: Path) -> None:
    """Scale 1 to 40: 25,000 lines, unread for 2.5 s with a rotate_wait of 1 s."""
    _burst(tmp_path, 25_000, 2.5)


@pytest.mark.soak
def test_r1_a_burst_of_a_million_lines_before_rotation_arrives_whole(tmp_path: Path) -> None:
    """As many lines as the row says, unread for a minute."""
    _burst(tmp_path, 1_000_000, 60)


def test_r2_files_rotated_while_the_reader_is_held_up_are_all_read(tmp_path: Path) -> None:
    """Scale 1 to 20 in time and size: held up for 3 s, five rotations at about 0.5 MB."""
    with Node(tmp_path) as node:
        log = node.container()
        node.start(mem_buf_limit="1M")
        log.write(10)
        node.until_arrived()
        node.close_destination()
        for _ in range(5):
            log.write(3_000)
            time.sleep(0.6)
            log.rotate()
        log.write(10)
        node.open_destination()
        verdict = node.finish()

    assert verdict.written == 15_020
    assert_complete(verdict)


@pytest.mark.parametrize("read", [0.0, 0.5, 1.0], ids=["unread", "half read", "read"])
def test_r3_a_rotated_file_that_was_compressed_in_the_meantime_is_read(tmp_path: Path, read: float) -> None:
    """As the row says: stop, rotate twice, compress the older, start."""
    with Node(tmp_path) as node:
        log = node.container()
        node.start()
        log.write(10)
        log.write(int(2_000 * read))
        node.until_arrived()
        node.stop()
        log.write(2_000 - int(2_000 * read))
        log.rotate()
        log.write(1_000)
        log.rotate()
        log.compress(log.rotated[0])
        log.write(1_000)
        node.start()
        verdict = node.finish()

    assert verdict.written == 4_010
    assert_complete(verdict)


def test_r3_compressed_files_of_several_generations_are_read_in_order(tmp_path: Path) -> None:
    """More than the row asks for: five rotations while down, all but the newest compressed."""
    with Node(tmp_path) as node:
        log = node.container()
        node.start()
        log.write(500)
        node.until_arrived()
        node.stop()
        for _ in range(5):
            log.write(500)
            log.rotate()
        for rotated in log.rotated[:-1]:
            log.compress(rotated)
        log.write(500)
        node.start()
        verdict = node.finish()

    assert verdict.written == 3_500
    assert_complete(verdict)


def test_r4_files_rotated_between_kill_and_start_are_read(tmp_path: Path) -> None:
    """As the row says: kill -9 while lines flow, three rotations in the gap. What comes twice was being delivered."""
    with Node(tmp_path) as node:
        log = node.container()
        node.start()
        for _ in write_steadily(log, 5_000, 1.0):
            pass
        node.shipper.kill()
        before = len(node.arrived())
        for _ in range(3):
            log.write(2_000)
            log.rotate()
        log.write(10)
        node.start()
        verdict = node.finish()

    assert before > 1_000
    assert verdict.is_clean, str(verdict)
    assert verdict.duplicates <= 1_000, str(verdict)


def test_r5_rotations_are_seen_when_the_event_queue_overflows(tmp_path: Path) -> None:
    """The queue of the system's own size overflows while the shipper is frozen; 20 files instead of 50.

    Whatever happened meanwhile - writes, rotations, new files - nobody tells it.
    """
    limit = int(Path("/proc/sys/fs/inotify/max_queued_events").read_text())
    if limit > 50_000:
        pytest.skip(f"the event queue of this system holds {limit} events")
    with Node(tmp_path) as node:
        logs = [node.container(f"c{number}") for number in range(20)]
        node.start()
        for log in logs:
            log.write(10)
        node.until_arrived()
        node.shipper.freeze()
        # Only alternating files make events of their own; those of one file after another are one.
        for number in range(limit + 2_000):
            logs[number % 20].write(1)
        for log in logs:
            log.rotate()
            log.write(10)
            log.rotate()
            log.write(10)
        node.container("late").write(10)
        node.shipper.thaw()
        verdict = node.finish()

    assert_complete(verdict)


def test_r6_files_deleted_while_the_destination_is_down_are_delivered(tmp_path: Path) -> None:
    """Scale 1 to 200 in time and 1 to 20 in size: down for 3 s, 8 files of about 0.5 MB of which 2 are kept."""
    with Node(tmp_path) as node:
        log = node.container()
        node.start(mem_buf_limit="1M")
        log.write(10)
        node.until_arrived()
        node.close_destination()
        for _ in range(8):
            log.write(3_000)
            time.sleep(0.4)
            log.rotate(keep=2)
        node.open_destination()
        verdict = node.finish()

    assert verdict.written == 24_010
    assert_complete(verdict)


def _lost_bytes(node: Node) -> int:
    """The sum of what the shipper says it closed unread."""
    return sum(int(number) for number in re.findall(rb"lost_bytes=(\d+)", node.shipper.log()))


def _missing_bytes(node: Node, log: Log) -> int:
    """The size of the lines that have not arrived."""
    missing = {message(log.stream, number) for number in range(log.written)} - set(node.arrived())
    return sum(len(text.encode()) + 1 for text in missing)


def test_r7_deleted_files_are_kept_open_up_to_the_limit_and_the_loss_is_counted(tmp_path: Path) -> None:
    """Scale 1 to 100: a limit of 1 MB, 10 files of about 0.5 MB that are deleted while the destination is down."""
    limit, most, largest = 1_000_000, 0, 0
    with Node(tmp_path) as node:
        log = node.container()
        node.start(mem_buf_limit="1M", deleted_files_limit=limit)
        log.write(10)
        node.until_arrived()
        node.close_destination()
        for _ in range(10):
            largest = max(largest, log.write(3_000))
            time.sleep(0.1)
            log.rotate(keep=0)
            time.sleep(0.2)
            most = max(most, node.shipper.deleted_bytes())
        node.open_destination()
        node.until(lambda: _missing_bytes(node, log) <= _lost_bytes(node))
        verdict = node.finish(missing=log.written)

    assert 0 < most <= limit + largest
    assert 0 < _lost_bytes(node) == _missing_bytes(node, log)
    assert (verdict.duplicates, verdict.broken, verdict.disordered) == (0, 0, 0), str(verdict)


def test_r7_deleted_files_are_kept_open_up_to_the_age_and_the_loss_is_counted(tmp_path: Path) -> None:
    """The same with an age of 1 s; what has been read by then is delivered all the same."""
    with Node(tmp_path) as node:
        log = node.container()
        node.start(mem_buf_limit="1M", deleted_files_max_age=1)
        log.write(10)
        node.until_arrived()
        node.close_destination()
        log.write(10_000)
        log.rotate(keep=0)
        log.write(10)
        node.until(lambda: _lost_bytes(node) > 0)
        node.open_destination()
        node.until(lambda: _missing_bytes(node, log) <= _lost_bytes(node))
        node.finish(missing=log.written)

    assert 0 < _lost_bytes(node) == _missing_bytes(node, log)


@pytest.mark.parametrize("delay_s", [0.05, 0.0])
def test_r8_the_last_lines_of_a_deleted_file_arrive(tmp_path: Path, delay_s: float) -> None:
    """As the row says, and without any delay too; 10 files."""
    with Node(tmp_path) as node:
        logs = [node.container(f"c{number}") for number in range(10)]
        node.start()
        for log in logs:
            log.write(10)
        node.until_arrived()
        for log in logs:
            log.write(100)
            time.sleep(delay_s)
            log.remove()
        verdict = node.finish()

    assert verdict.written == 1_100
    assert_complete(verdict)


def _churn(node: Node, files: int, seconds: float, rng: random.Random) -> float:
    """Write, rotate, remove and add containers at random; gives the longest time a line was late."""
    logs = [node.container(f"c{number}") for number in range(files)]
    # What lies beside a path that is found for the first time is not read, so none may be rotated before.
    for log in logs:
        log.write(1)
    node.until_arrived(patience_s=10)
    number, begin, late_s = files, time.monotonic(), 0.0
    while time.monotonic() - begin < seconds:
        for _ in range(50):
            log = rng.choice(logs)
            log.write(rng.randint(1, 20))
            if rng.random() < 0.1:
                log.rotate(keep=3)
            if rng.random() < 0.02:
                logs.remove(log)
                log.remove()
                logs.append(node.container(f"c{number}"))
                number += 1
            time.sleep(0.005)
        late_s = max(late_s, node.until_arrived(patience_s=10))
    return late_s


def test_r9_no_file_falls_behind_under_rotation_and_churn(tmp_path: Path) -> None:
    """24 h with 200 files become 3 s with 20; what was written is looked for every quarter of a second."""
    with Node(tmp_path) as node:
        node.start()
        late_s = _churn(node, 20, 3, random.Random(9))
        verdict = node.finish()

    assert late_s < 3
    assert_complete(verdict)


async def test_r9_a_file_from_which_nothing_can_be_read_is_opened_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The watchdog of the row, 0.3 s instead of some seconds: the first descriptor of the file gives no bytes."""
    monkeypatch.setattr("shipper.inputs.tail.looking.STALLED_S", 0.3)
    disk, log = DeafDisk(), tmp_path / "0.log"
    async with Tail(f"path {log}\nread_from_head on", disk=disk) as tail:
        log.write_text("one\n")
        await tail.has(1)
        disk.deaf.update(disk.opened)
        append(log, "two")
        await tail.until(lambda: tail.count("tail_stalled_total") > 0)
        lines = await tail.has(2)

    assert lines == ["one", "two"]
    assert tail.count("tail_stalled_total") == 1


class DeafDisk(SystemDisk):
    """The real disk, but descriptors that were named give no bytes, as after a file server has gone and come."""

    def __init__(self) -> None:
        self.opened: list[int] = []
        self.deaf: set[int] = set()
        # The real calls are static, these remember descriptors.
        self.open = self._open  # type: ignore[method-assign]
        self.pread = self._pread

    def _open(self, path: str, flags: int, mode: int = 0o600) -> int:
        self.opened.append(os.open(path, flags, mode))
        return self.opened[-1]

    def _pread(self, fd: int, size: int, offset: int) -> bytes:
        return b"" if fd in self.deaf and offset else os.pread(fd, size, offset)


@pytest.mark.soak
def test_r9_no_file_falls_behind_under_rotation_and_churn_for_two_minutes(tmp_path: Path) -> None:
    """24 h with 200 files become 2 min with 200."""
    with Node(tmp_path) as node:
        node.start()
        late_s = _churn(node, 200, 120, random.Random(9))
        verdict = node.finish()

    assert late_s < 5
    assert_complete(verdict)
