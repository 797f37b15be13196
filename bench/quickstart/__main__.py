"""The demonstration of `make run`: containers write and rotate, the shipper delivers, every line is counted.

Three processes play the world: a generator that writes container logs as a node does, a local CloudWatch Logs, and the
shipper with `config/quickstart/shipper.conf`. After the time is over, or Ctrl-C, the generator is stopped, the shipper
gets its chance to deliver and a SIGTERM, and everything is read back from CloudWatch Logs and compared with what was
written, to the byte. Exit code 0 means: written = delivered + held.
"""

from __future__ import annotations

import argparse
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from types import FrameType

from bench.quickstart.cloud import LocalCloud, Progress
from tests.components.generator import Manifest, read_manifest
from tests.faults.audit import Audit, Verdict
from tests.faults.ledger import read_ledger

_REPOSITORY = Path(__file__).parents[2]
_CONFIGURATION = _REPOSITORY / "config" / "quickstart" / "shipper.conf"
_CONTAINERS = "web,api,worker,db"
_ROTATE_BYTES = 150_000
_DELIVERY_LIMIT_S = 20.0


class Demonstration:
    """The processes of one run, in a temporary folder."""

    def __init__(self, folder: Path, lines_per_second: int) -> None:
        self._folder = folder
        self._rate = lines_per_second
        self._manifest = folder / "manifest.json"
        self._log = folder / "shipper.log"
        self._cloud = LocalCloud(_free_port())
        self._generator: subprocess.Popen[bytes] | None = None
        self._shipper: subprocess.Popen[bytes] | None = None
        self._written = 0
        self._begin = time.monotonic()
        self._is_first_line_told = False
        self._stop_asked = False

    def ask_to_stop(self, _signal: int, _frame: FrameType | None) -> None:
        """End the run early; a signal handler."""
        self._stop_asked = True

    def run(self, seconds: float) -> int:
        """Show a run of so many seconds; gives the exit code."""
        try:
            self._start()
            self._watch(seconds)
            manifest = self._stop_generator()
            self._wait_until_delivered(manifest)
            self._stop_shipper()
            return self._settle(manifest)
        finally:
            for process in (self._generator, self._shipper):
                if process is not None and process.poll() is None:
                    process.kill()
                    process.wait()
            self._cloud.stop()

    def _start(self) -> None:
        _say(f"Starting a local CloudWatch Logs, the shipper and four containers that write {self._rate} lines/s.")
        logs, state = self._folder / "logs", self._folder / "state"
        state.mkdir()
        self._cloud.start()
        variables = {
            "LOG_DIR": str(logs),
            "STATE_DIR": str(state),
            "AWS_ENDPOINT": self._cloud.endpoint,
            "AWS_ACCESS_KEY_ID": "quickstart",
            "AWS_SECRET_ACCESS_KEY": "quickstart",
        }
        with self._log.open("ab") as log:
            shipper = str(Path(sys.executable).with_name("shipper"))
            self._shipper = _spawn([shipper, "-c", str(_CONFIGURATION)], log.fileno(), variables)
        generator = [sys.executable, "-m", "tests.components.generator", str(logs), "--manifest", str(self._manifest)]
        options = ["--names", _CONTAINERS, "--rate", str(self._rate), "--rotate-bytes", str(_ROTATE_BYTES), "--report"]
        self._generator = _spawn([*generator, *options], subprocess.PIPE, {})
        if self._generator.stdout is not None:
            os.set_blocking(self._generator.stdout.fileno(), False)

    def _watch(self, seconds: float) -> None:
        """Show where the run stands, once a second; more often until the first line has arrived."""
        begin = told = time.monotonic()
        while (now := time.monotonic()) - begin < seconds and not self._stop_asked:
            if now - told >= 1 or not self._is_first_line_told:
                arrived = self._look()
                if now - told >= 1:
                    told = now
                    self._show(arrived)
            time.sleep(0.1)

    def _look(self) -> Progress:
        """What has arrived and what has been written up to now."""
        if self._shipper is not None and self._shipper.poll() is not None:
            raise RuntimeError(f"the shipper ended by itself\n{self._end_of_log()}")
        arrived = self._cloud.progress()
        # The generator reports now and then, so a line may arrive before it has been reported.
        self._written = max(self._read_written(), arrived.delivered + arrived.gaps)
        if arrived.delivered and not self._is_first_line_told:
            self._is_first_line_told = True
            _say(f"First line delivered after {time.monotonic() - self._begin:.1f} s.")
        return arrived

    def _show(self, arrived: Progress) -> None:
        elapsed = time.monotonic() - self._begin
        held = self._written - arrived.delivered - arrived.gaps
        _say(
            f"{elapsed:5.0f} s   written {self._written:6}   delivered {arrived.delivered:6}   held {held:5}"
            f"   lost {arrived.gaps}   {arrived.delivered / elapsed:4.0f} lines/s"
        )

    def _read_written(self) -> int:
        """The last number the generator has reported, or what its manifest says."""
        if self._manifest.exists():
            return read_manifest(self._manifest).messages
        told = self._generator.stdout.read() if self._generator and self._generator.stdout else None
        return int(told.split()[-1]) if told else self._written

    def _stop_generator(self) -> Manifest:
        if self._generator is None:
            raise RuntimeError("the generator was not started")
        self._generator.terminate()
        self._generator.communicate(timeout=30)
        manifest = read_manifest(self._manifest)
        _say(f"The containers have stopped; their logs were rotated {manifest.rotations} times.")
        return manifest

    def _wait_until_delivered(self, manifest: Manifest) -> None:
        limit = time.monotonic() + _DELIVERY_LIMIT_S
        while (arrived := self._look()).delivered < manifest.messages and time.monotonic() < limit:
            self._show(arrived)
            time.sleep(0.5)
        self._show(arrived)

    def _stop_shipper(self) -> None:
        if self._shipper is not None:
            self._shipper.terminate()
            self._shipper.wait(timeout=30)

    def _settle(self, manifest: Manifest) -> int:
        """Compare what was written with what is in CloudWatch Logs; gives the exit code."""
        court = Audit(manifest, (), ())
        for stream, message in self._cloud.read_back():
            court.take((1, stream, message))
        verdict = court.verdict()
        ledger = read_ledger(self._log.read_text(errors="replace"))
        told_held = sum(entry.numbers.get("held", 0) for entry in ledger.values() if entry.kind == "output")
        held = min(told_held, verdict.lost)
        lost = verdict.lost - held
        _say(f"\nwritten {verdict.written} = delivered {verdict.delivered} + held {held}, lost {lost}")
        return self._tell_faults(verdict, lost)

    def _tell_faults(self, verdict: Verdict, lost: int) -> int:
        if verdict.duplicates:
            _say(f"{verdict.duplicates} lines were delivered twice.")
        if not (lost or verdict.broken):
            return 0
        _say(f"{verdict}\n\nThe end of the shipper's log:\n{self._end_of_log()}")
        return 1

    def _end_of_log(self) -> str:
        return "\n".join(self._log.read_text(errors="replace").splitlines()[-25:])


def _spawn(command: list[str], output: int, variables: dict[str, str]) -> subprocess.Popen[bytes]:
    """A child in a session of its own, so that Ctrl-C reaches this process alone."""
    return subprocess.Popen(
        command,
        cwd=_REPOSITORY,
        env={**os.environ, **variables},
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=None if output == subprocess.PIPE else output,
        start_new_session=True,
    )


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _say(text: str) -> None:
    print(text, flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.quickstart", description="Show that no line is lost.")
    parser.add_argument("--seconds", type=float, default=30)
    parser.add_argument("--rate", type=int, default=400, help="lines a second, all containers together")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="shipper-quickstart-") as folder:
        demonstration = Demonstration(Path(folder), options.rate)
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, demonstration.ask_to_stop)
        try:
            code = demonstration.run(options.seconds)
        except RuntimeError as error:
            sys.exit(str(error))
    sys.exit(code)


if __name__ == "__main__":
    main()
