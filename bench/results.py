"""Results of benchmark runs: what is kept of them, their file, and the table that is printed."""

from __future__ import annotations

import os
import platform
import statistics
import subprocess
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path

import msgspec

_REPOSITORY = Path(__file__).parents[1]
RESULTS = Path(__file__).with_name("results")
_LIBRARIES = ("uvloop", "msgspec", "aiobotocore", "aiohttp", "isal", "cramjam")


class Run(msgspec.Struct, frozen=True):
    """One run of a pipeline, with the yardstick before and after it."""

    cpu_us_per_record: float
    yardsticks_us: tuple[float, float]
    wall_s: float
    peak_rss_bytes: int

    @property
    def yardsticks(self) -> float:
        """CPU per record as a multiple of the yardstick."""
        return self.cpu_us_per_record / statistics.mean(self.yardsticks_us)


class CaseResult(msgspec.Struct, frozen=True):
    """All runs of one pipeline; figures are medians."""

    case: str
    about: str
    records: int
    to_reach: float
    runs: tuple[Run, ...]

    @property
    def cpu_us_per_record(self) -> float:
        return statistics.median(r.cpu_us_per_record for r in self.runs)

    @property
    def yardstick_us(self) -> float:
        return statistics.median(y for r in self.runs for y in r.yardsticks_us)

    @property
    def yardsticks(self) -> float:
        return statistics.median(r.yardsticks for r in self.runs)

    @property
    def spread(self) -> float:
        """The distance between the best and the worst run, as a part of the median, in yardsticks."""
        values = [r.yardsticks for r in self.runs]
        return (max(values) - min(values)) / self.yardsticks

    @property
    def records_per_s(self) -> float:
        return self.records / statistics.median(r.wall_s for r in self.runs)

    @property
    def peak_rss_bytes(self) -> float:
        return statistics.median(r.peak_rss_bytes for r in self.runs)


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


def shown_command(command: str) -> str:
    """The command without the folder that this checkout happens to be in."""
    return command.replace(f"{Path(__file__).parents[1]}/", "")


def new_report(command: str, scale: float, cases: Sequence[CaseResult], idle_rss_bytes: int) -> Report:
    """A report of now, of this commit and this machine."""
    date = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    return Report(date, present_commit(), shown_command(command), scale, this_machine(), tuple(cases), idle_rss_bytes)


def save(report: Report, folder: Path = RESULTS) -> Path:
    """Write a report to a file named by its date and commit."""
    folder.mkdir(parents=True, exist_ok=True)
    date = report.date.replace(":", "").replace("-", "").removesuffix("Z")
    path = folder / f"{date}-{report.commit}.json"
    path.write_bytes(msgspec.json.format(msgspec.json.encode(report), indent=1) + b"\n")
    return path


def load(path: Path) -> Report:
    return msgspec.json.decode(path.read_bytes(), type=Report)


def table(report: Report) -> str:
    """The figures of a report as a Markdown table."""
    lines = [
        "| pipeline | us CPU/record | yardstick us | **yardsticks** | to reach | spread | records/s | peak RSS |",
        "|---|---:|---:|---:|---:|---:|---:|---:|",
    ]
    lines += [
        f"| {c.case} | {c.cpu_us_per_record:.2f} | {c.yardstick_us:.2f} | **{c.yardsticks:.2f}** | {c.to_reach:.2f}"
        f" | {c.spread:.0%} | {c.records_per_s / 1000:.0f} k | {c.peak_rss_bytes / 1e6:.0f} MB |"
        for c in report.cases
    ]
    return "\n".join([*lines, "", f"Idle process: {report.idle_rss_bytes / 1e6:.1f} MB resident."])


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
    return Machine(_processor(), os.cpu_count() or 0, platform.release(), platform.python_version(), libraries)


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def _git(*arguments: str) -> str:
    return subprocess.run(
        ["git", *arguments], cwd=_REPOSITORY, capture_output=True, text=True, check=False
    ).stdout.strip()
