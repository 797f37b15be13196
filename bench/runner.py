"""Measures cases: ours and the peer in turns, one process at a time, with the yardstick before and after each run."""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import msgspec

from bench.backlog import drain_stored, ship_live, start_on_backlog
from bench.cases import PIPELINES, Case
from bench.catch_up import catch_up
from bench.corpus import Corpus, cached, cached_spread
from bench.drain import drain
from bench.idle import idle
from bench.measure import RunFailed, idle_memory, warm_page_cache
from bench.nginx import free_port
from bench.programs import CREDENTIALS, Program, in_turns
from bench.results import CaseResult, Run, Sample
from bench.scaling import drain_spread
from bench.start_up import start_up
from bench.steady import steady

_REPOSITORY = Path(__file__).parents[1]
_SPREAD_RECORDS = 1_000_000
_FRESH_S = 5.0

Once = Callable[[Program], Sample]


class Sizes(msgspec.Struct, frozen=True):
    """How much is measured: the part of each corpus, runs of what drains a corpus, and durations."""

    scale: float = 1.0
    repeat: int = 3
    seconds: float = 20.0
    outage_s: float = 60.0
    backlog_gb: float = 10.0
    most_files: int = 5_000

    @classmethod
    def quick(cls) -> Sizes:
        """Enough to see that everything works; the start of each process is a large part of what is measured then."""
        return cls(scale=0.05, seconds=5.0, outage_s=15.0, backlog_gb=1.0, most_files=1_000)


class _Yardstick(msgspec.Struct, frozen=True):
    folder: Path
    each_us: float
    at_s: float


class Runner:
    """Measures cases; says on stderr how it goes. What has failed is in `failures`."""

    def __init__(self, ours: Program, peer: Program | None, sizes: Sizes) -> None:
        self._ours = ours
        self._peer = peer
        self._sizes = sizes
        # The yardstick that was taken last; after one case it is the one before the next.
        self._taken: _Yardstick | None = None
        self.failures: list[str] = []

    def measure(self, case: Case) -> list[CaseResult]:
        """Run a case; a case of several parts has several results, and what has failed has none."""
        match case.kind:
            case "drain":
                return self._measure_drain(case)
            case "scaling":
                return self._measure_scaling(case)
            case "backlog":
                return self._measure_backlog(case)
            case "steady":
                return self._measure(case, partial(steady, case=case, seconds=self._sizes.seconds), _small())
            case "catch_up":
                return self._measure(case, partial(catch_up, case=case, outage_s=self._sizes.outage_s), _small())
            case "idle":
                return self._measure(case, partial(idle, case=case, seconds=self._sizes.seconds))
            case "start_up":
                return self._measure(case, partial(start_up, case=case), repeat=self._sizes.repeat)

    def idle_rss_bytes(self) -> int:
        """Resident memory of a shipper that has nothing to do."""
        with tempfile.TemporaryDirectory(prefix="shipper-bench-") as folder:
            variables = {**CREDENTIALS, "CORPUS": folder, "SINK_TLS_PORT": str(free_port())}
            return idle_memory(self._ours.arguments(PIPELINES / "idle.conf"), variables, Path(folder) / "shipper.log")

    def _measure_drain(self, case: Case) -> list[CaseResult]:
        corpus = cached(case.corpus, self._sizes.scale)
        warm_page_cache(corpus.files)
        return self._measure(case, partial(drain, case=case, corpus=corpus), corpus, self._sizes.repeat)

    def _measure_scaling(self, case: Case) -> list[CaseResult]:
        results: list[CaseResult] = []
        for files in (number for number in case.files if number <= self._sizes.most_files):
            corpus = cached_spread(files, int(_SPREAD_RECORDS * self._sizes.scale))
            warm_page_cache(corpus.files)
            part = msgspec.structs.replace(case, name=f"{case.name}_{files}")
            once = partial(drain_spread, case=case, corpus=corpus, files=files)
            results += self._measure(part, once, _small(), self._sizes.repeat)
        return results

    def _measure_backlog(self, case: Case) -> list[CaseResult]:
        """The peer has no part in this: what is stored is in our own format."""
        corpus = cached(case.corpus, self._sizes.scale)
        warm_page_cache(corpus.files)
        size = self._sizes.backlog_gb
        parts: list[tuple[str, str, Once, Corpus | None]] = [
            ("start", f"start on {size:g} GB", partial(start_on_backlog, gigabytes=size), None),
            ("live", "ship the corpus, stored on the way", partial(ship_live, corpus=corpus), corpus),
            ("drain", "ship the corpus from the disk", partial(drain_stored, corpus=corpus), corpus),
        ]
        results: list[CaseResult] = []
        for name, about, once, yardstick in parts:
            part = msgspec.structs.replace(case, name=f"{case.name}_{name}", about=about)
            results += self._measure(part, once, yardstick, with_peer=False)
        return results

    def _measure(
        self, case: Case, once: Once, yardstick: Corpus | None = None, repeat: int = 1, with_peer: bool = True
    ) -> list[CaseResult]:
        """Run a case so many times, with the yardstick on a corpus; nothing if we have failed."""
        runs: dict[bool, list[Run]] = {False: [], True: []}
        records = 0
        before = self._last_yardstick(yardstick) or self._take_yardstick(yardstick)
        for program in in_turns(self._ours, self._peer if with_peer else None, repeat):
            try:
                sample = once(program)
            except (RunFailed, OSError, subprocess.CalledProcessError) as failure:
                # What was measured before stays.
                self._note(f"{case.name}{' (peer)' if program.is_peer else ''}", failure)
                if program.is_peer:
                    continue
                return []
            after = self._take_yardstick(yardstick)
            run = Run.of_sample(sample, before + after)
            runs[program.is_peer].append(run)
            records = records if program.is_peer else sample.records
            before = after
            _say(_told(case.name, program, run))
        ours, theirs = tuple(runs[False]), tuple(runs[True])
        return [CaseResult(case.name, case.about, records, case.to_reach, ours, theirs, case.wanted, case.kind)]

    def _note(self, name: str, failure: Exception) -> None:
        _say(f"{name} has failed: {failure}")
        self.failures.append(f"{name}: {next(iter(str(failure).splitlines()), type(failure).__name__)}")

    def _last_yardstick(self, corpus: Corpus | None) -> tuple[float, ...]:
        """The yardstick if it was taken on this corpus a moment ago."""
        if corpus is None or self._taken is None or self._taken.folder != corpus.folder:
            return ()
        return (self._taken.each_us,) if time.monotonic() - self._taken.at_s < _FRESH_S else ()

    def _take_yardstick(self, corpus: Corpus | None) -> tuple[float, ...]:
        if corpus is None:
            return ()
        command = [sys.executable, "-m", "bench.yardstick", *map(str, corpus.files)]
        told = subprocess.run(command, cwd=_REPOSITORY, check=True, capture_output=True, text=True).stdout
        found = re.search(r"yardstick ([\d.]+) us", told)
        if found is None:
            raise RunFailed(f"the yardstick said {told!r}")
        self._taken = _Yardstick(corpus.folder, float(found[1]), time.monotonic())
        return (self._taken.each_us,)


def _small() -> Corpus:
    """What the yardstick is taken on where no corpus is drained."""
    return cached("two", 0.1)


def _told(name: str, program: Program, run: Run) -> str:
    """What a run has shown, in a line."""
    parts = [] if run.cpu_us_per_record == 0 else [f"{run.cpu_us_per_record:.2f} us/record"]
    parts += [] if run.yardsticks is None else [f"{run.yardsticks:.2f} yardsticks"]
    parts += [f"{figure} {value:.4g}" for figure, value in run.figures.items()]
    return f"{name}{' (peer)' if program.is_peer else ''}: {', '.join(parts)}"


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
