"""A real shipper that follows files, is killed, and is stopped; every line is counted in the bucket."""

from __future__ import annotations

import collections
import contextlib
import random
import re
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.components.shipper_process import ShipperProcess
from tests.faults.ledger import assert_balanced

from .server import Fault, SmallS3

pytestmark = pytest.mark.usefixtures("aws_keys")

SERVICE = "[SERVICE]\n    flush 0.1\n    grace 20\n    scheduler.base 1\n    scheduler.cap 1\n    log_level info\n"
PATIENCE_S = 30.0
IN_DOUBT = b"an object may have been sent twice"


class World:
    """A folder with log files that grow, and a shipper that follows them into a small S3."""

    def __init__(self, folder: Path, s3: SmallS3, lines: str) -> None:
        self.s3 = s3
        self.written = 0
        self._objects: dict[str, bytes] = {}
        self._logs = [folder / "logs" / f"{name}.log" for name in ("one", "two")]
        self._logs[0].parent.mkdir()
        self._random = random.Random(7)
        configuration = folder / "shipper.conf"
        configuration.write_text(
            f"{SERVICE}[INPUT]\n    name tail\n    tag app.*\n    path {folder}/logs/*.log\n"
            f"    multiline.parser cri\n    read_from_head on\n    refresh_interval 1\n    db {folder}/tail.db\n"
            f"[OUTPUT]\n    name s3\n    match *\n    bucket b\n    endpoint {s3.url}\n    store_dir {folder}/store\n"
            + "".join(f"    {line}\n" for line in lines.splitlines())
        )
        self.shipper = ShipperProcess(configuration, folder / "shipper.log")

    def write(self, count: int, pad: int = 40) -> None:
        for _ in range(count):
            second, rest = divmod(self.written, 1000)
            when = f"2026-11-20T10:{second // 60 % 60:02d}:{second % 60:02d}.{rest:03d}000000Z"
            text = f"{self._random.getrandbits(pad * 4):0{pad}x}"
            with self._logs[self.written % 2].open("a") as log:
                log.write(f"{when} stdout F id={self.written} {text}\n")
            self.written += 1

    def until(self, text: bytes, since: int) -> None:
        """Wait until the shipper has printed this."""
        deadline = time.monotonic() + PATIENCE_S
        while text not in self.shipper.log()[since:]:
            self.shipper.check()
            assert time.monotonic() < deadline, self.shipper.end_of_log()
            time.sleep(0.01)  # another process: there is nothing to wait on

    def note_objects(self) -> None:
        """Nothing of what was in the bucket when this was called last is gone or has other content."""
        now = {key: stored.data for key, stored in list(self.s3.objects.items())}
        assert {key: now.get(key) for key in self._objects} == self._objects
        self._objects = now

    def audit(self) -> None:
        """Every line is in exactly one object, none of which was in doubt or written over, and no upload is open."""
        self.note_objects()
        assert self.s3.wrong == []
        assert IN_DOUBT not in self.shipper.log()
        found = collections.Counter(int(n) for n in re.findall(r"id=(\d+) ", "\n".join(self.s3.lines())))
        missing = sorted(set(range(self.written)) - set(found))
        twice = sorted(n for n, count in found.items() if count > 1)
        assert (missing, twice, self.s3.uploads) == ([], [], {}), self.shipper.end_of_log()


@contextlib.contextmanager
def world(folder: Path, s3: SmallS3, lines: str) -> Iterator[World]:
    one = World(folder, s3, lines)
    try:
        yield one
    finally:
        one.shipper.close()


SMALL = "total_file_size 1M\nupload_timeout 1s\ncompression gzip"
PARTS = "total_file_size 20M\nupload_timeout 30s"
FIXED = "\ns3_key_format /logs/app\nstatic_file_path on"
"""The key is the same for all objects, so that each of them could be written over."""

KINDS = pytest.mark.parametrize(
    ("lines", "count", "pad"),
    [(SMALL, 300, 40), (SMALL + FIXED, 300, 40), (PARTS, 400, 8000), (PARTS + FIXED, 400, 8000)],
    ids=["put", "put-fixed", "multipart", "multipart-fixed"],
)


def kill_again_and_again(one: World, lives: int, lines: int, pad: int, seed: int) -> None:
    rng = random.Random(seed)
    for _ in range(lives):
        since = len(one.shipper.log())
        one.shipper.start()
        one.until(b"multiline core started", since)
        for _ in range(rng.randrange(1, 6)):
            one.write(lines, pad)
            time.sleep(rng.uniform(0, 0.3))
        time.sleep(rng.uniform(0, 0.6))
        one.shipper.kill()
        one.note_objects()


def stop_when_read(one: World) -> None:
    one.shipper.start()
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline:
        time.sleep(1.5)
        entries = one.shipper.terminate()
        assert_balanced(entries)
        if f"id={one.written - 1} " in "\n".join(one.s3.lines()):
            return
        one.shipper.start()


@KINDS
def test_killed_in_the_middle_every_line_is_in_the_bucket_once(
    s3: SmallS3, tmp_path: Path, lines: str, count: int, pad: int
) -> None:
    with world(tmp_path, s3, lines) as one:
        kill_again_and_again(one, 3, count, pad, seed=1)
        stop_when_read(one)
        one.audit()


@pytest.mark.soak
@KINDS
def test_killed_fifty_times_every_line_is_in_the_bucket_once(
    s3: SmallS3, tmp_path: Path, lines: str, count: int, pad: int
) -> None:
    faults = [Fault(done=True, cut=True), Fault(), Fault(cut=True)]
    with world(tmp_path, s3, lines) as one:
        for seed in range(10):
            for operation in ("PutObject", "UploadPart", "CompleteMultipartUpload", "CreateMultipartUpload"):
                s3.fail(operation, faults[seed % 3])
            kill_again_and_again(one, 5, count, pad, seed)
        stop_when_read(one)
        one.audit()


def test_a_stop_uploads_everything(s3: SmallS3, tmp_path: Path) -> None:
    with world(tmp_path, s3, "total_file_size 50M\nupload_timeout 10m") as one:
        one.write(2000)
        one.shipper.start()
        one.until(b"multiline core started", 0)
        time.sleep(1.0)
        ledger = one.shipper.terminate()

        assert_balanced(ledger)
        one.audit()
        assert len(s3.objects) == 2
        assert not list((tmp_path / "store").rglob("*.data"))
