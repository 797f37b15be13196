"""Runs that drain a corpus: the shipper reads it from the beginning and ends by itself when all is delivered."""

from __future__ import annotations

import contextlib
import tempfile
from pathlib import Path

from bench.cases import Case
from bench.corpus import Corpus
from bench.measure import RunFailed, run_to_end
from bench.metadata import write_metadata
from bench.nginx import NginxSink, Traffic
from bench.programs import CREDENTIALS, Program
from bench.results import Sample
from tests.faults.ledger import read_ledger


def drain(program: Program, case: Case, corpus: Corpus) -> Sample:
    """Ship the corpus into the sink of the case; raises `RunFailed` if not every record has arrived."""
    with tempfile.TemporaryDirectory(prefix="shipper-bench-") as name, contextlib.ExitStack() as stack:
        folder = Path(name)
        variables = {**CREDENTIALS, "CORPUS": str(corpus.folder), "STATE": name}
        if case.metadata:
            write_metadata(folder / "metadata", corpus.files)
        sink = stack.enter_context(NginxSink(folder / "nginx")) if case.sink else None
        if sink is not None:
            variables |= {"SINK_PORT": str(sink.port), "SINK_TLS_PORT": str(sink.tls_port)}
        log = folder / "shipper.log"
        usage = run_to_end(program.arguments(case.configuration), variables, log, case.cores)
        check_ledger(log.read_text(errors="replace"), corpus.records)
        if sink is not None:
            sink.stop()
            check_traffic(sink.traffic(), corpus.records * case.bytes_per_record)
        return Sample.of_usage(corpus.records, usage)


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
