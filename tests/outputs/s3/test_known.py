"""Records of spools that were left, looked up when they come again."""

from __future__ import annotations

import sys
import tracemalloc
from pathlib import Path
from typing import Any

import pytest

from shipper.clock import SystemClock
from shipper.disk import SystemDisk
from shipper.outputs.s3 import known as module
from shipper.outputs.s3.content import Lines, identities
from shipper.outputs.s3.known import KnownRecords, Recognised
from shipper.outputs.s3.spool import Sheet, Spool, Stretch, new_name
from shipper.record import SOMEWHERE, Origin
from shipper.testing import context_of


def spool_in(folder: Path, number: int = 0) -> Spool:
    return Spool(folder, new_name(number * 1_000_000), Sheet(key="k", tag="t", first_ns=0), SystemDisk())


def lines_of(begin: int, end: int) -> bytes:
    return b"".join([b'{"date":"2026-11-22T07:00:00.%09dZ","log":"x"}\n' % n for n in range(begin, end)])


def left_spool(folder: Path, begin: int, end: int, at_once: int, source: str = "file") -> Spool:
    """One with a line for each of these numbers, so many of which came from one stretch."""
    spool = spool_in(folder, begin)
    stretches = [Stretch(at_once, source, n, n + at_once) for n in range(begin, end, at_once)]
    if source == SOMEWHERE.source:
        stretches = [Stretch(end - begin, source, SOMEWHERE.begin, SOMEWHERE.end)]
    spool.append(lines_of(begin, end), stretches=stretches)
    spool.close()
    return spool


def learned(*spools: Spool) -> KnownRecords:
    known = KnownRecords(SystemClock(), context_of().log)
    known.learn(spools)
    return known


def read_again(known: KnownRecords, begin: int, end: int, origin: Origin | None = None) -> list[tuple[Spool, int]]:
    made = Lines(lines_of(begin, end), end - begin, counts=[end - begin])
    return known.take_out("t", made, [origin or Origin("file", begin, end)])


def test_a_line_that_occurs_twice_is_recognised_twice(tmp_path: Path) -> None:
    spool = spool_in(tmp_path)
    same, other, new = identities([b"same", b"other", b"new"])
    known = Recognised()
    known.add(spool, 0, 3, [same, other, same])
    known.sort()
    found = [known.take(one, 0, 3) for one in (same, new, same, same, other, other)]

    assert found == [spool, None, spool, None, spool, None]


def test_of_equal_lines_only_those_of_the_stretch_that_is_read_are_recognised(tmp_path: Path) -> None:
    known = Recognised()
    for begin in (20, 0, 10):
        known.add(spool_in(tmp_path, begin), begin, begin + 10, [7, 7])
    known.sort()
    found = [known.take(7, *stretch) for stretch in [(10, 20), (10, 20), (10, 20), (15, 25), (30, 40), (0, 10)]]

    assert [one is not None for one in found] == [True, True, False, True, False, False]


def test_what_was_given_up_is_stored_again(tmp_path: Path) -> None:
    first, second = left_spool(tmp_path, 0, 4, 2), left_spool(tmp_path, 4, 8, 2)
    known = learned(first, second)
    first.is_deleted = True

    assert read_again(known, 0, 8) == [(second, 4)]


def test_equal_lines_of_other_sources_and_tags_are_others(tmp_path: Path) -> None:
    known = learned(left_spool(tmp_path, 0, 4, 2))
    made = Lines(lines_of(0, 4), 4, counts=[4])

    assert read_again(known, 0, 4, Origin("other", 0, 4)) == []
    assert known.take_out("another", made, [Origin("file", 0, 4)]) == []


def test_a_spool_is_expected_until_what_came_of_it_is_stored(tmp_path: Path) -> None:
    spool = left_spool(tmp_path, 0, 4, 2)
    known = learned(spool)
    found = read_again(known, 0, 4)
    was_expected = spool.is_expected
    for one, count in found:
        known.met(one, count)

    assert found == [(spool, 4)]
    assert was_expected
    assert not spool.is_expected


def test_no_more_is_learned_than_fits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_MOST", 30)
    earlier, later = left_spool(tmp_path, 0, 100, 2), left_spool(tmp_path, 100, 200, 2)
    known = learned(earlier, later)

    assert read_again(known, 0, 100) == []
    assert read_again(known, 100, 200) == [(later, 20)]


@pytest.mark.parametrize("at_once", [1, 1000])
def test_learning_takes_little_memory_beside_what_is_learned(tmp_path: Path, at_once: int) -> None:
    count = 60_000
    spool = left_spool(tmp_path, 0, count, at_once)
    tracemalloc.start()
    try:
        known = learned(spool)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert sum(records for _, records in read_again(known, 0, count)) == count
    assert peak < 130 * count


def steps_of_a_look_up(known: KnownRecords, begin: int, origin: Origin | None) -> int:
    """How many functions are called when new lines are looked up."""
    calls = 0

    def note(frame: Any, event: str, argument: Any) -> None:
        nonlocal calls
        calls += event in ("call", "c_call")

    before = sys.getprofile()
    sys.setprofile(note)
    try:
        read_again(known, begin, begin + 50, origin)
    finally:
        sys.setprofile(before)
    return calls


@pytest.mark.parametrize("origin", [SOMEWHERE, Origin("file", 0, 1000)])
def test_a_new_record_is_looked_up_once_however_many_spools_are_left(tmp_path: Path, origin: Origin) -> None:
    spools = [left_spool(tmp_path, n * 10, n * 10 + 10, 5, origin.source) for n in range(40)]
    few, many = learned(spools[0]), learned(*spools)

    assert steps_of_a_look_up(many, 100_000, origin) < 1.5 * steps_of_a_look_up(few, 100_000, origin)
