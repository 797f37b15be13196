"""Check that records are as they should be; made for trying out configurations."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any, ClassVar, Literal, Self

import msgspec

from ..codecs.json_lines import JsonEncoder
from ..codecs.template import KeyPath
from ..config.options import Written, opt
from ..config.words import split_words
from ..context import Context
from ..record import Body, RecordBatch
from .base import Filter, FilterOptions

_MISSING: Any = object()
_BROKEN_RULE = 255
"""Exit status of the process if a rule is broken and the action is `exit`, as in Fluent Bit."""

Holds = Callable[[Any], bool]

_RULES: dict[str, Holds] = {
    "key_exists": lambda value: value is not _MISSING,
    "key_not_exists": lambda value: value is _MISSING,
    "key_val_is_null": lambda value: value is None,
    "key_val_is_not_null": lambda value: value is not None and value is not _MISSING,
}


class Rule(msgspec.Struct, frozen=True):
    """One rule as written: which value it is about, its place in the section, and when it holds."""

    shown_as: ClassVar[str] = "field"
    path: KeyPath
    place: int
    holds: Holds

    @classmethod
    def parse_written(cls, written: Written) -> Self:
        """Read a rule; raises `ValueError` that tells what is wrong with it."""
        if written.key != "key_val_eq":
            return cls(KeyPath.parse(written.text.strip()), written.place, _RULES[written.key])
        words = split_words(written.text)
        if len(words) != 2:
            raise ValueError(f"expected KEY VALUE, got {written.text!r}")
        return cls(KeyPath.parse(words[0]), written.place, _equals(words[1]))


class ExpectOptions(FilterOptions):
    """Options of the expect filter; all rules must hold."""

    key_exists: Annotated[tuple[Rule, ...], opt("The field must be there.", example="log")] = ()
    key_not_exists: Annotated[tuple[Rule, ...], opt("The field must not be there.", example="err")] = ()
    key_val_is_null: Annotated[tuple[Rule, ...], opt("The field must be there and null.")] = ()
    key_val_is_not_null: Annotated[tuple[Rule, ...], opt("The field must be there and not null.")] = ()
    key_val_eq: Annotated[
        tuple[Rule, ...], opt("The field must be there; if it is text, it must be this one.", example="env prod")
    ] = ()
    action: Annotated[
        Literal["warn", "exit", "result_key"], opt("What to do when a rule does not hold, besides telling it.")
    ] = "warn"
    result_key: Annotated[str, opt("Field for the outcome, with action result_key.")] = "matched"

    def rules(self) -> list[Rule]:
        """The rules in the order in which they were written."""
        every = (
            *self.key_exists,
            *self.key_not_exists,
            *self.key_val_is_null,
            *self.key_val_is_not_null,
            *self.key_val_eq,
        )
        return sorted(every, key=lambda rule: rule.place)


class ExpectFilter(Filter):
    """Tells of every record that breaks a rule; the first rule that is broken counts. No record is ever dropped."""

    Options = ExpectOptions

    def __init__(self, options: ExpectOptions, context: Context) -> None:
        self._rules = options.rules()
        self._action = options.action
        self._result_key = options.result_key
        self._context = context
        self._encode = JsonEncoder(escape_unicode=False).encode

    def apply(self, batch: RecordBatch) -> RecordBatch | None:
        bodies = [record.body for record in batch.content.records()]
        outcomes = [self._check(body) for body in bodies]
        if self._action == "result_key":
            for record, outcome in zip(batch.records, outcomes, strict=True):
                record.body.pop(self._result_key, None)
                record.body = {self._result_key: outcome, **record.body}
        elif self._action == "exit" and not all(outcomes):
            self._context.stop_service(_BROKEN_RULE)
        return batch

    def _check(self, body: Body) -> bool:
        for number, rule in enumerate(self._rules):
            if not rule.holds(rule.path.get(body, _MISSING)):
                self._context.log.error(f"exception on rule #{number}, record={self._encode(body).decode()}")
                return False
        return True


def _equals(wanted: str) -> Holds:
    """Whether a value is there and, if it is text, the wanted one."""
    return lambda value: value == wanted if isinstance(value, str) else value is not _MISSING
