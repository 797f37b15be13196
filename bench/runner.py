"""Runs benchmark cases: one shipper process at a time, over files in the page cache, into a neutral sink.

A case is a folder below `bench/pipelines` with a `shipper.conf` and a `case.toml`. The shipper reads the corpus from
the beginning and ends by itself when everything has been read and delivered (`exit_on_eof`); its CPU time is that of
the process with its children. The yardstick is measured before and after each run, in a process of its own.
"""

from __future__ import annotations

import contextlib
import re
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Sequence
from pathlib import Path

import msgspec

from bench.corpus import Corpus, Kind, cached
from bench.measure import RunFailed, Usage, idle_memory, run_to_end, warm_page_cache
from bench.nginx import NginxSink, Traffic, free_port
from bench.results import CaseResult, Run
from tests.faults.ledger import read_ledger

PIPELINES = Path(__file__).with_name("pipelines")
_REPOSITORY = Path(__file__).parents[1]
CREDENTIALS = {"AWS_ACCESS_KEY_ID": "x", "AWS_SECRET_ACCESS_KEY": "y", "AWS_EC2_METADATA_DISABLED": "true"}


class Case(msgspec.Struct, frozen=True):
    """A pipeline to measure, as its `case.toml` describes it."""

    name: str
    about: str
    corpus: Kind
    to_reach: float
    sink: bool = False
    bytes_per_record: int = 0

    @property
    def configuration(self) -> Path:
        return PIPELINES / self.name / "shipper.conf"


def all_cases() -> list[Case]:
    files = sorted(PIPELINES.glob("*/case.toml"))
    return [msgspec.convert({"name": f.parent.name, **tomllib.loads(f.read_text())}, Case) for f in files]


class Runner:
    """Measures cases with one command; `{conf}` in it stands for the configuration file."""

    def __init__(self, command: str, scale: float) -> None:
        self._command = command
        self._scale = scale

    def measure(self, case: Case, repeat: int) -> CaseResult:
        """Run a case so many times; says on stderr how it goes."""
        corpus = cached(case.corpus, self._scale)
        warm_page_cache(corpus.files)
        runs = []
        before = _yardstick(corpus)
        for number in range(1, repeat + 1):
            usage = self._run(case, corpus)
            after = _yardstick(corpus)
            run = Run(usage.cpu_s / corpus.records * 1e6, (before, after), usage.wall_s, usage.peak_rss_bytes)
            runs.append(run)
            before = after
            _say(
                f"{case.name} {number}/{repeat}: {run.cpu_us_per_record:.2f} us/record, {run.yardsticks:.2f} yardsticks"
            )
        return CaseResult(case.name, case.about, corpus.records, case.to_reach, tuple(runs))

    def idle_rss_bytes(self) -> int:
        """Resident memory of a shipper that has nothing to do."""
        with tempfile.TemporaryDirectory(prefix="shipper-bench-") as folder:
            variables = {**CREDENTIALS, "CORPUS": folder, "SINK_TLS_PORT": str(free_port())}
            return idle_memory(self._arguments(PIPELINES / "idle.conf"), variables, Path(folder) / "shipper.log")

    def _run(self, case: Case, corpus: Corpus) -> Usage:
        with tempfile.TemporaryDirectory(prefix="shipper-bench-") as name, contextlib.ExitStack() as stack:
            folder = Path(name)
            variables = {**CREDENTIALS, "CORPUS": str(corpus.folder), "STATE": name}
            sink = stack.enter_context(NginxSink(folder / "nginx")) if case.sink else None
            if sink is not None:
                variables |= {"SINK_PORT": str(sink.port), "SINK_TLS_PORT": str(sink.tls_port)}
            usage = run_to_end(self._arguments(case.configuration), variables, folder / "shipper.log")
            check_ledger((folder / "shipper.log").read_text(errors="replace"), corpus.records)
            if sink is not None:
                sink.stop()
                check_traffic(sink.traffic(), corpus.records * case.bytes_per_record)
            return usage

    def _arguments(self, configuration: Path) -> list[str]:
        return [word.replace("{conf}", str(configuration)) for word in self._command.split()]


def check_ledger(log: str, records: int) -> None:
    """Raise `RunFailed` if the log has a ledger that does not say that every record was read and delivered."""
    for entry in read_ledger(log).values():
        word = "read" if entry.kind == "input" else "delivered"
        if entry[word] != records:
            raise RunFailed(f"{entry.name} has {word} {entry[word]} of {records} records")


def check_traffic(traffic: Traffic, least_bytes: int) -> None:
    """Raise `RunFailed` if the sink took too little or refused something."""
    if traffic.failures or traffic.bytes < least_bytes:
        raise RunFailed(
            f"the sink took {traffic.bytes} bytes in {traffic.requests} requests, {traffic.failures} of them failed;"
            f" expected at least {least_bytes} bytes"
        )


def _yardstick(corpus: Corpus) -> float:
    command: Sequence[str] = [sys.executable, "-m", "bench.yardstick", *map(str, corpus.files)]
    told = subprocess.run(command, cwd=_REPOSITORY, check=True, capture_output=True, text=True).stdout
    found = re.search(r"yardstick ([\d.]+) us", told)
    if found is None:
        raise RunFailed(f"the yardstick said {told!r}")
    return float(found[1])


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
