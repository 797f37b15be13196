"""A node in small: container logs as the kubelet keeps them, a real shipper, a destination that can be taken away.

Every line that a test writes is a message of `tests.components.generator`, which carries its own address, so the audit
of the fault tests can tell what is missing, what came twice, what is damaged and what is out of order.
"""

from __future__ import annotations

import gzip
import itertools
import os
import shutil
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.components.generator import Manifest, message
from tests.components.shipper_process import ShipperProcess
from tests.faults.audit import Audit, Verdict
from tests.faults.ledger import assert_balanced

_PATIENCE_S = 20.0
_QUIET_S = 3.0
_STAMPS = itertools.count(1)


class Log:
    """The log of one container: writes numbered messages, and rotates when told.

    Like a container runtime it keeps its file open, so a renamed file is written on until `open` is called.
    """

    def __init__(self, path: Path, name: str, link: Path | None = None) -> None:
        self.path = path
        self.stream = f"{name}:stdout"
        self.link = link
        self.written = 0
        self.rotated: list[Path] = []
        path.parent.mkdir(parents=True, exist_ok=True)
        self._fd = -1
        self.open()
        if link is not None:
            link.symlink_to(path)

    def open(self) -> None:
        """Create the file of this name and write there from now on."""
        self.close()
        self._fd = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o640)

    def write(self, count: int) -> int:
        """Append so many messages in one go; gives the number of bytes."""
        data = self.next_lines(count)
        size = len(data)
        while data:
            data = data[os.write(self._fd, data) :]
        return size

    def next_lines(self, count: int) -> bytes:
        """The next messages as lines; whoever takes them writes them."""
        first, self.written = self.written, self.written + count
        return "".join(f"{message(self.stream, number)}\n" for number in range(first, self.written)).encode()

    def rename(self) -> Path:
        """Rename the file as the kubelet does."""
        number = next(_STAMPS)
        rotated = self.path.with_name(
            f"{self.path.name}.20260101-{number // 3600:02}{number // 60 % 60:02}{number % 60:02}"
        )
        self.path.rename(rotated)
        self.rotated.append(rotated)
        return rotated

    def rotate(self, keep: int = 1000) -> None:
        """Rename the file, go on in a new one, and remove all but the newest rotated ones."""
        self.rename()
        self.open()
        while len(self.rotated) > keep:
            self.rotated.pop(0).unlink()

    def compress(self, rotated: Path) -> Path:
        """Put a gzip file in the place of a rotated one, in the kubelet's order of steps."""
        unfinished, compressed = (rotated.with_name(f"{rotated.name}.{end}") for end in ("tmp", "gz"))
        unfinished.write_bytes(gzip.compress(rotated.read_bytes(), 1))
        unfinished.rename(compressed)
        rotated.unlink()
        self.rotated[self.rotated.index(rotated)] = compressed
        return compressed

    def copy_and_truncate(self, between: int = 0, pause_s: float = 0.0) -> range:
        """Rotate as logrotate does with copytruncate; gives the messages written between copy and truncation.

        With a pause the copy comes into being in four pieces, as that of a large file does.
        """
        copy = self.path.with_name(f"{self.path.name}.{next(_STAMPS)}")
        content = self.path.read_bytes()
        with copy.open("wb", buffering=0) as file:
            for start in range(4):
                time.sleep(pause_s)
                file.write(content[start * len(content) // 4 : (start + 1) * len(content) // 4])
        self.rotated.append(copy)
        first = self.written
        if between:
            self.write(between)
        os.truncate(self.path, 0)
        return range(first, self.written)

    def remove(self) -> None:
        """Remove everything, as when the pod is deleted."""
        self.close()
        if self.link is not None:
            self.link.unlink()
        shutil.rmtree(self.path.parent)

    def close(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
        self._fd = -1


class Node:
    """The folders, the shipper and the destination of one test; a context manager that leaves no process behind.

    The destination is a file, one line per record. It is closed by taking its folder away, which the shipper meets with
    retries, as it would meet any destination that is down.
    """

    def __init__(self, folder: Path, filters: str = "") -> None:
        self.folder = folder
        self._filters = filters
        self.pods = folder / "pods"
        self.containers = folder / "containers"
        self.logs: list[Log] = []
        self._out = folder / "out"
        self._configuration = folder / "shipper.conf"
        self.shipper = ShipperProcess(self._configuration, folder / "shipper.log")

    def __enter__(self) -> Self:
        for path in (self.pods, self.containers, self._out):
            path.mkdir()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.shipper.close()
        for log in self.logs:
            log.close()

    def container(self, name: str = "web") -> Log:
        """A new container with an empty log behind a link."""
        log = Log(self.pods / f"ns_{name}_uid" / name / "0.log", name, self.containers / f"{name}_ns_{name}-0.log")
        self.logs.append(log)
        return log

    def plain_file(self, name: str = "app.log") -> Log:
        """A new log of a plain host: `app.log` in the folder `var`."""
        log = Log(self.folder / "var" / name, name.partition(".")[0])
        self.logs.append(log)
        return log

    def start(self, until_watching: bool = True, **tail: object) -> None:
        """Start a shipper and wait until it has found the files that are there.

        The options are those of the tail input. Started again without any, it has those it had before.
        """
        if tail or not self._configuration.exists():
            self._configuration.write_text(self._written(tail))
        self.shipper.start()
        if until_watching:
            self.until(self.shipper.is_watching)

    def stop(self) -> None:
        """End the shipper with SIGTERM and hold its ledger to the rule."""
        assert_balanced(self.shipper.terminate())

    def close_destination(self) -> None:
        self._out.rename(self._closed)

    def open_destination(self) -> None:
        self._closed.rename(self._out)

    def arrived(self) -> list[str]:
        """The lines that the destination has, in order of arrival."""
        for folder in (self._out, self._closed):
            try:
                return (folder / "all").read_text(errors="replace").splitlines()
            except FileNotFoundError:
                continue
        return []

    def until_arrived(self, count: int | None = None, patience_s: float = _PATIENCE_S) -> float:
        """Wait for so many different lines, by default for all that were written; gives the seconds it took."""
        wanted = sum(log.written for log in self.logs) if count is None else count
        return self.until(lambda: len(self.arrived()) >= wanted and len(set(self.arrived())) >= wanted, patience_s)

    def until(self, condition: Callable[[], bool], patience_s: float = _PATIENCE_S) -> float:
        """Wait for the condition while the shipper lives; gives the seconds it took."""
        begin = time.monotonic()
        while not condition():
            self.shipper.check()
            if time.monotonic() - begin > patience_s:
                raise AssertionError(f"in vain for {patience_s:g} s\n{self.verdict()}\n{self.shipper.end_of_log()}")
            time.sleep(0.02)
        return time.monotonic() - begin

    def finish(self, missing: int = 0) -> Verdict:
        """Wait until all but `missing` lines have arrived, or nothing has for a while; stop, and judge.

        What came twice or is missing is in the verdict. The ledger must balance.
        """
        wanted = sum(log.written for log in self.logs) - missing
        arrived, quiet_since = -1, time.monotonic()
        while arrived < wanted and time.monotonic() - quiet_since < _QUIET_S:
            self.shipper.check()
            if (now := len(set(self.arrived()))) != arrived:
                arrived, quiet_since = now, time.monotonic()
            time.sleep(0.05)
        self.stop()
        return self.verdict()

    def verdict(self) -> Verdict:
        """What the audit says of everything that has arrived so far."""
        return judge(self.arrived(), self.logs)

    @property
    def _closed(self) -> Path:
        return self._out.with_name("out.closed")

    def _written(self, tail: dict[str, object]) -> str:
        options = {
            "tag": "kube.*",
            "path": f"{self.containers}/*.log",
            "db": f"{self.folder}/tail.db",
            "rotate_wait": 1,
            **tail,
        }
        written = "\n".join(f"    {key.replace('_parser', '.parser')} {value}" for key, value in options.items())
        return (
            "[SERVICE]\n    flush 0.1\n    grace 5\n    scheduler.base 1\n    scheduler.cap 1\n"
            f"[INPUT]\n    name tail\n{written}\n{self._filters}"
            f"[OUTPUT]\n    name file\n    match *\n    path {self._out}\n    file all\n"
            "    format template\n    template {log}\n"
        )


def judge(lines: Iterable[str], logs: Iterable[Log]) -> Verdict:
    """Hold the lines that arrived against those that were written."""
    court = Audit(Manifest({log.stream: log.written for log in logs}, 0, 0), (), ())
    for line in lines:
        court.take((1, "", line))
    return court.verdict()


def write_steadily(log: Log, lines_per_second: float, seconds: float) -> Iterator[None]:
    """Write at this rate; comes back a hundred times a second, so that the caller can do something between."""
    begin, first = time.monotonic(), log.written
    while (elapsed := time.monotonic() - begin) < seconds:
        due = int(elapsed * lines_per_second) - (log.written - first)
        if due > 0:
            log.write(due)
        time.sleep(0.01)
        yield


def assert_complete(verdict: Verdict) -> None:
    """Every line once, whole, and in its order."""
    assert verdict.is_clean, str(verdict)
    assert verdict.duplicates == 0, str(verdict)
