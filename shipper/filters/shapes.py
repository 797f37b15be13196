"""Change all records with the same keys at once.

What many rules do to a body depends on its keys and their order alone, its shape, and nearly all records of a batch
have the same. So the rules are tried once per shape on a body that has, in the place of each value, a mark that says
where it was. Where the marks then are is what has to be done to every body of that shape: fields to delete, and fields
to set, which costs a third to a half of following the rules. The rules themselves stay the one definition of what
happens; a shape that is rare, or has keys that are not text, is left to them.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Mapping
from operator import itemgetter
from typing import Any

import msgspec

from ..columns import Columns, Constant, Member, columns_of
from ..record import Body, Record, RecordBatch

Change = Callable[[Body], Body]
"""Gives the body to go on with: the given one, perhaps changed in place, or a new one."""

Shape = tuple[Any, ...]

Column = Callable[[list[Body]], Iterable[Any]]
"""What a field is set to in each of some bodies."""

_MOST_SHAPES = 256

# To learn what happens to a shape costs about as much as to change so many records one by one.
_FEWEST_RECORDS = 8


class Mark(msgspec.Struct, frozen=True):
    """Stands for the value under a key, of the body or of the map inside of it."""

    key: str
    is_inside: bool = False


class ShapedChange:
    """A change that is made to all records of a shape at once; what it does must depend on shapes alone.

    With `inside`, the keys of the map under this key belong to the shape, and bodies without such a map are changed one
    by one.
    """

    def __init__(self, change: Change, inside: str | None = None) -> None:
        self._change = change
        self._inside = inside
        self._shape_of: Callable[[Body], Shape] = tuple if inside is None else _shape_with(inside)
        self._known: dict[Shape, Steps | None] = {}
        self._after: dict[Shape, Body | None] = {}
        """What becomes of marks in the place of columns, by shape."""

    def make(self, records: list[Record]) -> None:
        """Change the bodies of these records."""
        for shape, alike in self._by_shape(records).items():
            steps = self._steps(shape, alike)
            if steps is not None:
                steps.take(alike)
            else:
                for record in alike:
                    record.body = self._change(record.body)

    def made_of(self, batch: RecordBatch) -> RecordBatch | None:
        """The batch changed as a whole, if its records are columns; None if they must be changed by `make`."""
        columns = columns_of(batch.content)
        if columns is None:
            return None
        members, inner = columns.members, self._members_inside(columns.members)
        shape = tuple(members), tuple(inner)
        if shape not in self._after:
            if len(self._after) >= _MOST_SHAPES:
                self._after.clear()
            self._after[shape] = self._learnt_after(*shape)
        after = self._after[shape]
        if after is None:
            return batch
        return RecordBatch(batch.tag, Columns(_put_together(after, members, inner), columns), batch.size, batch.receipt)

    def _learnt_after(self, names: Shape, inside: Shape) -> Body | None:
        """What becomes of marks in the place of columns; None if they stay where they are."""
        before: Body = {name: Mark(name) for name in names}
        if inside and self._inside is not None:
            before[self._inside] = {name: Mark(name, is_inside=True) for name in inside}
        after = self._change(dict(before))
        return None if list(after.items()) == list(before.items()) else after

    def _members_inside(self, members: Mapping[str, Member]) -> Mapping[str, Member]:
        inner = members.get(self._inside) if self._inside is not None else None
        return inner if isinstance(inner, dict) else {}

    def _by_shape(self, records: list[Record]) -> dict[Shape, list[Record]]:
        shape_of = self._shape_of
        by_shape: dict[Shape, list[Record]] = {}
        last: Shape | None = None
        alike: list[Record] = []
        for record in records:
            shape = shape_of(record.body)
            # Neighbours are mostly alike, and to compare is cheaper than to look up.
            if shape != last:
                last, alike = shape, by_shape.setdefault(shape, [])
            alike.append(record)
        return by_shape

    def _steps(self, shape: Shape, alike: list[Record]) -> Steps | None:
        known = self._known
        if shape in known:
            return known[shape]
        if len(alike) < _FEWEST_RECORDS:
            return None
        if len(known) >= _MOST_SHAPES:
            known.clear()
        known[shape] = steps = self._learnt(alike[0].body)
        return steps

    def _learnt(self, body: Body) -> Steps | None:
        before: Body = {key: Mark(key) for key in body}
        keys = list(body)
        if self._inside is not None:
            inside = body.get(self._inside)
            if type(inside) is not dict:
                return None
            before[self._inside] = {key: Mark(key, is_inside=True) for key in inside}
            keys += inside
        # Keys that are not text may be equal and yet differ, as 1 and True, which a shape would not tell.
        if any(type(key) is not str for key in keys):
            return None
        return Steps(before, self._change(dict(before)), self._inside)


def _put_together(after: Body, members: Mapping[str, Member], inner: Mapping[str, Member]) -> dict[str, Member]:
    """Columns and constants in the places where their marks are."""
    found: dict[str, Member] = {}
    for name, value in after.items():
        if isinstance(value, Mark):
            found[name] = (inner if value.is_inside else members)[value.key]
        else:
            found[name] = _put_together(value, members, inner) if isinstance(value, dict) else Constant(value)
    return found


def _shape_with(inside: str) -> Callable[[Body], Shape]:
    def shape_of(body: Body) -> Shape:
        inner = body.get(inside)
        return (tuple(body), tuple(inner)) if type(inner) is dict else ()

    return shape_of


class Steps:
    """What leads from bodies with the keys of `before` to bodies as `after`, whose values are marks or constants."""

    def __init__(self, before: Body, after: Body, inside: str | None) -> None:
        kept = {key for key, value in after.items() if key in before and before[key] is value}
        new = {name: value for name, value in after.items() if name not in kept}
        lifted = {name: value.key for name, value in new.items() if isinstance(value, Mark) and value.is_inside}
        columns = {name: value for name, value in new.items() if name not in lifted}
        self._order: Body | None = None
        if [*(key for key in before if key in kept), *columns, *lifted] != list(after):
            constants = {name: value for name, value in columns.items() if not isinstance(value, Mark | dict)}
            self._order = {name: constants.get(name) for name in after}
            columns = {name: value for name, value in columns.items() if name not in constants}
        self._inside = inside
        self._deleted = [key for key in before if key not in kept]
        self._columns = [(name, _column(value)) for name, value in columns.items()]
        self._lifted = list(lifted.items())

    def take(self, records: list[Record]) -> None:
        """Change the bodies of these records; all have the keys of `before`, in that order."""
        bodies = [record.body for record in records]
        inner = [body[self._inside] for body in bodies] if self._inside is not None else []
        columns = [(name, column(bodies)) for name, column in self._columns]
        for key in self._deleted:
            for body in bodies:
                del body[key]
        if self._order is not None:
            bodies = list(map(self._order.__or__, bodies))
            for record, body in zip(records, bodies, strict=True):
                record.body = body
        for name, values in columns:
            for body, value in zip(bodies, values, strict=False):  # a constant has no end
                body[name] = value
        lifted = self._lifted
        for body, one in zip(bodies, inner, strict=False):
            for name, key in lifted:
                body[name] = one[key]


def _column(value: Any) -> Column:
    """Reads what stood where the mark stands now, or makes maps of what stood where their marks stand."""
    if isinstance(value, Mark):
        get = itemgetter(value.key)
        return lambda bodies: list(map(get, bodies))
    if not isinstance(value, dict):
        return lambda bodies: itertools.repeat(value)
    members = [(name, _column(member)) for name, member in value.items()]

    def maps(bodies: list[Body]) -> list[Body]:
        made: list[Body] = [{} for _ in bodies]
        for name, column in members:
            for one, member in zip(made, column(bodies), strict=False):
                one[name] = member
        return made

    return maps
