"""The JSON parser: table of the reference, and what is not quite JSON."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shipper.parsers.json import JsonParser
from shipper.parsers.json_object import read_object
from shipper.parsers.record_time import RecordTime
from shipper.parsers.time_format import TimeFormat
from shipper.record import Body


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param(
            '{"a":1,"b":null,"c":[1,{"d":true}],"e":1.50,"f":"x\\u00e9\\n"}',
            {"a": 1, "b": None, "c": [1, {"d": True}], "e": 1.5, "f": "xé\n"},
            id="19",
        ),
        pytest.param('  {"a":1}  ', {"a": 1}, id="20a"),
        pytest.param('{"a":1} trailing', {"a": 1}, id="20b"),
        pytest.param('{"a":1} , ]', {"a": 1}, id="no value behind"),
        pytest.param('{"a":1}\r\n', {"a": 1}, id="line end behind"),
        pytest.param('{"a":1}{"b":2}', None, id="21a"),
        pytest.param('[{"a":1}]', None, id="21b"),
        pytest.param('"str"', None, id="21c"),
        pytest.param('{"a":1,}', None, id="21d"),
        pytest.param("{'a':1}", None, id="21e"),
        pytest.param('{"a":1} 2 x', None, id="number behind"),
        pytest.param('{"a":1} [x', None, id="array behind"),
        pytest.param('{"a":1} null', None, id="null behind"),
        pytest.param("{a:1}", None, id="key without quotes"),
        pytest.param('{"a":NaN}', None, id="not a number"),
        pytest.param('{"a":Infinity}', None, id="infinity"),
        pytest.param('{"a":"\\q"}', None, id="unknown escape"),
        pytest.param('{"a":', None, id="cut"),
        pytest.param("", None, id="empty"),
        pytest.param('{"a":1,"a":2}', {"a": 2}, id="22, where the last one counts"),
        pytest.param("{}", {}, id="24"),
        pytest.param('{"a":"x\ty\x01"}', {"a": "x\ty\x01"}, id="control characters"),
        pytest.param('{"a":"x\ny","b":[1,{"c":2}]} z', {"a": "x\ny", "b": [1, {"c": 2}]}, id="newline"),
        pytest.param('{"a":"\\ud83d\\ude00"}', {"a": "😀"}, id="pair"),
        pytest.param('{"a":"\\ud83d\\ude00 \\ud800"}', {"a": "😀 \ufffd"}, id="half a pair"),
        pytest.param('{"a":"\\udc00\\ud83dx"}', {"a": "\ufffd\ufffdx"}, id="halves in the wrong order"),
        pytest.param('{"a":"\\\\ud800\t"}', {"a": "\\ud800\t"}, id="no escape"),
        pytest.param('{"a":"\udcff"}', {"a": "\udcff"}, id="undecodable byte"),
        pytest.param('{"a":' * 5000, None, id="too deep"),
        pytest.param('{"a":' * 5000 + "1" + "}" * 5000, None, id="too deep but complete"),
        pytest.param('{"a":' * 257 + "1" + "}" * 257, None, id="one level too deep"),
        pytest.param('{"a":' * 256 + "[]" + "}" * 256, None, id="one level too deep, with a list"),
        pytest.param('{"a":' * 257 + "1" + "}" * 257 + " x", None, id="one level too deep, and text behind"),
        pytest.param('{"a":"' + "[" * 500 + '"}', {"a": "[" * 500}, id="brackets in a text"),
    ],
)
def test_an_object_is_read(text: str, expected: Body | None) -> None:
    assert read_object(text) == expected


@pytest.mark.parametrize("behind", ["", " behind"])
@pytest.mark.parametrize("inner", ["1", "123456789012345678901234567890", '"x"'])
def test_objects_of_256_levels_are_read(inner: str, behind: str) -> None:
    body = read_object('{"a":' * 256 + inner + "}" * 256 + behind)

    assert body is not None
    assert json.dumps(body).count("{") == 256


@pytest.mark.parametrize("behind", ["", " behind"])
@pytest.mark.parametrize(
    ("number", "expected"),
    [
        ("18446744073709551615", 18446744073709551615),
        ("-9223372036854775808", -(2**63)),
        ("-5", -5),
        ("-0", 0),
        ("9007199254740993", 9007199254740993),
        ("1e3", 1000.0),
        ("2.0", 2.0),
        ("18446744073709551616", 1.844674407370955e19),
        ("-9223372036854775809", -9.223372036854776e18),
        ("123456789012345678901234567890", 1.234567890123457e29),
        ("9" * 5000, float("inf")),
    ],
)
def test_integers_of_64_bits_are_exact(number: str, expected: float, behind: str) -> None:
    body = read_object(f'{{"a":{number},"b":[{{"c":{number}}}]}}{behind}')

    assert body == {"a": expected, "b": [{"c": expected}]}
    assert type(body["a"]) is type(body["b"][0]["c"]) is type(expected)


def with_time(format: str, keep: bool = False) -> JsonParser:
    return JsonParser("p", time=RecordTime(TimeFormat(format), keep=keep))


@pytest.mark.parametrize(
    ("format", "text", "expected"),
    [
        pytest.param("%Y-%m-%dT%H:%M:%S", '{"time":"2022-10-31T12:00:01","a":1}', (1667217601, {"a": 1}), id="25a"),
        pytest.param("%Y-%m-%dT%H:%M:%S", '{"time":"nonsense","a":1}', (None, {"time": "nonsense", "a": 1}), id="25b"),
        pytest.param("%s", '{"time":1667217601,"a":1}', (None, {"time": 1667217601, "a": 1}), id="26a"),
        pytest.param("%s", '{"time":"1667217601","a":1}', (1667217601, {"a": 1}), id="26b"),
        pytest.param("%s", '{"time":""}', (None, {"time": ""}), id="empty"),
        pytest.param("%s", '{"a":1}', (None, {"a": 1}), id="missing"),
    ],
)
def test_a_text_of_the_right_form_is_the_time(format: str, text: str, expected: tuple[int | None, Body]) -> None:
    found = with_time(format).parse(text)

    assert found == (None if expected[0] is None else expected[0] * 10**9, expected[1])


def test_the_time_stays_a_field_if_asked_for() -> None:
    found = with_time("%s", keep=True).parse('{"time":"1667217601"}')

    assert found == (1667217601 * 10**9, {"time": "1667217601"})


def test_what_is_no_object_is_not_parsed() -> None:
    assert JsonParser("p").parse("[1]") is None


_values: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=8,
)  # fmt: skip
_objects = st.dictionaries(st.text(max_size=3), _values, max_size=4)


@given(_objects, st.booleans())
def test_every_object_is_read_back_with_or_without_text_behind(body: Body, ascii_only: bool) -> None:
    text = json.dumps(body, ensure_ascii=ascii_only)

    assert read_object(text) == body
    assert read_object(text + " behind") == body


@given(st.text('{}[]",:\\u0123dDeE.-truefalsn \t', max_size=20))
def test_no_text_breaks_the_reader(text: str) -> None:
    body = read_object("{" + text)

    assert body is None or isinstance(body, dict)


@pytest.mark.parametrize(
    ("text", "time_s", "expected"),
    [
        ('{"t":"2023-11-14","s":1,"t":true,"u":2}', 1_699_920_000, {"s": 1, "t": True, "u": 2}),
        ('{"t":"2023-11-14","t":"soon"}', 1_699_920_000, {"t": "soon"}),
        ('{"t":"then","a":1,"t":"soon"}', None, {"a": 1, "t": "soon"}),
        ('{"t":"2023-11-14","m":{"t":1}}', 1_699_920_000, {"m": {"t": 1}}),
        ('{"m":{"t":1},"t":5} tail', None, {"m": {"t": 1}, "t": 5}),
        ('{"t":"2023-11-14","big":123456789012345678901234567890,"t":1}', 1_699_920_000,
         {"big": 1.234567890123457e29, "t": 1}),
    ],
)  # fmt: skip
def test_of_several_entries_with_the_time_key_the_first_is_the_time(
    text: str, time_s: int | None, expected: Body
) -> None:
    parsed = JsonParser("j", time=RecordTime(TimeFormat("%Y-%m-%d"), "t")).parse(text)

    assert parsed is not None
    assert parsed == (None if time_s is None else time_s * 1_000_000_000, expected)
    assert list(parsed[1]) == list(expected)
