"""JSON values of a stream: which are whole, and what is none."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shipper.inputs.listening import InvalidJson, read_values


@pytest.mark.parametrize(
    ("data", "values", "rest"),
    [
        (b"", [], b""),
        (b'{"a":1}', [{"a": 1}], b""),
        (b'{"a":1}{"b":2}', [{"a": 1}, {"b": 2}], b""),
        (b'{"a":1} \r\n\t{"b":2}\n', [{"a": 1}, {"b": 2}], b""),
        (b'{"a":1}\n{"b":', [{"a": 1}], b'{"b":'),
        (b'{"a":1}{"b":', [{"a": 1}], b'{"b":'),
        (b'{"a":{"b":"}"', [], b'{"a":{"b":"}"'),
        (b'{"a":"x\\"}', [], b'{"a":"x\\"}'),
        (b'{"a":"\\\\"}', [{"a": "\\"}], b""),
        (b'{\n"a":\n1\n}\n', [{"a": 1}], b""),
        (b'[1]{"a":[{}]}', [[1], {"a": [{}]}], b""),
        (b'12 "x" ', [12, "x"], b""),
        (b"12", [], b"12"),
        (b'{"n":12345678901234567890123}', [{"n": 1.234567890123457e22}], b""),
        (b'{"a":"\xff"}', [{"a": "\udcff"}], b""),
    ],
)
def test_whole_values_are_read_and_the_rest_waits(data: bytes, values: list[Any], rest: bytes) -> None:
    found, at = read_values(data)

    assert (found, data[at:]) == (values, rest)


@pytest.mark.parametrize(
    ("data", "values", "start"),
    [
        (b"nonsense \n", [], 0),
        (b'{"a":1} bad {"b":2}\n', [{"a": 1}], 8),
        (b'{"a":1}}', [{"a": 1}], 7),
        (b'{"a":1}\n{"c":\n3} bad\n{"d":4}', [{"a": 1}, {"c": 3}], 17),
        (b"{a:1}\n", [], 0),
    ],
)
def test_values_in_front_of_what_is_no_json_are_kept(data: bytes, values: list[Any], start: int) -> None:
    with pytest.raises(InvalidJson) as failure:
        read_values(data)

    assert (failure.value.values, failure.value.start) == (values, start)


def test_a_number_at_the_end_of_a_stream_is_whole() -> None:
    assert read_values(b"12", is_end=True) == ([12], 2)


@pytest.mark.parametrize("text", [b"{}", b'""', b"[[]]", b"5 "])
def test_what_is_not_strictly_json_is_cut_up_within_a_limit(text: bytes) -> None:
    with pytest.raises(InvalidJson, match="too much") as failure:
        read_values(text * 1000 + b"x}", is_end=True, most_tokens=1000)

    assert 0 < len(failure.value.values) <= 100


def test_a_value_with_very_many_brackets_is_looked_at_within_a_limit() -> None:
    with pytest.raises(InvalidJson, match="too much"):
        read_values(b"[" + b"[]," * 1000 + b"x]", is_end=True, most_tokens=1000)


def test_lines_that_are_strictly_json_are_no_part_of_the_limit() -> None:
    line, loose = b'{"text":"%b"}\n' % (b"x" * 100), b'{"a":"\x01"}\n'
    values, at = read_values(line * 2000 + loose + line * 2000, is_end=True, most_tokens=20_000)

    assert (len(values), values[2000]) == (4001, {"a": "\x01"})
    assert at == 4000 * len(line) + len(loose)


@pytest.mark.parametrize("text", [b"[", b'{"a":'])
def test_nothing_is_waited_for_behind_too_many_levels(text: bytes) -> None:
    assert read_values(text * 256) == ([], 0)
    with pytest.raises(InvalidJson, match="deeply"):
        read_values(text * 257)


def test_large_integers_become_floats_wherever_they_are() -> None:
    large = b"12345678901234567890123"

    assert read_values(b'[{"a":[%b]}]{"n":1700000000000000000}' % large)[0] == [
        [{"a": [1.234567890123457e22]}],
        {"n": 1_700_000_000_000_000_000},
    ]


_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@given(st.lists(st.dictionaries(st.text(), _VALUES, max_size=3), max_size=5), st.data())
def test_any_chunking_gives_the_same_values(objects: list[dict[str, Any]], data: st.DataObject) -> None:
    import json

    text = data.draw(st.sampled_from(["", "\n", " "])).join(map(json.dumps, objects)).encode()
    cuts = sorted(data.draw(st.lists(st.integers(0, len(text)), max_size=4)))
    found, rest = list[Any](), b""
    for begin, end in zip([0, *cuts], [*cuts, len(text)], strict=True):
        rest += text[begin:end]
        values, at = read_values(rest)
        found += values
        rest = rest[at:]

    assert (found, rest.strip()) == (json.loads(json.dumps(objects)), b"")
