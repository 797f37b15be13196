"""Figures are medians in yardsticks, survive their file, and are compared next to their spread."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from bench.compare import compare, judge
from bench.drain import check_ledger, check_traffic
from bench.measure import RunFailed
from bench.nginx import Traffic
from bench.results import CaseResult, Machine, Report, Run, Sample, load, save

_MACHINE = Machine("some processor", 2, "6.1", "3.11.7", {"msgspec": "0.18"})


def result(*yardsticks: float) -> CaseResult:
    """A case whose runs took so many yardsticks of 2 microseconds."""
    runs = tuple(Run(y * 2, (1.9, 2.1), 4.0, 50_000_000) for y in yardsticks)
    return CaseResult("tail_null", "tail -> null", 1_000_000, 0.65, runs)


def report(*cases: CaseResult, scale: float = 1.0, machine: Machine = _MACHINE) -> Report:
    return Report("2026-11-20T10:00:00Z", "abc1234", "shipper -c {conf}", scale, machine, cases, 30_000_000)


def test_figures_are_the_medians_of_the_runs() -> None:
    case = result(0.7, 0.5, 0.6)

    assert case.yardsticks == pytest.approx(0.6)
    assert case.cpu_us_per_record == pytest.approx(1.2)
    assert case.yardstick_us == pytest.approx(2.0)
    assert case.spread == pytest.approx(1 / 3)
    assert case.records_per_s == 250_000


@pytest.mark.parametrize(
    ("before", "after", "word"),
    [
        pytest.param((1.0, 1.02, 1.01), (0.8, 0.81, 0.82), "faster", id="faster"),
        pytest.param((1.0, 1.02, 1.01), (1.2, 1.21, 1.22), "slower", id="slower"),
        pytest.param((1.0, 1.2, 1.1), (1.0, 1.05, 1.02), "noise", id="within the spread before"),
        pytest.param((1.0, 1.0, 1.0), (0.9, 1.2, 1.1), "noise", id="within the spread after"),
    ],
)
def test_a_difference_below_the_spread_is_noise(before: tuple[float, ...], after: tuple[float, ...], word: str) -> None:
    judged = judge(result(*before), result(*after))

    assert judged is not None
    assert judged[2] == word


def test_what_has_no_yardstick_is_not_compared() -> None:
    idle = msgspec.structs.replace(result(1.0), runs=(Run(0.0, (), 4.0, 50_000_000),))

    assert judge(idle, idle) is None
    assert "tail_null |" not in compare(report(idle), report(idle))


def test_comparison_warns_of_other_machines_and_sizes() -> None:
    other = report(result(1), scale=0.1, machine=msgspec.structs.replace(_MACHINE, cores=8))

    told = compare(report(result(1)), other)

    assert "different sizes, 1 and 0.1" in told
    assert "machines or their libraries differ" in told


def test_a_report_survives_its_file(tmp_path: Path) -> None:
    written = report(result(0.6, 0.7))

    path = save(written, tmp_path)

    assert path.name == "20261120T100000-abc1234.json"
    assert load(path) == written


def test_a_report_of_an_older_form_can_be_read(tmp_path: Path) -> None:
    path = save(report(result(0.6)), tmp_path)
    older = msgspec.json.decode(path.read_bytes())
    for later in ("peer", "failures"):
        del older[later]
    for later in ("peer_runs", "wanted", "kind"):
        del older["cases"][0][later]
    for later in ("figures", "held"):
        del older["cases"][0]["runs"][0][later]
    path.write_bytes(msgspec.json.encode(older))

    assert load(path) == report(result(0.6))


def test_cpu_is_counted_by_the_records_that_a_run_has_shipped() -> None:
    sample = Sample(500, 0.001, 4.0, 50_000_000, {"lost": 0.0}, ((0.0, 3),))

    run = Run.of_sample(sample, (2.0, 2.0))

    assert run == Run(2.0, (2.0, 2.0), 4.0, 50_000_000, {"lost": 0.0}, ((0.0, 3),))
    assert run.yardsticks == 1.0


def test_a_run_without_records_has_no_cpu_per_record() -> None:
    run = Run.of_sample(Sample(0, 1.0, 4.0, 50_000_000), ())

    assert run.cpu_us_per_record == 0
    assert run.yardsticks is None


@pytest.mark.parametrize(
    "line",
    ["[engine] ledger input tail.0: read=9 balanced", "[engine] ledger output null.0: delivered=9 held=1 balanced"],
    ids=["read", "delivered"],
)
def test_a_ledger_short_of_records_fails_the_run(line: str) -> None:
    with pytest.raises(RunFailed, match="9 of 10"):
        check_ledger(line, 10)


@pytest.mark.parametrize("traffic", [Traffic(5, 99, 0), Traffic(5, 1000, 1)], ids=["too little", "a failure"])
def test_a_sink_that_took_too_little_fails_the_run(traffic: Traffic) -> None:
    with pytest.raises(RunFailed, match="the sink took"):
        check_traffic(traffic, least_bytes=100)
