"""Lines inside of JSON strings, from whole lines and from lines with a hole."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shipper.codecs.escaped_lines import EscapedLines
from shipper.codecs.json_lines import HOLE, HoledLines, JsonEncoder, split_lines
from shipper.record import Body, Record, RecordList

JSON = JsonEncoder(escape_unicode=False)
TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
BODIES = st.lists(st.fixed_dictionaries({"log": TEXT | st.sampled_from(["100%d", "a\x7f", "\n"])}), max_size=5)


def whole(bodies: list[Body]) -> HoledLines:
    return JSON.encode_holed(RecordList([Record(0, body) for body in bodies]))


def holed(bodies: list[Body], last: Any) -> HoledLines:
    hole = msgspec.Raw(HOLE)
    texts = [msgspec.json.encode(body | {"k": hole}).replace(b"a\x7f", b"a") + b"\n" for body in bodies]
    return HoledLines(b"".join(texts), msgspec.json.encode(last))


def texts_in(lines: EscapedLines) -> list[str]:
    """The lines, read out of what they are woven into."""
    woven = b"".join(lines.woven(b"[", list(range(len(lines))), b',"', b'"],'))
    values = json.loads(b"[" + woven[:-1] + b"]")
    assert [number for number, _ in values] == list(range(len(lines)))
    return [text for _, text in values]


@given(BODIES)
def test_whole_lines_stand_between_what_is_woven_around_them(bodies: list[Body]) -> None:
    lines = whole(bodies)

    escaped = EscapedLines(lines, len(bodies))

    assert texts_in(escaped) == [line.decode() for line in split_lines(lines.text)]
    assert [json.loads(b'"' + line + b'"') for line in escaped] == texts_in(escaped)


@given(BODIES, TEXT)
def test_lines_with_a_hole_are_those_with_the_filling_in_it(bodies: list[Body], last: str) -> None:
    lines = holed([{"log": body["log"].replace(HOLE.decode(), "")} for body in bodies], {"%d": last})

    escaped = EscapedLines(lines, len(bodies))

    assert texts_in(escaped) == [line.decode() for line in split_lines(lines.whole())]
    assert [json.loads(b'"' + line + b'"') for line in escaped] == texts_in(escaped)
    assert lines.size(len(bodies)) == sum(map(len, split_lines(lines.whole())))


def test_lines_of_several_batches_stand_one_behind_the_other() -> None:
    escaped = EscapedLines(whole([{"n": 1}, {"n": 2}]), 2)
    before = list(escaped)

    escaped.extend(EscapedLines(holed([{"n": 3}], 4), 1))

    assert len(escaped) == len(escaped[:]) == 3
    assert escaped[:2] == before
    assert texts_in(escaped) == ['{"n":1}', '{"n":2}', '{"n":3,"k":4}']


@pytest.mark.parametrize("last", [None, {"pod": "web"}])
def test_many_lines_are_woven_with_the_numbers_of_theirs(last: Any) -> None:
    bodies: list[Body] = [{"log": f'{n} "{"x" * (n % 300)}"'} for n in range(2000)]
    lines = whole(bodies) if last is None else holed(bodies, last)

    escaped = EscapedLines(lines, len(bodies))

    assert texts_in(escaped) == [line.decode() for line in split_lines(lines.whole())]
    assert [json.loads(b'"' + line + b'"') for line in escaped[1990:]] == texts_in(escaped)[1990:]


@pytest.mark.parametrize(
    ("text", "start", "lines"),
    [
        (b"", 0, []),
        (b"a\n", 0, [b"a"]),
        (b"a\n\nb\n", 0, [b"a", b"", b"b"]),
        (b"a\nb", 0, [b"a", b"b"]),
        (b"a\r\n\x85b\n", 0, [b"a\r", b"\x85b"]),
        (b"-a\n-b\n", 1, [b"a", b"b"]),
    ],
)
def test_lines_end_at_line_feeds_alone(text: bytes, start: int, lines: list[bytes]) -> None:
    assert split_lines(text, start) == lines
