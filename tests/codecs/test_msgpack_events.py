"""Events in MessagePack: the bytes of the reference, and what MessagePack has no form for."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shipper.codecs import msgpack_events
from shipper.codecs.msgpack_stream import BadMessage, ValueReader
from shipper.record import Content, Record, RecordList
from shipper.testing import BlockContent

F1 = Record(1_700_000_000_500_000_000, {"k": "v"})
TIME = "d7006553f1001dcd6500"


def content(*bodies: dict[str, Any]) -> Content:
    return RecordList([Record(F1.time_ns, body) for body in bodies])


@pytest.mark.parametrize(
    ("encode", "expected"),
    [
        (msgpack_events.encode_events, f"9292{TIME}80 81a16ba176"),
        (msgpack_events.encode_plain_events, f"92{TIME} 81a16ba176"),
        (msgpack_events.encode_integer_events, "92ce6553f100 81a16ba176"),
        (msgpack_events.encode_bodies, "81a16ba176"),
    ],
)
def test_an_event_has_the_bytes_of_the_reference(encode: Any, expected: str) -> None:
    assert encode(RecordList([F1])) == [bytes.fromhex(expected)]


def test_metadata_goes_beside_the_time() -> None:
    records = [Record(F1.time_ns, {"k": "v"}, {"m": 1}), F1]

    encoded = msgpack_events.encode_events(RecordList(records))

    assert encoded == [bytes.fromhex(f"9292{TIME}81a16d01 81a16ba176"), bytes.fromhex(f"9292{TIME}80 81a16ba176")]


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ({"a": {"b": [1.5, None, {"c": True}]}}, {"a": {"b": [1.5, None, {"c": True}]}}),
        ({"k": msgspec.Raw(b'{"pod":"p"}')}, {"k": {"pod": "p"}}),
        ({"m": {"l": [msgspec.Raw(b"[1]")]}}, {"m": {"l": [[1]]}}),
        ({"s": "x\udcff"}, {"s": "x\ufffd"}),
        ({"n": 2**64, "u": 2**64 - 1, "i": -(2**63)}, {"n": float(2**64), "u": 2**64 - 1, "i": -(2**63)}),
        ({}, {}),
    ],
)
def test_a_body_is_read_back(body: dict[str, Any], expected: dict[str, Any]) -> None:
    encoded = msgpack_events.encode_bodies(content({"plain": 1}, body))

    assert [msgspec.msgpack.decode(e) for e in encoded] == [{"plain": 1}, expected]


def test_content_that_is_no_list_of_records_is_encoded_too() -> None:
    assert msgpack_events.encode_bodies(BlockContent([{"k": "v"}])) == [bytes.fromhex("81a16ba176")]


@pytest.mark.parametrize("count", [0, 15, 16, 65_535, 65_536])
def test_the_head_of_an_array_tells_its_length(count: int) -> None:
    assert msgspec.msgpack.decode(msgpack_events.array_head(count) + b"\xc0" * count) == [None] * count


@pytest.mark.parametrize("count", [0, 15, 16, 65_535, 65_536])
def test_the_head_of_a_map_is_that_of_the_encoder(count: int) -> None:
    encoded = msgspec.msgpack.encode(dict.fromkeys(range(count)))

    assert encoded.startswith(msgpack_events.map_head(count))


SCALARS = st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats(allow_nan=False) | st.binary()
VALUES = st.recursive(
    SCALARS, lambda v: st.lists(v, max_size=20) | st.dictionaries(st.binary(), v, max_size=20), max_leaves=30
)


@settings(deadline=None, max_examples=50)  # the machine may be busy
@given(st.lists(VALUES, max_size=4), st.integers(1, 9))
def test_values_are_read_however_their_bytes_are_cut(values: list[Any], size: int) -> None:
    data = b"".join(map(msgspec.msgpack.encode, values))
    reader = ValueReader()

    found = [v for start in range(0, len(data), size) for v in reader.feed(data[start : start + size])]

    assert found == values


def test_of_extensions_the_data_come() -> None:
    assert ValueReader().feed(b"\x92\xd7\x00" + b"12345678" + b"\xd4\x05x") == [[b"12345678", b"x"]]


def test_strings_come_as_bytes() -> None:
    assert ValueReader().feed(b"\x93\xa4HELO\xa2\xff\xfe\xd9\x01x") == [[b"HELO", b"\xff\xfe", b"x"]]


@pytest.mark.parametrize(
    "data", [b"\xc1", b"\x91" * 40, b"\xdd\xff\xff\xff\xff", b"\xdb\xff\xff\xff\xff", b"\x81\x90\x01", b"\xc7\x01\x00x"]
)
def test_what_no_peer_should_send_is_refused(data: bytes) -> None:
    with pytest.raises(BadMessage):
        ValueReader().feed(data)


def test_a_message_has_a_limit() -> None:
    reader = ValueReader()
    part = b"\xdb" + (900_000).to_bytes(4, "big") + b"x" * 900_000
    nothing = reader.feed(b"\x93" + part)

    assert nothing == []
    with pytest.raises(BadMessage, match="longer"):
        reader.feed(part)


def test_arrays_as_keys_stay_keys_beside_text_that_is_no_unicode() -> None:
    [encoded] = msgpack_events.encode_bodies(content({"k": {("a", ("b",)): 1}, "t": "\udcff"}))

    assert msgspec.msgpack.decode(encoded) == {"k": {("a", ("b",)): 1}, "t": "\ufffd"}


def test_what_is_nested_too_deeply_for_mending_is_replaced_by_words() -> None:
    body: dict[str, Any] = {"a": "\udcff"}
    for _ in range(900):
        body = {"a": body}

    assert b"(nested too deeply)" in msgpack_events.encode_bodies(content(body))[0]
