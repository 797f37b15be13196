"""The measurement of a backlog, on a small one."""

from __future__ import annotations

from bench.backlog import start_on_backlog
from bench.programs import own_program


def test_a_stored_backlog_is_started_on_and_drained() -> None:
    sample = start_on_backlog(own_program(), 0.05)

    assert sample.figures["stored_gb"] == 0.05
    assert 0 < sample.figures["ready_s"] < 60
    assert 10_000_000 < sample.peak_rss_bytes < 500_000_000
