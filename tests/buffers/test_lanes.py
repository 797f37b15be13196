"""When lanes are taken from, if deliveries that are not full are to be some time apart."""

from __future__ import annotations

import msgspec
import pytest

from shipper.buffers.base import BatchLimits
from shipper.buffers.lanes import Lanes


class Waiting(msgspec.Struct):
    sequence: int
    put_at: float
    records: int = 1
    size: int = 1


@pytest.fixture
def lanes() -> Lanes[Waiting]:
    return Lanes(BatchLimits(size=10, records=10, seconds=1.0, apart=5.0))


def take(lanes: Lanes[Waiting], now: float, *, flush: bool = False) -> list[int] | None:
    """The numbers that are taken, delivered at once."""
    taken = lanes.take(now, flush=flush)
    if taken is None:
        return None
    lanes.back(taken[0])
    return [entry.sequence for entry in taken[1]]


def test_the_first_delivery_of_a_lane_waits_for_the_flush_only(lanes: Lanes[Waiting]) -> None:
    lanes.add(Waiting(1, 100.0), "a")

    assert (lanes.due_in(100.0), take(lanes, 100.9), take(lanes, 101.0)) == (1.0, None, [1])


def test_the_next_one_comes_so_much_later(lanes: Lanes[Waiting]) -> None:
    lanes.add(Waiting(1, 100.0), "a")
    take(lanes, 101.0)
    lanes.add(Waiting(2, 101.5), "a")

    assert (lanes.due_in(102.5), take(lanes, 105.9), take(lanes, 106.0)) == (3.5, None, [2])


def test_a_lane_that_was_quiet_for_long_enough_waits_for_the_flush_only(lanes: Lanes[Waiting]) -> None:
    lanes.add(Waiting(1, 100.0), "a")
    take(lanes, 101.0)
    lanes.add(Waiting(2, 105.5), "a")

    assert (take(lanes, 106.4), take(lanes, 106.5)) == (None, [2])


def test_lanes_do_not_wait_for_each_other(lanes: Lanes[Waiting]) -> None:
    lanes.add(Waiting(1, 100.0), "a")
    take(lanes, 101.0)
    lanes.add(Waiting(2, 101.0), "a")
    lanes.add(Waiting(3, 101.5), "b")

    assert [take(lanes, 102.5), take(lanes, 102.5), take(lanes, 106.0)] == [[3], None, [2]]


def test_what_is_full_or_wanted_at_once_does_not_wait(lanes: Lanes[Waiting]) -> None:
    lanes.add(Waiting(1, 100.0), "a")
    take(lanes, 101.0)
    lanes.add(Waiting(2, 101.0, size=10), "a")
    full = take(lanes, 101.0)
    lanes.add(Waiting(3, 101.0), "a")

    assert (full, take(lanes, 101.0, flush=True)) == ([2], [3])


def test_what_came_while_a_delivery_was_out_is_due_by_the_time_that_was_taken(lanes: Lanes[Waiting]) -> None:
    lanes.add(Waiting(1, 100.0), "a")
    name, _ = lanes.take(101.0, flush=False) or ("", [])
    lanes.add(Waiting(2, 101.5), "a")
    lanes.back(name)

    assert (lanes.due_in(103.0), take(lanes, 106.0)) == (3.0, [2])


def test_lanes_that_went_quiet_are_not_remembered_for_ever(lanes: Lanes[Waiting]) -> None:
    for number in range(1000):
        lanes.add(Waiting(number, float(number)), number)
        take(lanes, number + 1.0)

    assert len(lanes._taken_at) <= 6


def test_a_delivery_has_no_more_records_than_the_limit(lanes: Lanes[Waiting]) -> None:
    for number in range(10):
        lanes.add(Waiting(number, 100.0, records=4, size=0), "a")

    assert take(lanes, 100.0) == [0, 1]


def test_what_was_dropped_does_not_make_a_lane_full(lanes: Lanes[Waiting]) -> None:
    for number in range(2):
        lanes.add(Waiting(number, 100.0, records=4), "a")
    lanes.drop(0)
    lanes.add(Waiting(2, 100.0, records=4), "a")

    assert not lanes.has_full()
