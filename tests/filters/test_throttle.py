"""throttle: how many records of a burst pass, and of a steady stream."""

from __future__ import annotations

import logging

import pytest

from shipper.filters.throttle import Interval, ThrottleFilter, ThrottleOptions
from shipper.testing import ManualClock, batch_of, context_of, lines_of

from ..written_options import options_from


def filter_of(lines: str, clock: ManualClock) -> ThrottleFilter:
    return ThrottleFilter(options_from(ThrottleOptions, lines), context_of("filter", "throttle.0", clock))


def passing(one: ThrottleFilter, records: int) -> int:
    left = one.apply(batch_of(*(str(number) for number in range(records))))
    return len(left) if left else 0


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        ("Rate 2\nWindow 3", [6, 0]),
        ("Rate 0\nWindow 0", [5, 0]),
        ("Rate 100\nWindow 3", [12, 12]),
        ("Rate 2.5\nWindow 3", [8, 0]),
    ],
)
def test_a_burst_is_cut_at_rate_times_window(lines: str, expected: list[int]) -> None:
    one = filter_of(lines, ManualClock())

    assert [passing(one, 12), passing(one, 12)] == expected


async def test_a_steady_stream_passes_at_the_rate() -> None:
    clock = ManualClock()
    one = filter_of("Rate 2\nWindow 3\nInterval 10s", clock)
    found = []
    for _ in range(6):
        found.append(passing(one, 5))
        await clock.advance(10)

    assert found == [5, 1, 0, 5, 1, 0]


async def test_a_long_silence_empties_the_window() -> None:
    clock = ManualClock()
    one = filter_of("Rate 1\nWindow 2", clock)
    before = passing(one, 5)
    await clock.advance(1_000_000)

    assert (before, passing(one, 5)) == (2, 2)


def test_the_first_records_of_a_batch_are_those_that_pass() -> None:
    left = filter_of("Rate 1\nWindow 2", ManualClock()).apply(batch_of("a", "b", "c", "d"))

    assert left is not None
    assert (lines_of(left), left.size) == (["a", "b"], 4)


@pytest.mark.parametrize(
    ("text", "seconds"), [("5", 5), ("2m", 120), ("1h", 3600), ("1d", 86400), ("1.9s", 1), ("0", 1), ("soon", 1)]
)
def test_intervals(text: str, seconds: int) -> None:
    assert Interval.parse(text) == seconds


async def test_the_status_is_told_on_request(caplog: pytest.LogCaptureFixture) -> None:
    clock = ManualClock()
    with caplog.at_level(logging.INFO, "shipper"):
        one = filter_of("Rate 2\nWindow 2\nPrint_Status on", clock)
        passing(one, 3)
        await clock.advance(1)
        passing(one, 1)

    assert "average=1.50" in caplog.text
