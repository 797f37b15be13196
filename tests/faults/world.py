"""The world of a fault test: a generator, a real shipper and a sink, each a process, in a folder of its own."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.components.generator import Manifest, read_manifest
from tests.components.sink import Window
from tests.faults.audit import Verdict, audit
from tests.faults.ledger import Entry, read_ledger

_REPOSITORY = Path(__file__).parents[2]
_PATIENCE_S = 30.0
_QUIET_S = 10.0
_CREDENTIALS = {"AWS_ACCESS_KEY_ID": "x", "AWS_SECRET_ACCESS_KEY": "y", "AWS_EC2_METADATA_DISABLED": "true"}


def shipper_command() -> str:
    """The shipper that belongs to the running interpreter."""
    return str(Path(sys.executable).with_name("shipper"))


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class World:
    """Starts, kills and ends the processes; a context manager that leaves none behind.

    The order of a test: `start_generator`, `start_shipper`, any number of `kill` or `terminate` with `start_shipper`
    after them, `finish`, `verdict`.
    """

    def __init__(self, folder: Path, windows: Sequence[Window] = ()) -> None:
        self.folder = folder
        self.kills: list[float] = []
        self._logs = folder / "logs"
        self._state = folder / "state"
        self._sink_folder = folder / "sink"
        self._port = free_port()
        self._windows = windows
        self._shipper_log = folder / "shipper.log"
        self._puts_at_start = 0
        # The processes that run now; the shipper is None between a kill and the next start.
        self._sink: subprocess.Popen[bytes] | None = None
        self._generator: subprocess.Popen[bytes] | None = None
        self._shipper: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        for path in (self._logs, self._state, self._sink_folder):
            path.mkdir(parents=True)
        windows = [word for window in self._windows for word in ("--window", str(window))]
        self._sink = self._python("tests.components.sink", str(self._sink_folder), "--port", str(self._port), *windows)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for process in (self._generator, self._shipper, self._sink):
            if process is not None and process.poll() is None:
                process.kill()
                process.wait()

    def start_generator(self, *options: str) -> None:
        manifest = ("--manifest", str(self.folder / "manifest.json"))
        self._generator = self._python("tests.components.generator", str(self._logs), *manifest, *options)

    def start_shipper(self) -> None:
        puts = self._sink_folder / "puts.jsonl"
        self._puts_at_start = puts.stat().st_size if puts.exists() else 0
        variables = {"LOGS": str(self._logs), "STATE": str(self._state), "SINK_PORT": str(self._port)}
        with self._shipper_log.open("ab") as log:
            self._shipper = subprocess.Popen(
                [shipper_command(), "-c", str(Path(__file__).with_name("shipper.conf"))],
                env={**os.environ, **_CREDENTIALS, **variables},
                cwd=_REPOSITORY,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )

    def wait_for_a_put(self) -> None:
        """Until the sink has seen a put of the shipper that runs now."""
        puts = self._sink_folder / "puts.jsonl"
        limit = time.monotonic() + _PATIENCE_S
        while not puts.exists() or puts.stat().st_size <= self._puts_at_start:
            self._running_shipper()
            if time.monotonic() > limit:
                raise AssertionError(f"the shipper has sent nothing for {_PATIENCE_S:g} s\n{self.end_of_log()}")
            time.sleep(0.02)

    def kill(self) -> None:
        """`kill -9` of the shipper; the moment is remembered for the audit."""
        shipper = self._running_shipper()
        self.kills.append(time.time())
        shipper.kill()
        shipper.wait()
        self._shipper = None

    def terminate(self) -> dict[str, Entry]:
        """SIGTERM to the shipper, which has to end by itself with code 0; gives its ledger."""
        shipper = self._running_shipper()
        shipper.terminate()
        code = shipper.wait(timeout=_PATIENCE_S)
        self._shipper = None
        if code != 0:
            raise AssertionError(f"the shipper ended with code {code} after SIGTERM\n{self.end_of_log()}")
        return read_ledger(self._shipper_log.read_text(errors="replace"))

    def finish(self) -> dict[str, Entry]:
        """End the generator, wait until nothing new arrives or everything has, end the shipper."""
        manifest = self._end_generator()
        self._wait_until_delivered(manifest)
        return self.terminate()

    def verdict(self) -> Verdict:
        return audit(read_manifest(self.folder / "manifest.json"), self._sink_folder, self.kills)

    def end_of_log(self) -> str:
        """The last lines the shipper wrote, for messages."""
        return "\n".join(self._shipper_log.read_text(errors="replace").splitlines()[-25:])

    def _end_generator(self) -> Manifest:
        if self._generator is None:
            raise AssertionError("no generator was started")
        self._generator.terminate()
        self._generator.wait(timeout=_PATIENCE_S)
        return read_manifest(self.folder / "manifest.json")

    def _wait_until_delivered(self, manifest: Manifest) -> None:
        """Until every message has arrived, or nothing has arrived for a while; the audit tells which."""
        events = self._sink_folder / "events.jsonl"
        arrived, unfinished, quiet_since = set[bytes](), b"", time.monotonic()
        with events.open("rb") as file:
            while len(arrived) < manifest.messages and time.monotonic() - quiet_since < _QUIET_S:
                self._running_shipper()
                if new := file.read():
                    *lines, unfinished = (unfinished + new).split(b"\n")
                    arrived.update(line.split(b'","', 1)[-1] for line in lines)
                    quiet_since = time.monotonic()
                time.sleep(0.1)

    def _running_shipper(self) -> subprocess.Popen[bytes]:
        if self._shipper is None:
            raise AssertionError("no shipper was started")
        if (code := self._shipper.poll()) is not None:
            raise AssertionError(f"the shipper ended by itself with code {code}\n{self.end_of_log()}")
        return self._shipper

    def _python(self, module: str, *arguments: str) -> subprocess.Popen[bytes]:
        return subprocess.Popen([sys.executable, "-m", module, *arguments], cwd=_REPOSITORY, stdin=subprocess.DEVNULL)
