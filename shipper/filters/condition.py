"""Conditions: on which records a filter acts, whatever filter it is.

In YAML a filter or processor may have a map `condition` with `op` (and, or) and `rules`. Each rule compares the text of
a field, as templates show it and empty where the field is missing, with a value. The words that deny (neq, not_regex,
not_in) are true exactly where the others are not. The comparisons of size are true only for fields that are numbers, or
texts that are.
"""

from __future__ import annotations

import itertools
import math
import operator
from collections.abc import Callable, Mapping
from typing import Annotated, Literal, Self

from ..codecs.template import KeyPath, text_of
from ..config.model import Section
from ..config.options import Options, opt, read_options
from ..errors import OptionError, Problem
from ..parsers.onigmo import Regex
from ..record import Record, RecordBatch
from .base import Filter, FilterOptions

Operator = Literal["eq", "neq", "gt", "lt", "gte", "lte", "regex", "not_regex", "in", "not_in"]
Test = Callable[[str], bool]
Holds = Callable[[Record], bool]

_SIZES: Mapping[str, Callable[[float, float], bool]] = {
    "gt": operator.gt,
    "lt": operator.lt,
    "gte": operator.ge,
    "lte": operator.le,
}
_DENIALS = {"neq": "eq", "not_regex": "regex", "not_in": "in"}


class Field(KeyPath):
    """Where the value to compare is; the `$` may be left out."""

    @classmethod
    def parse(cls, text: str) -> Self:
        return super().parse(text if text.startswith("$") else f"${text}")


class RuleOptions(Options):
    """One rule as written."""

    field: Annotated[Field, opt("The field to look at.", example="$request['method']")]
    op: Annotated[Operator, opt("How to compare.", example="eq")]
    value: Annotated[tuple[str, ...], opt("What to compare with; several for in and not_in.", example="POST")] = ()
    context: Annotated[
        Literal["body", "message", "record", "attributes", "metadata"],
        opt("Where the field is: in the record itself (body), or in its metadata (attributes)."),
    ] = "body"

    def __post_init__(self) -> None:
        if not self.value:
            raise OptionError("value", "is required", "for example: value: POST")
        if len(self.value) > 1 and self.op not in ("in", "not_in"):
            raise OptionError("value", f"is a list, which {self.op} cannot compare with", "use in or not_in")

    def holds(self) -> Holds:
        """The rule, compiled; raises `OptionError` for a value that it cannot compare with."""
        test, get = self._test(), self.field.get
        if self.context in ("attributes", "metadata"):
            return lambda record: test(text_of(get(record.metadata or {}, "")) or "")

        def holds(record: Record) -> bool:
            value = get(record.body, "")
            return test(value if type(value) is str else text_of(value) or "")

        return holds

    def _test(self) -> Test:
        if self.op in _DENIALS:
            affirmed = _test(_DENIALS[self.op], self.value)
            return lambda text: not affirmed(text)
        return _test(self.op, self.value)


class ConditionOptions(Options):
    """What joins the rules."""

    op: Annotated[Literal["and", "or"], opt("Whether all rules must hold, or one of them.", example="and")] = "and"


class Condition:
    """Says for which records all of its rules hold, or with `or` any."""

    def __init__(self, op: Literal["and", "or"], rules: list[Holds]) -> None:
        decide, rules = (all if op == "and" else any), list(rules)
        only = rules[0] if len(rules) == 1 else None
        self.holds: Holds = only or (lambda record: decide(rule(record) for rule in rules))


def read_condition(
    section: Section, plugin: str, problems: list[Problem], warn: Callable[[str], None]
) -> Condition | None:
    """The condition that a section describes; None, with the problems told, if anything is wrong with it."""
    name = f"condition of {plugin}"
    joined = read_options(ConditionOptions, section, name, problems, warn)
    rules: list[Holds] = []
    for written in section.rules:
        rule = read_options(RuleOptions, written, name, problems, warn)
        try:
            rules += [rule.holds()] if rule is not None else []
        except OptionError as error:
            problems.append(Problem(f"{name}: {error.message}", written.origin_of(error.option), error.remedy, 255))
    if not section.rules:
        remedy = "add: rules: [{field: $level, op: eq, value: error}]"
        problems.append(Problem(f"{name}: it has no rules", section.origin, remedy, 255))
    return Condition(joined.op, rules) if joined is not None and len(rules) == len(section.rules) > 0 else None


class ConditionalFilter(Filter):
    """Lets another filter act on the records for which a condition holds; the others pass, and the order stays."""

    Options = FilterOptions

    def __init__(self, inner: Filter, condition: Condition) -> None:
        self._inner = inner
        self._holds = condition.holds

    async def open(self) -> None:
        await self._inner.open()

    async def prepare(self, batch: RecordBatch) -> None:
        """As the other filter does."""
        await self._inner.prepare(batch)

    def apply(self, batch: RecordBatch) -> RecordBatch | None:
        records, holds = batch.records, self._holds
        verdicts = [holds(record) for record in records]
        if all(verdicts):
            return self._inner.apply(batch)
        if not any(verdicts):
            return batch
        left: list[Record] = []
        # Neighbours with one verdict go together, so that whatever the filter makes of them keeps its place.
        for verdict, run in itertools.groupby(zip(verdicts, records, strict=True), key=operator.itemgetter(0)):
            some = [record for _, record in run]
            left += self._changed(some, batch) if verdict else some
        if not left:
            return None
        batch.size = batch.size * min(len(left), len(records)) // len(records)
        batch.records = left
        return batch

    async def close(self) -> None:
        await self._inner.close()

    def _changed(self, records: list[Record], batch: RecordBatch) -> list[Record]:
        part = RecordBatch(batch.tag, records, batch.size * len(records) // len(batch), batch.receipt)
        made = self._inner.apply(part)
        return made.records if made is not None else []


def _test(op: str, values: tuple[str, ...]) -> Test:
    if op == "in":
        return frozenset(values).__contains__
    (value,) = values
    if op == "eq":
        return value.__eq__
    if op == "regex":
        try:
            search = Regex(value).search
        except ValueError as error:
            raise OptionError("value", f"{error}") from error
        return lambda text: search(text) is not None
    bound, compare = _number(value), _SIZES[op]
    if math.isnan(bound):
        raise OptionError("value", f"{value!r} is no number to compare with", "for example: value: 400")
    return lambda text: compare(_number(text), bound)


def _number(text: str) -> float:
    """The number that a text is; NaN, which compares with nothing, for any other text."""
    try:
        return float(text)
    except ValueError:
        return math.nan
