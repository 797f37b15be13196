"""How fast a tenant may send."""

from __future__ import annotations

from shipper.outputs.loki.pace import Pace


def test_requests_that_wait_at_one_time_go_one_after_another() -> None:
    pace = Pace(lambda: 1.0)
    pace.refused(0.0, 100_000, limit=100_000, wish=None)

    assert [pace.reserve(0.0, size) for size in (100_000, 200_000, 50_000, 1)] == [1.0, 2.0, 4.0, 4.5]
