"""Plots of a report: CPU per record of each pipeline, the cost of many files, and what is held over time.

They are drawn with matplotlib, which is imported only here and only when there is something to draw: what is measured
must not be started by a large process.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from bench.results import RESULTS, CaseResult, Report, file_name

LEFT_OUT = "The plots are left out: they need matplotlib (pip install 'shipper[bench]')."


def draw(report: Report, folder: Path = RESULTS) -> list[str]:
    """Draw what the report has figures for, beside its file; gives what is to be said about it."""
    try:
        import matplotlib
    except ImportError:
        return [LEFT_OUT]
    matplotlib.use("Agg")
    plots = {"pipelines": _draw_pipelines, "files": _draw_files, "held": _draw_held}
    told = []
    for name, draw_plot in plots.items():
        figure = draw_plot(report)
        if figure is not None:
            path = folder / f"{file_name(report)}-{name}.png"
            figure.savefig(path, dpi=110)
            told.append(f"Drawn {path}")
    return told


def _new_axes(title: str, height: float = 4.5) -> tuple[Any, Any]:
    # Not pyplot, which would keep every figure.
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, height), layout="constrained")
    axes = figure.subplots()
    axes.set_title(title)
    axes.grid(True, alpha=0.3)
    return figure, axes


def _draw_pipelines(report: Report) -> Any | None:
    """Bars of CPU per record in yardsticks: ours, the peer's, and the figure to reach."""
    cases = [case for case in report.cases if case.kind == "drain" and case.yardsticks is not None][::-1]
    if not cases:
        return None
    figure, axes = _new_axes("CPU per record, in yardsticks (shorter is better)", 1.5 + 0.5 * len(cases))
    bars = [("ours", "tab:blue", [case.yardsticks for case in cases])]
    if any(case.peer for case in cases):
        bars.append(("peer", "tab:orange", [case.peer.yardsticks if case.peer else 0 for case in cases]))
    bars.append(("to reach", "lightgray", [case.to_reach or 0 for case in cases]))
    width = 0.8 / len(bars)
    for number, (label, colour, values) in enumerate(bars):
        places = [place + (len(bars) / 2 - number - 0.5) * width for place in range(len(cases))]
        drawn = axes.barh(places, values, width, label=label, color=colour)
        axes.bar_label(drawn, fmt="{:.2f}", padding=3, fontsize=8)
    axes.set_yticks(range(len(cases)), [case.case for case in cases])
    figure.legend(loc="outside lower center", ncols=len(bars))
    return figure


def _draw_files(report: Report) -> Any | None:
    """CPU per record and peak memory by the number of files."""
    cases = [case for case in report.cases if case.kind == "scaling"]
    if len(cases) < 2:
        return None
    figure, axes = _new_axes("The same records in many files")
    memory = axes.twinx()
    for label, found, style in (("ours", cases, "-"), ("peer", [c.peer for c in cases if c.peer], "--")):
        if found:
            files = [case.figures["files"] for case in found]
            axes.plot(files, [c.cpu_us_per_record for c in found], f"o{style}", label=f"CPU, {label}", color="tab:blue")
            memory.plot(files, _megabytes(found), f"s{style}", label=f"memory, {label}", color="tab:red")
    axes.set_xscale("log")
    axes.set_xlabel("files")
    axes.set_ylabel("us of CPU per record")
    memory.set_ylabel("peak memory, MB")
    axes.set_ylim(bottom=0)
    memory.set_ylim(bottom=0)
    figure.legend(loc="outside lower center", ncols=4)
    return figure


def _draw_held(report: Report) -> Any | None:
    """Records that are held while the sink is away and after it has come back."""
    cases = [case for case in report.cases if case.runs[-1].held]
    if not cases:
        return None
    figure, axes = _new_axes("Records held while the destination is away, and after it is back")
    for case in cases:
        for label, found in (("ours", case), ("peer", case.peer)):
            if found is not None and found.runs[-1].held:
                seconds, held = zip(*found.runs[-1].held, strict=True)
                axes.plot(seconds, held, label=f"{case.case}, {label}")
        axes.axvline(case.figures["outage_s"], color="gray", linestyle=":", label="the destination is back")
    axes.set_xlabel("seconds since it went away")
    axes.set_ylabel("records")
    axes.set_ylim(bottom=0)
    axes.legend()
    return figure


def _megabytes(cases: list[CaseResult]) -> list[float]:
    return [case.peak_rss_bytes / 1e6 for case in cases]
