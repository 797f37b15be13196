"""A real shipper in a process of its own, which a test starts, kills and ends."""

from __future__ import annotations

import os
import re
import signal
import stat
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from tests.faults.ledger import Entry, read_ledger

REPOSITORY = Path(__file__).parents[2]
PATIENCE_S = 30.0


def shipper_command() -> str:
    """The shipper that belongs to the running interpreter."""
    return str(Path(sys.executable).with_name("shipper"))


_WATCH_MASK = re.compile(r"inotify wd:.* mask:([0-9a-f]+)")
_IN_CREATE = 0x100
"""What is asked for of folders alone."""


class ShipperProcess:
    """One shipper at a time, any number of lives; what they print is collected in one file.

    `module` is run instead of the installed program.
    """

    def __init__(
        self, configuration: Path, log: Path, variables: Mapping[str, str] | None = None, module: str = ""
    ) -> None:
        self._command = [sys.executable, "-m", module] if module else [shipper_command()]
        self._configuration = configuration
        self._log = log
        self._variables = variables or {}
        # None between an end and the next start.
        self._process: subprocess.Popen[bytes] | None = None
        self._log_at_start = 0
        self.peak_mib = 0.0
        """Most resident memory of the life that `terminate` has ended last."""

    def start(self) -> None:
        self._log_at_start = self._log.stat().st_size if self._log.exists() else 0
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                [*self._command, "-c", str(self._configuration)],
                env={**os.environ, **self._variables},
                cwd=REPOSITORY,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )

    def check(self) -> subprocess.Popen[bytes]:
        """The process, which has to be alive."""
        if self._process is None:
            raise AssertionError("no shipper was started")
        if (code := self._process.poll()) is not None:
            raise AssertionError(f"the shipper ended by itself with code {code}\n{self.end_of_log()}")
        return self._process

    def kill(self) -> None:
        """End it as `kill -9` does."""
        process = self.check()
        process.kill()
        process.wait()
        self._process = None

    def terminate(self) -> dict[str, Entry]:
        """SIGTERM, after which it has to end by itself with code 0; gives the ledger of this life."""
        process = self.check()
        self.peak_mib = _peak_mib(process.pid)
        process.terminate()
        code = process.wait(timeout=PATIENCE_S)
        self._process = None
        if code != 0:
            raise AssertionError(f"the shipper ended with code {code} after SIGTERM\n{self.end_of_log()}")
        return read_ledger(self.log()[self._log_at_start :].decode(errors="replace"))

    def freeze(self) -> None:
        """Let it do nothing until `thaw`; what happens meanwhile it learns from the system afterwards."""
        self.check().send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        self.check().send_signal(signal.SIGCONT)

    def open_files(self) -> list[str]:
        """What its descriptors lead to now; the names of deleted files end in ` (deleted)`."""
        folder = Path(f"/proc/{self.check().pid}/fd")
        names = []
        for descriptor in folder.iterdir():
            try:
                names.append(os.readlink(descriptor))
            except FileNotFoundError:
                continue
        return names

    def deleted_bytes(self) -> int:
        """The size of the deleted files that it keeps open."""
        folder = Path(f"/proc/{self.check().pid}/fd")
        states = []
        for descriptor in folder.iterdir():
            try:
                states.append(descriptor.stat())
            except FileNotFoundError:
                continue
        return sum(state.st_size for state in states if not state.st_nlink and stat.S_ISREG(state.st_mode))

    def is_watching(self) -> bool:
        """Whether it has looked for files and waits for events in their folders."""
        folder = Path(f"/proc/{self.check().pid}/fdinfo")
        for descriptor in folder.iterdir():
            try:
                masks = _WATCH_MASK.findall(descriptor.read_text())
            except FileNotFoundError:
                continue
            if any(int(mask, 16) & _IN_CREATE for mask in masks):
                return True
        return False

    def log(self) -> bytes:
        """What all lives have printed so far."""
        return self._log.read_bytes() if self._log.exists() else b""

    def end_of_log(self) -> str:
        """The last lines, for messages."""
        return "\n".join(self.log().decode(errors="replace").splitlines()[-25:])

    def close(self) -> None:
        """Leave no process behind."""
        if self._process is not None and self._process.poll() is None:
            self._process.kill()
            self._process.wait()
        self._process = None


def _peak_mib(pid: int) -> float:
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) / 1024
