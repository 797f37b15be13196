"""The logfmt parser: table of the reference, and a round trip."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shipper.parsers.decoders import Decoders, DecodeRule
from shipper.parsers.logfmt import LogfmtParser
from shipper.parsers.record_time import RecordTime
from shipper.parsers.time_format import TimeFormat
from shipper.parsers.types import Types
from shipper.record import Body


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param(
            r'level=info msg="hello \"w\" \u00e9" empty= bare dur=10ms',
            {"level": "info", "msg": 'hello "w" é', "empty": True, "bare": True, "dur": "10ms"},
            id="35",
        ),
        pytest.param(
            '"quoted" =x a=b=c "k"=v', {"quoted": True, "x": True, "a": "b", "c": True, "k": True, "v": True}, id="39"
        ),
        pytest.param("   ", None, id="40"),
        pytest.param("", None, id="empty"),
        pytest.param('a="" b="x y"\tc=1.5', {"a": "", "b": "x y", "c": "1.5"}, id="blanks and tabs"),
        pytest.param(r'a="one\ntwo\\" b=c\n', {"a": "one\ntwo\\", "b": "c\\n"}, id="escapes only in quotes"),
        pytest.param('a="open b=c', {"a": "open b=c"}, id="open quote"),
        pytest.param('a="open \\', {"a": "open \\"}, id="open escape"),
        pytest.param('a="', {"a": ""}, id="nothing but a quote"),
        pytest.param('a="b"c=d', {"a": "b", "c": "d"}, id="no blank behind the quote"),
        pytest.param("é=ü a=1 a=2", {"é": "ü", "a": "2"}, id="last of a key"),
    ],
)
def test_pairs_become_fields(text: str, expected: Body | None) -> None:
    found = LogfmtParser("p").parse(text)

    assert found == (None if expected is None else (None, expected))


@pytest.mark.parametrize(
    ("text", "expected"), [("level=info bare", None), ("a=1 b=", {"a": "1", "b": True}), ("a=1", {"a": "1"})]
)
def test_bare_keys_refuse_a_text_if_asked_for(text: str, expected: Body | None) -> None:
    found = LogfmtParser("p", no_bare_keys=True).parse(text)

    assert found == (None if expected is None else (None, expected))


def test_with_types_keys_without_value_are_empty() -> None:
    found = LogfmtParser("p", types=Types.parse("a:integer")).parse('a=1 b="" c d=')

    assert found == (None, {"a": 1, "b": "", "c": "", "d": ""})


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("time=2022-10-31T12:00:01 m=x", (1667217601_000_000_000, {"m": "x"})),
        ('m=x time="2022-10-31T12:00:01"', (1667217601_000_000_000, {"m": "x"})),
        ("time=bad m=x", None),
        ("time= m=x", (None, {"time": True, "m": "x"})),
        ("m=x", (None, {"m": "x"})),
    ],
)
def test_a_time_is_taken_or_refuses_the_text(text: str, expected: tuple[int | None, Body] | None) -> None:
    found = LogfmtParser("p", time=RecordTime(TimeFormat("%Y-%m-%dT%H:%M:%S"))).parse(text)

    assert found == expected


def test_fields_are_decoded() -> None:
    decoders = Decoders([DecodeRule.parse("json a", replaces=True)])

    assert LogfmtParser("p", decoders=decoders).parse(r'a="{\"x\":1}"') == (None, {"a": {"x": 1}})


_keys = st.text(st.characters(min_codepoint=0x21, exclude_characters='="', exclude_categories=["Cs"]), min_size=1)


@given(st.dictionaries(_keys, st.text(), min_size=1))
def test_quoted_values_come_back_as_they_were(body: dict[str, str]) -> None:
    escaped = {key: value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n") for key, value in body.items()}
    text = " ".join(f'{key}="{value}"' for key, value in escaped.items())

    assert LogfmtParser("p").parse(text) == (None, body)
