"""A steady load: what a program costs that has little to do, and how late lines are."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import msgspec

from bench.cases import Case
from bench.load import LoadProcess
from bench.measure import RunFailed, Running
from bench.programs import CREDENTIALS, Program
from bench.results import Sample
from bench.sink import SinkProcess

_WARM_UP_S = 3.0
_ARRIVAL_LIMIT_S = 30.0


class Flow(msgspec.Struct, frozen=True):
    """A load, a program and a sink, running."""

    load: LoadProcess
    program: Running
    sink: SinkProcess

    def settle(self, is_ours: bool, since: str) -> int:
        """How many of the lines written until now never arrive; raises `RunFailed` if we have lost any."""
        written = self.load.written()
        self.sink.wait_for(written, _ARRIVAL_LIMIT_S)
        lost = written - self.sink.status().arrived
        if lost and is_ours:
            raise RunFailed(f"{lost} of {written} lines have not arrived {_ARRIVAL_LIMIT_S:g} s after {since}")
        return lost


@contextmanager
def flow(program: Program, case: Case) -> Iterator[Flow]:
    """Start the three of them, and let them run for a while."""
    with tempfile.TemporaryDirectory(prefix="shipper-bench-") as name, ExitStack() as stack:
        folder = Path(name)
        logs = folder / "logs"
        logs.mkdir()
        sink = stack.enter_context(SinkProcess(folder))
        variables = {**CREDENTIALS, "CORPUS": str(logs), "STATE": name, "SINK_PORT": str(sink.port)}
        words = program.arguments(case.configuration)
        load = stack.enter_context(LoadProcess(logs, case.files[0], case.lines_per_s, case.line_bytes))
        running = stack.enter_context(Running(words, variables, folder / "shipper.log", case.cores))
        if not sink.wait_for(1, _ARRIVAL_LIMIT_S):
            running.check()
            raise RunFailed(f"nothing has arrived after {_ARRIVAL_LIMIT_S:g} s")
        time.sleep(_WARM_UP_S)
        yield Flow(load, running, sink)


def steady(program: Program, case: Case, seconds: float) -> Sample:
    """Watch a steady load for so many seconds."""
    with flow(program, case) as running:
        begin_ns, begin_cpu_s, begin = time.time_ns(), running.program.cpu_s(), running.load.written()
        time.sleep(seconds)
        cpu_s = running.program.cpu_s() - begin_cpu_s
        wall_s = (time.time_ns() - begin_ns) / 1e9
        records = running.load.written() - begin
        resident = running.program.resident_bytes()
        end_ns = time.time_ns()
        running.load.stop()
        lost = running.settle(not program.is_peer, "the end of the load")
        late = running.sink.latencies(begin_ns, end_ns)
        peak = running.program.stop().peak_rss_bytes
    figures = {
        "cpu_percent": cpu_s / wall_s * 100,
        "resident_mb": resident / 1e6,
        "latency_p50_s": late.p50_s,
        "latency_p99_s": late.p99_s,
        "lost": float(lost),
    }
    return Sample(records, cpu_s, wall_s, peak, figures)
