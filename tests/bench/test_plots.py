"""Plots are drawn of what there are figures for, and left out where nothing can draw them."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from bench.plots import LEFT_OUT, draw
from bench.results import CaseResult, Machine, Report, Run


def drained(files: int = 1, held: tuple[tuple[float, int], ...] = ()) -> tuple[Run, ...]:
    figures = {"files": float(files), "outage_s": 5.0}
    return (Run(1.2, (2.0, 2.0), 4.0, 50_000_000, figures, held),)


def report(*cases: CaseResult) -> Report:
    return Report("2026-11-20T10:00:00Z", "abc1234", "shipper", 1.0, Machine("", 2, "", "", {}), cases, 30_000_000)


def test_a_plot_is_drawn_for_each_kind_of_figures(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    cases = [
        CaseResult("tail_null", "", 1000, 0.65, drained(), drained()),
        CaseResult("files_1", "", 1000, None, drained(1), kind="scaling"),
        CaseResult("files_9", "", 1000, None, drained(9), kind="scaling"),
        CaseResult("catch_up", "", 1000, None, drained(held=((0.0, 5), (1.0, 9))), kind="catch_up"),
    ]

    told = draw(report(*cases), tmp_path)

    drawn = [f"20261120T100000-abc1234-{name}.png" for name in ("pipelines", "files", "held")]
    assert told == [f"Drawn {tmp_path / name}" for name in drawn]
    assert all((tmp_path / name).read_bytes().startswith(b"\x89PNG") for name in drawn)


def test_what_has_no_figures_is_not_drawn(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")

    assert draw(report(CaseResult("idle", "", 0, None, drained(), kind="idle")), tmp_path) == []


def test_without_matplotlib_one_sentence_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)

    assert draw(report(), tmp_path) == [LEFT_OUT]
    assert list(tmp_path.iterdir()) == []
