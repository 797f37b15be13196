"""The LTSV parser: table of the reference."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shipper.parsers.decoders import Decoders, DecodeRule
from shipper.parsers.ltsv import LtsvParser
from shipper.parsers.record_time import RecordTime
from shipper.parsers.time_format import TimeFormat
from shipper.parsers.types import Types
from shipper.record import Body


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param(
            "host:127.0.0.1\tuser:-\treq:GET / HTTP/1.1\tsize:12",
            {"host": "127.0.0.1", "user": "-", "req": "GET / HTTP/1.1", "size": 12},
            id="41",
        ),
        pytest.param("host:a\tbad label:x\tz:1", {"host": "a"}, id="42a"),
        pytest.param("nolabel", None, id="42b"),
        pytest.param("a:\tb:2", {"a": "", "b": "2"}, id="42c"),
        pytest.param("", None, id="empty"),
        pytest.param(":x\ta:1", None, id="no label"),
        pytest.param("a:1\t\tb:2", {"a": "1"}, id="two tabs"),
        pytest.param("k.1-x_Y:v:w", {"k.1-x_Y": "v:w"}, id="colons in the value"),
    ],
)
def test_pairs_become_fields_up_to_the_first_bad_label(text: str, expected: Body | None) -> None:
    found = LtsvParser("p", types=Types.parse("size:integer")).parse(text)

    assert found == (None if expected is None else (None, expected))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("level:y\ttime:1667217601", (1667217601_000_000_000, {"level": "y"})),
        ("time:bad\tlevel:x", None),
        ("level:z\ttime:", (None, {"level": "z", "time": ""})),
    ],
)
def test_a_time_is_taken_or_refuses_the_text(text: str, expected: tuple[int | None, Body] | None) -> None:
    assert LtsvParser("p", time=RecordTime(TimeFormat("%s"))).parse(text) == expected


def test_fields_are_decoded() -> None:
    decoders = Decoders([DecodeRule.parse("json a", replaces=True)])

    assert LtsvParser("p", decoders=decoders).parse('a:{"x":1}') == (None, {"a": {"x": 1}})


_labels = st.text("abcXYZ019_.-", min_size=1)


@given(st.dictionaries(_labels, st.text().filter(lambda t: "\t" not in t), min_size=1))
def test_pairs_come_back_as_they_were(body: dict[str, str]) -> None:
    text = "\t".join(f"{label}:{value}" for label, value in body.items())

    assert LtsvParser("p").parse(text) == (None, body)
