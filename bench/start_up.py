"""The start: how long until a program is ready, and until the first record is delivered."""

from __future__ import annotations

import http.client
import tempfile
import time
from pathlib import Path

from bench.cases import Case
from bench.load import Load
from bench.measure import RunFailed, Running
from bench.nginx import free_port
from bench.programs import CREDENTIALS, Program
from bench.results import Sample
from bench.sink import SinkProcess

_LIMIT_S = 30.0


def start_up(program: Program, case: Case) -> Sample:
    """Start a program on files that hold one line each; times are counted from the start of the process."""
    with tempfile.TemporaryDirectory(prefix="shipper-bench-") as name:
        folder = Path(name)
        logs = folder / "logs"
        logs.mkdir()
        Load(logs, case.files[0], case.line_bytes).write(case.files[0], time.time_ns())
        monitor = free_port()
        with SinkProcess(folder) as sink:
            ports = {"SINK_PORT": str(sink.port), "MONITOR_PORT": str(monitor)}
            variables = {**CREDENTIALS, "CORPUS": str(logs), "STATE": name, **ports}
            words = program.arguments(case.configuration)
            with Running(words, variables, folder / "shipper.log", case.cores) as running:
                ready_s = _wait_until_ready(running, monitor)
                if not sink.wait_for(1, _LIMIT_S):
                    raise RunFailed(f"no record has arrived after {_LIMIT_S:g} s")
                first_s = (sink.status().first_ns - running.began_ns) / 1e9
                usage = running.stop()
    return Sample.of_usage(0, usage, ready_s=ready_s, first_record_s=first_s)


def _wait_until_ready(running: Running, port: int) -> float:
    """Seconds until `/ready` says yes, or until `/` does in a program that has no such page."""
    limit = time.monotonic() + _LIMIT_S
    while time.monotonic() < limit:
        running.check()
        status = _status(port, "/ready")
        if status == 404:
            status = _status(port, "/")
        if status == 200:
            return time.monotonic() - running.began_s
        time.sleep(0.005)
    raise RunFailed(f"not ready after {_LIMIT_S:g} s")


def _status(port: int, path: str) -> int:
    """The status of an answer, 0 for none."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=1)
    try:
        connection.request("GET", path)
        return connection.getresponse().status
    except (OSError, http.client.HTTPException):
        return 0
    finally:
        connection.close()
