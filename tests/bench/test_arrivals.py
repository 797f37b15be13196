"""Lines that say when they were written and which one they are tell what is missing and how late the others came."""

from __future__ import annotations

import pytest

from bench.arrivals import Arrivals, Latencies, Status, percentile

_MS = 1_000_000


def body(*lines: tuple[int, int]) -> bytes:
    """A body with lines of (milliseconds, number)."""
    return b"".join(b'{"log":"at=%d no=%d GET /"}\n' % (ms * _MS, number) for ms, number in lines)


def test_lines_are_counted_once() -> None:
    arrivals = Arrivals()
    arrivals.take(body((1, 0), (1, 1)), now_ns=5 * _MS)
    arrivals.take(body((1, 1), (2, 2)), now_ns=6 * _MS)

    assert arrivals.status() == Status(arrived=3, taken=4, complete_below=3, first_ns=5 * _MS)


def test_a_missing_line_bounds_what_is_complete() -> None:
    arrivals = Arrivals()
    arrivals.take(body((1, 0), (1, 3)), now_ns=5 * _MS)
    before = arrivals.status().complete_below
    arrivals.take(body((1, 2), (1, 1)), now_ns=6 * _MS)

    assert before == 1
    assert arrivals.status().complete_below == 4


def test_a_body_without_lines_of_the_load_is_no_arrival() -> None:
    arrivals = Arrivals()
    arrivals.take(b'{"log":"hello"}')

    assert arrivals.status() == Status()


def test_only_lines_of_the_asked_time_count_for_latencies() -> None:
    arrivals = Arrivals()
    arrivals.take(body((0, 0), (1000, 1), (2000, 2), (3000, 3)), now_ns=4000 * _MS)

    late = arrivals.latencies(since_ns=1000 * _MS, until_ns=3000 * _MS)

    assert late == Latencies(lines=2, p50_s=2.0, p99_s=3.0, most_s=3.0)


def test_without_lines_there_are_no_latencies() -> None:
    assert Arrivals().latencies() == Latencies(0, 0.0, 0.0, 0.0)


@pytest.mark.parametrize(
    ("values", "percent", "expected"),
    [
        (range(1, 101), 50, 50),
        (range(1, 101), 99, 99),
        (range(1, 101), 100, 100),
        (range(1, 11), 99, 10),
        ([7], 50, 7),
        ([1, 2], 50, 1),
        ([1, 2], 51, 2),
    ],
)
def test_a_percentile_is_a_value_that_so_many_are_not_above(values: list[int], percent: float, expected: int) -> None:
    assert percentile(list(values), percent) == expected
