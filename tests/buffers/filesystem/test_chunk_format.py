"""Chunk files of Fluent Bit: what is read of them, whole or damaged."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.msgpack import Ext

from shipper.buffers.filesystem.chunk_format import UnreadableChunk, age_of, parse_chunk
from shipper.buffers.filesystem.msgpack_events import event_ends, read_events
from shipper.record import Record
from tests.buffers.filesystem.chunks import SAMPLE, TIME_NS, chunk, event

VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False)
    | st.text(max_size=70)
    | st.binary(max_size=300)
    | st.builds(Ext, st.integers(0, 127), st.binary(max_size=20)),
    lambda inner: st.lists(inner, max_size=20) | st.dictionaries(st.text(), inner, max_size=20),
    max_leaves=10,
)
BODIES = st.dictionaries(st.text(), VALUES, max_size=4)
THREE = b"".join(event({"n": n, "text": "x" * 20}) for n in range(3))
LENGTH = len(event({"n": 0, "text": "x" * 20}))


def bodies(records: list[Record]) -> list[Any]:
    return [record.body for record in records]


def test_the_sample_of_the_format_is_read() -> None:
    found = parse_chunk(SAMPLE, verify=True)

    assert (found.tag, found.doubt) == ("app.web", None)
    assert [(r.time_ns, r.body, r.metadata) for r in found.records] == [(TIME_NS, {"message": "dummy"}, None)]
    assert chunk(event({"message": "dummy"})) == SAMPLE


@pytest.mark.parametrize(
    "data",
    [
        chunk(THREE),
        chunk(THREE, is_legacy=True),
        chunk(THREE, has_checksum=True),
        chunk(THREE, zeros=4096),
        chunk(THREE, length=0, zeros=100),
        chunk(THREE, routes=b"\0\x00\x02ab"),
        chunk(THREE, is_legacy=True, has_checksum=True, zeros=32768),
    ],
)
def test_a_whole_chunk_is_read_in_every_form(data: bytes) -> None:
    found = parse_chunk(data, verify=True)

    assert (found.tag, found.doubt, found.size) == ("app.web", None, len(THREE))
    assert [record.body["n"] for record in found.records] == [0, 1, 2]


@pytest.mark.parametrize(
    ("data", "records", "doubt"),
    [
        (chunk(THREE)[:-1], 2, "it ends 1 bytes too early"),
        (chunk(THREE + b"\xc1"), 3, "1 bytes behind the whole records cannot be read"),
        (chunk(THREE + event({})[:-1]), 3, f"{len(event({})) - 1} bytes behind the whole records cannot be read"),
        (chunk(THREE, length=len(THREE) + 50), 3, "it ends 50 bytes too early"),
        (
            chunk(THREE[:LENGTH] + b"\0" * (2 * LENGTH)),
            1,
            f"{2 * LENGTH} bytes behind the whole records cannot be read",
        ),
        (chunk(THREE, length=0) + b"junk", 3, "4 bytes behind the whole records cannot be read"),
        (chunk(THREE, has_checksum=True)[:2] + b"abcd" + chunk(THREE)[6:], 3, "its checksum is wrong"),
    ],
)
def test_of_a_damaged_chunk_the_whole_records_are_read(data: bytes, records: int, doubt: str) -> None:
    found = parse_chunk(data, verify=True)

    assert (len(found.records), found.doubt) == (records, doubt)


def test_a_wrong_checksum_is_no_matter_unless_checksums_are_wanted() -> None:
    data = chunk(THREE)[:2] + b"abcd" + chunk(THREE)[6:]

    assert parse_chunk(data, verify=False).doubt is None


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "it has no head of a chunk"),
        (SAMPLE[:23], "it has no head of a chunk"),
        (bytes(4096), "it has no head of a chunk"),
        (b"PK" + SAMPLE[2:], "it has no head of a chunk"),
        (chunk(THREE, b""), "it has no tag"),
        (chunk(THREE, b"", is_legacy=True), "it has no tag"),
        (chunk(THREE, kind=1), "it holds metrics, not logs"),
        (chunk(THREE, kind=99), "it holds type 99, not logs"),
        (chunk(THREE[: LENGTH - 1]), "it has no whole record"),
        (chunk(b"junk" + THREE), "it has no whole record"),
        (chunk(b""), "it has no whole record"),
    ],
)
def test_a_chunk_of_which_nothing_can_be_delivered_says_why(data: bytes, reason: str) -> None:
    with pytest.raises(UnreadableChunk, match=reason):
        parse_chunk(data, verify=True)


@given(st.lists(st.tuples(BODIES, st.none() | BODIES), max_size=4), st.integers(0, 2000))
@settings(max_examples=80, deadline=None)
def test_the_ends_of_events_are_found_and_cut_events_left_out(
    events: list[tuple[dict[str, Any], dict[str, Any] | None]], cut: int
) -> None:
    encoded = [event(body, metadata=metadata) for body, metadata in events]
    data = b"".join(encoded)
    ends = [sum(map(len, encoded[: n + 1])) for n in range(len(encoded))]
    cut = min(cut, len(data))
    whole = [end for end in ends if end <= cut]
    records, end = read_events(data[:cut])

    assert event_ends(data) == ends
    assert end == (whole[-1] if whole else 0)
    assert [(r.body, r.metadata) for r in records] == [(b, m or None) for b, m in events[: len(whole)]]


def test_strings_that_are_no_utf_8_are_kept_as_they_were() -> None:
    raw = event({"a": "xx", "list": ["xx", {"deep": "xx"}]}).replace(b"xx", b"\xff\xfe") + event({"long": "y" * 40})
    records, end = read_events(raw)

    odd = "\udcff\udcfe"
    assert bodies(records) == [{"a": odd, "list": [odd, {"deep": odd}]}, {"long": "y" * 40}]
    assert end == len(raw)


@pytest.mark.parametrize(
    ("head", "time_ns"),
    [
        (1_700_000_000, 1_700_000_000_000_000_000),
        (1_700_000_000.5, 1_700_000_000_500_000_000),
        (Ext(0, b"\x65\x53\xf1\x00\x00\x00\x00\x05"), TIME_NS),
    ],
)
def test_the_older_form_of_events_is_read(head: Any, time_ns: int) -> None:
    records, _ = read_events(msgspec.msgpack.encode([head, {"a": 1}]))

    assert [(r.time_ns, r.body) for r in records] == [(time_ns, {"a": 1})]


@pytest.mark.parametrize(
    "odd",
    [1, [1], [1, 2], ["x", {}], [[1, 2, 3], {}], [[True, {}], {}], [Ext(5, b"12345678"), {}], [float("nan"), {}]],
)
def test_what_is_no_event_ends_the_reading(odd: Any) -> None:
    records, end = read_events(event({"a": 1}) + msgspec.msgpack.encode(odd) + event({"b": 2}))

    assert (bodies(records), end) == ([{"a": 1}], len(event({"a": 1})))


def test_the_marks_of_groups_are_no_records() -> None:
    begin, finish = event({}, 0xFFFFFFFF * 10**9), event({}, 0xFFFFFFFE * 10**9)
    records, end = read_events(begin + event({"a": 1}) + finish)

    assert bodies(records) == [{"a": 1}]
    assert end == len(begin) + len(finish) + len(event({"a": 1}))


def test_files_are_sorted_by_their_time_and_not_by_process() -> None:
    names = ["99-1700000000.5.flb", "1000-1800000000.1.flb", "999-1600000000.9.flb", "7-1700000000.   4.flb"]

    assert sorted(names, key=age_of) == [names[2], names[3], names[0], names[1]]
