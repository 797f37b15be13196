"""Where messages end in a stream of syslog: at a line feed, a NUL or a carriage return, or after a counted length."""

from __future__ import annotations

from collections.abc import Callable

from ..listening import Refused, decoded_text

Split = Callable[[bytes, int], tuple[list[str], int]]
"""Gives the whole messages in some bytes, of which none may be longer, and where the rest begins."""

_LONGEST_COUNT = 10
_LINE_FEEDS = bytes.maketrans(b"\0\r", b"\n\n")


def split_lines(data: bytes, longest: int) -> tuple[list[str], int]:
    """Messages that end with LF, NUL or CR; empty ones are left out."""
    data = data.translate(_LINE_FEEDS)
    end = data.rfind(b"\n") + 1
    if len(data) - end > longest:
        raise Refused("too_long", f"a message is longer than buffer_max_size, {longest} bytes", len(data) - end, 1)
    return [text for text in decoded_text(data[:end]).split("\n") if text], end


def split_counted(data: bytes, longest: int) -> tuple[list[str], int]:
    """Messages behind their length in bytes and a blank."""
    messages, at = list[str](), 0
    while True:
        blank = data.find(b" ", at, at + _LONGEST_COUNT + 1)
        digits = data[at:blank] if blank >= 0 else data[at : at + _LONGEST_COUNT + 1]
        if (digits and not digits.isdigit()) or len(digits) > _LONGEST_COUNT or blank == at:
            raise Refused("bad_frame", "a message does not begin with its length", len(data) - at, 1)
        if blank < 0:
            return messages, at
        length = int(digits)
        if length > longest:
            raise Refused("too_long", f"a message is longer than buffer_max_size, {longest} bytes", len(data) - at, 1)
        if blank + 1 + length > len(data):
            return messages, at
        messages.append(decoded_text(data[blank + 1 : blank + 1 + length]))
        at = blank + 1 + length
