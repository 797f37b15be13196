"""What a process costs: CPU time, wall time and memory, as the kernel counts them."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec


class Usage(msgspec.Struct, frozen=True):
    """The cost of one process and its children, from start to end."""

    cpu_s: float
    wall_s: float
    peak_rss_bytes: int


class RunFailed(Exception):
    """The measured process did not end as it should; carries the end of its log."""


def run_to_end(command: Sequence[str], variables: Mapping[str, str], log: Path, limit_s: float = 900) -> Usage:
    """Run a command until it ends by itself; raises `RunFailed` if it takes too long or fails.

    The kernel starts the peak memory of a new process at the size of its parent, so the caller has to be smaller
    than what it measures.
    """
    begin = time.monotonic()
    process = _start(command, variables, log)
    while True:
        pid, status, usage = os.wait4(process.pid, os.WNOHANG)
        if pid:
            break
        if time.monotonic() - begin > limit_s:
            process.kill()
            process.wait()
            raise RunFailed(f"not finished after {limit_s:g} s\n{_end_of(log)}")
        time.sleep(0.005)
    wall_s = time.monotonic() - begin
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != 0:
        raise RunFailed(f"ended with code {process.returncode}\n{_end_of(log)}")
    return Usage(usage.ru_utime + usage.ru_stime, wall_s, usage.ru_maxrss * 1024)


def idle_memory(command: Sequence[str], variables: Mapping[str, str], log: Path, after_s: float = 3) -> int:
    """Bytes of resident memory of a process that has run for a while; it is ended with SIGTERM afterwards."""
    process = _start(command, variables, log)
    try:
        time.sleep(after_s)
        if process.poll() is not None:
            raise RunFailed(f"ended with code {process.returncode}\n{_end_of(log)}")
        return resident_bytes(process.pid)
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def resident_bytes(pid: int) -> int:
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


def warm_page_cache(files: Sequence[Path]) -> None:
    """Read the files once, so that the disk plays no part."""
    for path in files:
        with path.open("rb", buffering=0) as file:
            while file.read(1 << 20):
                pass


def _start(command: Sequence[str], variables: Mapping[str, str], log: Path) -> subprocess.Popen[bytes]:
    with log.open("ab") as out:
        return subprocess.Popen(
            command, env={**os.environ, **variables}, stdin=subprocess.DEVNULL, stdout=out, stderr=out
        )


def _end_of(log: Path) -> str:
    return "\n".join(log.read_text(errors="replace").splitlines()[-20:])
