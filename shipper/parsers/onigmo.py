"""placeholder being replaced: see Regex below."""

from __future__ import annotations

import re
from typing import Self


class Regex:
    """A regular expression in Ruby syntax, compiled for Python."""

    shown_as = "regular expression"

    def __init__(self, pattern: str) -> None:
        self.pattern = pattern
        self._compiled = re.compile(pattern.replace("(?<", "(?P<"), re.M | re.A)

    @classmethod
    def parse(cls, text: str) -> Self:
        return cls(text)
