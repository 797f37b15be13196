"""The options that name labels and keys, read into rules: a name and a template, or a path into the record."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar, Self

import msgspec

from ...codecs.template import Groups, KeyPath, Template, text_of
from ...record import Body

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*", re.A)
_OTHER = re.compile(r"[^A-Za-z0-9_]", re.A)
_MISSING: Any = object()
_TAG = re.compile(r"\$TAG(?:\[([0-9]+)\])?")


def label_name(text: str) -> str:
    """The text with every character that Loki refuses in names replaced by `_`, and one in front of a digit."""
    name = _OTHER.sub("_", text)
    return f"_{name}" if name[:1].isdigit() or not name else name


class Rule(msgspec.Struct, frozen=True):
    """How one label, or one item of structured metadata, is made. `written` is the name as the configuration has it."""

    shown_as: ClassVar[str] = "label"
    name: str
    template: Template
    written: str = ""

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read `name=text`, `name=$accessor` or `$accessor`; only a value that begins with `$` is an accessor."""
        name, equals, value = (part.strip() for part in text.partition("="))
        if text.startswith("$"):
            return cls(name_of_accessor(text), accessor(text))
        if not equals or not name:
            raise ValueError(f"{text!r} is neither name=value nor $accessor")
        if not value:
            raise ValueError(f"the label {name!r} has no value")
        template = accessor(value) if value.startswith("$") else Template(value, [value], [])
        return cls(label_name(name), template, name)

    @property
    def has_been_renamed(self) -> bool:
        return bool(self.written) and self.written != self.name


class KeyRule(Rule, frozen=True):
    """A label that is named after its accessor; nothing else may be written."""

    shown_as: ClassVar[str] = "accessor"

    @classmethod
    def parse(cls, text: str) -> Self:
        if not text.startswith("$"):
            raise ValueError(f"{text!r} does not begin with $")
        return cls(name_of_accessor(text), accessor(text))


class MapPath(KeyPath):
    """The place of a map in the record; `$` alone is no place, and nothing is found there."""

    shown_as: ClassVar[str] = "accessor"

    @classmethod
    def parse(cls, text: str) -> Self:
        if not text.startswith("$"):
            raise ValueError(f"{text!r} does not begin with $")
        return cls("") if text == "$" else super().parse(text)


class RemovedPath(KeyPath):
    """A key or an accessor, with or without `$`."""

    shown_as: ClassVar[str] = "accessor"

    @classmethod
    def parse(cls, text: str) -> Self:
        if text.startswith("$"):
            return super().parse(text)
        try:
            return super().parse(f"${text}")
        except ValueError:
            return cls(text)


def accessor(text: str) -> Template:
    """A template that may read the record and the tag, but no groups of a regular expression."""
    if text[1:2].isdigit():
        raise ValueError(f"{text!r} names a group of a regular expression, and there is none")
    return Template.parse(text)


def name_of_accessor(text: str) -> str:
    """The name of a label that is written as an accessor alone."""
    if found := _TAG.match(text):
        return f"tag_{found[1]}" if found[1] else "tag"
    paths = accessor(text).paths
    if not paths:
        raise ValueError(f"{text!r} is not an accessor")
    return label_name("_".join([paths[0].key, *map(str, paths[0].steps)]))


def read_label_map(path: str) -> list[Rule]:
    """The rules of a label map: a JSON object of the record's shape whose leaves are names of labels.

    Raises `OSError` if it cannot be read and `ValueError` if it is not such an object.
    """
    tree = json.loads(Path(path).read_text(encoding="utf-8"))
    if not isinstance(tree, dict):
        raise ValueError("it is not a JSON object")
    return list(_leaves(tree, ()))


def value_at(path: KeyPath) -> Template:
    """A template that is the value at this place, whose key may be one that no accessor can name."""

    def value(tag: str, body: Body, groups: Groups) -> str | None:
        found = path.get(body, _MISSING)
        return None if found is _MISSING else text_of(found)

    return Template(path.key, [value], [path])


def _leaves(tree: dict[str, Any], above: tuple[str, ...]) -> Iterator[Rule]:
    for key, value in tree.items():
        place = (*above, key)
        if isinstance(value, dict):
            yield from _leaves(value, place)
        elif isinstance(value, str):
            yield Rule(label_name(value), value_at(KeyPath(place[0], place[1:])), value)
        else:
            raise ValueError(f"the name of a label is expected at {'.'.join(place)}")
