"""Journal entries as records."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ...record import Body, seen_as_tag
from .fields import Pair

Entry = dict[str, Any]
"""The fields of an entry as the library gives them: bytes, or a list of bytes for a field that occurs several times.

A field is where it occurs first, with all its values, and what stood between those is not told.
"""

_MOST_NAMES = 10_000
_UNIT = "_SYSTEMD_UNIT"


class EntryReader:
    """Makes bodies of entries; `invalid` counts those with bytes that are no UTF-8, which outputs write as they can."""

    def __init__(self, *, lowercase: bool, strip_underscores: bool, max_fields: int) -> None:
        self._lowercase = lowercase
        self._strip = strip_underscores
        self._max_fields = max_fields
        self._names: dict[str, str] = {}
        self.invalid = 0

    def read(self, entry: Entry) -> tuple[Body, int] | None:
        """The body of an entry, and the bytes that its fields have in the journal.

        None if its fields have to be read one by one: some occur several times, are no UTF-8, or they are too many.
        """
        if len(entry) <= self._max_fields:
            try:
                body = {name: str(value, "utf-8") for name, value in entry.items()}
            except (TypeError, UnicodeDecodeError):
                return None
            if self._lowercase or self._strip:
                name_of = self._name_of
                renamed = {name_of(name): text for name, text in body.items()}
                if len(renamed) != len(body):
                    return None
                body = renamed
            return body, sum(map(len, entry)) + sum(map(len, entry.values())) + 2 * len(entry)
        return None

    def read_one_by_one(self, pairs: Sequence[Pair]) -> tuple[Body, int]:
        """The same of any fields; one that occurs again becomes a list, behind the fields before it."""
        body: Body = {}
        was_invalid = False
        for name, value in pairs[: self._max_fields]:
            name = self._name_of(name)
            try:
                text = str(value, "utf-8")
            except UnicodeDecodeError:
                text, was_invalid = value.decode("utf-8", "surrogateescape"), True
            present = body.get(name)
            if present is None:
                body[name] = text
            elif isinstance(present, list):
                present.append(text)
            else:
                del body[name]
                body[name] = [present, text]
        self.invalid += was_invalid
        return body, sum(len(name) + len(value) + 2 for name, value in pairs)

    def _name_of(self, name: str) -> str:
        known = self._names.get(name)
        if known is not None:
            return known
        new = name[1:] if self._strip and name.startswith("_") else name
        if self._lowercase:
            new = new.lower()
        # Programs name their fields as they like, so there may be any number of names.
        if len(self._names) >= _MOST_NAMES:
            self._names.clear()
        self._names[name] = new
        return new


class TagOfUnit:
    """Tags in which the first `*` stands for the unit that an entry came from."""

    def __init__(self, tag: str) -> None:
        self._before, star, self._behind = tag.partition("*")
        self.has_unit = bool(star)

    def unit(self, entry: Entry) -> bytes:
        """What makes the difference between the tags of two entries; empty if nothing does."""
        if not self.has_unit:
            return b""
        unit = entry.get(_UNIT, b"unknown")
        return bytes(unit[0] if isinstance(unit, list) else unit)

    def tag(self, unit: bytes) -> str:
        """The tag of the entries with this unit; whoever writes a journal file may call a unit as he likes."""
        return f"{self._before}{seen_as_tag(unit.decode('utf-8', 'replace'))}{self._behind}"
