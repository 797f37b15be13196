"""Parsers that may fail: a bug costs the fields of one text, never the text itself or what follows it."""

from __future__ import annotations

from collections.abc import Callable

from .base import Parsed, Parser


class SparingParser(Parser):
    """Another parser; a text on which that fails is not of its form, and `on_failure` is called with its name.

    The exception is being handled then. An input needs this because it reads its source again after a failure: it would
    come back to the same line for ever and never to the next one.
    """

    def __init__(self, parser: Parser, on_failure: Callable[[str], None]) -> None:
        self.name = parser.name
        self._parse = parser.parse
        self._on_failure = on_failure

    def parse(self, text: str) -> Parsed | None:
        try:
            return self._parse(text)
        except Exception:  # whatever it is, the text is kept and the failure told
            self._on_failure(self.name)
            return None
