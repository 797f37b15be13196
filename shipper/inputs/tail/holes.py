"""Holes: NUL bytes that nobody wrote as text.

A writer that does not append leaves one at the head of its file when that is truncated, and a machine that loses power
may leave one anywhere. Elsewhere than at the head NUL bytes are a hole only if a line begins with as many as a sector
has; fewer are text. That way it does not depend on how a file grows, or is read, which they are.
"""

from __future__ import annotations

import re

_NUL_BYTES = re.compile(rb"\0*")
_SMALLEST = b"\0" * 512


def size_of_hole(data: bytes, is_begun: bool) -> int:
    """The size of the hole that the data begins with, 0 if there is none.

    The data begins where a line does; `is_begun` says that it is at the head of the file, or behind NUL bytes.
    """
    if not data.startswith(b"\0" if is_begun else _SMALLEST):
        return 0
    return leading_nul_bytes(data)


def leading_nul_bytes(data: bytes) -> int:
    """How many NUL bytes the data begins with."""
    # Ten times as fast as `lstrip`; a hole can be very long.
    found = _NUL_BYTES.match(data)
    return found.end() if found is not None else 0


def start_of_hole(data: bytes) -> int:
    """Where the first hole behind a whole line begins, the end of the data if there is none."""
    found = data.find(b"\n" + _SMALLEST)
    return found + 1 if found >= 0 else len(data)
