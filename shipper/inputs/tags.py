"""Tags that are made of what others have written."""

from __future__ import annotations


def seen_as_tag(told: str) -> str:
    """The text with `_` for all that cannot be shown: no part of a tag may end a line or do anything but be seen."""
    return told if told.isprintable() else "".join([c if c.isprintable() else "_" for c in told])
