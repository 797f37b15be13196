"""A destination of a fault test: a sink in a process of its own, which may be away for the whole run."""

from __future__ import annotations

import socket
import subprocess
import sys
import time
from collections.abc import Collection, Sequence
from pathlib import Path

import msgspec

from tests.components.shipper_process import REPOSITORY, ShipperProcess
from tests.components.sink import Window
from tests.faults.audit import Event, TextOf, whole

QUIET_S = 10.0
"""What has not arrived after so long without any news is not waited for."""

_BLOCK = 1 << 24


class Destination:
    """A sink with its folder and its port; `windows` are the times of its misbehaviour.

    Before `start` nothing answers at its port, as if the service were down.
    """

    def __init__(self, folder: Path, windows: Sequence[Window] = ()) -> None:
        self.folder = folder
        self.port = free_port()
        self._windows = windows
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        self.folder.mkdir(exist_ok=True)
        windows = [word for window in self._windows for word in ("--window", str(window))]
        self._process = start_python("tests.components.sink", str(self.folder), "--port", str(self.port), *windows)

    def close(self) -> None:
        end(self._process)

    def told(self) -> int:
        """Grows with every put that it has seen."""
        puts = self.folder / "puts.jsonl"
        return puts.stat().st_size if puts.exists() else 0

    def wait_for(
        self, messages: int, at_risk: Collection[str], shipper: ShipperProcess, text_of: TextOf = whole
    ) -> None:
        """Until so many different messages have arrived, those at risk not counted, or nothing has for a while."""
        events, decode = self.folder / "events.jsonl", msgspec.json.Decoder(Event).decode
        # Of a long run the texts would fill the memory.
        arrived, unfinished, quiet_since = set[int](), b"", time.monotonic()
        not_counted = [hash(text) for text in at_risk]
        while len(arrived) < messages and time.monotonic() - quiet_since < QUIET_S and not events.exists():
            time.sleep(0.1)
        with events.open("rb") as file:
            while len(arrived) < messages and time.monotonic() - quiet_since < QUIET_S:
                shipper.check()
                if new := file.read(_BLOCK):
                    *lines, unfinished = (unfinished + new).split(b"\n")
                    arrived.update(hash(text_of(decode(line)[2])) for line in lines)
                    arrived.difference_update(not_counted)
                    quiet_since = time.monotonic()
                else:
                    time.sleep(0.1)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def start_python(module: str, *arguments: str) -> subprocess.Popen[bytes]:
    """A module of the tests in a process of its own."""
    return subprocess.Popen([sys.executable, "-m", module, *arguments], cwd=REPOSITORY, stdin=subprocess.DEVNULL)


def end(process: subprocess.Popen[bytes] | None) -> None:
    """Kill a process if it still runs."""
    if process is not None and process.poll() is None:
        process.kill()
        process.wait()
