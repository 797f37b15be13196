"""Templates and paths that reach into a record: `$key`, `$key['a'][0]`, `$TAG`, `$TAG[1]`, `$1`.

An element that reads the record ends at `.`, `,`, a blank, a double quote or the end of the text; anything else behind
it is an error, and so are two such elements without one of these between them. Quotes protect what is in them. A `$`
that begins none of the elements is text.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Sequence
from typing import Any, ClassVar, Self

import msgspec

from ..record import Body
from .json_lines import JsonEncoder

Groups = Sequence[str | None]
"""What the groups of a regular expression matched, the whole match first."""

_Part = Callable[[str, Body, Groups], str | None]

_PATH = re.compile(r"\$([_A-Za-z][A-Za-z0-9_/-]*)((?:\[(?:'(?:[^']|'')*'|[0-9]+)\])*)")
_STEP = re.compile(r"\['((?:[^']|'')*)'\]|\[([0-9]+)\]")
_TAG = re.compile(r"\$TAG(?:\[([0-9]+)\])?")
_GROUP = re.compile(r"\$([0-9])")
_TERMINATORS = '., "'
_REMEMBERED_TAGS = 1024
_MISSING: Any = object()

_encode_json = JsonEncoder(escape_unicode=False).encode


class KeyPath:
    """Where a value is in a body: a key, and steps into maps by name and into arrays by number."""

    shown_as: ClassVar[str] = "field"

    def __init__(self, key: str, steps: Sequence[str | int] = ()) -> None:
        self.key = key
        self.steps = tuple(steps)

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read `$key['a'][0]`; text without `$` is the name of a key. Raises `ValueError` that says where it fails."""
        if not text.startswith("$"):
            return cls(text)
        found = _PATH.match(text)
        if not found or found.end() != len(text):
            raise _unexpected(text, found.end() if found else 1)
        return cls(found[1], _steps(found[2]))

    def get(self, body: Body, default: Any = None) -> Any:
        """The value, or `default` if it is not there.

        Steps into a top-level value that is neither map nor array are ignored: the value itself is returned.
        """
        if not self.steps:
            return body.get(self.key, default)
        value = _decoded(body.get(self.key, _MISSING))
        if not isinstance(value, dict | list):
            return default if value is _MISSING else value
        for step in self.steps:
            value = _decoded(value)
            if isinstance(step, str):
                value = value.get(step, _MISSING) if isinstance(value, dict) else _MISSING
            else:
                value = value[step] if isinstance(value, list) and step < len(value) else _MISSING
            if value is _MISSING:
                return default
        return value

    def __repr__(self) -> str:
        return f"KeyPath({self.key!r}, {self.steps!r})"


class Template:
    """A text with elements that are filled in from the tag, the record, and the groups of a regular expression.

    `is_static` says that it has no elements, `uses_record` that its text may differ between records of one tag, and
    `paths` which values of the record it reads.
    """

    shown_as: ClassVar[str] = "template"

    def __init__(
        self, text: str, parts: Sequence[str | _Part], paths: Sequence[KeyPath], *, uses_groups: bool = False
    ) -> None:
        self.text = text
        self.paths = tuple(paths)
        self.is_static = all(isinstance(part, str) for part in parts)
        self.uses_record = uses_groups or bool(paths)
        self._parts = [_fixed(part) if isinstance(part, str) else part for part in parts]
        self._by_tag = None if self.uses_record else functools.lru_cache(_REMEMBERED_TAGS)(self._render_tag)

    @classmethod
    def parse(cls, text: str) -> Self:
        """Compile a template; raises `ValueError` that says where its syntax is wrong."""
        parts, paths, uses_groups = _compile(text)
        return cls(text, parts, paths, uses_groups=uses_groups)

    def render(self, tag: str, body: Body, groups: Groups = ()) -> str:
        """The text with its elements filled in, empty where a value is missing."""
        if self._by_tag is not None:
            return self._by_tag(tag)
        return "".join([part(tag, body, groups) or "" for part in self._parts])

    def render_strict(self, tag: str, body: Body, groups: Groups = ()) -> str | None:
        """The text with its elements filled in, or None if a value of the record is missing or cannot be text."""
        if self._by_tag is not None:
            return self._by_tag(tag)
        pieces: list[str] = []
        for part in self._parts:
            piece = part(tag, body, groups)
            if piece is None:
                return None
            pieces.append(piece)
        return "".join(pieces)

    def _render_tag(self, tag: str) -> str:
        return "".join([part(tag, {}, ()) or "" for part in self._parts])

    def __repr__(self) -> str:
        return f"Template({self.text!r})"


def text_of(value: Any) -> str | None:
    """A value of a record as templates show it; None for an array, which has no text."""
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(value)
    if isinstance(value, float):
        return f"{value:f}"
    if value is None:
        return "null"
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, msgspec.Raw):
        return text_of(_decoded(value))
    return _encode_json(value).decode() if isinstance(value, dict) else None


def _decoded(value: Any) -> Any:
    """The value itself where JSON that was encoded ahead stands in its place."""
    return msgspec.json.decode(value) if isinstance(value, msgspec.Raw) else value


def _compile(text: str) -> tuple[list[str | _Part], list[KeyPath], bool]:
    """The parts of a template, the paths they read, and whether any is a group of a regular expression."""
    parts: list[str | _Part] = []
    paths: list[KeyPath] = []
    uses_groups = False
    written = position = 0
    while (position := text.find("$", position)) >= 0:
        part: _Part
        if found := _TAG.match(text, position):
            if text.startswith("[", found.end()) and found[1] is None:
                raise _unexpected(text, found.end())
            part = _whole_tag if found[1] is None else _tag_part(int(found[1]))
        elif found := _GROUP.match(text, position):
            part, uses_groups = _group(int(found[1])), True
        elif found := _PATH.match(text, position):
            if found.end() < len(text) and text[found.end()] not in _TERMINATORS:
                raise _unexpected(text, found.end())
            paths.append(KeyPath(found[1], _steps(found[2])))
            part = _value(paths[-1])
        else:
            position += 1
            continue
        parts += (text[written:position], part) if position > written else (part,)
        written = position = found.end()
    if written < len(text):
        parts.append(text[written:])
    return parts, paths, uses_groups


def _steps(text: str) -> list[str | int]:
    found = _STEP.finditer(text)
    return [int(step[2]) if step[2] is not None else step[1].replace("''", "'") for step in found]


def _unexpected(text: str, position: int) -> ValueError:
    what = f"unexpected {text[position]!r}" if position < len(text) else "unexpected end"
    return ValueError(
        f"syntax error, {what} at character {position + 1} of {text!r}; "
        "write $key, $key['name'][0] or $TAG, and a dot, comma or blank behind it"
    )


def _fixed(text: str) -> _Part:
    return lambda tag, body, groups: text


def _whole_tag(tag: str, body: Body, groups: Groups) -> str:
    return tag


def _tag_part(number: int) -> _Part:
    def part(tag: str, body: Body, groups: Groups) -> str:
        parts = tag.split(".")
        return parts[number] if number < len(parts) else ""

    return part


def _group(number: int) -> _Part:
    def part(tag: str, body: Body, groups: Groups) -> str:
        return (groups[number] or "") if number < len(groups) else ""

    return part


def _value(path: KeyPath) -> _Part:
    get = path.get

    def part(tag: str, body: Body, groups: Groups) -> str | None:
        value = get(body, _MISSING)
        return value if type(value) is str else text_of(value)

    return part


__all__ = ["Groups", "KeyPath", "Template", "text_of"]
