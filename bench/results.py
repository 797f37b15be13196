"""Results of benchmark runs: what is kept of them, and their file."""

from __future__ import annotations

import os
import platform
import ssl
import statistics
import subprocess
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path

import msgspec

from bench.measure import Usage

_REPOSITORY = Path(__file__).parents[1]
RESULTS = Path(__file__).with_name("results")
_LIBRARIES = ("uvloop", "msgspec", "aiobotocore", "botocore", "isal", "cramjam", "xxhash", "mmh3")


class Sample(msgspec.Struct, frozen=True):
    """What one run has shown. `records` is 0 where none were shipped that CPU could be counted by.

    `figures` are what else is worth knowing, with the unit at the end of the name; `held` is how many records were
    written and had not arrived, by seconds since an outage began.
    """

    records: int
    cpu_s: float
    wall_s: float
    peak_rss_bytes: int
    figures: dict[str, float] = {}
    held: tuple[tuple[float, int], ...] = ()

    @classmethod
    def of_usage(cls, records: int, usage: Usage, **figures: float) -> Sample:
        return cls(records, usage.cpu_s, usage.wall_s, usage.peak_rss_bytes, figures)


class Run(msgspec.Struct, frozen=True):
    """One run of a pipeline, with the yardstick before and after it if its CPU is compared with that."""

    cpu_us_per_record: float
    yardsticks_us: tuple[float, ...]
    wall_s: float
    peak_rss_bytes: int
    figures: dict[str, float] = {}
    held: tuple[tuple[float, int], ...] = ()

    @classmethod
    def of_sample(cls, sample: Sample, yardsticks_us: tuple[float, ...]) -> Run:
        each_us = sample.cpu_s / sample.records * 1e6 if sample.records else 0.0
        return cls(each_us, yardsticks_us, sample.wall_s, sample.peak_rss_bytes, sample.figures, sample.held)

    @property
    def yardsticks(self) -> float | None:
        """CPU per record as a multiple of the yardstick."""
        return self.cpu_us_per_record / statistics.mean(self.yardsticks_us) if self.yardsticks_us else None


class CaseResult(msgspec.Struct, frozen=True):
    """All runs of one case, and those of the peer; figures are medians."""

    case: str
    about: str
    records: int
    to_reach: float | None
    runs: tuple[Run, ...]
    peer_runs: tuple[Run, ...] = ()
    wanted: dict[str, float] = {}
    kind: str = "drain"

    @property
    def cpu_us_per_record(self) -> float:
        return statistics.median(r.cpu_us_per_record for r in self.runs)

    @property
    def yardstick_us(self) -> float | None:
        taken = [y for r in self.runs for y in r.yardsticks_us]
        return statistics.median(taken) if taken else None

    @property
    def yardsticks(self) -> float | None:
        taken = [r.yardsticks for r in self.runs if r.yardsticks is not None]
        return statistics.median(taken) if taken else None

    @property
    def spread(self) -> float:
        """The distance between the best and the worst run, as a part of the median, in yardsticks."""
        taken = [r.yardsticks for r in self.runs if r.yardsticks is not None]
        return (max(taken) - min(taken)) / statistics.median(taken) if taken else 0.0

    @property
    def records_per_s(self) -> float:
        return self.records / statistics.median(r.wall_s for r in self.runs)

    @property
    def peak_rss_bytes(self) -> float:
        return statistics.median(r.peak_rss_bytes for r in self.runs)

    @property
    def figures(self) -> dict[str, float]:
        return {name: statistics.median(r.figures[name] for r in self.runs) for name in self.runs[0].figures}

    @property
    def peer(self) -> CaseResult | None:
        """The same case with the runs of the peer, if it has any."""
        return msgspec.structs.replace(self, runs=self.peer_runs, peer_runs=()) if self.peer_runs else None


class Machine(msgspec.Struct, frozen=True):
    """Where the figures were taken."""

    processor: str
    cores: int
    kernel: str
    python: str
    libraries: dict[str, str]


class Report(msgspec.Struct, frozen=True):
    """One file of results."""

    date: str
    commit: str
    command: str
    scale: float
    machine: Machine
    cases: tuple[CaseResult, ...]
    idle_rss_bytes: int
    peer: str = ""
    failures: tuple[str, ...] = ()
    seconds: float = 0.0


def shown_command(command: str) -> str:
    """The command without the folder that this checkout happens to be in."""
    return command.replace(f"{_REPOSITORY}/", "")


def new_report(
    command: str,
    scale: float,
    cases: Sequence[CaseResult],
    idle_rss_bytes: int,
    peer: str = "",
    failures: Sequence[str] = (),
    *,
    commit: str = "",
    seconds: float = 0.0,
) -> Report:
    """A report of now and of this machine; of the present commit if none is given. `seconds` is what it took."""
    return Report(
        date=datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        commit=commit or present_commit(),
        command=shown_command(command),
        scale=scale,
        machine=this_machine(),
        cases=tuple(cases),
        idle_rss_bytes=idle_rss_bytes,
        peer=shown_command(peer),
        failures=tuple(failures),
        seconds=seconds,
    )


def file_name(report: Report) -> str:
    """The name of a report's files without what tells their kind: its date and commit."""
    date = report.date.replace(":", "").replace("-", "").removesuffix("Z")
    return f"{date}-{report.commit}"


def save(report: Report, folder: Path = RESULTS) -> Path:
    """Write a report to a file named by its date and commit."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{file_name(report)}.json"
    path.write_bytes(msgspec.json.format(msgspec.json.encode(report), indent=1) + b"\n")
    return path


def load(path: Path) -> Report:
    return msgspec.json.decode(path.read_bytes(), type=Report)


def present_commit() -> str:
    """The short commit of the repository, with `-changed` if files differ from it."""
    if not (_REPOSITORY / ".git").exists():
        return "unknown"
    commit = _git("rev-parse", "--short", "HEAD")
    return f"{commit}-changed" if _git("status", "--porcelain", "--untracked-files=no") else commit


def this_machine() -> Machine:
    libraries = {}
    for name in _LIBRARIES:
        try:
            libraries[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            libraries[name] = "not installed"
    libraries |= {"OpenSSL": ssl.OPENSSL_VERSION.split()[1], "nginx": _nginx_version()}
    return Machine(_processor(), os.cpu_count() or 0, platform.release(), platform.python_version(), libraries)


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def _nginx_version() -> str:
    try:
        told = subprocess.run(["nginx", "-v"], capture_output=True, text=True, check=False).stderr
    except FileNotFoundError:
        return "not installed"
    return told.strip().rpartition("/")[2]


def _git(*arguments: str) -> str:
    return subprocess.run(
        ["git", *arguments], cwd=_REPOSITORY, capture_output=True, text=True, check=False
    ).stdout.strip()
