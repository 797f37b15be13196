"""Change the fields of records by rules that act one after the other, in the order in which they are written."""

from __future__ import annotations

from typing import Annotated

from ...config.options import opt
from ...context import Context
from ...record import Body, RecordBatch
from ..base import Filter, FilterOptions
from ..shapes import ShapedChange
from .conditions import Condition
from .rules import Rule


class ModifyOptions(FilterOptions):
    """Options of the modify filter; rules of all kinds take turns as they are written."""

    set: Annotated[tuple[Rule, ...], opt("Put KEY with this VALUE at the end.", example="level info")] = ()
    add: Annotated[tuple[Rule, ...], opt("Append KEY with this VALUE if there is no KEY.", example="env prod")] = ()
    remove: Annotated[tuple[Rule, ...], opt("Remove KEY.", example="password")] = ()
    remove_wildcard: Annotated[
        tuple[Rule, ...], opt("Remove the keys that begin with this text; * has no meaning.", example="tmp_")
    ] = ()
    remove_regex: Annotated[
        tuple[Rule, ...], opt("Remove the keys in which this expression is found.", example="^_")
    ] = ()
    rename: Annotated[
        tuple[Rule, ...], opt("Give KEY a new NAME unless there is a NAME already.", example="MESSAGE message")
    ] = ()
    hard_rename: Annotated[
        tuple[Rule, ...], opt("Give KEY a new NAME, in the place of any other NAME.", example="MESSAGE message")
    ] = ()
    copy: Annotated[
        tuple[Rule, ...], opt("Copy KEY to NAME unless there is a NAME already.", example="log message")
    ] = ()
    hard_copy: Annotated[
        tuple[Rule, ...], opt("Copy KEY to NAME, in the place of any other NAME.", example="log message")
    ] = ()
    move_to_start: Annotated[
        tuple[Rule, ...], opt("Move the keys that begin with this text to the front.", example="k8s_")
    ] = ()
    move_to_end: Annotated[
        tuple[Rule, ...], opt("Move the keys that begin with this text to the end.", example="k8s_")
    ] = ()
    # Other plugins accept one text here; for this one it has a meaning.
    condition: Annotated[
        tuple[Condition, ...],
        opt("Change only records for which all conditions hold.", example="Key_value_equals stream stderr"),
    ] = ()  # type: ignore[assignment]

    def rules(self) -> list[Rule]:
        """The rules in the order in which they were written."""
        kinds = (
            *(self.set, self.add, self.remove, self.remove_wildcard, self.remove_regex, self.rename),
            *(self.hard_rename, self.copy, self.hard_copy, self.move_to_start, self.move_to_end),
        )
        return sorted((rule for kind in kinds for rule in kind), key=lambda rule: rule.place)


class ModifyFilter(Filter):
    """Applies every rule to every record for which all conditions hold on the record as it came."""

    Options = ModifyOptions

    def __init__(self, options: ModifyOptions, context: Context) -> None:
        rules = options.rules()
        for rule in rules:
            if rule.change is None:
                context.log.error(
                    "a rule has three words where it takes two; it is ignored", rule=f"{rule.name} {rule.text}"
                )
        self._changes = [rule.change for rule in rules if rule.change is not None]
        self._shaped = ShapedChange(self._changed)
        self._tests = [condition.holds for condition in options.condition]

    def apply(self, batch: RecordBatch) -> RecordBatch | None:
        if not self._tests and (changed := self._shaped.made_of(batch)) is not None:
            return changed
        meant = batch.records
        for holds in self._tests:
            meant = [r for r in meant if holds(r.body)]
        self._shaped.make(meant)
        return batch

    def _changed(self, body: Body) -> Body:
        for change in self._changes:
            body = change(body)
        return body
