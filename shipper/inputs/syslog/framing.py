"""Where messages end in a stream of syslog: at a line feed, a NUL or a carriage return, or after a counted length."""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from ..listening import Refused, decoded_text


class Framed(msgspec.Struct, frozen=True):
    """The whole messages in some bytes, where the rest begins, and why that cannot be the beginning of a message."""

    messages: list[str]
    rest: int
    error: Refused | None = None


Split = Callable[[bytes, int], Framed]
"""Finds the messages in some bytes, of which none may be longer than so many."""

_LONGEST_COUNT = 10
_LINE_FEEDS = bytes.maketrans(b"\0\r", b"\n\n")


def split_lines(data: bytes, longest: int) -> Framed:
    """Messages that end with LF, NUL or CR; empty ones are left out."""
    data = data.translate(_LINE_FEEDS)
    end = data.rfind(b"\n") + 1
    messages = [text for text in decoded_text(data[:end]).split("\n") if text]
    return Framed(messages, end, _too_long(len(data) - end, longest) if len(data) - end > longest else None)


def split_counted(data: bytes, longest: int) -> Framed:
    """Messages behind their length in bytes and a blank."""
    messages, at = list[str](), 0
    while True:
        blank = data.find(b" ", at, at + _LONGEST_COUNT + 1)
        digits = data[at:blank] if blank >= 0 else data[at : at + _LONGEST_COUNT + 1]
        if (digits and not digits.isdigit()) or len(digits) > _LONGEST_COUNT or blank == at:
            reason = "a message does not begin with its length"
            return Framed(messages, at, Refused("bad_frame", reason, len(data) - at, 1))
        if blank < 0:
            return Framed(messages, at)
        length = int(digits)
        if length > longest:
            return Framed(messages, at, _too_long(len(data) - at, longest))
        if blank + 1 + length > len(data):
            return Framed(messages, at)
        messages.append(decoded_text(data[blank + 1 : blank + 1 + length]))
        at = blank + 1 + length


def _too_long(size: int, longest: int) -> Refused:
    return Refused("too_long", f"a message is longer than buffer_max_size, {longest} bytes", size, 1)
