"""Measures the benchmark pipelines: `python -m bench [CASE ...]`."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from bench.measure import RunFailed
from bench.results import new_report, save, table
from bench.runner import Runner, all_cases


def main() -> None:
    cases = {case.name: case for case in all_cases()}
    shipper = Path(sys.executable).with_name("shipper")
    parser = argparse.ArgumentParser(prog="python -m bench", description="Measure whole pipelines.")
    parser.add_argument("cases", nargs="*", metavar="CASE", help=f"of {', '.join(cases)}")
    parser.add_argument("--scale", type=float, default=1.0, help="size of the corpus")
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--command", default=f"{shipper} -c {{conf}}", help="what to measure")
    parser.add_argument("--no-save", action="store_true", help="print the table only")
    options = parser.parse_args()
    if unknown := set(options.cases) - set(cases):
        parser.error(f"no such case: {', '.join(sorted(unknown))}")
    runner = Runner(options.command, options.scale)
    try:
        idle = runner.idle_rss_bytes()
        results = [runner.measure(cases[name], options.repeat) for name in options.cases or cases]
    except RunFailed as failure:
        sys.exit(f"the run failed: {failure}")
    report = new_report(options.command, options.scale, results, idle)
    print(table(report))
    if not options.no_save:
        print(f"\nwritten to {save(report)}")


if __name__ == "__main__":
    main()
