"""Of a delivery that its output has in part, only the rest comes again after a stop."""

from __future__ import annotations

from pathlib import Path

import pytest

from shipper.testing import batch_of
from tests.buffers.filesystem.making import Stored, lines_in


def put(stored: Stored, *batches: str, outputs: tuple[str, ...] = ("one",)) -> None:
    """Put batches, whose records are single letters."""
    for letters in batches:
        stored.buffer.put(batch_of(*letters), outputs)


@pytest.mark.parametrize("memory", [0, 10_000_000])
def test_the_next_run_gets_the_rows_that_are_left_in_their_place(tmp_path: Path, memory: int) -> None:
    first = Stored(tmp_path, ("one", "two"), memory=memory)
    put(first, "abcd", "efg", "hij", outputs=("one", "two"))
    delivery = first.take()
    assert delivery is not None
    put(first, "klm", outputs=("one", "two"))
    kept = first.readers["one"].give_back_rest(delivery, [[1, 3], [], [0, 1, 2]])
    held = first.readers["one"].held()
    first.end()

    second = Stored(tmp_path, ("one", "two"), memory=memory)

    assert kept
    assert held[0] == second.readers["one"].held()[0] == 2 + 3 + 3
    assert second.readers["two"].held()[0] == 13
    assert second.deliver("one") == list("bdhijklm")
    assert second.deliver("two") == list("abcdefghijklm")
    assert [second.readers[name].held() for name in ("one", "two")] == [(0, 0), (0, 0)]
    assert (second.buffer.statistics().records, second.buffer.statistics().size) == (0, 0)
    assert second.skipped == []


def test_what_is_left_of_a_rest_is_left_of_what_was_stored(tmp_path: Path) -> None:
    first = Stored(tmp_path)
    put(first, "abcdef")
    delivery = first.take()
    assert delivery is not None
    first.readers["one"].give_back_rest(delivery, [[1, 3, 4, 5]])
    first.end()
    second = Stored(tmp_path)
    delivery = second.take()
    assert delivery is not None
    lines = lines_in(delivery)
    second.readers["one"].give_back_rest(delivery, [[0, 3]])
    second.end()
    third = Stored(tmp_path)

    assert lines == list("bdef")
    assert third.readers["one"].held()[0] == 2
    assert third.deliver() == list("bf")


def test_a_rest_that_is_delivered_does_not_come_back(tmp_path: Path) -> None:
    first = Stored(tmp_path)
    put(first, "abc")
    delivery = first.take()
    assert delivery is not None
    first.readers["one"].give_back_rest(delivery, [[2]])
    first.end()
    second = Stored(tmp_path)
    delivered = second.deliver()
    second.end()
    third = Stored(tmp_path)
    put(third, "d")

    assert delivered == ["c"]
    assert third.deliver() == ["d"]
