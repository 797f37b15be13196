"""Where messages end, for any chunking."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shipper.inputs.forward import splitting
from shipper.inputs.forward.splitting import BadMessage, Splitter, end_of, quick_end

_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats() | st.text() | st.binary(max_size=300),
    lambda inner: st.lists(inner, max_size=20) | st.dictionaries(st.text(), inner, max_size=20),
    max_leaves=30,
)


def splitter(longest: int = 1_000_000) -> Splitter:
    return Splitter(longest, lambda size: ValueError(f"{size}"))


@given(st.lists(st.lists(_VALUES, max_size=20), min_size=1, max_size=4), st.data())
def test_any_chunking_gives_the_same_messages(values: list[list[Any]], data: st.DataObject) -> None:
    messages = [msgspec.msgpack.encode(value) for value in values]
    stream = b"".join(messages)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=6)))
    one = splitter()
    found = [
        m for begin, end in zip([0, *cuts], [*cuts, len(stream)], strict=True) for m in one.feed(stream[begin:end])
    ]

    assert (found, one.error, one.unfinished) == (messages, None, 0)


@pytest.mark.parametrize(
    "value",
    [
        msgspec.msgpack.encode(msgspec.msgpack.Ext(5, b"x" * size)) for size in (1, 2, 4, 8, 16, 3, 300, 70_000)
    ],
)  # fmt: skip
def test_extensions_of_every_size_are_passed_over(value: bytes) -> None:
    assert end_of(value + b"rest", 0) == len(value)


@pytest.mark.parametrize("data", [b"\x81\xa1a\x01", b"GET / HTTP/1.1", b"\x91\xc1"])
def test_what_is_no_array_of_values_is_an_error(data: bytes) -> None:
    one = splitter()

    assert one.feed(b"\x91\x01" + data) == [b"\x91\x01"]
    assert isinstance(one.error, BadMessage)
    assert one.feed(b"\x91\x01") == []


def test_a_message_that_is_too_long_is_refused_before_it_is_whole() -> None:
    one = splitter(10)

    assert one.feed(b"\x91\xc6\xff\xff\xff\xff" + b"x" * 10) == []
    assert isinstance(one.error, ValueError)


def test_a_value_that_is_not_whole_has_no_end() -> None:
    with pytest.raises(BadMessage):
        end_of(b"\x92\x01", 0)


@given(_VALUES, st.binary(max_size=3))
def test_the_quick_way_finds_the_same_end_as_a_walk(value: Any, rest: bytes) -> None:
    data = msgspec.msgpack.encode(value)

    assert quick_end(data + rest) == end_of(data + rest, 0) == len(data)
    assert quick_end(data[:-1]) == 0


def test_a_message_in_very_many_pieces_is_not_passed_over_for_each(monkeypatch: pytest.MonkeyPatch) -> None:
    passed, one = list[int](), splitter()

    def counted(data: Any) -> int:
        passed.append(len(data))
        return quick_end(data)

    monkeypatch.setattr(splitting, "quick_end", counted)
    data = msgspec.msgpack.encode(["t", [[1, {"n": n}] for n in range(500)]])
    found = [m for n in range(len(data)) for m in one.feed(data[n : n + 1])]

    assert found == [data]
    assert sum(passed) < 10 * len(data)
    assert one.feed(data + data) == [data, data]


def test_a_message_that_is_nested_too_deeply_is_refused_before_it_is_whole() -> None:
    one = splitter()

    assert one.feed(b"\x91" * 2000) == []
    assert isinstance(one.error, BadMessage)
