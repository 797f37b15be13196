"""Set fields of records whose value is on a list."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, Self

import msgspec

from ..codecs.template import KeyPath
from ..config.options import opt
from ..config.words import split_words
from ..context import Context
from ..errors import OptionError
from ..record import RecordBatch
from .base import Filter, FilterOptions

_LONGEST_LINE = 2046
_WORDS = {"true": True, "false": False, "null": None}

IsListed = Callable[[str], object]


class Field(msgspec.Struct, frozen=True):
    """A field to set; the words true, false and null are values of their own."""

    shown_as: ClassVar[str] = "words"
    key: str
    value: Any

    @classmethod
    def parse(cls, text: str) -> Self:
        words = split_words(text)
        if len(words) != 2:
            raise ValueError(f"expected KEY VALUE, got {text!r}")
        return cls(words[0], _WORDS.get(words[1].lower(), words[1]))


class ChecklistOptions(FilterOptions, kw_only=True):
    """Options of the checklist filter."""

    file: Annotated[str, opt("File with one value a line; lines that begin with # are left out.", example="list.txt")]
    lookup_key: Annotated[str, opt("Field to look up; $a['b'] reaches into maps.", example="ip")] = "log"
    mode: Annotated[
        Literal["exact", "partial"], opt("partial: the field begins with a line, in which % and _ are wildcards.")
    ] = "exact"
    ignore_case: Annotated[bool, opt("Take upper and lower case as the same.")] = False
    record: Annotated[tuple[Field, ...], opt("KEY VALUE to set in records on the list.", example="known true")] = ()
    print_query_time: Annotated[bool, opt("Accepted and without effect.")] = False


class ChecklistFilter(Filter):
    """Sets its fields, at the end of each record whose value is text on the list."""

    Options = ChecklistOptions

    def __init__(self, options: ChecklistOptions, context: Context) -> None:
        self._fields = {field.key: field.value for field in options.record}
        try:
            self._path = KeyPath.parse(options.lookup_key)
        except ValueError as error:
            raise OptionError("lookup_key", str(error)) from error
        # The list is read here and not by `open`, so that a dry run finds that it cannot be.
        lines = _lines(options.file)
        match = _exact if options.mode == "exact" else _partial
        self._is_listed = match(lines, options.ignore_case)

    def apply(self, batch: RecordBatch) -> RecordBatch | None:
        get, is_listed, fields = self._path.get, self._is_listed, self._fields
        bodies = batch.content.bodies()
        if set(map(type, bodies)) <= {dict} and not any(type(v := get(b)) is str and is_listed(v) for b in bodies):
            return batch
        for record in batch.records:
            body = record.body
            value = get(body)
            if isinstance(value, str) and is_listed(value):
                for key in fields.keys() & body.keys():
                    del body[key]
                body.update(fields)
        return batch


def _lines(file: str) -> list[str]:
    try:
        data = Path(file).read_bytes()
    except OSError as error:
        raise OptionError(
            "file", f"{file} cannot be read: {error.strerror}", "check the path and its rights"
        ) from error
    lines = [line.rstrip(b"\r") for line in data.split(b"\n")]
    if any(len(line) > _LONGEST_LINE for line in lines):
        raise OptionError("file", f"{file} has a line of more than {_LONGEST_LINE} bytes")
    return [line.decode("utf-8", "surrogateescape") for line in lines if line and not line.startswith(b"#")]


def _exact(lines: list[str], ignore_case: bool) -> IsListed:
    if ignore_case:
        lowered = frozenset(line.lower() for line in lines)
        return lambda value: value.lower() in lowered
    return frozenset(lines).__contains__


def _partial(lines: list[str], ignore_case: bool) -> IsListed:
    """Whether a text begins with a line; SQL's wildcards stand for any text and for any one character."""
    flags = re.DOTALL | (re.IGNORECASE if ignore_case else re.NOFLAG)
    plain = tuple(line for line in lines if "%" not in line and "_" not in line)
    wild = [re.compile(_as_regex(line), flags).match for line in lines if "%" in line or "_" in line]
    if ignore_case:
        plain = tuple(line.lower() for line in plain)
        return lambda value: value.lower().startswith(plain) or any(match(value) for match in wild)
    return lambda value: value.startswith(plain) or any(match(value) for match in wild)


def _as_regex(line: str) -> str:
    return "".join({"%": ".*", "_": "."}.get(c) or re.escape(c) for c in re.sub("%+", "%", line))
