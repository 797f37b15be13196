"""What a process costs: CPU time, wall time and memory, as the kernel counts them."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Self

import msgspec

_TICKS_PER_S = os.sysconf("SC_CLK_TCK")
_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")


class Usage(msgspec.Struct, frozen=True):
    """The cost of one process and its children, from start to end."""

    cpu_s: float
    wall_s: float
    peak_rss_bytes: int


class RunFailed(Exception):
    """The measured process did not end as it should; carries the end of its log."""


class Running:
    """A process that runs while the context lasts, and can be asked what it costs.

    With `cores` it may use so many cores and no others. The kernel starts the peak memory of a new process at the size
    of its parent, so the caller has to be smaller than what it measures.
    """

    def __init__(self, command: Sequence[str], variables: Mapping[str, str], log: Path, cores: int = 0) -> None:
        self._log = log
        allowed = sorted(os.sched_getaffinity(0))
        restrict = partial(os.sched_setaffinity, 0, set(allowed[-cores:])) if cores else None
        self.began_s = time.monotonic()
        self.began_ns = time.time_ns()
        with log.open("ab") as out:
            self._process = subprocess.Popen(
                command,
                env={**os.environ, **variables},
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                preexec_fn=restrict,
            )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._process.returncode is None:
            self._process.kill()
            self._process.wait()

    def cpu_s(self) -> float:
        """Seconds of CPU time used up to now."""
        return cpu_of_stat(self._page("stat"))

    def resident_bytes(self) -> int:
        return int(self._page("statm").split()[1]) * _PAGE_BYTES

    def stop(self, limit_s: float = 60) -> Usage:
        """End it with SIGTERM."""
        self._process.send_signal(signal.SIGTERM)
        return self.wait(limit_s)

    def wait(self, limit_s: float) -> Usage:
        """Wait until it ends by itself; raises `RunFailed` if that takes too long or it fails."""
        begin = time.monotonic()
        while True:
            pid, status, usage = os.wait4(self._process.pid, os.WNOHANG)
            if pid:
                break
            if time.monotonic() - begin > limit_s:
                raise RunFailed(f"not finished after {limit_s:g} s\n{self._end_of_log()}")
            time.sleep(0.005)
        wall_s = time.monotonic() - self.began_s
        self._process.returncode = os.waitstatus_to_exitcode(status)
        if self._process.returncode != 0:
            raise RunFailed(f"ended with code {self._process.returncode}\n{self._end_of_log()}")
        return Usage(usage.ru_utime + usage.ru_stime, wall_s, usage.ru_maxrss * 1024)

    def check(self) -> None:
        """Raise `RunFailed` if it has ended by itself."""
        if self._process.poll() is not None:
            raise RunFailed(f"ended with code {self._process.returncode}\n{self._end_of_log()}")

    def _page(self, name: str) -> str:
        self.check()
        return Path(f"/proc/{self._process.pid}/{name}").read_text()

    def _end_of_log(self) -> str:
        return "\n".join(self._log.read_text(errors="replace").splitlines()[-20:])


def run_to_end(
    command: Sequence[str], variables: Mapping[str, str], log: Path, cores: int = 0, limit_s: float = 300
) -> Usage:
    """Run a command until it ends by itself; raises `RunFailed` if it takes too long or fails."""
    with Running(command, variables, log, cores) as process:
        return process.wait(limit_s)


def idle_memory(command: Sequence[str], variables: Mapping[str, str], log: Path, after_s: float = 3) -> int:
    """Bytes of resident memory of a process that has run for a while."""
    with Running(command, variables, log) as process:
        time.sleep(after_s)
        resident = process.resident_bytes()
        process.stop(30)
    return resident


def cpu_of_stat(stat: str) -> float:
    """Seconds of CPU time in a `/proc/PID/stat`: of the process and of its children that have ended."""
    # The name of the program stands in brackets and may hold anything.
    fields = stat.rpartition(")")[2].split()
    return sum(map(int, fields[11:15])) / _TICKS_PER_S


def warm_page_cache(files: Sequence[Path]) -> None:
    """Read the files once, so that the disk plays no part."""
    for path in files:
        with path.open("rb", buffering=0) as file:
            while file.read(1 << 20):
                pass
