"""Users' rows T1 to T3: copytruncate, files overwritten in place, a new file under the old name."""

from __future__ import annotations

import logging
import logging.handlers
import os
import time
from pathlib import Path

import pytest

from tests.components.generator import message

from .harness import Node, assert_complete, write_steadily


@pytest.mark.parametrize("pause_s", [0.0, 0.05], ids=["quick copies", "slow copies"])
@pytest.mark.parametrize("glob", ["app.log", "app.log*"], ids=["copies outside", "copies inside"])
def test_t1_copytruncate_loses_only_what_was_never_there_to_read(tmp_path: Path, glob: str, pause_s: float) -> None:
    """Scale 1 to 2: 10 truncations instead of 20, at 1,000 lines a second.

    What is written between the copy and the truncation is in neither of the two afterwards; only that may be missing.
    """
    at_risk: set[str] = set()
    with Node(tmp_path) as node:
        log = node.plain_file()
        node.start(path=f"{tmp_path}/var/{glob}", read_from_head="on")
        for _ in range(10):
            for _ in write_steadily(log, 1000, 0.2):
                pass
            at_risk |= {message(log.stream, number) for number in log.copy_and_truncate(5, pause_s)}
        log.write(100)
        verdict = node.finish(missing=len(at_risk))
        missing = {message(log.stream, number) for number in range(log.written)} - set(node.arrived())

    assert missing <= at_risk
    assert (verdict.duplicates, verdict.broken, verdict.disordered) == (0, 0, 0), str(verdict)


def test_t1_what_was_not_read_before_the_truncation_is_read_in_the_copy(tmp_path: Path) -> None:
    """The destination is down from before the first of three truncations until after the last."""
    with Node(tmp_path) as node:
        log = node.plain_file()
        node.start(path=f"{tmp_path}/var/app.log", read_from_head="on", mem_buf_limit="100k")
        log.write(1000)
        node.until_arrived()
        node.close_destination()
        for _ in range(3):
            log.write(3000)
            log.copy_and_truncate()
            time.sleep(0.3)
        log.write(1000)
        node.open_destination()
        verdict = node.finish()

    assert verdict.written == 11_000
    assert_complete(verdict)


@pytest.mark.parametrize("glob", ["app.log", "app.log*"], ids=["copies outside", "copies inside"])
@pytest.mark.parametrize("truncations", [1, 3])
def test_t1_truncations_while_the_shipper_is_down_lose_nothing(tmp_path: Path, truncations: int, glob: str) -> None:
    """More than the row asks for: what was not read is in the copies when the shipper comes back."""
    with Node(tmp_path) as node:
        log = node.plain_file()
        node.start(path=f"{tmp_path}/var/{glob}", read_from_head="on")
        log.write(1000)
        node.until_arrived()
        node.stop()
        for _ in range(truncations):
            log.write(1000)
            log.copy_and_truncate()
            time.sleep(0.02)
        log.write(10)
        node.start()
        verdict = node.finish()

    assert_complete(verdict)


@pytest.mark.parametrize("flags", [os.O_TRUNC, 0], ids=["truncated first", "in place"])
def test_t2_a_file_overwritten_with_as_many_bytes_is_read_again(tmp_path: Path, flags: int) -> None:
    """As the row says, ten times: every content has the same number of bytes and other lines."""
    path = tmp_path / "app.log"
    contents = [[f"round {number} line {line:03}" for line in range(50)] for number in range(10)]
    with Node(tmp_path) as node:
        node.start(path=path, read_from_head="on")
        for number, content in enumerate(contents):
            fd = os.open(path, os.O_WRONLY | os.O_CREAT | flags)
            os.write(fd, "".join(f"{line}\n" for line in content).encode())
            os.close(fd)
            node.until_arrived(50 * (number + 1), patience_s=5)
        node.stop()

    assert node.arrived() == [line for content in contents for line in content]


@pytest.mark.parametrize("glob", ["app.log", "app.log*"], ids=["old files outside", "old files inside"])
def test_t3_small_files_of_a_rotating_handler_are_read_whole(tmp_path: Path, glob: str) -> None:
    """Python's own handler with maxBytes=200, as the row says; 50 lines a second instead of one, for 4 s.

    A file holds two or three lines and is removed after four rotations, that is after about 0.2 s.
    """
    with Node(tmp_path) as node:
        log = node.plain_file()
        node.start(path=f"{tmp_path}/var/{glob}", read_from_head="on")
        handler = logging.handlers.RotatingFileHandler(log.path, maxBytes=200, backupCount=4)
        for _ in range(200):
            handler.emit(logging.makeLogRecord({"msg": log.next_lines(1).decode()[:-1]}))
            time.sleep(0.02)
        handler.close()
        verdict = node.finish()

    assert_complete(verdict)
