"""Syslog framing: where messages end."""

from __future__ import annotations

import pytest

from shipper.inputs.listening import Refused
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
    found, at = split_lines(data, 10)

    assert (found, data[at:]) == (messages, rest)


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
    found, at = split_counted(data, 10)

    assert (found, data[at:]) == (messages, rest)


@pytest.mark.parametrize("data", [b"x one", b" one", b"12345678901 x", b"-1 x", b"11 x", b"3 oneX"])
def test_frames_without_a_sound_length_are_refused(data: bytes) -> None:
    with pytest.raises(Refused):
        split_counted(data, 10)


def test_lines_that_are_too_long_are_refused() -> None:
    with pytest.raises(Refused):
        split_lines(b"x" * 11, 10)
