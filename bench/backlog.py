"""Measures what a backlog on disk costs: `python -m bench.backlog`.

Start: 10 GB are stored (their records are holes in sparse files, so they take no room); how long until everything runs,
and how much memory the process takes at most until all of it is drained into nothing.

Drain: the corpus is shipped to a neutral CloudWatch sink once live, and once from the disk, where a run has stored it
that could reach nobody. Both are whole processes, start and end included.
"""

from __future__ import annotations

import argparse
import re
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path

import msgspec

from bench.corpus import Corpus, cached
from bench.measure import RunFailed, Usage, run_to_end, warm_page_cache
from bench.nginx import NginxSink, free_port
from bench.runner import CREDENTIALS, check_ledger
from tests.buffers.filesystem.sparse import build_backlog
from tests.faults.ledger import read_ledger

_STORED = """
[SERVICE]
    flush        1
    grace        {grace}
    storage.path {folder}/storage
    storage.backlog.flush_on_shutdown on

[INPUT]
    name             tail
    alias            in
    tag              kube.*
    path             {logs}/*.log
    db               {folder}/tail.db
    multiline.parser docker, cri
    read_from_head   on
    exit_on_eof      on
    mem_buf_limit    100MB
    storage.type     filesystem

[OUTPUT]
    alias            out
    match            *
"""
_NOTHING = "    name             null\n"
_CLOUDWATCH = """    name              cloudwatch_logs
    region            us-east-1
    endpoint          127.0.0.1
    port              {port}
    tls.verify        off
    log_group_name    bench
    log_stream_prefix from-
    auto_create_group on
"""


class Start(msgspec.Struct, frozen=True):
    """How a process begins and ends that finds a large backlog."""

    stored_bytes: int
    seconds: float
    peak_rss_bytes: int


def measure_start(gigabytes: float) -> Start:
    """Start on a sparse backlog and drain it into nothing."""
    with tempfile.TemporaryDirectory(prefix="shipper-bench-") as name:
        folder = Path(name)
        records = build_backlog(f"{folder}/storage", int(gigabytes * 1e9), "in", ("out",))
        began = time.time()
        usage = _run(folder, folder / "no-logs", _NOTHING, grace=900)
        log = (folder / "shipper.log").read_text(errors="replace")
        delivered = read_ledger(log)["out"]["delivered"]
        if delivered != records:
            raise RunFailed(f"{delivered} of {records} stored records were delivered")
        return Start(int(gigabytes * 1e9), _time_of(log, "initializing") - began, usage.peak_rss_bytes)


def measure_live(corpus: Corpus) -> Usage:
    """Ship the corpus from its files, stored on the way."""
    with tempfile.TemporaryDirectory(prefix="shipper-bench-") as name:
        folder = Path(name)
        usage = _run_with_sink(folder, corpus.folder)
        check_ledger((folder / "shipper.log").read_text(errors="replace"), corpus.records)
        return usage


def measure_drain(corpus: Corpus) -> Usage:
    """Let a run store the corpus, and ship it from the disk with the next one."""
    with tempfile.TemporaryDirectory(prefix="shipper-bench-") as name:
        folder = Path(name)
        _run(folder, corpus.folder, _CLOUDWATCH.format(port=free_port()), grace=1)
        stored = read_ledger((folder / "shipper.log").read_text(errors="replace"))["out"]
        if stored["held"] != corpus.records:
            raise RunFailed(f"{stored['held']} of {corpus.records} records were stored")
        (folder / "shipper.log").unlink()
        usage = _run_with_sink(folder, folder / "no-logs")
        drained = read_ledger((folder / "shipper.log").read_text(errors="replace"))["out"]
        if drained["delivered"] != corpus.records:
            raise RunFailed(f"{drained['delivered']} of {corpus.records} records were drained")
        return usage


def _run_with_sink(folder: Path, logs: Path) -> Usage:
    with NginxSink(folder / "nginx") as sink:
        usage = _run(folder, logs, _CLOUDWATCH.format(port=sink.tls_port), grace=900)
        sink.stop()
        if failures := sink.traffic().failures:
            raise RunFailed(f"the sink refused {failures} requests")
        return usage


def _run(folder: Path, logs: Path, output: str, grace: int) -> Usage:
    logs.mkdir(exist_ok=True)
    configuration = folder / "shipper.conf"
    configuration.write_text(_STORED.format(grace=grace, folder=folder, logs=logs) + output)
    variables: Mapping[str, str] = CREDENTIALS
    command = [str(Path(sys.executable).with_name("shipper")), "-c", str(configuration)]
    return run_to_end(command, variables, folder / "shipper.log")


def _time_of(log: str, words: str) -> float:
    """The wall time of the first log line with these words."""
    found = re.search(rf"\[(\S+ \S+)\.(\d+)\].*{words}", log)
    if found is None:
        raise RunFailed(f"no line says '{words}'\n{log[-2000:]}")
    return time.mktime(time.strptime(found[1], "%Y/%m/%d %H:%M:%S")) + float(f"0.{found[2]}")


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.backlog", description="Measure what a backlog costs.")
    parser.add_argument("--gigabytes", type=float, default=10.0, help="size of the sparse backlog")
    parser.add_argument("--scale", type=float, default=1.0, help="size of the corpus")
    options = parser.parse_args()
    start = measure_start(options.gigabytes)
    print(
        f"start with {start.stored_bytes / 1e9:g} GB stored: {start.seconds:.2f} s, "
        f"peak until drained {start.peak_rss_bytes / 1e6:.0f} MB"
    )
    corpus = cached("two", options.scale)
    warm_page_cache(corpus.files)
    live, drain = measure_live(corpus), measure_drain(corpus)
    for name, usage in (("live", live), ("drain", drain)):
        cpu_us = usage.cpu_s / corpus.records * 1e6
        print(
            f"{name}: {corpus.records / usage.wall_s:,.0f} records/s, {cpu_us:.2f} us of CPU a record, "
            f"peak {usage.peak_rss_bytes / 1e6:.0f} MB"
        )
    print(f"the drain has {live.wall_s / drain.wall_s:.0%} of the live speed")


if __name__ == "__main__":
    main()
