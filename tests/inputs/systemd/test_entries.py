"""systemd: bodies and tags of entries, as a table."""

from __future__ import annotations

import itertools
from typing import Any

import pytest

from shipper.inputs.systemd.entries import EntryReader, TagOfUnit
from shipper.record import Body


def body_of(entry: dict[str, object], *, lowercase: bool = False, strip: bool = False, max_fields: int = 8000) -> Body:
    return read(EntryReader(lowercase=lowercase, strip_underscores=strip, max_fields=max_fields), entry)[0]


def read(reader: EntryReader, entry: dict[str, object]) -> tuple[Body, int]:
    """The entry as it is read at once or, if it has to be, one field after the other."""
    return reader.read(entry) or reader.read_one_by_one(pairs_of(entry))


def pairs_of(entry: dict[str, Any]) -> list[tuple[str, bytes]]:
    lists = [(name, value if isinstance(value, list) else [value]) for name, value in entry.items()]
    return [(name, value) for name, values in lists for value in values]


SEVERAL: dict[str, object] = {
    "MESSAGE": b"test",
    "KEY": [b"value1", b"value4", b"another"],
    "KEY2": [b"value2", b"value3", b"value5", b"value10", b"final_field"],
    "KEY3": [b"howdy", b"prettygood", b"wow"],
}


def test_fields_that_occur_several_times_are_lists_in_the_order_of_their_values() -> None:
    assert list(body_of(SEVERAL).items()) == [
        ("MESSAGE", "test"),
        ("KEY", ["value1", "value4", "another"]),
        ("KEY2", ["value2", "value3", "value5", "value10", "final_field"]),
        ("KEY3", ["howdy", "prettygood", "wow"]),
    ]


@pytest.mark.parametrize(
    ("strip", "lowercase", "expected"),
    [
        (False, False, {"_PID": "1", "__X": "2", "A": "3"}),
        (True, False, {"PID": "1", "_X": "2", "A": "3"}),
        (False, True, {"_pid": "1", "__x": "2", "a": "3"}),
        (True, True, {"pid": "1", "_x": "2", "a": "3"}),
    ],
)
def test_names_lose_one_underscore_and_their_capitals(strip: bool, lowercase: bool, expected: Body) -> None:
    assert body_of({"_PID": b"1", "__X": b"2", "A": b"3"}, strip=strip, lowercase=lowercase) == expected


def test_names_that_become_the_same_share_a_list_behind_the_fields_before_it() -> None:
    body = body_of({"_FOO": b"1", "BAR": b"x", "FOO": b"2"}, strip=True)

    assert list(body.items()) == [("BAR", "x"), ("FOO", ["1", "2"])]


@pytest.mark.parametrize(
    ("max_fields", "expected"),
    [
        (3, {"A": "1", "B": ["2", "3"]}),
        (2, {"A": "1", "B": "2"}),
        (1, {"A": "1"}),
        (4, {"A": "1", "B": ["2", "3"], "C": "4"}),
    ],
)
def test_every_repetition_counts_as_a_field(max_fields: int, expected: Body) -> None:
    assert body_of({"A": b"1", "B": [b"2", b"3"], "C": b"4"}, max_fields=max_fields) == expected


def test_a_field_that_occurs_again_is_behind_those_that_came_before_that() -> None:
    pairs = [("A", b"1"), ("B", b"2"), ("A", b"3"), ("C", b"4"), ("A", b"5")]
    reader = EntryReader(lowercase=False, strip_underscores=False, max_fields=4)

    assert list(reader.read_one_by_one(pairs)[0].items()) == [("B", "2"), ("A", ["1", "3"]), ("C", "4")]


def test_no_more_fields_than_wanted_of_a_plain_entry() -> None:
    assert body_of({"A": b"1", "B": b"2", "C": b"3"}, max_fields=2) == {"A": "1", "B": "2"}


def test_the_size_is_that_of_names_and_values() -> None:
    reader = EntryReader(lowercase=False, strip_underscores=False, max_fields=8000)

    assert read(reader, {"AB": b"123", "C": b""})[1] == 10
    assert read(reader, {"AB": [b"123", b"4"]})[1] == 12


def test_values_that_are_no_utf8_keep_their_bytes_and_the_entry_is_counted_once() -> None:
    reader = EntryReader(lowercase=False, strip_underscores=False, max_fields=8000)
    body, _ = read(reader, {"A": b"\xff", "B": b"\xfe", "C": "ü\ufffd".encode()})

    assert body == {"A": "\udcff", "B": "\udcfe", "C": "ü\ufffd"}
    assert reader.invalid == 1


def test_any_number_of_names_takes_bounded_memory() -> None:
    reader = EntryReader(lowercase=True, strip_underscores=False, max_fields=8000)
    for number in range(12_000):
        reader.read({f"NAME_{number}": b""})

    assert len(vars(reader)["_names"]) <= 10_000


@pytest.mark.parametrize(
    ("tag", "entry", "expected"),
    [
        ("dataplane.systemd.*", {"_SYSTEMD_UNIT": b"kubelet.service"}, "dataplane.systemd.kubelet.service"),
        ("dataplane.systemd.*", {"UNIT": b"kubelet.service"}, "dataplane.systemd.unknown"),
        ("*.a.*", {"_SYSTEMD_UNIT": b"u"}, "u.a.*"),
        ("host", {"_SYSTEMD_UNIT": b"u"}, "host"),
        ("t.*", {"_SYSTEMD_UNIT": [b"first", b"second"]}, "t.first"),
        ("t.*", {"_SYSTEMD_UNIT": b"\xff"}, "t.\ufffd"),
        ("t.*", {"_SYSTEMD_UNIT": b"a\nt.b: [0, {}]\r\x1b[31m\x00"}, "t.a_t.b: [0, {}]__[31m_"),
    ],
)
def test_the_unit_stands_for_the_first_star(tag: str, entry: dict[str, object], expected: str) -> None:
    tags = TagOfUnit(tag)

    assert tags.tag(tags.unit(entry)) == expected


def test_all_ways_of_reading_give_the_same_of_a_plain_entry() -> None:
    entry: dict[str, object] = {"_A": b"1", "B": b"2"}
    for lowercase, strip in itertools.product((False, True), repeat=2):
        reader = EntryReader(lowercase=lowercase, strip_underscores=strip, max_fields=2)

        assert reader.read(entry) == reader.read_one_by_one(pairs_of(entry))
