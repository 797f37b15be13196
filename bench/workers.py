"""What a second process would give: `python -m bench.workers [CASE ...]`.

One process ships the corpus of a hundred containers, then two do it side by side, each with the half of the files that
its own path names, as if a hash of the path had shared them out. Both write to the same sink, on whatever cores there
are. The time is that until the last process has ended.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import resource
import statistics
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import msgspec

from bench.cases import Case, all_cases
from bench.corpus import Corpus, cached
from bench.drain import check_ledger
from bench.measure import RunFailed, Running, Usage, warm_page_cache
from bench.metadata import write_metadata
from bench.nginx import NginxSink
from bench.programs import CREDENTIALS, Program, own_program

ALL = "/*.log"
# Every second container by the last digit of its number.
HALVES = ("/gen[0-9][0-9][02468]-*.log", "/gen[0-9][0-9][13579]-*.log")
_LIMIT_S = 300.0
_TRIES = 3
_QUIET_CORES = 0.1


class Shared(msgspec.Struct, frozen=True):
    """What all processes of a run have cost together, what the sink has, and how many cores others were using."""

    wall_s: float
    cpu_s: float
    peak_rss_bytes: int
    sink_cpu_s: float = 0.0
    others_cores: float = 0.0


def measure(program: Program, case: Case, corpus: Corpus, paths: Sequence[str]) -> Shared:
    """Ship the corpus by one process for each path: again, if others have used the machine, and the quietest counts."""
    runs: list[Shared] = []
    while len(runs) < _TRIES and not (runs and runs[-1].others_cores < _QUIET_CORES):
        children, busy, began = _children_cpu_s(), _busy_cpu_s(), time.monotonic()
        shared = ship(program, case, corpus, paths)
        children, busy = _children_cpu_s() - children, _busy_cpu_s() - busy
        others = max(0.0, busy - children) / (time.monotonic() - began)
        runs.append(msgspec.structs.replace(shared, sink_cpu_s=children - shared.cpu_s, others_cores=others))
    return min(runs, key=lambda run: run.others_cores)


def ship(program: Program, case: Case, corpus: Corpus, paths: Sequence[str]) -> Shared:
    """Ship the corpus by one process for each path; raises `RunFailed` if not every record was delivered."""
    with tempfile.TemporaryDirectory(prefix="shipper-bench-") as name, contextlib.ExitStack() as stack:
        folder = Path(name)
        variables = {**CREDENTIALS, "CORPUS": str(corpus.folder), "STATE": name}
        if case.metadata:
            write_metadata(folder / "metadata", corpus.files)
        if case.sink:
            sink = stack.enter_context(NginxSink(folder / "nginx"))
            variables |= {"SINK_PORT": str(sink.port), "SINK_TLS_PORT": str(sink.tls_port)}
        started = []
        for number, path in enumerate(paths):
            configuration = folder / f"shipper-{number}.conf"
            configuration.write_text(with_path(case.configuration.read_text(), path))
            words, log = program.arguments(configuration), configuration.with_suffix(".log")
            started.append(stack.enter_context(Running(words, variables, log)))
        used = [running.wait(_LIMIT_S) for running in started]
        for number in range(len(paths)):
            log = folder / f"shipper-{number}.log"
            check_ledger(log.read_text(errors="replace"), corpus.records // len(paths))
        return together(used)


def with_path(configuration: str, path: str) -> str:
    """The configuration with another path in place of that of all logs."""
    if ALL not in configuration:
        raise RunFailed(f"the configuration has no path that ends with {ALL}")
    return configuration.replace(ALL, path)


def together(used: Sequence[Usage]) -> Shared:
    """What processes have cost that ran side by side."""
    # All are started within milliseconds, so the longest life is the time of the whole.
    return Shared(max(usage.wall_s for usage in used), sum(u.cpu_s for u in used), sum(u.peak_rss_bytes for u in used))


def _children_cpu_s() -> float:
    """CPU time of all processes that were started here and have ended, theirs included: shippers and sinks."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def _busy_cpu_s() -> float:
    """CPU time of the whole machine, without waiting."""
    user, nice, system, _idle, _iowait, irq, softirq = map(int, Path("/proc/stat").read_text().split()[1:8])
    return (user + nice + system + irq + softirq) / os.sysconf("SC_CLK_TCK")


def line(name: str, processes: int, runs: Sequence[Shared], records: int) -> str:
    """A line of the table, of medians."""
    wall_s = statistics.median(run.wall_s for run in runs)
    cpu_us = statistics.median(run.cpu_s for run in runs) / records * 1e6
    sink_us = statistics.median(run.sink_cpu_s for run in runs) / records * 1e6
    rss = statistics.median(run.peak_rss_bytes for run in runs)
    others = statistics.median(run.others_cores for run in runs)
    speed = f"{records / wall_s / 1000:.0f} k"
    return f"| {name} | {processes} | {speed} | {cpu_us:.2f} | {sink_us:.2f} | {rss / 1e6:.0f} MB | {others:.2f} |"


def main() -> None:
    cases = {case.name: case for case in all_cases() if case.corpus == "hundred"}
    parser = argparse.ArgumentParser(prog="python -m bench.workers", description="Measure a second process.")
    parser.add_argument("cases", nargs="*", metavar="CASE", help=f"of {', '.join(cases)}")
    parser.add_argument("--scale", type=float, default=1.0, help="size of the corpus")
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--command", help="what to measure instead of our shipper; {conf} is the configuration")
    options = parser.parse_args()
    if unknown := set(options.cases) - set(cases):
        parser.error(f"no such case: {', '.join(sorted(unknown))}")
    program = own_program(options.command)
    corpus = cached("hundred", options.scale)
    warm_page_cache(corpus.files)
    print(
        "| case | processes | records/s | us CPU/record | sink's us CPU/record | peak RSS, all | cores used by others |"
    )
    print("|---|---:|---:|---:|---:|---:|---:|")
    for name in options.cases or cases:
        one, two = [], []
        for _ in range(options.repeat):
            one.append(measure(program, cases[name], corpus, (ALL,)))
            two.append(measure(program, cases[name], corpus, HALVES))
        print(line(name, 1, one, corpus.records))
        print(line(name, 2, two, corpus.records), flush=True)


if __name__ == "__main__":
    main()
