"""The measurement of a backlog, on a small one."""

from __future__ import annotations

from bench.backlog import measure_start


def test_a_stored_backlog_is_started_on_and_drained() -> None:
    start = measure_start(0.05)

    assert start.stored_bytes == 50_000_000
    assert 0 < start.seconds < 60
    assert 10_000_000 < start.peak_rss_bytes < 500_000_000
