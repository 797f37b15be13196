"""Merge_Log: the fields in the text of `log` become fields of the record.

A line cannot pretend to be of another pod: what it has under a key of the filter itself is left out, whether or not
there is metadata for its record.
"""

from __future__ import annotations

import json
from typing import Any

import msgspec

from ...parsers.base import Parser
from ...parsers.json_object import read_object
from ...record import Body

KUBERNETES, NAMESPACE = "kubernetes", "kubernetes_namespace"
OWN_KEYS = (KUBERNETES, NAMESPACE)
"""The keys of the maps that the filter adds."""

_LOG = "log"
_MISSING: Any = object()
_BLANKS = " \t\r\n"
_scan = json.JSONDecoder(strict=False, parse_int=str, parse_float=str).raw_decode
"""Finds where a value ends; what numbers are worth does not matter."""


class Merging(msgspec.Struct, frozen=True):
    """How `log` is merged: under which key, which is none of `OWN_KEYS`, whether line ends are cut, and `log` stays."""

    key: str | None = None
    trim: bool = True
    keep_log: bool = True
    parser: Parser | None = None

    def merge(self, body: Body, parser: Parser | None, now_ns: int) -> int | None:
        """Merge in place; gives the time that the record gets, None if it keeps its own.

        The text is read by exactly one parser. One that finds no time gives the time of now, as in Fluent Bit.
        """
        value = body.get(_LOG, _MISSING)
        parser = parser or self.parser
        time_ns: int | None = None
        if isinstance(value, bytes):
            value = value.decode("utf-8", "replace")
        if isinstance(value, dict):
            fields: Body | None = value
        elif not isinstance(value, str):
            return None
        elif parser is None:
            fields = self.trimmed(_object_in(value))
        else:
            parsed = parser.parse(value)
            if parsed is None:
                return None
            time_ns, fields = parsed[0] or now_ns, self.trimmed(parsed[1])
        if fields is not None:
            self.add(body, fields)
        return time_ns

    def add(self, body: Body, fields: Body) -> None:
        """Put the fields behind those of the body; of two with one name the last stays. Those of `OWN_KEYS` are not."""
        if not self.keep_log:
            body.pop(_LOG, None)
        if self.key is None:
            if KUBERNETES in fields or NAMESPACE in fields:
                fields = {name: value for name, value in fields.items() if name not in OWN_KEYS}
            for name in fields.keys() & body.keys():
                del body[name]
            body.update(fields)
        elif fields:
            body.pop(self.key, None)
            body[self.key] = fields

    def trimmed(self, fields: Body | None) -> Body | None:
        """The fields without line ends at the ends of their texts, if those are to be cut."""
        if fields is not None and self.trim:
            for name, value in fields.items():
                if type(value) is str and value[-1:] in ("\n", "n", "r"):
                    fields[name] = without_line_ends(value)
        return fields


def _object_in(text: str) -> Body | None:
    """The object that the text begins with; a value behind it may be cut off, but not whole."""
    found = read_object(text)
    if found is not None:
        return found
    text = text.lstrip(_BLANKS)
    if text[:1] != "{":
        return None
    try:
        _, end = _scan(text)
    except (ValueError, RecursionError):
        return None
    try:
        _scan(text[end:].lstrip(_BLANKS))
    except (ValueError, RecursionError):
        return read_object(text[:end])
    return None


def without_line_ends(text: str) -> str:
    r"""The text without LF at its end, and without `\n` and `\r` in two characters; the first one always stays."""
    end = len(text)
    while end > 1:
        if text[end - 1] == "\n":
            end -= 1
        elif end > 2 and text[end - 2] == "\\" and text[end - 1] in "nr":
            end -= 2
        else:
            break
    return text[:end]
