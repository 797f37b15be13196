"""The regex parser: table of the reference, times, empty values."""

from __future__ import annotations

import pytest

from shipper.parsers.decoders import Decoders, DecodeRule
from shipper.parsers.onigmo import Regex
from shipper.parsers.record_time import RecordTime
from shipper.parsers.regex import RegexParser
from shipper.parsers.time_format import TimeFormat
from shipper.parsers.types import Types
from shipper.record import Body

UNFIT = None


def parsed(pattern: str, text: str, types: str | None = None, skip_empty: bool = True) -> Body | None:
    found = RegexParser(
        "p", Regex.parse(pattern), types=Types.parse(types) if types else None, skip_empty=skip_empty
    ).parse(text)
    return found and found[1]


@pytest.mark.parametrize(
    ("pattern", "text", "expected"),
    [
        pytest.param(r"^(?<a>\w+) (?<b>\w+)$", "hello world", {"a": "hello", "b": "world"}, id="1"),
        pytest.param(r"(?<b>b)", "aaabccc", {"b": "b"}, id="2"),
        pytest.param(r"^(\w+) (?<b>\w+)$", "hello world", {"b": "world"}, id="3"),
        pytest.param(r"^(\w+) (\w+)$", "hello world", UNFIT, id="4"),
        pytest.param(r"^(?<a>\w*) (?<b>\w*)$", " x", {"b": "x"}, id="5"),
        pytest.param(r"^(?<a>x)?(?<b>y)$", "y", {"b": "y"}, id="6"),
        pytest.param(r"^(?<a>x)?(?<b>y)?", "zzz", UNFIT, id="7"),
        pytest.param(r"^(?<a>\w*)$", "", {}, id="7a empty"),
        pytest.param(r"^(?<a>x)?z(?<b>y*)", "zzz", {}, id="7a"),
        pytest.param(r"/^(?<a>[a-z]+)$/i", "HELLO", {"a": "HELLO"}, id="8"),
        pytest.param(r"/^(?<a>[a-z]+) # comment$/x", "hello", {"a": "hello"}, id="9"),
        pytest.param(r"^(?<a>x)|(?<a>y)$", "y", {"a": "y"}, id="10"),
        pytest.param(r"^(?<a>\h+)$", "deadBEEF", {"a": "deadBEEF"}, id="11"),
        pytest.param(r"^(?<a>[^ ]*+) (?<b>.*)$", "foo bar", {"a": "foo", "b": "bar"}, id="12 possessive"),
        pytest.param(r"^(?<a>(?>[a-z]+)) (?<b>.*)$", "foo bar", {"a": "foo", "b": "bar"}, id="12 atomic"),
        pytest.param(r"^(?i)(?<a>foo)$", "FOO", {"a": "FOO"}, id="13"),
        pytest.param(r"^(?<a>\p{Alpha}+) (?<b>\p{L}+)$", "abc été", {"a": "abc", "b": "été"}, id="14"),
        pytest.param(r"^(?<a>\w+)$", "été", UNFIT, id="15 word"),
        pytest.param(r"^(?<a>\S+)$", "été", {"a": "été"}, id="15 not blank"),
        pytest.param(r"^(?<a>.)(?<b>.*)$", "été", {"a": "é", "b": "té"}, id="15 dot"),
        pytest.param(r"^(?'a'\w+)$", "x", {"a": "x"}, id="16"),
    ],
)
def test_named_groups_become_fields(pattern: str, text: str, expected: Body | None) -> None:
    body = parsed(pattern, text)

    assert body == expected


@pytest.mark.parametrize(
    ("pattern", "text", "expected"),
    [
        pytest.param(r"^(?<a>\w*) (?<b>\w*)$", " x", {"a": "", "b": "x"}, id="5"),
        pytest.param(r"^(?<a>x)?(?<b>y)$", "y", {"a": "", "b": "y"}, id="6"),
        pytest.param(r"^(?<a>x)?(?<b>y)?", "zzz", UNFIT, id="7"),
        pytest.param(r"^(?<a>\w*)$", "", {"a": ""}, id="7a"),
    ],
)
def test_empty_values_are_kept_if_asked_for(pattern: str, text: str, expected: Body | None) -> None:
    body = parsed(pattern, text, skip_empty=False)

    assert body == expected


@pytest.mark.parametrize(
    ("types", "text", "expected"),
    [
        pytest.param("v:integer", "k:10abc", 10, id="17a"),
        pytest.param("v:integer", "k:abc", 0, id="17b"),
        pytest.param("v:integer", "k:-99999999999999999999", -(2**63), id="17c"),
        pytest.param("v:float", "k:1.5e3", 1500.0, id="18 float"),
        pytest.param("v:hex", "k:0x1F", 31, id="18 hex"),
        pytest.param("v:bool", "k:TRUEish", True, id="18 bool"),
        pytest.param("v:bool", "k:no", "no", id="18 no bool"),
        pytest.param("v:int", "k:10", "10", id="18 int"),
        pytest.param("V:integer", "k:10", "10", id="18 upper case"),
    ],
)
def test_types_are_applied(types: str, text: str, expected: object) -> None:
    body = parsed(r"^(?<n>[^:]+):(?<v>.*)$", text, types)

    assert body == {"n": "k", "v": expected}
    assert type(body["v"]) is type(expected)


def test_types_are_separated_by_blanks() -> None:
    body = parsed(r"^(?<a>\d+):(?<b>\d+):(?<c>\d+)$", "1:2:3", "a:integer,b:integer c:integer")

    assert body == {"a": "1", "b": "2", "c": 3}


def with_time(keep: bool, remarks: list[tuple[str, str]]) -> RegexParser:
    record_time = RecordTime(TimeFormat("%Y-%m-%d %H:%M:%S"), keep=keep, remark=lambda *remark: remarks.append(remark))
    return RegexParser("p", Regex.parse(r"^(?<time>[^|]*)\|(?<m>.*)$"), time=record_time)


def test_the_time_is_taken_out_of_the_record() -> None:
    remarks: list[tuple[str, str]] = []

    assert with_time(False, remarks).parse("2022-10-31 12:00:01|x") == (1667217601 * 10**9, {"m": "x"})
    assert with_time(True, remarks).parse("2022-10-31 12:00:01|x") == (
        1667217601 * 10**9,
        {"time": "2022-10-31 12:00:01", "m": "x"},
    )
    assert remarks == []


@pytest.mark.parametrize("keep", [False, True])
def test_a_time_that_does_not_fit_is_removed_with_a_remark(keep: bool) -> None:
    remarks: list[tuple[str, str]] = []

    assert with_time(keep, remarks).parse("garbage|x") == (None, {"m": "x"})
    assert remarks == [("invalid time format %Y-%m-%d %H:%M:%S", "garbage")]


def test_a_record_without_its_time_has_none() -> None:
    remarks: list[tuple[str, str]] = []

    assert with_time(False, remarks).parse("|x") == (None, {"m": "x"})
    assert remarks == []


def test_fields_are_decoded_after_types() -> None:
    decoders = Decoders([DecodeRule.parse("json b", replaces=True)])
    parser = RegexParser("p", Regex.parse(r"(?<a>\d) (?<b>.*)"), types=Types.parse("a:integer"), decoders=decoders)

    assert parser.parse('1 {"x":2}') == (None, {"a": 1, "b": {"x": 2}})
