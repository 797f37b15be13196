"""Records as JSON: escapes, numbers, dates, metadata, framings."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shipper.codecs.json_lines import JsonEncoder, as_json, as_json_lines, as_json_stream
from shipper.record import Body, Record, RecordList

ESCAPING = JsonEncoder(escape_unicode=True)
RAW = JsonEncoder(escape_unicode=False)
T = 1_700_000_000_123_000_000


def content(*bodies: Body) -> RecordList:
    return RecordList([Record(T, body) for body in bodies])


def encoded(value: Any, encoder: JsonEncoder = ESCAPING) -> bytes:
    (line,) = encoder.encode_bodies(content({"v": value}))
    return line[len(b'{"v":') : -1]


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ('he"llo\\ é\n\x01😀/', rb'"he\"llo\\ \u00e9\n\u0001\ud83d\ude00/"'),
        ("\r\t\b\f\x1f\x7f", rb'"\r\t\b\f\u001f\u007f"'),
        ("日本 \u2028", rb'"\u65e5\u672c \u2028"'),
        ("bad \udcff\udcfe end", rb'"bad \ue0ff\ue0fe end"'),
        ("half \ud83d", rb'"half \ufffd"'),
        (b"bytes \xc3\xa9\xff", rb'"bytes \u00e9\ue0ff"'),
        (-5, b"-5"),
        (18446744073709551615, b"18446744073709551615"),
        (-9223372036854775808, b"-9223372036854775808"),
        (2**70, b"1180591620717411303424"),
        (1.5, b"1.5"),
        (2.0, b"2.0"),
        (-0.0125, b"-0.0125"),
        (0.1, b"0.1"),
        (0.1 + 0.2, b"0.3"),
        (1e300, b"1e+300"),
        (1e-5, b"1e-05"),
        (1e17, b"100000000000000000.0"),
        (123456789012345678901234567890.0, b"1.234567890123457e+29"),
        (1.2345678901234567, b"1.234567890123457"),
        (float("nan"), b"null"),
        (float("inf"), b"null"),
        (-float("inf"), b"null"),
        (True, b"true"),
        (None, b"null"),
        ([1, "x", {}], b'[1,"x",{}]'),
        ({"k": "v", "": {}}, b'{"k":"v","":{}}'),
        ({"deep": [{"f": 1e300, "b": b"x"}]}, b'{"deep":[{"f":1e+300,"b":"x"}]}'),
        ({2: "a", None: "b", True: "c", 1.5: "d"}, b'{"2":"a","null":"b","true":"c","1.5":"d"}'),
        ({"\udc80": 1}, rb'{"\ue080":1}'),
        ((1, 2), b"[1,2]"),
        (msgspec.msgpack.Ext(5, b"\x01\xff"), rb'"\\x01\\xff"'),
        (msgspec.Raw(b'{"pod":"x"}'), b'{"pod":"x"}'),
    ],
)
def test_a_value_is_written_as_specified(value: Any, expected: bytes) -> None:
    assert encoded(value) == expected


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("é 日本 😀 \x01\x7f", '"é 日本 😀 \\u0001\\u007f"'),
        ("bad \udcff end", '"bad \ufffd end"'),
        (b"\xff", '"\ufffd"'),
    ],
)
def test_without_escaping_text_stays_utf8(value: Any, expected: str) -> None:
    assert encoded(value, RAW) == expected.encode()


def test_every_record_of_a_batch_is_encoded_in_order_though_one_needs_mending() -> None:
    bodies: list[Body] = [{"a": "x"}, {"a": "\udcff"}, {}, {"a": 1e300, "b": {"c": [b"y"]}}]

    assert ESCAPING.encode_bodies(content(*bodies)) == [
        b'{"a":"x"}',
        rb'{"a":"\ue0ff"}',
        b"{}",
        b'{"a":1e+300,"b":{"c":["y"]}}',
    ]


def test_no_records_give_no_lines() -> None:
    assert ESCAPING.encode_bodies(content()) == []
    assert ESCAPING.encode_dated(content(), "date", "double") == []


def test_spliced_json_with_line_feeds_does_not_shift_records() -> None:
    raw = msgspec.Raw(b'{\n "x": 1\n}')

    assert ESCAPING.encode_bodies(content({"r": raw}, {"a": 1})) == [b'{"r":{  "x": 1 }}', b'{"a":1}']


def test_a_record_that_is_nested_too_deeply_does_not_stop_the_others() -> None:
    deep: Any = "bottom"
    for _ in range(5000):
        deep = [deep]

    lines = ESCAPING.encode_bodies(content({"a": 1}, {"deep": deep}))
    assert lines[0] == b'{"a":1}'
    assert b"(nested too deeply)" in lines[1]


def test_records_are_not_changed_by_encoding() -> None:
    body: Body = {"f": 1e300, "s": "\udcff", "m": {"b": b"x"}}
    before = {**body, "m": dict(body["m"])}
    ESCAPING.encode_bodies(content(body))

    assert body == before


class Columns:
    """Content whose bodies are structs."""

    has_metadata = False

    class Line(msgspec.Struct):
        log: str

    def __init__(self, lines: Sequence[str]) -> None:
        self._lines = lines

    def __len__(self) -> int:
        return len(self._lines)

    def records(self) -> list[Record]:
        return [Record(T, {"log": line}) for line in self._lines]

    def times_ns(self) -> list[int]:
        return [T] * len(self._lines)

    def bodies(self) -> list[Line]:
        return [self.Line(line) for line in self._lines]

    def json_lines(self) -> None:
        return None


def test_content_that_is_no_list_of_records_is_encoded_from_its_bodies_or_in_need_from_its_records() -> None:
    assert ESCAPING.encode_bodies(Columns(["a", "é"])) == [b'{"log":"a"}', rb'{"log":"\u00e9"}']
    assert ESCAPING.encode_bodies(Columns(["a", "\udcff"])) == [b'{"log":"a"}', rb'{"log":"\ue0ff"}']
    assert ESCAPING.encode_dated(Columns(["a"]), "date", "epoch") == [b'{"date":1700000000,"log":"a"}']


def test_the_date_stands_in_front_of_every_record_also_of_an_empty_one() -> None:
    lines = ESCAPING.encode_dated(content({"k": "v"}, {}), "date", "double")

    assert lines == [b'{"date":1700000000.123,"k":"v"}', b'{"date":1700000000.123}']


def test_the_key_of_the_date_is_escaped_and_may_be_left_out() -> None:
    assert ESCAPING.encode_dated(content({"k": 1}), 'é"', "epoch") == [rb'{"\u00e9\"":1700000000,"k":1}']
    assert ESCAPING.encode_dated(content({"k": 1}), None, "epoch") == [b'{"k":1}']


def test_a_field_with_the_name_of_the_date_is_kept_in_its_place_and_written_once() -> None:
    bodies: list[Body] = [{"a": 1, "date": "own"}, {"a": {"date": 2}}, {"a": '"date":'}, {}]

    assert ESCAPING.encode_dated(content(*bodies), "date", "epoch") == [
        b'{"a":1,"date":"own"}',
        b'{"date":1700000000,"a":{"date":2}}',
        rb'{"date":1700000000,"a":"\"date\":"}',
        b'{"date":1700000000}',
    ]


def test_metadata_stands_behind_the_date_of_the_records_that_have_it() -> None:
    records = RecordList(
        [
            Record(T, {"log": "x"}, {"trace": "é"}),
            Record(T, {"log": "y"}),
            Record(T, {}, {"n": 1e300}),
            Record(T, {"date": 1}, {"n": 1}),
        ]
    )

    assert ESCAPING.encode_dated(records, "date", "epoch") == [
        rb'{"date":1700000000,"__internal__":{"log_metadata":{"trace":"\u00e9"}},"log":"x"}',
        b'{"date":1700000000,"log":"y"}',
        b'{"date":1700000000,"__internal__":{"log_metadata":{"n":1e+300}}}',
        b'{"__internal__":{"log_metadata":{"n":1}},"date":1}',
    ]
    assert ESCAPING.encode_dated(records, None, "epoch")[:2] == [
        rb'{"__internal__":{"log_metadata":{"trace":"\u00e9"}},"log":"x"}',
        b'{"log":"y"}',
    ]


def test_framings_put_objects_together() -> None:
    objects = [b'{"a":1}', b'{"b":2}']

    assert as_json(objects) == b'[{"a":1},{"b":2}]'
    assert as_json_lines(objects) == b'{"a":1}\n{"b":2}\n'
    assert as_json_stream(objects) == b'{"a":1}{"b":2}'
    assert (as_json([]), as_json_lines([]), as_json_stream([])) == (b"[]", b"", b"")


texts = st.text('aé日😀"\\\n\x00\x1f\x7f\u2028', max_size=6)
values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=8,
)


@given(st.lists(st.dictionaries(texts, values, max_size=4), max_size=5))
def test_decoding_gives_the_records_back(bodies: list[Body]) -> None:
    for encoder in (ESCAPING, RAW):
        decoded = [json.loads(line) for line in encoder.encode_bodies(content(*bodies))]
        assert _close(decoded, bodies)


def _close(left: Any, right: Any) -> bool:
    if isinstance(right, float):
        return math.isclose(left, right, rel_tol=1e-14, abs_tol=1e-300)
    if isinstance(right, dict):
        return left.keys() == right.keys() and all(_close(left[k], v) for k, v in right.items())
    if isinstance(right, list):
        return len(left) == len(right) and all(map(_close, left, right))
    return bool(left == right)
