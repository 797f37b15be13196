"""The world of a fault test: a generator, a real shipper and a sink, each a process, in a folder of its own."""

from __future__ import annotations

import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.components.generator import Manifest, message, read_manifest
from tests.components.shipper_process import PATIENCE_S, REPOSITORY, ShipperProcess
from tests.components.sink import Window
from tests.faults.audit import Verdict, audit
from tests.faults.ledger import Entry, assert_balanced

_QUIET_S = 10.0
_CREDENTIALS = {"AWS_ACCESS_KEY_ID": "x", "AWS_SECRET_ACCESS_KEY": "y", "AWS_EC2_METADATA_DISABLED": "true"}


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class World:
    """Starts, kills and ends the processes; a context manager that leaves none behind.

    The order of a test: `start`, any number of `kill` or `terminate` with `start_shipper` after them, `finish`,
    `verdict`. With `storage` filesystem the input stores what it reads.
    """

    def __init__(self, folder: Path, windows: Sequence[Window] = (), storage: str = "memory") -> None:
        self.folder = folder
        self.kills: list[float] = []
        self._is_stored = storage == "filesystem"
        self._logs = folder / "logs"
        self._state = folder / "state"
        self._sink_folder = folder / "sink"
        self._port = free_port()
        self._windows = windows
        self._puts_at_start = 0
        variables = {"LOGS": str(self._logs), "STATE": str(self._state), "SINK_PORT": str(self._port)}
        configuration = folder / "shipper.conf"
        configuration.write_text(_configuration(storage))
        self._shipper = ShipperProcess(configuration, folder / "shipper.log", {**_CREDENTIALS, **variables})
        # The other processes, while they run.
        self._sink: subprocess.Popen[bytes] | None = None
        self._generator: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        for path in (self._logs / "containers", self._state, self._sink_folder):
            path.mkdir(parents=True)
        windows = [word for window in self._windows for word in ("--window", str(window))]
        self._sink = self._python("tests.components.sink", str(self._sink_folder), "--port", str(self._port), *windows)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._shipper.close()
        for process in (self._generator, self._sink):
            if process is not None and process.poll() is None:
                process.kill()
                process.wait()

    def start(self, *options: str) -> None:
        """Start the shipper, and the generator once it looks for files: what is written from now on must arrive."""
        self.start_shipper()
        limit = time.monotonic() + PATIENCE_S
        while not self._shipper.is_watching() and time.monotonic() < limit:
            time.sleep(0.02)
        self.start_generator(*options)

    def start_generator(self, *options: str) -> None:
        manifest = ("--manifest", str(self.folder / "manifest.json"))
        self._generator = self._python("tests.components.generator", str(self._logs), *manifest, *options)

    def start_shipper(self) -> None:
        puts = self._sink_folder / "puts.jsonl"
        self._puts_at_start = puts.stat().st_size if puts.exists() else 0
        self._shipper.start()

    def wait_for_a_put(self) -> None:
        """Until the sink has seen a put of the shipper that runs now."""
        puts = self._sink_folder / "puts.jsonl"
        limit = time.monotonic() + PATIENCE_S
        while not puts.exists() or puts.stat().st_size <= self._puts_at_start:
            self._shipper.check()
            if time.monotonic() > limit:
                raise AssertionError(f"the shipper has sent nothing for {PATIENCE_S:g} s\n{self._shipper.end_of_log()}")
            time.sleep(0.02)

    def kill(self) -> None:
        """`kill -9` of the shipper; the moment is remembered for the audit."""
        self._shipper.check()
        self.kills.append(time.time())
        self._shipper.kill()

    def terminate(self) -> dict[str, Entry]:
        """SIGTERM to the shipper, which has to end by itself with code 0; gives its ledger, which has to balance."""
        ledger = self._shipper.terminate()
        assert_balanced(ledger)
        return ledger

    def finish(self) -> dict[str, Entry]:
        """End the generator, wait until nothing new arrives or everything has, end the shipper."""
        manifest = self._end_generator()
        self._wait_until_delivered(manifest)
        return self.terminate()

    def verdict(self) -> Verdict:
        return audit(read_manifest(self.folder / "manifest.json"), self._sink_folder, self.kills, self._is_stored)

    def _end_generator(self) -> Manifest:
        if self._generator is None:
            raise AssertionError("no generator was started")
        self._generator.terminate()
        self._generator.wait(timeout=PATIENCE_S)
        return read_manifest(self.folder / "manifest.json")

    def _wait_until_delivered(self, manifest: Manifest) -> None:
        """Until every message has arrived, or nothing has arrived for a while; the audit tells which."""
        events = self._sink_folder / "events.jsonl"
        at_risk = {message(stream, n).encode() for stream, numbers in manifest.at_risk.items() for n in numbers}
        arrived, unfinished, quiet_since = set[bytes](), b"", time.monotonic()
        wanted = manifest.messages - manifest.messages_at_risk
        with events.open("rb") as file:
            while len(arrived) < wanted and time.monotonic() - quiet_since < _QUIET_S:
                self._shipper.check()
                if new := file.read():
                    *lines, unfinished = (unfinished + new).split(b"\n")
                    arrived.update(line.split(b'","', 1)[-1].removesuffix(b'"]') for line in lines)
                    arrived -= at_risk
                    quiet_since = time.monotonic()
                time.sleep(0.1)

    def _python(self, module: str, *arguments: str) -> subprocess.Popen[bytes]:
        return subprocess.Popen([sys.executable, "-m", module, *arguments], cwd=REPOSITORY, stdin=subprocess.DEVNULL)


def _configuration(storage: str) -> str:
    text = Path(__file__).with_name("shipper.conf").read_text()
    if storage == "memory":
        return text
    text = text.replace("[SERVICE]\n", "[SERVICE]\n    storage.path     ${STATE}/storage\n")
    return text.replace("    name             tail\n", f"    name             tail\n    storage.type     {storage}\n")
