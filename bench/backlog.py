"""What a backlog on disk costs.

Start: gigabytes are stored (their records are holes in sparse files, so they take no room); how long until everything
runs, and how much memory the process takes at most until all of it is drained into nothing.

Drain: the corpus is shipped to a neutral CloudWatch sink once live, and once from the disk, where a run has stored it
that could reach nobody. Both are whole processes, start and end included.
"""

from __future__ import annotations

import re
import tempfile
import time
from pathlib import Path

from bench.cases import PIPELINES
from bench.corpus import Corpus
from bench.drain import check_ledger
from bench.measure import RunFailed, Usage, run_to_end
from bench.nginx import NginxSink, free_port
from bench.programs import CREDENTIALS, Program
from bench.results import Sample
from tests.buffers.filesystem.sparse import build_backlog
from tests.faults.ledger import read_ledger

_FOLDER = PIPELINES / "backlog"
_LONG_S = 900


def start_on_backlog(program: Program, gigabytes: float) -> Sample:
    """Start on a sparse backlog and drain it into nothing."""
    with tempfile.TemporaryDirectory(prefix="shipper-bench-") as name:
        folder = Path(name)
        records = build_backlog(f"{folder}/storage", int(gigabytes * 1e9), "in", ("out",))
        began = time.time()
        usage = _run(program, folder, folder / "no-logs", _FOLDER / "into_nothing.conf", port=0, grace_s=_LONG_S)
        log = _log_of(folder)
        delivered = read_ledger(log)["out"]["delivered"]
        if delivered != records:
            raise RunFailed(f"{delivered} of {records} stored records were delivered")
        return Sample.of_usage(0, usage, stored_gb=gigabytes, ready_s=_time_of(log, "initializing") - began)


def ship_live(program: Program, corpus: Corpus) -> Sample:
    """Ship the corpus from its files, stored on the way."""
    with tempfile.TemporaryDirectory(prefix="shipper-bench-") as name:
        folder = Path(name)
        usage = _run_with_sink(program, folder, corpus.folder)
        check_ledger(_log_of(folder), corpus.records)
        return Sample.of_usage(corpus.records, usage)


def drain_stored(program: Program, corpus: Corpus) -> Sample:
    """Let a run store the corpus, and ship it from the disk with the next one."""
    with tempfile.TemporaryDirectory(prefix="shipper-bench-") as name:
        folder = Path(name)
        _run(program, folder, corpus.folder, _FOLDER / "shipper.conf", free_port(), grace_s=1)
        stored = read_ledger(_log_of(folder))["out"]
        if stored["held"] != corpus.records:
            raise RunFailed(f"{stored['held']} of {corpus.records} records were stored")
        (folder / "shipper.log").unlink()
        usage = _run_with_sink(program, folder, folder / "no-logs")
        drained = read_ledger(_log_of(folder))["out"]
        if drained["delivered"] != corpus.records:
            raise RunFailed(f"{drained['delivered']} of {corpus.records} records were drained")
        return Sample.of_usage(corpus.records, usage)


def _run_with_sink(program: Program, folder: Path, logs: Path) -> Usage:
    with NginxSink(folder / "nginx") as sink:
        usage = _run(program, folder, logs, _FOLDER / "shipper.conf", sink.tls_port, grace_s=_LONG_S)
        sink.stop()
        if failures := sink.traffic().failures:
            raise RunFailed(f"the sink refused {failures} requests")
        return usage


def _run(program: Program, folder: Path, logs: Path, configuration: Path, port: int, grace_s: int) -> Usage:
    logs.mkdir(exist_ok=True)
    places = {"CORPUS": str(logs), "STATE": str(folder), "SINK_TLS_PORT": str(port), "GRACE": str(grace_s)}
    return run_to_end(program.arguments(configuration), {**CREDENTIALS, **places}, folder / "shipper.log")


def _log_of(folder: Path) -> str:
    return (folder / "shipper.log").read_text(errors="replace")


def _time_of(log: str, words: str) -> float:
    """The wall time of the first log line with these words."""
    found = re.search(rf"\[(\S+ \S+)\.(\d+)\].*{words}", log)
    if found is None:
        raise RunFailed(f"no line says '{words}'\n{log[-2000:]}")
    return time.mktime(time.strptime(found[1], "%Y/%m/%d %H:%M:%S")) + float(f"0.{found[2]}")
