"""Which file a record goes to.

Tags and values of records are written by strangers. Whatever they hold, the file stays below the configured folder:
they are cut into components, and none of these may be empty, `.` or `..`, or hold a harmful character. A component that
is too long for a file system is cut, and a checksum keeps the names of different ones different.
"""

from __future__ import annotations

import functools
import itertools
import re
import zlib
from collections.abc import Callable, Sequence
from typing import Literal

import msgspec

from ...codecs.dates import strftime_utc
from ...codecs.template import Template
from ...errors import OptionError
from ...record import Record

Policy = Literal["error", "drop", "fallback"]

_HARMFUL_IN_TAG = re.compile(r"[^A-Za-z0-9._-]")
_HARMFUL_IN_VALUE = re.compile(r"[\x00-\x1f\x7f/\ud800-\udfff]")
_BETWEEN_COMPONENTS = re.compile(r"/(?![^\[]*\])")
_LONGEST_TAG = 2000
_LONGEST_COMPONENT = 200
_REMEMBERED_SECONDS = 64


def name_from_tag(tag: str) -> str:
    """A relative file name without any way out of the folder it is put into; slashes make sub-folders."""
    components = [_harmless(_HARMFUL_IN_TAG, c) for c in tag[:_LONGEST_TAG].split("/") if c]
    return "/".join(components) or "_"


def is_dynamic(text: str, strftime: bool) -> bool:
    """Whether a path or a file name depends on the record."""
    return (strftime and "%" in text) or not all(Template.parse(c).is_static for c in _BETWEEN_COMPONENTS.split(text))


def fixed_folder(folder: str, strftime: bool) -> str:
    """The part of a folder that is the same for all records."""
    components = _BETWEEN_COMPONENTS.split(folder)
    fixed = list(itertools.takewhile(lambda component: not is_dynamic(component, strftime), components))
    return "/".join(fixed) or ("/" if fixed else ".")


class Target(msgspec.Struct, frozen=True):
    """Where records go: a file, or nowhere because of `refusal`."""

    path: str = ""
    refusal: str = ""


class DynamicNames:
    """Names that depend on the time and on fields of a record; holds the files named so far, which are limited."""

    def __init__(
        self, folder: str, file: str, *, strftime: bool, fallback: str, most: int, on_missing: Policy, on_limit: Policy
    ) -> None:
        self._components = _BETWEEN_COMPONENTS.split(f"{folder}/{file}" if file else folder)
        self._by_tag = not file
        self._strftime = strftime
        self._most = most
        self._on_missing = self._other_target(on_missing, fallback, "a field of the file name is missing")
        self._on_limit = self._other_target(on_limit, fallback, "max_dynamic_files is reached")
        self._named: set[str] = set()
        self._renderers_at = functools.lru_cache(_REMEMBERED_SECONDS)(self._make_renderers)

    def target(self, tag: str, record: Record) -> Target:
        """Where this record goes."""
        second = record.time_ns // 1_000_000_000 if self._strftime else 0
        components = []
        for render in self._renderers_at(second):
            component = render(tag, record)
            if component is None:
                return self._on_missing
            components.append(component)
        if self._by_tag:
            components.append(name_from_tag(tag))
        path = "/".join(components)
        if path not in self._named:
            if len(self._named) >= self._most:
                return self._on_limit
            self._named.add(path)
        return Target(path)

    def _make_renderers(self, second: int) -> Sequence[Callable[[str, Record], str | None]]:
        texts = self._components
        if self._strftime:
            texts = [strftime_utc(text, second) for text in texts]
        return [_component_renderer(text) for text in texts]

    @staticmethod
    def _other_target(policy: Policy, fallback: str, reason: str) -> Target:
        return Target(fallback) if policy == "fallback" else Target(refusal=f"{reason} ({policy})")

    def __repr__(self) -> str:
        return f"DynamicNames({'/'.join(self._components)!r}, {len(self._named)} of {self._most} files)"


def parse_name(option: str, text: str) -> str:
    """The text, if its elements can be read; raises `OptionError` otherwise."""
    try:
        for component in _BETWEEN_COMPONENTS.split(text):
            Template.parse(component)
    except ValueError as error:
        raise OptionError(option, str(error)) from error
    return text


def _component_renderer(text: str) -> Callable[[str, Record], str | None]:
    template = Template.parse(text)
    if template.is_static:
        return lambda tag, record: text

    def render(tag: str, record: Record) -> str | None:
        rendered = template.render_strict(tag, record.body)
        return None if rendered is None else _harmless(_HARMFUL_IN_VALUE, rendered)

    return render


def _harmless(harmful: re.Pattern[str], component: str) -> str:
    clean = harmful.sub("_", component)
    encoded = clean.encode()
    if len(encoded) > _LONGEST_COMPONENT:
        checksum = zlib.crc32(component.encode("utf-8", "surrogatepass"))
        clean = f"{encoded[:_LONGEST_COMPONENT].decode('utf-8', 'ignore')}_{checksum:08x}"
    return "_" if clean in ("", ".", "..") else clean
