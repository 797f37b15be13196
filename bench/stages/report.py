"""Results of the stages: what is kept of them, their file, and the table that is printed."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from itertools import groupby
from pathlib import Path
from typing import Any

import msgspec

from ..results import RESULTS, Machine, present_commit, this_machine


class StageResult(msgspec.Struct, frozen=True):
    """One stage. `ns_per_record` is the median of its rounds, `spread` the middle half of them as a part of it."""

    subject: str
    stage: str
    records: int
    rounds: int
    ns_per_record: float
    best_ns_per_record: float
    spread: float

    @property
    def records_per_s(self) -> float:
        return 1e9 / self.ns_per_record


class StageReport(msgspec.Struct, frozen=True):
    """One file of results."""

    date: str
    commit: str
    machine: Machine
    stages: tuple[StageResult, ...]


class _Stats(msgspec.Struct):
    """Seconds of the rounds."""

    min: float
    median: float
    iqr: float
    rounds: int


class _Benchmark(msgspec.Struct):
    name: str
    fullname: str
    param: str | None
    extra_info: dict[str, Any]
    stats: _Stats


class _File(msgspec.Struct):
    """As much as is needed of a file that pytest-benchmark writes."""

    benchmarks: list[_Benchmark]


def read_results(data: bytes) -> tuple[StageResult, ...]:
    """The results in a file of pytest-benchmark, in its order."""
    return tuple(map(_result, msgspec.json.decode(data, type=_File).benchmarks))


def new_report(stages: Sequence[StageResult]) -> StageReport:
    """A report of now, of this commit and this machine."""
    return StageReport(
        datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"), present_commit(), this_machine(), tuple(stages)
    )


def save(report: StageReport, folder: Path = RESULTS) -> Path:
    """Write a report to a file named by its date and commit."""
    folder.mkdir(parents=True, exist_ok=True)
    date = report.date.replace(":", "").replace("-", "").removesuffix("Z")
    path = folder / f"stages-{date}-{report.commit}.json"
    path.write_bytes(msgspec.json.format(msgspec.json.encode(report), indent=1) + b"\n")
    return path


def load(path: Path) -> StageReport:
    return msgspec.json.decode(path.read_bytes(), type=StageReport)


def table(stages: Sequence[StageResult]) -> str:
    """The figures as a Markdown table, subject by subject."""
    lines = ["| stage | ns/record | best | spread | records/s |", "|---|---:|---:|---:|---:|"]
    for subject, found in groupby(stages, key=lambda stage: stage.subject):
        lines.append(f"| **{subject}** | | | | |")
        lines += [
            f"| {s.stage} | {_ns(s.ns_per_record)} | {_ns(s.best_ns_per_record)} | {s.spread:.0%}"
            f" | {s.records_per_s / 1000:,.0f} k |"
            for s in found
        ]
    return "\n".join(lines)


def _result(measured: _Benchmark) -> StageResult:
    stats, records = measured.stats, int(measured.extra_info["records"])
    each_ns = 1e9 / records
    return StageResult(
        subject=Path(measured.fullname.partition("::")[0]).stem,
        stage=_stage_name(measured),
        records=records,
        rounds=stats.rounds,
        ns_per_record=stats.median * each_ns,
        best_ns_per_record=stats.min * each_ns,
        spread=stats.iqr / stats.median,
    )


def _stage_name(measured: _Benchmark) -> str:
    """`test_put_and_take[memory-rows]` is "put and take: memory, rows"."""
    words = measured.name.partition("[")[0].removeprefix("test_").replace("_", " ")
    return f"{words}: {measured.param.replace('-', ', ')}" if measured.param else words


def _ns(value: float) -> str:
    """Three digits are more than such a figure can hold; below ten nanoseconds one behind the point is shown."""
    return f"{value:.1f}" if value < 10 else f"{value:,.0f}"
