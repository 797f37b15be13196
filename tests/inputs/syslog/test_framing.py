"""Syslog framing: where messages end."""

from __future__ import annotations

import pytest

from shipper.inputs.syslog.framing import split_counted, split_lines


@pytest.mark.parametrize(
    ("data", "messages", "rest"),
    [
        (b"", [], b""),
        (b"one\ntwo\n", ["one", "two"], b""),
        (b"one\0two\rthree\n", ["one", "two", "three"], b""),
        (b"one\r\n\n\ntwo", ["one"], b"two"),
        (b"\xff\n", ["\udcff"], b""),
    ],
)
def test_lines_end_at_lf_nul_or_cr(data: bytes, messages: list[str], rest: bytes) -> None:
    found = split_lines(data, 10)

    assert (found.messages, data[found.rest :], found.error) == (messages, rest, None)


@pytest.mark.parametrize(
    ("data", "messages", "rest"),
    [
        (b"", [], b""),
        (b"3 one5 two\nx", ["one", "two\nx"], b""),
        (b"3 one3 t", ["one"], b"3 t"),
        (b"1", [], b"1"),
        (b"3", [], b"3"),
        ("2 é1 x".encode(), ["é", "x"], b""),
    ],
)
def test_counted_messages_have_their_length_in_front(data: bytes, messages: list[str], rest: bytes) -> None:
    found = split_counted(data, 10)

    assert (found.messages, data[found.rest :], found.error) == (messages, rest, None)


@pytest.mark.parametrize("data", [b"x one", b" one", b"12345678901 x", b"-1 x", b"11 x"])
@pytest.mark.parametrize("before", [b"", b"3 one"])
def test_a_frame_without_a_sound_length_is_an_error_and_what_came_before_it_is_good(data: bytes, before: bytes) -> None:
    found = split_counted(before + data, 10)

    assert found.messages == (["one"] if before else [])
    assert found.error is not None
    assert (found.error.records, found.error.size, found.rest) == (1, len(data), len(before))


@pytest.mark.parametrize("before", [b"", b"one\n"])
def test_a_line_that_is_too_long_is_an_error_and_what_came_before_it_is_good(before: bytes) -> None:
    found = split_lines(before + b"x" * 11, 10)

    assert found.messages == (["one"] if before else [])
    assert found.error is not None
    assert (found.error.reason, found.error.records, found.error.size) == ("too_long", 1, 11)
