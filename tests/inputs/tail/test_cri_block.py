"""The short ways of a block of CRI lines give what the records themselves give."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shipper.inputs.tail.cri_block import read_cri_block
from shipper.parsers.container_time import container_time_ns

NOW_NS = 1_700_000_000_000_000_000
TIMES = [
    "2026-11-20T10:00:00.000000000Z",
    "2026-11-20T10:00:00.999999999Z",
    "2026-11-20T10:00:01.000000001Z",
    "1999-12-31T23:59:59.5Z",
    "2026-11-20T10:00:00.123456789+02:00",
    "2026-11-20T10:00:00.1+02:00",
    "2026-02-30T10:00:00.000000000Z",
    "1970-01-01T00:00:00.000000000Z",
    "1980-01-01T00:00:00.000000000Z",
    "2026-11-20T10:00:00.12345678Z",
]


@given(st.lists(st.sampled_from(TIMES), min_size=1, max_size=40))
def test_times_are_those_of_the_lines_one_by_one(times: list[str]) -> None:
    block = read_cri_block("".join(f"{time} stdout F x\n" for time in times).encode(), NOW_NS)

    assert block is not None
    assert block.times_ns() == [container_time_ns(time) or NOW_NS for time in times]


def test_times_of_more_seconds_than_are_looked_for_are_right_too() -> None:
    times = [f"2026-11-20T10:{n // 60:02d}:{n % 60:02d}.000000007Z" for n in range(100)]
    block = read_cri_block("".join(f"{time} stderr F x\n" for time in times).encode(), NOW_NS)

    assert block is not None
    assert block.times_ns() == [container_time_ns(time) for time in times]


@given(st.lists(st.sampled_from(TIMES[:3]), min_size=1, max_size=10), st.text('ab"\\ é%', max_size=8))
def test_dated_lines_have_the_time_in_front(times: list[str], text: str) -> None:
    block = read_cri_block("".join(f"{time} stdout F {text}\n" for time in times).encode(), NOW_NS)

    assert block is not None
    lines = block.dated_json_lines("when")
    assert lines is not None
    expected = [{"when": f"{t[:26]}Z", **body} for t, body in zip(times, block.bodies(), strict=True)]
    assert [msgspec.json.decode(line) for line in lines.splitlines()] == expected
    assert all(line.startswith(b'{"when":') for line in lines.splitlines())


@pytest.mark.parametrize("key", ["time", "stream", "_p", "log"])
def test_a_date_under_a_key_of_the_record_has_no_short_way(key: str) -> None:
    block = read_cri_block(f"{TIMES[0]} stdout F x\n".encode(), NOW_NS)

    assert block is not None
    assert block.dated_json_lines(key) is None


@pytest.mark.parametrize("time", TIMES[3:7] + TIMES[9:])
def test_a_time_without_nine_digits_or_that_does_not_exist_has_no_short_way(time: str) -> None:
    block = read_cri_block(f"{TIMES[0]} stdout F x\n{time} stdout F x\n".encode(), NOW_NS)

    assert block is not None
    assert block.dated_json_lines("date") is None


@given(st.lists(st.tuples(st.sampled_from(TIMES), st.sampled_from("FP"), st.text('ab"\\ é%', max_size=8)), max_size=12))
def test_the_records_are_the_same_before_and_after_there_is_json(lines: list[tuple[str, str, str]]) -> None:
    """Rows are forgotten then, and made of the JSON again."""
    text = "".join(f"{time} stdout {flag} {text}\n" for time, flag, text in [*lines, (TIMES[0], "F", "end")])
    block = read_cri_block(text.encode(), NOW_NS)

    assert block is not None
    records = block.records()
    by_json = [msgspec.json.decode(line) for line in block.json_lines().splitlines()]
    assert block.records() == records
    assert [record.body for record in records] == by_json
    assert block.json_lines() is block.json_lines()


def test_a_block_is_read_up_to_the_first_line_that_is_not_completed() -> None:
    whole, begun = f"{TIMES[0]} stdout F x\n", f"{TIMES[0]} stdout P y\n{TIMES[1]} stderr F z\n"
    block = read_cri_block((whole + begun).encode(), NOW_NS)

    assert block is not None
    block.json_lines()
    assert (block.consumed, block.lines, len(block)) == (len(whole), 1, 1)
    assert block.bodies() == [{"time": TIMES[0], "stream": "stdout", "_p": "F", "log": "x"}]
