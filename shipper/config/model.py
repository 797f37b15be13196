"""A configuration as it was written, whatever its format: sections of properties, each with its place."""

from __future__ import annotations

import hashlib
from typing import Literal

import msgspec

from ..errors import Origin

Kind = Literal["service", "input", "filter", "output", "parser", "multiline_parser", "condition"]


class Property(msgspec.Struct, frozen=True):
    """One key and its text; the key is in lower case, variables in the value are expanded.

    `variables` names those that were used in the value, `unset` those of them that were not set; `raw` is the text with
    the variables in it, empty if there are none.
    """

    key: str
    value: str
    origin: Origin
    unset: tuple[str, ...] = ()
    variables: tuple[str, ...] = ()
    raw: str = ""


class Section(msgspec.Struct):
    """One section: its kind, where its header stands, and its properties in order, repetitions included.

    `processors` are filters for the records of this input or output alone. `condition` says on which records a filter
    acts; its `rules` are sections, too.
    """

    kind: Kind
    origin: Origin
    properties: list[Property] = []
    processors: list[Section] = []
    condition: Section | None = None
    rules: list[Section] = []

    def get(self, key: str) -> str | None:
        """The text of the last property of this name."""
        found = self.last(key)
        return found.value if found else None

    def last(self, key: str) -> Property | None:
        """The last property of this name."""
        return next((p for p in reversed(self.properties) if p.key == key), None)

    def origin_of(self, key: str) -> Origin:
        """Where this key was written, or where the section begins."""
        found = self.last(key)
        return found.origin if found else self.origin


class Configuration(msgspec.Struct):
    """All sections in the order in which they take effect.

    `service` holds the merged properties of all SERVICE sections. `path` is the main file, empty for a configuration
    given on the command line alone; relative file names are looked up in its folder after the working folder.
    `contents` is what each file held that was read, by its name, in the order of reading. `warnings` are remarks of the
    loader, ready to be logged.
    """

    path: str = ""
    service: Section = msgspec.field(default_factory=lambda: Section("service", Origin("built-in")))
    inputs: list[Section] = []
    filters: list[Section] = []
    outputs: list[Section] = []
    parsers: list[Section] = []
    multiline_parsers: list[Section] = []
    contents: dict[str, bytes] = {}
    warnings: list[str] = []

    @property
    def sha256(self) -> str:
        """Tells contents apart: the SHA-256 of all files behind one another, as `cat FILE... | sha256sum` has it."""
        return hashlib.sha256(b"".join(self.contents.values())).hexdigest()
