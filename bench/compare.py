"""Compares two files of results: `python -m bench.compare BEFORE AFTER`.

A difference that is smaller than the spread of the runs is called noise, so that it is not mistaken for news.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Literal

from bench.results import CaseResult, Report, load

Judgement = Literal["faster", "slower", "noise"]


def judge(before: CaseResult, after: CaseResult) -> tuple[float, float, Judgement] | None:
    """The change of the median in yardsticks and the larger spread, both as a part, and what to think of it.

    Nothing for cases whose CPU is not compared with the yardstick.
    """
    if before.yardsticks is None or after.yardsticks is None:
        return None
    change = after.yardsticks / before.yardsticks - 1
    spread = max(before.spread, after.spread)
    if abs(change) <= spread:
        return change, spread, "noise"
    return change, spread, "slower" if change > 0 else "faster"


def compare(before: Report, after: Report) -> str:
    """A table of the cases that are in both reports, and remarks on what makes them hard to compare."""
    known = {case.case: case for case in before.cases}
    lines = ["| pipeline | before | after | change | spread | |", "|---|---:|---:|---:|---:|---|"]
    for case in after.cases:
        judged = judge(known[case.case], case) if case.case in known else None
        if judged is not None:
            change, spread, word = judged
            figures = f"{known[case.case].yardsticks:.2f} | {case.yardsticks:.2f} | {change:+.1%} | {spread:.1%}"
            lines.append(f"| {case.case} | {figures} | {word} |")
    idle = (after.idle_rss_bytes - before.idle_rss_bytes) / 1e6
    lines += [
        "",
        f"Idle memory {before.idle_rss_bytes / 1e6:.1f} -> {after.idle_rss_bytes / 1e6:.1f} MB ({idle:+.1f}).",
    ]
    if before.scale != after.scale:
        lines.append(f"Careful: the corpora have different sizes, {before.scale:g} and {after.scale:g}.")
    if before.machine != after.machine:
        lines.append("Careful: the machines or their libraries differ.")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.compare", description="Compare two files of results.")
    parser.add_argument("before", type=Path)
    parser.add_argument("after", type=Path)
    options = parser.parse_args()
    before, after = load(options.before), load(options.after)
    print(f"{before.commit} of {before.date} -> {after.commit} of {after.date}, CPU per record in yardsticks\n")
    print(compare(before, after))


if __name__ == "__main__":
    main()
