"""type_converter: every pair of types as a table."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest

from shipper.codecs.json_lines import JsonEncoder
from shipper.errors import ConfigError
from shipper.filters.type_converter import TypeConverterFilter, TypeConverterOptions
from shipper.record import Body, Record, RecordBatch, RecordList
from shipper.testing import context_of

from ..written_options import options_from


def converted(lines: str, *bodies: Body) -> list[list[tuple[str, Any]]]:
    one = TypeConverterFilter(options_from(TypeConverterOptions, lines), context_of("filter"))
    left = one.apply(RecordBatch("t", [Record(0, dict(body)) for body in bodies], 10))
    return [list(r.body.items()) for r in left] if left else []


def test_new_fields_stand_at_the_end_in_the_order_of_types() -> None:
    lines = "int_key i i_s string\nstr_key s s_i int\nint_key i i float\nfloat_key g g_s string"

    assert converted(lines, {"i": 5, "s": "12", "g": 2.0}) == [
        [("s", "12"), ("g", 2.0), ("s_i", 12), ("i_s", "5"), ("i", 5.0), ("g_s", "2.0")]
    ]


FAILED = object()


@pytest.mark.parametrize(
    ("rule", "value", "expected"),
    [
        ("str_key v n int", " -12abc", -12),
        ("str_key v n int", "0", FAILED),
        ("str_key v n int", "abc", FAILED),
        ("str_key v n int", "9" * 30, 2**63 - 1),
        ("str_key v n uint", "-1", 2**64 - 1),
        ("str_key v n uint", "7", 7),
        ("str_key v n hex", "ff", 255),
        ("str_key v n hex", "0x1F", 31),
        ("str_key v n hex", "-1", 2**64 - 1),
        ("str_key v n hex", "0x", FAILED),
        ("str_key v n float", "12abc", 12.0),
        ("str_key v n float", "TRUE", 0.0),
        ("str_key v n float", "0x1f", 31.0),
        ("str_key v n float", "1e3", 1000.0),
        ("str_key v n float", "1e999", math.inf),
        ("str_key v n float", "-1e999", -math.inf),
        ("str_key v n float", "0x1p99999", math.inf),
        ("str_key v n float", " -0x1p99999", -math.inf),
        ("str_key v n float", "inf", math.inf),
        ("str_key v n float", " -Infinity!", -math.inf),
        ("str_key v n float", "+INFINITE", math.inf),
        ("str_key v n float", "in", 0.0),
        ("str_key v n bool", "TRUEish", True),
        ("str_key v n bool", "False", False),
        ("str_key v n bool", "yes", FAILED),
        ("str_key v n STR", "x", FAILED),
        ("int_key v n string", 5, "5"),
        ("int_key v n float", -3, -3.0),
        ("int_key v n uint", -1, 2**64 - 1),
        ("int_key v n bool", 1, FAILED),
        ("int_key v n string", "5", FAILED),
        ("int_key v n string", True, FAILED),
        ("uint_key v n string", -1, str(2**64 - 1)),
        ("uint_key v n int", 2**64 - 1, -1),
        ("uint_key v n float", 2, 2.0),
        ("float_key v n string", 2.0, "2.0"),
        ("float_key v n string", 0.1, "0.1"),
        ("float_key v n int", -2.7, -2),
        ("float_key v n uint", 2.7, 2),
        ("float_key v n int", 1e300, FAILED),
        ("float_key v n int", float("nan"), FAILED),
        ("float_key v n int", 5, FAILED),
        ("str_key $v['a'] n int", {"a": "4"}, 4),
    ],
)
def test_conversions(rule: str, value: Any, expected: Any) -> None:
    (found,) = converted(rule, {"v": value})

    # Where nothing could be converted, nothing is added.
    assert found == ([("v", value)] if expected is FAILED else [("v", value), ("n", expected)])
    assert expected is FAILED or type(found[-1][1]) is type(expected)


@pytest.mark.parametrize("text", ["nan", " -NaN(1)", "NAN"])
def test_no_number_is_a_number_of_c(text: str) -> None:
    ((_, (_, number)),) = converted("str_key v n float", {"v": text})

    assert math.isnan(number)


@pytest.mark.parametrize("text", ["nan", "inf", "-1e999"])
def test_numbers_that_json_has_no_form_for_are_null_in_json(text: str) -> None:
    (fields,) = converted("str_key v n float", {"v": text})

    lines = JsonEncoder().encode_lines(RecordList([Record(0, dict(fields))]))
    assert json.loads(lines, parse_constant=pytest.fail) == {"v": text, "n": None}


def test_a_failed_conversion_copies_the_value_if_another_one_succeeds() -> None:
    lines = "str_key a a_i int\nstr_key b b_i int"

    assert converted(lines, {"a": "7", "b": "nope"}, {"b": "no"}, {}) == [
        [("a", "7"), ("b", "nope"), ("a_i", 7), ("b_i", "nope")],
        [("b", "no"), ("b_i", "no")],
        [],
    ]


@pytest.mark.parametrize("lines", ["", "str_key a b", "str_key a b c d", "str_key a b date", "str_key $a[ b int"])
def test_mistakes_are_told(lines: str) -> None:
    with pytest.raises(ConfigError):
        converted(lines, {})
