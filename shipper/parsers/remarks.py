"""What parsers have to say about single texts, such as a time that cannot be read."""

from __future__ import annotations

from collections.abc import Callable

Remark = Callable[[str, str], None]
"""Takes a sentence that is the same for all texts, and the text it is about.

It may come once per record, so whoever logs it limits how often.
"""


def ignore(message: str, text: str) -> None:
    """A remark that nobody wants to hear."""


__all__ = ["Remark", "ignore"]
