"""What is stored comes back as it was, whatever is in a record."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.msgpack import Ext

from shipper.buffers.filesystem.encoding import Form, decode_content, encode_content
from shipper.codecs.json_lines import JsonEncoder
from shipper.filters.kubernetes.merging import Merging
from shipper.filters.kubernetes.rows import EnrichedRows
from shipper.inputs.tail.cri_block import read_cri_block
from shipper.record import Content, Record, RecordList
from shipper.testing import BlockContent

VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False)
    | st.text(st.characters())
    | st.text(st.characters(codec="utf-8"))
    | st.binary()
    | st.builds(Ext, st.integers(-128, 127).filter(lambda code: code != -1), st.binary(max_size=5)),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=6,
)
BODIES = st.dictionaries(st.text(), VALUES, max_size=4)
TIMES = st.integers(-(2**63), 2**63 - 1)
RECORDS = st.lists(st.builds(Record, TIMES, BODIES, st.none() | BODIES), max_size=4)

KUBERNETES = msgspec.Raw(b'{"pod_name":"web","labels":{"a":"b"}}')


def stored(content: Content) -> Content:
    payload = encode_content(content)
    return decode_content(payload.form, len(content), b"".join(payload.parts))


def plain(records: list[Record]) -> list[tuple[int, Any, Any]]:
    return [(r.time_ns, r.body, r.metadata or None) for r in records]


@given(RECORDS)
@settings(max_examples=300, deadline=None)
def test_any_records_come_back_as_they_were(records: list[Record]) -> None:
    content = stored(RecordList(records))

    assert plain(content.records()) == plain(records)
    assert (len(content), list(content.times_ns())) == (len(records), [r.time_ns for r in records])
    assert content.has_metadata == any(r.metadata for r in records)


@pytest.mark.parametrize("metadata", [None, {"m": 1}])
def test_times_that_no_clock_tells_stop_nothing(metadata: dict[str, Any] | None) -> None:
    times = [5, 2**63, -(2**70), 7]
    records = [Record(time_ns, {"n": n}, metadata) for n, time_ns in enumerate(times)]

    assert plain(stored(RecordList(records)).records()) == [
        (time_ns, {"n": n}, metadata) for n, time_ns in enumerate([5, 2**63 - 1, -(2**63), 7])
    ]


@pytest.mark.parametrize(
    ("value", "comes_back"),
    [
        ((1, (2, 3)), [1, [2, 3]]),
        (bytearray(b"ab"), b"ab"),
        (msgspec.Raw(b'{"a":[1,\n2]}'), {"a": [1, 2]}),
        ({"deep": msgspec.Raw(b'"x"')}, {"deep": "x"}),
        ("\udcff", "\udcff"),
        ({"\udc80": "\ud800"}, {"\udc80": "\ud800"}),
        (2**64, 2**64),
        (-(2**70), -(2**70)),
        (float("inf"), float("inf")),
        ({1: "a", None: "b"}, {1: "a", None: "b"}),
    ],
)
def test_values_that_messagepack_has_no_form_for_come_back(value: Any, comes_back: Any) -> None:
    content = stored(RecordList([Record(1, {"key": value, "text": "beside it"})]))

    assert content.records()[0].body == {"key": comes_back, "text": "beside it"}


def test_a_record_that_is_nested_without_end_is_cut_and_not_refused() -> None:
    body: dict[str, Any] = {}
    body["self"] = body

    found: Any = stored(RecordList([Record(1, body)])).records()[0].body
    for _ in range(198):
        found = found["self"]

    assert "(nested too deeply)" in repr(found)


def test_a_block_of_an_input_is_stored_as_the_lines_that_outputs_want() -> None:
    data = (
        b'2024-05-01T10:00:00.123456789Z stdout F one "quoted"\n2024-05-01T10:00:01.000000001Z stderr F zwei \xc3\xa4\n'
    )
    block = read_cri_block(data, 0)
    assert block is not None
    payload = encode_content(block)
    content = stored(block)

    assert payload.form == Form.JSON_LINES
    assert content.json_lines() == block.json_lines()
    assert plain(content.records()) == plain(block.records())
    assert list(content.bodies()) == block.bodies()


def test_a_block_without_a_short_way_is_stored_too() -> None:
    block = BlockContent([{"a": {"b": 1}}, {"c": 2.0}])

    assert plain(stored(block).records()) == plain(block.records())
    assert stored(block).json_lines() is None


def test_what_all_records_share_is_stored_once_and_given_to_outputs_like_that() -> None:
    lines = "".join(
        f'2024-05-01T10:00:00.{n:09} stdout F {{"n":{n},"text":"zwei \xe4 {n}"}}\n'.replace(" stdout", "Z stdout")
        for n in range(20)
    )
    block = read_cri_block(lines.encode(), 0)
    assert block is not None
    enriched = EnrichedRows(block, {"kubernetes": KUBERNETES}, Merging())
    bodies = enriched.bodies()
    payload = encode_content(enriched)
    content = stored(enriched)
    json = JsonEncoder()

    assert payload.form == Form.HOLED_JSON_LINES
    assert b"".join(payload.parts).count(bytes(KUBERNETES)) == 1
    assert [r.body for r in content.records()] == [{**b, "kubernetes": msgspec.json.decode(KUBERNETES)} for b in bodies]
    assert bodies[3]["text"] == "zwei \xe4 3"
    for same in (content, payload.content):
        assert list(same.times_ns()) == list(enriched.times_ns())
        assert json.encode_holed(same) == json.encode_holed(enriched)
        assert json.encode_lines(same) == json.encode_lines(enriched)


@pytest.mark.parametrize(
    ("form", "data"),
    [
        (Form.MSGPACK, b"1234567"),
        (7, b"12345678"),
        (Form.SEAL, b"12345678"),
        (Form.HOLED_JSON_LINES, b"12345678"),
        (Form.HOLED_JSON_LINES, b"12345678\x05\0\0\0{}"),
        (Form.MSGPACK_WITH_METADATA, b"12345678\x05\0"),
    ],
)
def test_bytes_that_can_be_no_content_are_refused(form: int, data: bytes) -> None:
    with pytest.raises(ValueError):
        decode_content(form, 1, data)


@pytest.mark.parametrize(
    ("body", "form"),
    [
        ({"log": "a", "n": 1, "kubernetes": KUBERNETES}, Form.JSON_LINES),
        ({"log": "a", "deep": {"list": [KUBERNETES]}}, Form.JSON_LINES),
        ({"log": "a", "took": 1.0, "kubernetes": KUBERNETES}, Form.JSON),
        ({"log": "a", "kubernetes": msgspec.Raw(b'{"a":\n1}')}, Form.MSGPACK),
        ({"log": b"a", "kubernetes": KUBERNETES}, Form.MSGPACK),
        ({"log": "\udcff", "kubernetes": KUBERNETES}, Form.MSGPACK),
        ({"log": "a", "kubernetes": {"pod_name": "web"}}, Form.MSGPACK),
    ],
)
def test_encoded_json_in_records_is_spliced_in_where_that_says_the_same(body: dict[str, Any], form: Form) -> None:
    records = RecordList([Record(1, body), Record(2, body)])
    payload, content = encode_content(records), stored(records)
    encoder = JsonEncoder()

    assert payload.form == form
    assert encoder.encode_lines(content).replace(b" ", b"") == encoder.encode_lines(records).replace(b" ", b"")
    assert (content.json_lines() is None) == (form != Form.JSON_LINES)
    assert list(content.times_ns()) == [1, 2]
