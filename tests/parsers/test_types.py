"""The option Types."""

from __future__ import annotations

import math

import pytest

from shipper.parsers.types import Types, to_float, to_hex, to_integer


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("12", 12),
        ("-3", -3),
        ("+4", 4),
        (" 7", 7),
        ("10abc", 10),
        ("abc", 0),
        ("", 0),
        ("1.9", 1),
        ("9" * 20, 2**63 - 1),
    ],
)
def test_an_integer_is_what_a_text_begins_with(text: str, value: int) -> None:
    assert to_integer(text) == value


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1.5", 1.5),
        ("1e3", 1000.0),
        (".5x", 0.5),
        ("1.", 1.0),
        ("-2.5e-1", -0.25),
        ("1e", 1.0),
        ("x", 0.0),
        ("inf", math.inf),
    ],
)
def test_a_float_is_what_a_text_begins_with(text: str, value: float) -> None:
    assert to_float(text) == value


@pytest.mark.parametrize(
    ("text", "value"),
    [("ff", 255), ("0x1F", 31), ("0X1f", 31), ("-0x10", -16), ("zz", 0), ("0x", 0), ("0xg", 0), ("f" * 20, 2**64 - 1)],
)
def test_a_hexadecimal_number_is_what_a_text_begins_with(text: str, value: int) -> None:
    assert to_hex(text) == value


def test_a_text_that_is_no_boolean_stays_with_a_remark() -> None:
    remarks: list[tuple[str, str]] = []
    body = {"a": "FALSE!", "b": "truely", "c": "no"}

    Types.parse("a:bool b:bool c:bool d:bool").apply(body, lambda *remark: remarks.append(remark))

    assert body == {"a": False, "b": True, "c": "no"}
    assert remarks == [("cast error of 'c', saved as string", "no")]


def test_only_texts_are_cast() -> None:
    body: dict[str, object] = {"a": True, "b": "2"}

    Types.parse("a:integer b:integer").apply(body)

    assert body == {"a": True, "b": 2}


@pytest.mark.parametrize(
    ("text", "words"),
    [("a:int", "did you mean 'integer'"), ("a:integer,b:integer", "separated by blanks"), ("a", "field:type")],
)
def test_types_that_do_not_exist_are_doubted(text: str, words: str) -> None:
    types = Types.parse(f"{text} c:string d:float")

    assert len(types.doubts) == 1
    assert words in types.doubts[0]
