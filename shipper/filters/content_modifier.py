"""Insert, replace, delete, rename, hash, take apart or convert one field; made for `processors` in YAML."""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Callable
from typing import Annotated, Any, Literal

from ..config.options import opt
from ..context import Context
from ..errors import OptionError
from ..parsers.onigmo import Regex
from ..record import Body, RecordBatch
from .base import Filter, FilterOptions

Action = Literal["insert", "upsert", "delete", "rename", "hash", "extract", "convert"]
ConvertedType = Literal["string", "boolean", "int", "double"]
Change = Callable[[Body], None]

_NEEDED = {
    "insert": "value",
    "upsert": "value",
    "rename": "value",
    "extract": "pattern",
    "convert": "converted_type",
}
_EXAMPLES = {"value": "prod", "pattern": "^(?<level>[A-Z]+) ", "converted_type": "int"}
_INTEGER = re.compile(r"\s*([+-]?[0-9]+)")
_NUMBER = re.compile(r"\s*([+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?)")


class ContentModifierOptions(FilterOptions, kw_only=True):
    """Options of the content_modifier processor."""

    action: Annotated[Action, opt("What to do with the field.", example="insert")]
    key: Annotated[str, opt("The field.", example="cluster")]
    value: Annotated[
        str | None, opt("insert, upsert: the text of the field; rename: its new name.", example="prod")
    ] = None
    pattern: Annotated[Regex | None, opt("extract: its named groups become fields.", example="^(?<level>[A-Z]+) ")] = (
        None
    )
    converted_type: Annotated[ConvertedType | None, opt("convert: the type that the field gets.", example="int")] = None
    context: Annotated[
        Literal["body", "message", "record", "attributes", "metadata"],
        opt("Where the field is: in the record itself (body), or in its metadata (attributes)."),
    ] = "body"

    def __post_init__(self) -> None:
        needed = _NEEDED.get(self.action)
        if needed and getattr(self, needed) is None:
            raise OptionError(needed, f"is required for action {self.action}", f"for example: {_EXAMPLES[needed]}")


class ContentModifierFilter(Filter):
    """Does one thing to one field of every record; records that cannot be changed so stay as they are."""

    Options = ContentModifierOptions

    def __init__(self, options: ContentModifierOptions, context: Context) -> None:
        self._change = _change(options)
        self._is_for_metadata = options.context in ("attributes", "metadata")

    def apply(self, batch: RecordBatch) -> RecordBatch | None:
        change = self._change
        if self._is_for_metadata:
            for record in batch.records:
                metadata = record.metadata or {}
                change(metadata)
                record.metadata = metadata or None
        else:
            for record in batch.records:
                change(record.body)
        return batch


def _change(options: ContentModifierOptions) -> Change:
    """The change of one record; it works in place."""
    key, value = options.key, options.value or ""
    if options.action == "insert":
        return lambda body: _append(body, key, value) if key not in body else None
    if options.action == "upsert":
        return lambda body: _append(body, key, value)
    if options.action == "delete":
        return lambda body: body.pop(key, None) and None
    if options.action == "rename":
        return lambda body: _rename(body, key, value)
    if options.action == "extract" and options.pattern is not None:
        pattern = options.pattern
        return lambda body: _extract(body, key, pattern)
    convert = _hashed if options.action == "hash" else _CONVERSIONS[options.converted_type or "string"]
    is_kept_in_place = options.action == "hash"
    return lambda body: _replace(body, key, convert, is_kept_in_place)


def _append(body: Body, key: str, value: Any) -> None:
    body.pop(key, None)
    body[key] = value


def _rename(body: Body, key: str, new: str) -> None:
    """Give the field its new name at its old place; a field that had the new name goes."""
    if key in body and key != new:
        renamed = {new if name == key else name: value for name, value in body.items() if name != new}
        body.clear()
        body.update(renamed)


def _extract(body: Body, key: str, pattern: Regex) -> None:
    text = body.get(key)
    match = pattern.search(text) if isinstance(text, str) else None
    if match:
        for name, value in pattern.groups(match).items():
            if value is not None:
                _append(body, name, value)


def _replace(body: Body, key: str, convert: Callable[[Any], Any], is_kept_in_place: bool) -> None:
    if key not in body:
        return
    try:
        value = convert(body[key])
    except (ValueError, OverflowError):
        return
    if is_kept_in_place:
        body[key] = value
    else:
        _append(body, key, value)


def _text(value: Any) -> str:
    if isinstance(value, str):
        return value
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, float):
        return f"{value:.17g}"
    if isinstance(value, int):
        return str(value)
    raise ValueError("maps and lists have no text")


def _hashed(value: Any) -> str:
    text = _text(value)
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest() if text else text


def _boolean(value: Any) -> bool:
    if isinstance(value, str):
        return value.lower() == "true"
    if value is None or isinstance(value, (bool, int, float)):
        return bool(value)
    raise ValueError("maps and lists are neither true nor false")


def _integer(value: Any) -> int:
    """The whole number that a text begins with; other numbers are rounded, halves away from zero."""
    if isinstance(value, str):
        return int(_found(_INTEGER, value))
    number = _number(value)
    return int(number) if isinstance(number, int) else int(math.copysign(math.floor(abs(number) + 0.5), number))


def _double(value: Any) -> float:
    return float(_found(_NUMBER, value)) if isinstance(value, str) else float(_number(value))


def _number(value: Any) -> int | float:
    if value is None:
        return 0
    if isinstance(value, (int, float)):
        return value
    raise ValueError("maps and lists are no numbers")


def _found(pattern: re.Pattern[str], text: str) -> str:
    found = pattern.match(text)
    if not found:
        raise ValueError("the text does not begin with a number")
    return found[1]


_CONVERSIONS: dict[str, Callable[[Any], Any]] = {
    "string": _text,
    "boolean": _boolean,
    "int": _integer,
    "double": _double,
}
