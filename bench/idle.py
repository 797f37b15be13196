"""Many files to which nothing is written: what it costs to watch them."""

from __future__ import annotations

import tempfile
import time
from pathlib import Path

from bench.cases import Case
from bench.corpus import write_spread
from bench.measure import Running
from bench.nginx import free_port
from bench.programs import CREDENTIALS, Program
from bench.results import Sample

_SETTLE_S = 5.0


def idle(program: Program, case: Case, seconds: float) -> Sample:
    """Let a program watch the files of the case for so many seconds."""
    with tempfile.TemporaryDirectory(prefix="shipper-bench-") as name:
        logs, log = Path(name) / "logs", Path(name) / "shipper.log"
        write_spread(logs, case.files[0], each=1)
        # Nothing listens there: the files are not read from their beginning, so nothing is sent.
        port = str(free_port())
        variables = {**CREDENTIALS, "CORPUS": str(logs), "STATE": name, "SINK_PORT": port, "SINK_TLS_PORT": port}
        with Running(program.arguments(case.configuration), variables, log, case.cores) as running:
            time.sleep(_SETTLE_S)
            begin, begin_cpu_s = time.monotonic(), running.cpu_s()
            time.sleep(seconds)
            cpu_s, wall_s = running.cpu_s() - begin_cpu_s, time.monotonic() - begin
            resident = running.resident_bytes()
            peak = running.stop().peak_rss_bytes
    return Sample(0, cpu_s, wall_s, peak, {"cpu_percent": cpu_s / wall_s * 100, "resident_mb": resident / 1e6})
