"""What parsers have to say about single texts, such as a time that cannot be read."""

from __future__ import annotations

from collections.abc import Callable

Remark = Callable[[str], None]
"""Takes a sentence for the log. It may come once per record, so whoever logs it limits how often."""


def ignore(message: str) -> None:
    """A remark that nobody wants to hear."""


__all__ = ["Remark", "ignore"]
