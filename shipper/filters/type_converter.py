"""Append fields that are other fields as another type."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from typing import Annotated, Any, ClassVar, Self

import msgspec

from ..codecs.template import KeyPath
from ..config.options import Written, opt
from ..config.words import split_words
from ..context import Context
from ..errors import OptionError
from ..record import Body, RecordBatch
from .base import Filter, FilterOptions

_REMARK_EVERY_S = 60.0
_MISSING: Any = object()
_TYPES = ("int", "uint", "float", "hex", "string", "bool")
_WRAP = 1 << 64
_DECIMAL = re.compile(r"\s*([+-]?[0-9]+)")
_HEX = re.compile(r"\s*([+-]?)(?:0[xX](?=[0-9a-fA-F]))?([0-9a-fA-F]+)")
_FLOAT = re.compile(r"\s*([+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?)")
_NO_DIGITS = re.compile(r"\s*([+-]?(?:infinity|inf|nan))", re.IGNORECASE)
_HEX_FLOAT = re.compile(r"\s*[+-]?0[xX][0-9a-fA-F]+(?:\.[0-9a-fA-F]*)?(?:[pP][+-]?[0-9]+)?")

Convert = Callable[[Any], Any]


class Rule(msgspec.Struct, frozen=True):
    """One conversion: where the value is, what the new field is called, and how its value is made.

    `convert` raises `ValueError` if the value has the wrong type, or a text that is none of the new type.
    """

    shown_as: ClassVar[str] = "words"
    path: KeyPath
    to: str
    convert: Convert

    @classmethod
    def parse_written(cls, written: Written) -> Self:
        """Read FROM_KEY TO_KEY TYPE; raises `ValueError` that tells what is wrong."""
        words = split_words(written.text)
        if len(words) != 3:
            raise ValueError(f"expected FROM_KEY TO_KEY TYPE, got {written.text!r}")
        kind = words[2].lower()
        name = next((name for name in _TYPES if kind and name.startswith(kind)), None)
        if name is None:
            raise ValueError(f"{words[2]!r} is not a type; write one of {', '.join(_TYPES)}")
        source = written.key.partition("_")[0]
        convert = _CONVERSIONS.get((source, name), _refuse)
        return cls(KeyPath.parse(words[0]), words[1], convert)


class TypeConverterOptions(FilterOptions):
    """Options of the type_converter filter."""

    int_key: Annotated[
        tuple[Rule, ...], opt("Convert an integer: FROM_KEY TO_KEY TYPE.", example="status status_text string")
    ] = ()
    uint_key: Annotated[tuple[Rule, ...], opt("Convert an unsigned integer: FROM_KEY TO_KEY TYPE.")] = ()
    float_key: Annotated[tuple[Rule, ...], opt("Convert a float: FROM_KEY TO_KEY TYPE.")] = ()
    str_key: Annotated[tuple[Rule, ...], opt("Convert a text: FROM_KEY TO_KEY TYPE.", example="code code int")] = ()

    def __post_init__(self) -> None:
        if not self.rules():
            raise OptionError("str_key", "or another rule is required", "for example: str_key code code_number int")

    def rules(self) -> list[Rule]:
        """The rules in the order in which they act."""
        return [*self.str_key, *self.int_key, *self.uint_key, *self.float_key]


class TypeConverterFilter(Filter):
    """Appends the converted values; one that cannot be converted is appended as it is.

    A batch in which nothing could be converted stays as it was.
    """

    Options = TypeConverterOptions

    def __init__(self, options: TypeConverterOptions, context: Context) -> None:
        self._rules = options.rules()
        self._log = context.log

    def apply(self, batch: RecordBatch) -> RecordBatch | None:
        records = batch.records
        found = [self._converted(record.body) for record in records]
        if not any(succeeded for _, succeeded in found):
            return batch
        for record, (fields, _) in zip(records, found, strict=True):
            body = record.body
            for key in fields.keys() & body.keys():
                del body[key]
            body.update(fields)
        return batch

    def _converted(self, body: Body) -> tuple[Body, bool]:
        """The new fields, and whether any of them could be converted."""
        fields: Body = {}
        succeeded = False
        for rule in self._rules:
            value = rule.path.get(body, _MISSING)
            if value is _MISSING:
                continue
            fields.pop(rule.to, None)
            try:
                fields[rule.to] = rule.convert(value)
                succeeded = True
            except (ValueError, OverflowError):
                self._log.error("a value cannot be converted", every=_REMARK_EVERY_S, field=rule.to)
                fields[rule.to] = value
        return fields, succeeded


def _of(kind: type, convert: Convert) -> Convert:
    """The conversion, for values of exactly this type."""

    def checked(value: Any) -> Any:
        if type(value) is not kind:
            raise ValueError("the value has another type")
        return convert(value)

    return checked


def _refuse(value: Any) -> Any:
    raise ValueError("there is no such conversion")


def _leading_integer(text: str) -> int:
    """The number that a text begins with; 0 counts as none, as in Fluent Bit."""
    found = _DECIMAL.match(text)
    return _not_zero(max(-(2**63), min(int(found[1]), 2**63 - 1)) if found else 0)


def _leading_unsigned(text: str) -> int:
    found = _DECIMAL.match(text)
    return _not_zero(_wrapped(int(found[1])) if found else 0)


def _leading_hex(text: str) -> int:
    found = _HEX.match(text)
    return _not_zero(_wrapped(int(found[1] + found[2], 16)) if found else 0)


def _wrapped(number: int) -> int:
    """As C reads an unsigned number: one that is too large is the largest, a negative one counts from above."""
    return min(number, _WRAP - 1) if number >= 0 else number % _WRAP


def _not_zero(number: int) -> int:
    if number == 0:
        raise ValueError("the text does not begin with a number")
    return number


def _leading_float(text: str) -> float:
    """As `atof` of C reads it: no number is 0, one that is too large is infinite, and `inf` and `nan` are numbers."""
    if found := _HEX_FLOAT.match(text):
        try:
            return float.fromhex(found[0].strip())
        except OverflowError:
            return -math.inf if "-" in found[0].partition("0")[0] else math.inf
    found = _FLOAT.match(text) or _NO_DIGITS.match(text)
    return float(found[1]) if found else 0.0


def _boolean(text: str) -> bool:
    lower = text.lower()
    if lower.startswith(("true", "false")):
        return lower.startswith("true")
    raise ValueError("the text is neither true nor false")


def _float_text(number: float) -> str:
    return f"{number:.1f}" if number.is_integer() else f"{number:.16g}"


def _truncated(number: float) -> int:
    whole = int(number)
    if not -(2**63) <= whole < _WRAP:
        raise ValueError("the number is too large")
    return whole


_CONVERSIONS: Mapping[tuple[str, str], Convert] = {
    ("str", "int"): _of(str, _leading_integer),
    ("str", "uint"): _of(str, _leading_unsigned),
    ("str", "hex"): _of(str, _leading_hex),
    ("str", "float"): _of(str, _leading_float),
    ("str", "bool"): _of(str, _boolean),
    ("int", "string"): _of(int, str),
    ("int", "uint"): _of(int, _wrapped),
    ("int", "float"): _of(int, float),
    ("uint", "string"): _of(int, lambda number: str(_wrapped(number))),
    ("uint", "int"): _of(int, lambda number: (_wrapped(number) + 2**63) % _WRAP - 2**63),
    ("uint", "float"): _of(int, lambda number: float(_wrapped(number))),
    ("float", "string"): _of(float, _float_text),
    ("float", "int"): _of(float, _truncated),
    ("float", "uint"): _of(float, lambda number: _wrapped(_truncated(number))),
}
