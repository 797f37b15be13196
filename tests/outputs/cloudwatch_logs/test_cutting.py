"""Messages are cut where a reader would cut them."""

from __future__ import annotations

import json
from itertools import accumulate

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shipper.outputs.cloudwatch_logs.cutting import Part, id_of, parts_of, shortened

MOST = 1_048_576 - 26
MARKER = len("[part=1/2 id=0123456789abcdef] ")


@pytest.mark.parametrize(
    ("most", "expected"),
    [
        (6, '{"a":"'),
        (7, '{"a":"'),
        (11, '{"a":"'),
        (12, '{"a":"\\u00e9'),
        (13, '{"a":"\\u00e9x'),
        (14, '{"a":"\\u00e9x'),
        (15, '{"a":"\\u00e9x\\\\'),
        (16, '{"a":"\\u00e9x\\\\'),
        (21, '{"a":"\\u00e9x\\\\'),
        (26, '{"a":"\\u00e9x\\\\'),
        (27, '{"a":"\\u00e9x\\\\\\ud83d\\ude00'),
    ],
)
def test_cut_of_json_text_does_not_end_inside_an_escape(most: int, expected: str) -> None:
    text = '{"a":"\\u00e9x\\\\\\ud83d\\ude00z"}'

    message, size = shortened(text, most)

    assert message == expected
    assert size == len(expected)


def sizes_of(message: str) -> list[int]:
    return [len(text.encode()) for _, text in parts_of(message, MOST, id_of(message))]


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        ("x" * (MOST + 1), [MOST, 1 + 2 * MARKER]),
        ("x" * (2 * (MOST - MARKER)), [MOST, MOST]),
        ("x" * (2 * (MOST - MARKER) + 1), [MOST, MOST, MARKER + 1]),
        ("x" * 5 * 1_048_576, [*[MOST] * 5, 5 * 1_048_576 - 5 * (MOST - MARKER) + MARKER]),
        ("x" * (MOST - MARKER) + "\U0001f600" * 10, [MOST, MARKER + 40]),
        ("x" * (MOST - MARKER - 1) + "\U0001f600" * 10, [MOST - 1, MARKER + 40]),
        ("x" * (MOST - MARKER - 3) + "\U0001f600" * 10, [MOST - 3, MARKER + 40]),
        ("x" * (MOST - MARKER - 4) + "\U0001f600" * 10, [MOST, MARKER + 36]),
    ],
)
def test_parts_are_as_large_as_may_be_and_end_with_whole_characters(message: str, expected: list[int]) -> None:
    assert sizes_of(message) == expected


def test_a_part_begins_with_its_number_and_the_id_of_the_whole() -> None:
    (one, first), (other, second) = parts_of("a" * 60, 80, id_of("a" * 60))

    assert (one, other) == (Part(1, 2, "475ff9d8dc38eeb9"), Part(2, 2, "475ff9d8dc38eeb9"))
    assert first == "[part=1/2 id=475ff9d8dc38eeb9] " + "a" * 49
    assert second == "[part=2/2 id=475ff9d8dc38eeb9] " + "a" * 11


@pytest.mark.parametrize(("length", "count"), [(9 * 49, 9), (9 * 49 + 1, 10), (99 * 47, 99), (99 * 47 + 1, 104)])
def test_there_is_room_for_the_numbers_however_many_parts_there_are(length: int, count: int) -> None:
    parts = parts_of("x" * length, 80, "0" * 16)

    assert [part.number for part, _ in parts] == list(range(1, count + 1))
    assert {part.count for part, _ in parts} == {count}
    assert max(len(text) for _, text in parts) <= 80


def test_the_end_of_a_text_that_only_looks_like_json_is_kept() -> None:
    message = "{" + "x" * 80 + "\\"

    assert "".join(text.removeprefix(part.marker) for part, text in parts_of(message, 80, "0" * 16)) == message


pieces = st.sampled_from(["a", "\u00e9", "\u20ac", "\U0001f600", "\\", '"', "\n", "%", "[part=1/2 id=x] "])


@given(st.lists(pieces, min_size=60, max_size=400), st.integers(70, 120), st.booleans(), st.booleans())
@settings(max_examples=200, deadline=None)
def test_parts_put_together_are_the_message(drawn: list[str], most: int, is_json: bool, ascii_only: bool) -> None:
    text = "".join(drawn)
    message = json.dumps({"log": text}, ensure_ascii=ascii_only) if is_json else text

    parts = parts_of(message, most, id_of(message))

    assert "".join(text.removeprefix(part.marker) for part, text in parts) == message
    assert all(len(text.encode()) <= most for _, text in parts)
    if is_json:
        ends = accumulate(len(text.removeprefix(part.marker)) for part, text in parts)
        inside = [message[:end] for end in ends if 9 <= end <= len(message) - 2]
        assert all(json.loads(f'{beginning}"}}')["log"].encode() is not None for beginning in inside)
