"""What a parser is: text in, a time and a body out."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING

from ..record import Body

if TYPE_CHECKING:
    from .multiline import MultilineDefinition

Parsed = tuple[int | None, Body]
"""The record's own time in nanoseconds since the epoch (None if it has none), and its fields."""


class Parser(ABC):
    """Turns one text into fields; made from a [PARSER] section, holds no state between calls but what it counts."""

    name: str
    invalid_times: int = 0
    """Texts with a time that could not be read, so far; who uses a parser counts what it grows by meanwhile."""

    @abstractmethod
    def parse(self, text: str) -> Parsed | None:
        """The time and the fields of the text, or None if the text is not of this parser's form."""


class ParserLibrary:
    """The parsers of one configuration by name."""

    def __init__(
        self,
        parsers: dict[str, Parser] | None = None,
        multiline: dict[str, MultilineDefinition] | None = None,
    ) -> None:
        self._parsers = parsers or {}
        self._multiline = multiline or {}

    def get(self, name: str) -> Parser | None:
        """The [PARSER] of this name; upper and lower case are different."""
        return self._parsers.get(name)

    def multiline(self, name: str) -> MultilineDefinition | None:
        """The multiline definition of this name, built-in or configured; case does not matter."""
        return self._multiline.get(name.lower())

    def names(self) -> list[str]:
        return sorted(self._parsers)

    def multiline_names(self) -> list[str]:
        return sorted(self._multiline)
