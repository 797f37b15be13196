"""Keep or drop records by matching their fields against patterns."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from typing import Annotated, ClassVar, Self

import msgspec

from ..codecs.template import KeyPath
from ..columns import Columns, Constant, columns_of
from ..config.options import Written, opt
from ..context import Context
from ..errors import OptionError
from ..parsers.onigmo import Regex
from ..record import Body, Record, RecordBatch
from .base import Filter, FilterOptions

Test = Callable[[Body], bool]
Keep = Callable[[list[Record]], list[Record]]
Wanted = Callable[[Columns], Sequence[bool]]


class LogicalOp(str):
    """How several rules work together: legacy, AND or OR."""

    shown_as = "legacy | AND | OR"

    @classmethod
    def parse(cls, text: str) -> Self:
        """Any other word means legacy, as in Fluent Bit."""
        word = text.strip().upper()
        return cls(word if word in ("AND", "OR") else "legacy")


class Rule(msgspec.Struct, frozen=True):
    """One "FIELD PATTERN" as written: whether it keeps or drops, its place in the section, and when it matches."""

    shown_as: ClassVar[str] = "words"
    keeps: bool
    place: int
    path: KeyPath
    regex: Regex
    matches: Test

    @classmethod
    def parse_written(cls, written: Written) -> Self:
        """Read a rule; raises `ValueError` for a missing pattern, or a field or pattern that cannot be read."""
        field, _, pattern = written.text.partition(" ")
        if not pattern:
            raise ValueError(f"expected FIELD PATTERN, got {written.text!r}")
        path = KeyPath.parse(field if field.startswith("$") else f"${field}")
        regex = Regex(pattern)
        return cls(written.key == "regex", written.place, path, regex, _found(path, regex))

    def verdicts(self, columns: Columns) -> Sequence[bool]:
        """For each record whether it matches; the field is no path into a map."""
        member = columns.members.get(self.path.key)
        if type(member) is tuple:
            # Most rules look for words that are nowhere in a block.
            if needles := self.regex.needles:
                text = "\n".join(member)
                if not any(needle in text for needle in needles):
                    return [False] * len(columns)
            search = self.regex.search
            return [search(value) is not None for value in member]
        is_found = isinstance(member, Constant) and self.regex.search(member.value) is not None
        return [is_found] * len(columns)


class GrepOptions(FilterOptions):
    """Options of the grep filter."""

    regex: Annotated[
        tuple[Rule, ...], opt("Keep records in whose FIELD the PATTERN is found.", example="log ^ERROR")
    ] = ()
    exclude: Annotated[
        tuple[Rule, ...], opt("Drop records in whose FIELD the PATTERN is found.", example="level debug")
    ] = ()
    logical_op: Annotated[
        LogicalOp, opt("With AND or OR all rules, or one of them, must match; otherwise the first that decides.")
    ] = LogicalOp("legacy")

    def __post_init__(self) -> None:
        if self.logical_op != "legacy" and self.regex and self.exclude:
            raise OptionError(
                "logical_op", f"{self.logical_op} is set and both 'regex' and 'exclude' are set", "use one kind of rule"
            )

    def rules(self) -> list[Rule]:
        """The rules in the order in which they were written."""
        return sorted((*self.regex, *self.exclude), key=lambda rule: rule.place)


class GrepFilter(Filter):
    """Keeps the records that its rules decide to keep.

    legacy: the first rule that decides does, in the order of the section. A Regex decides always, to keep the record if
    it matches and to drop it otherwise; an Exclude decides only if it matches. A record that no rule decides on stays.
    AND, OR: the rules are all of one kind; records stay, or with Exclude go, if all of them match, or one does.
    """

    Options = GrepOptions

    def __init__(self, options: GrepOptions, context: Context) -> None:
        rules = options.rules()
        self._has_paths = any(rule.path.steps for rule in rules)
        if options.logical_op == "legacy":
            self._keep, self._wanted = _legacy(rules)
        else:
            self._keep, self._wanted = _all_or_one(rules, options.logical_op == "AND")

    def apply(self, batch: RecordBatch) -> RecordBatch | None:
        if not self._has_paths and (columns := columns_of(batch.content)) is not None:
            return _picked(batch, columns, self._wanted(columns))
        records = batch.records
        kept = self._keep(records)
        if len(kept) == len(records):
            return batch
        if not kept:
            return None
        batch.size = batch.size * len(kept) // len(records)
        batch.records = kept
        return batch


def _picked(batch: RecordBatch, columns: Columns, wanted: Sequence[bool]) -> RecordBatch | None:
    kept = sum(wanted)
    if kept == len(batch):
        return batch
    if not kept:
        return None
    return RecordBatch(batch.tag, columns.picked(wanted), batch.size * kept // len(batch), batch.receipt)


def _legacy(rules: list[Rule]) -> tuple[Keep, Wanted]:
    """The excluding rules up to the first keeping one, and that one; nothing behind it is ever asked."""
    excluding = list(itertools.takewhile(lambda rule: not rule.keeps, rules))
    keeping = rules[len(excluding)] if len(excluding) < len(rules) else None

    def keep(records: list[Record]) -> list[Record]:
        for rule in excluding:
            matches = rule.matches
            records = [r for r in records if not matches(r.body)]
        if keeping is None:
            return records
        matches = keeping.matches
        return [r for r in records if matches(r.body)]

    def wanted(columns: Columns) -> Sequence[bool]:
        excluded = [rule.verdicts(columns) for rule in excluding]
        kept = keeping.verdicts(columns) if keeping is not None else [True] * len(columns)
        if not any(map(any, excluded)):
            return kept
        return [is_kept and not any(out) for is_kept, *out in zip(kept, *excluded, strict=True)]

    return keep, wanted


def _all_or_one(rules: list[Rule], must_all: bool) -> tuple[Keep, Wanted]:
    tests = [rule.matches for rule in rules]
    keeps = all(rule.keeps for rule in rules)
    decide = all if must_all or not rules else any

    def keep(records: list[Record]) -> list[Record]:
        return [r for r in records if decide(matches(r.body) for matches in tests) is keeps]

    def wanted(columns: Columns) -> Sequence[bool]:
        if not rules:
            return [decide(()) is keeps] * len(columns)
        found = [rule.verdicts(columns) for rule in rules]
        return [decide(verdicts) is keeps for verdicts in zip(*found, strict=True)]

    return keep, wanted


def _found(path: KeyPath, regex: Regex) -> Test:
    """Whether the field is text in which the pattern is found; nothing but text ever matches."""
    get, key, search = path.get, path.key, regex.search

    def matches_key(body: Body) -> bool:
        value = body.get(key)
        return isinstance(value, str) and search(value) is not None

    def matches_path(body: Body) -> bool:
        value = get(body)
        return isinstance(value, str) and search(value) is not None

    if not path.steps:
        return matches_key
    return _found_in_maps(path, regex, _remembering(path.key, matches_path))


def _found_in_maps(path: KeyPath, regex: Regex, matches_path: Test) -> Test:
    """As `matches_path`, which takes twice the time where there are maps all the way, as is usual."""
    key, steps, search = path.key, path.steps, regex.search

    def matches(body: Body) -> bool:
        value = body.get(key)
        for step in steps:
            if type(value) is not dict:
                return matches_path(body)
            value = value.get(step)
        return isinstance(value, str) and search(value) is not None

    return matches if all(isinstance(step, str) for step in steps) else matches_path


def _remembering(key: str, matches: Test) -> Test:
    """As `matches`, which looks at the value of this key only; asked once for neighbours with one encoded map.

    All records of a pod hold the same map, encoded ahead, and to decode it for each of them would cost 2 us.
    """
    last: msgspec.Raw | None = None
    verdict = False

    def matches_or_did(body: Body) -> bool:
        nonlocal last, verdict
        value = body.get(key)
        if not isinstance(value, msgspec.Raw):
            return matches(body)
        if value is not last:
            last, verdict = value, matches(body)
        return verdict

    return matches_or_did
