"""The table of a report: one line for each case, with ratios to the peer if one was measured."""

from __future__ import annotations

from bench.results import CaseResult, Report

_HEADS = ("case", "us CPU/record", "yardstick us", "**yardsticks**", "to reach", "spread", "records/s", "peak RSS")
_PEER_HEADS = ("CPU ratio", "records/s ratio", "RSS ratio")
_NONE = "-"


def table(report: Report) -> str:
    """The figures of a report as a Markdown table; ratios are ours divided by the peer's."""
    heads = [*_HEADS, *(_PEER_HEADS if report.peer else ()), "besides"]
    lines = [
        _line(heads),
        "|" + "|".join(["---", *["---:"] * (len(heads) - 2), "---"]) + "|",
        *(_line([*_cells(case), *(_ratios(case) if report.peer else ()), _besides(case)]) for case in report.cases),
        "",
        f"Idle process: {report.idle_rss_bytes / 1e6:.1f} MB resident. Measured in {report.seconds:.0f} s.",
    ]
    if report.peer:
        lines.append(f"Ratios are ours divided by those of `{report.peer}`.")
    lines += [f"FAILED {failure}" for failure in report.failures]
    return "\n".join(lines)


def page(report: Report) -> str:
    """The table with what tells where and when its figures were taken."""
    machine = report.machine
    versions = ", ".join(f"{name} {version}" for name, version in machine.libraries.items())
    return (
        f"`{report.command}`, scale {report.scale:g}, {report.date}, commit {report.commit}\n\n"
        f"{machine.processor}, {machine.cores} cores, Linux {machine.kernel}, CPython {machine.python}, {versions}\n\n"
        f"{table(report)}\n"
    )


def _cells(case: CaseResult) -> list[str]:
    yardsticks, yardstick = case.yardsticks, case.yardstick_us
    return [
        case.case,
        f"{case.cpu_us_per_record:.2f}" if case.records else _NONE,
        _NONE if yardstick is None else f"{yardstick:.2f}",
        _NONE if yardsticks is None else f"**{yardsticks:.2f}**",
        _NONE if case.to_reach is None else f"{case.to_reach:.2f}",
        _NONE if yardsticks is None or len(case.runs) < 2 else f"{case.spread:.0%}",
        f"{case.records_per_s / 1000:.0f} k" if case.records else _NONE,
        f"{case.peak_rss_bytes / 1e6:.0f} MB",
    ]


def _ratios(case: CaseResult) -> list[str]:
    """CPU, speed and memory as multiples of the peer's; CPU in yardsticks, if they were taken."""
    peer = case.peer
    if peer is None:
        return [_NONE] * len(_PEER_HEADS)
    memory = _ratio(case.peak_rss_bytes, peer.peak_rss_bytes)
    if not case.records:
        return [_NONE, _NONE, memory]
    cpu = _ratio(case.yardsticks or case.cpu_us_per_record, peer.yardsticks or peer.cpu_us_per_record)
    return [cpu, _ratio(case.records_per_s, peer.records_per_s), memory]


def _ratio(ours: float, theirs: float) -> str:
    return f"{ours / theirs:.2f}" if theirs else _NONE


def _besides(case: CaseResult) -> str:
    """Figures that only cases of its kind have, each with what it should be and with that of the peer."""
    peer = case.peer
    theirs = peer.figures if peer is not None else {}
    told = []
    for name, value in case.figures.items():
        notes = [f"to reach {shown(name, case.wanted[name])}"] if name in case.wanted else []
        notes += [f"peer {shown(name, theirs[name])}"] if name in theirs else []
        told.append(f"{_words(name)} {shown(name, value)}" + (f" ({', '.join(notes)})" if notes else ""))
    return ", ".join(told)


def shown(name: str, value: float) -> str:
    """A figure with the unit that its name ends with."""
    unit = name.rpartition("_")[2]
    if unit == "percent":
        return f"{value:.2f} %"
    if unit == "s":
        return f"{value:.2f} s"
    return f"{value:.0f} MB" if unit == "mb" else f"{value:.0f}"


def _words(name: str) -> str:
    head, _, unit = name.rpartition("_")
    return (head if unit in ("percent", "s", "mb") else name).replace("_", " ")


def _line(cells: list[str]) -> str:
    return f"| {' | '.join(cells)} |"
