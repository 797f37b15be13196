"""Measures the benchmark cases: `python -m bench [CASE ...]`."""

from __future__ import annotations

import argparse
import sys
import time

import msgspec

from bench.cases import Case, all_cases
from bench.measure import RunFailed
from bench.plots import draw
from bench.programs import find_peer, own_program, version_of
from bench.results import CaseResult, new_report, present_commit, save
from bench.runner import Runner, Sizes
from bench.table import page, table


def _parser(cases: list[str]) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m bench", description="Measure whole pipelines.")
    parser.add_argument("cases", nargs="*", metavar="CASE", help=f"of {', '.join(cases)}")
    parser.add_argument("--quick", action="store_true", help="small corpora and short durations")
    parser.add_argument("--scale", type=float, help="size of the corpora, 1 for all of them")
    parser.add_argument("--repeat", type=int, help="runs of each case that drains a corpus")
    parser.add_argument("--seconds", type=float, help="for which a steady load and idle files are watched")
    parser.add_argument("--outage-s", type=float, help="seconds for which the sink is away")
    parser.add_argument("--backlog-gb", type=float, help="size of the sparse backlog")
    parser.add_argument("--most-files", type=int, help="of the cases with a growing number of files")
    parser.add_argument("--command", help="what to measure instead of our shipper; {conf} is the configuration")
    parser.add_argument("--peer", metavar="PATH", help="program to run beside ours as PATH -c CONF; else fluent-bit")
    parser.add_argument("--no-save", action="store_true", help="print the table only")
    return parser


def _sizes(options: argparse.Namespace) -> Sizes:
    """The sizes of the mode, with those that were asked for."""
    asked = {name: getattr(options, name) for name in Sizes.__struct_fields__}
    wanted = {name: value for name, value in asked.items() if value is not None}
    return msgspec.structs.replace(Sizes.quick() if options.quick else Sizes(), **wanted)


def main() -> None:
    cases = {case.name: case for case in all_cases()}
    parser = _parser(list(cases))
    options = parser.parse_intermixed_args()
    if unknown := set(options.cases) - set(cases):
        parser.error(f"no such case: {', '.join(sorted(unknown))}")
    sizes, ours = _sizes(options), own_program(options.command)
    try:
        peer = find_peer(options.peer)
    except FileNotFoundError as error:
        parser.error(str(error))
    # Asked now: whoever waits may commit something.
    runner, commit = Runner(ours, peer, sizes), present_commit()
    results: list[CaseResult] = []
    began = time.monotonic()
    try:
        idle = runner.idle_rss_bytes()
    except RunFailed as failure:
        sys.exit(f"the program does not run: {failure}")
    for name in options.cases or cases:
        results += _timed(runner, cases[name])
    told_peer = f"{peer} ({version_of(peer)})" if peer is not None else ""
    seconds = time.monotonic() - began
    report = new_report(
        str(ours), sizes.scale, results, idle, told_peer, runner.failures, commit=commit, seconds=seconds
    )
    print(table(report))
    if not options.no_save:
        path = save(report)
        path.with_suffix(".md").write_text(page(report))
        print(f"Written to {path}")
        for line in draw(report):
            print(line)
    sys.exit(1 if report.failures else 0)


def _timed(runner: Runner, case: Case) -> list[CaseResult]:
    began = time.monotonic()
    results = runner.measure(case)
    print(f"{case.name}: measured in {time.monotonic() - began:.0f} s", file=sys.stderr, flush=True)
    return results


if __name__ == "__main__":
    main()
