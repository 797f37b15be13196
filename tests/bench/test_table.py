"""The table has a line for each case, and ratios to a peer if there is one."""

from __future__ import annotations

import pytest

from bench.results import CaseResult, Machine, Report, Run
from bench.table import page, shown, table

_MACHINE = Machine("some processor", 2, "6.1", "3.11.7", {})


def report(case: CaseResult, peer: str = "", failures: tuple[str, ...] = ()) -> Report:
    date = "2026-11-20T10:00:00Z"
    return Report(date, "abc1234", "shipper -c {conf}", 1.0, _MACHINE, (case,), 30_000_000, peer, failures)


def drained(cpu_us: float, wall_s: float, rss_mb: int) -> Run:
    return Run(cpu_us, (2.0, 2.0), wall_s, rss_mb * 1_000_000)


def watched(percent: float, resident_mb: float) -> Run:
    return Run(0.0, (), 20.0, 50_000_000, {"cpu_percent": percent, "resident_mb": resident_mb})


def rows(text: str) -> list[list[str]]:
    """The cells of each line of the table that follows the heads."""
    lines = [line for line in text.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in (lines[0], *lines[2:])]


def test_a_case_is_a_line_of_medians() -> None:
    runs = (drained(1.2, 4.0, 50), drained(1.14, 3.0, 40), drained(1.26, 5.0, 60))
    case = CaseResult("tail_null", "", 1_000_000, 0.65, runs)

    told = table(report(case))

    assert "| tail_null | 1.20 | 2.00 | **0.60** | 0.65 | 10% | 250 k | 50 MB |" in told
    assert "Idle process: 30.0 MB" in told
    assert "ratio" not in told


def test_one_run_has_no_spread() -> None:
    heads, line = rows(table(report(CaseResult("steady", "", 1000, None, (drained(1.0, 4.0, 50),)))))

    assert dict(zip(heads, line, strict=True))["spread"] == "-"


def test_the_page_tells_when_and_where_its_figures_were_taken() -> None:
    one = report(CaseResult("tail_null", "", 1_000_000, 0.65, (drained(1.2, 4.0, 50),)))

    told = page(one)

    for part in ("`shipper -c {conf}`", "2026-11-20T10:00:00Z", "commit abc1234", "some processor, 2 cores", "3.11.7"):
        assert part in told
    assert told.endswith(f"{table(one)}\n")


def test_beside_a_peer_the_line_has_ratios_of_the_medians() -> None:
    ours = (drained(1.0, 4.0, 50), drained(1.2, 5.0, 50), drained(1.4, 6.0, 50))
    theirs = (drained(3.6, 10.0, 100), drained(3.0, 9.0, 90), drained(4.0, 11.0, 110))

    heads, line = rows(table(report(CaseResult("c", "", 1000, 0.65, ours, theirs), "fluent-bit -c {conf}")))

    found = dict(zip(heads, line, strict=True))
    assert found["CPU ratio"] == "0.33"
    assert found["records/s ratio"] == "2.00"
    assert found["RSS ratio"] == "0.50"


def test_a_case_that_the_peer_has_no_part_in_has_no_ratios() -> None:
    case = CaseResult("backlog_start", "", 1000, None, (drained(1.0, 4.0, 50),))

    heads, line = rows(table(report(case, "fluent-bit -c {conf}")))

    assert len(heads) == len(line) == 12
    assert line[8:11] == ["-", "-", "-"]


def test_figures_of_a_kind_stand_beside_what_they_should_be_and_those_of_the_peer() -> None:
    wanted = {"cpu_percent": 1.0}
    case = CaseResult("idle", "", 0, None, (watched(0.4, 40),), (watched(0.6, 49),), wanted, "idle")

    heads, line = rows(table(report(case, "fluent-bit")))

    found = dict(zip(heads, line, strict=True))
    assert found["besides"] == "cpu 0.40 % (to reach 1.00 %, peer 0.60 %), resident 40 MB (peer 49 MB)"
    assert [found[head] for head in ("us CPU/record", "**yardsticks**", "records/s", "CPU ratio")] == ["-"] * 4
    assert found["RSS ratio"] == "1.00"


def test_what_has_failed_is_told_below() -> None:
    case = CaseResult("tail_null", "", 1000, 0.65, (drained(1.2, 4.0, 50),))

    told = table(report(case, failures=("tail_loki: ended with code 1",)))

    assert told.endswith("FAILED tail_loki: ended with code 1")


@pytest.mark.parametrize(
    ("name", "value", "text"),
    [
        ("cpu_percent", 1.234, "1.23 %"),
        ("latency_p99_s", 0.5, "0.50 s"),
        ("resident_mb", 47.6, "48 MB"),
        ("lost", 0, "0"),
    ],
)
def test_a_figure_is_shown_with_the_unit_of_its_name(name: str, value: float, text: str) -> None:
    assert shown(name, value) == text
