"""Stages: figures per record are read from what pytest-benchmark writes, and nothing is forgotten."""

from __future__ import annotations

import tomllib
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import msgspec
import pytest

from bench.results import Machine
from bench.stages import SUBJECTS, filters, requests
from bench.stages.report import StageReport, load, read_results, save, table
from shipper.plugins import PluginKind, plugin_names

_REPOSITORY = Path(__file__).parents[2]
_STAGES = _REPOSITORY / "bench" / "stages"


def measured(name: str, subject: str = "cri", param: str | None = None, **stats: float) -> dict[str, Any]:
    """A benchmark of 1000 records as pytest-benchmark writes it, with members that nobody reads."""
    return {
        "group": None,
        "name": name,
        "fullname": f"bench/stages/{subject}.py::{name}",
        "params": {"text": "json"},
        "param": param,
        "extra_info": {"records": 1000},
        "options": {"timer": "process_time"},
        "stats": {"min": 0.0005, "max": 1.0, "mean": 0.1, "median": 0.0006, "iqr": 0.00003, "rounds": 7, **stats},
    }


def written(*benchmarks: dict[str, Any]) -> bytes:
    return msgspec.json.encode({"machine_info": {"node": "n"}, "benchmarks": benchmarks, "version": "5.3.1"})


def test_figures_are_those_of_a_single_record() -> None:
    [stage] = read_results(written(measured("test_put_and_take[memory-rows]", "buffers", "memory-rows")))

    assert (stage.subject, stage.stage) == ("buffers", "put and take: memory, rows")
    assert (stage.records, stage.rounds) == (1000, 7)
    assert (stage.ns_per_record, stage.best_ns_per_record) == pytest.approx((600, 500))
    assert stage.spread == pytest.approx(0.05)
    assert stage.records_per_s == pytest.approx(1e9 / 600)


def test_the_table_has_the_stages_below_their_subject() -> None:
    first = measured("test_times")
    second = measured("test_block[json]", param="json", median=0.0025, min=0.002, iqr=0.00025)
    third = measured("test_filter[throttle]", "filters", "throttle", median=0.0000039, min=0.000003, iqr=0.0)

    told = table(read_results(written(first, second, third)))

    assert told.splitlines() == [
        "| stage | ns/record | best | spread | records/s |",
        "|---|---:|---:|---:|---:|",
        "| **cri** | | | | |",
        "| times | 600 | 500 | 5% | 1,667 k |",
        "| block: json | 2,500 | 2,000 | 10% | 400 k |",
        "| **filters** | | | | |",
        "| filter: throttle | 3.9 | 3.0 | 0% | 256,410 k |",
    ]


def test_a_report_survives_its_file_which_tells_date_and_commit(tmp_path: Path) -> None:
    machine = Machine("some processor", 2, "6.1", "3.11.7", {"msgspec": "0.18"})
    report = StageReport("2026-11-20T10:00:00Z", "abc1234", machine, read_results(written(measured("test_times"))))

    path = save(report, tmp_path)

    assert path.name == "stages-20261120T100000-abc1234.json"
    assert load(path) == report


@pytest.mark.parametrize(
    ("kind", "known"),
    [
        ("filter", [*filters.FILTERS, *filters.ELSEWHERE]),
        ("output", [*dict.fromkeys(name for name, *_ in requests.OUTPUTS), *requests.NOT_MEASURED]),
    ],
)
def test_every_plugin_is_measured_or_it_is_said_why_not(kind: PluginKind, known: list[str]) -> None:
    assert sorted(known) == plugin_names(kind)


def test_reasons_are_given_in_words() -> None:
    reasons = {**filters.ELSEWHERE, **requests.NOT_MEASURED}

    assert all(len(reason.split()) > 1 for reason in reasons.values())
    assert all(len(cases) > 0 for cases in filters.FILTERS.values())


def test_every_module_with_stages_is_a_subject() -> None:
    with_stages = {path.stem for path in _STAGES.glob("*.py") if "\ndef test_" in path.read_text()}

    assert with_stages == set(SUBJECTS)


def test_the_tests_do_not_run_the_stages() -> None:
    settings = tomllib.loads((_REPOSITORY / "pyproject.toml").read_text())["tool"]["pytest"]["ini_options"]
    patterns = settings.get("python_files", ["test_*.py", "*_test.py"])

    assert settings["testpaths"] == ["tests"]
    assert not [path.name for path in _STAGES.glob("*.py") for pattern in patterns if fnmatch(path.name, pattern)]
