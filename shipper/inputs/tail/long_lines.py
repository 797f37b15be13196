"""Lines that are too long: how they are found, and what happens to them."""

from __future__ import annotations


class LongLines:
    """What happens to lines that are too long, and how many there were."""

    def __init__(self, limit: int, skip: bool, truncate: bool) -> None:
        self.limit = limit
        """Longest line that is taken, its newline included."""
        self.skip = skip and not truncate
        self.truncate = truncate
        self.skipped = 0
        self.truncated = 0
        self.blocked = 0
        self.dropped_bytes = 0


def end_of_fitting_lines(data: bytes, limit: int) -> int:
    """The end of the whole lines at the front of `data` before the first line of more than `limit` bytes.

    One search per window of `limit` bytes: the last newline of a window starts the next, and a window without one is a
    line that is too long.
    """
    end = data.rfind(b"\n") + 1
    start = 0
    while end - start > limit:
        found = data.rfind(b"\n", start, start + limit)
        if found < 0:
            return start
        start = found + 1
    return end


def cut_at_character(line: bytes, limit: int) -> bytes:
    """At most `limit` bytes of the line, not ending inside a UTF-8 character."""
    kept = line[:limit]
    for back in range(1, min(4, len(kept)) + 1):
        byte = kept[-back]
        if byte & 0xC0 == 0xC0:  # the first byte of a character of several bytes
            length = 2 if byte < 0xE0 else 3 if byte < 0xF0 else 4
            return kept[:-back] if back < length else kept
        if byte & 0x80 == 0:
            return kept
    return kept
