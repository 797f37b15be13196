"""Records that all have the same keys, in the same order, as a column of texts for each key.

A block of container lines is such content, and what filters do to keys, to all records alike, leaves it that way: a
column gets another name or place, goes into a map, or one is added whose value is the same everywhere. Nothing is made
for a record then but its JSON, when an output asks for it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from itertools import compress, repeat
from typing import Any

import msgspec

from .record import Body, Content, Record

Column = tuple[str, ...]


class Constant(msgspec.Struct, frozen=True):
    """A text that is the same in all records."""

    value: str


Member = Column | Constant | dict[str, Any]
"""What is under a key: a text in each record, the same text in all, or a map of members."""

_MOST_LAYOUTS = 256

_Layout = tuple[tuple[str, Any], ...]
"""The names of members, each with the layout of the map that it is, or None."""

_encode_lines = msgspec.json.Encoder().encode_lines
_decode_lines = msgspec.json.Decoder(dict[str, Any]).decode_lines


class Columns:
    """Content that is columns; `origin` is what the times are asked of, row by row the same records.

    Once there is JSON, that is kept in place of the columns.
    """

    __slots__ = ("_count", "_lines", "_members", "_origin", "_times")

    has_metadata = False

    def __init__(self, members: Mapping[str, Member], origin: Content) -> None:
        self._members: Mapping[str, Member] | None = members
        self._origin: Content | None = origin
        self._count = len(origin)
        self._times: Sequence[int] | None = None
        self._lines: bytes | None = None

    @property
    def members(self) -> Mapping[str, Member]:
        """The members by their names; nobody may change them."""
        if self._members is None:
            raise RuntimeError("the columns have become JSON")
        return self._members

    @property
    def fields(self) -> tuple[str, ...] | None:
        """What the columns of `rows` are called; None if there is more to it than columns."""
        members = self._members
        if members is None or not all(type(member) is tuple for member in members.values()):
            return None
        return tuple(members)

    @property
    def rows(self) -> list[tuple[str, ...]]:
        """The records as rows of texts, if there are `fields`."""
        return list(zip(*self.members.values(), strict=True))

    def __len__(self) -> int:
        return self._count

    def records(self) -> list[Record]:
        return [Record(t, body) for t, body in zip(self.times_ns(), self.bodies(), strict=True)]

    def times_ns(self) -> Sequence[int]:
        if self._times is None and self._origin is not None:
            self._times = self._origin.times_ns()
        return self._times or ()

    def bodies(self) -> list[Body]:
        if self._members is None:
            return _decode_lines(self._lines or b"")
        return _maps(self._members, self._count)

    def json_lines(self) -> bytes | None:
        if self._lines is None and self._members is not None:
            members = self._members
            try:
                made = _struct_of(_layout(members))
                lines = _encode_lines(list(_structs(made, members, self._count)))
            except ValueError:  # a name that must be escaped, or a value that is no Unicode
                return None
            self._lines = lines
            self.times_ns()
            self._members = self._origin = None
        return self._lines

    def picked(self, wanted: Sequence[bool]) -> Columns:
        """The records that are wanted."""
        times = _Times(list(compress(self.times_ns(), wanted)))
        return Columns({name: _picked(member, wanted) for name, member in self.members.items()}, times)


def columns_of(content: Content) -> Columns | None:
    """The content as columns, if that is what it is or can be had from rows."""
    if isinstance(content, Columns):
        return content if content._members is not None else None
    fields = getattr(content, "fields", None)
    if fields is None or not len(content):
        return None
    columns: Iterable[Column] = zip(*content.rows, strict=True)  # type: ignore[attr-defined]  # who has fields has rows
    return Columns(dict(zip(fields, columns, strict=True)), content)


class _Times:
    """Nothing but times."""

    def __init__(self, times: Sequence[int]) -> None:
        self._times = times

    has_metadata = False

    def __len__(self) -> int:
        return len(self._times)

    def records(self) -> list[Record]:
        return [Record(time, {}) for time in self._times]

    def times_ns(self) -> Sequence[int]:
        return self._times

    def bodies(self) -> list[Body]:
        return [{} for _ in self._times]

    def json_lines(self) -> None:
        return None


def _picked(member: Member, wanted: Sequence[bool]) -> Member:
    if type(member) is tuple:
        return tuple(compress(member, wanted))
    if type(member) is dict:
        return {name: _picked(inner, wanted) for name, inner in member.items()}
    return member


def _maps(members: Mapping[str, Member], count: int) -> list[Body]:
    names = tuple(members)
    if not names:
        return [{} for _ in range(count)]
    columns = [_values(member, count) for member in members.values()]
    return [dict(zip(names, values, strict=True)) for values in zip(*columns, strict=True)]


def _values(member: Member, count: int) -> Iterable[Any]:
    if type(member) is tuple:
        return member
    if type(member) is dict:
        return _maps(member, count)
    assert isinstance(member, Constant)
    return repeat(member.value, count)


def _layout(members: Mapping[str, Member]) -> _Layout:
    return tuple((name, _layout(m) if type(m) is dict else None) for name, m in members.items())


class _Made(msgspec.Struct, frozen=True):
    """The struct that encodes a layout, and those of its maps by their names; encoding it costs half of a dict's."""

    struct: type[msgspec.Struct]
    inner: dict[str, Any]


@lru_cache(_MOST_LAYOUTS)
def _struct_of(layout: _Layout) -> _Made:
    """Raises `ValueError` for a name that no struct can have."""
    inner = {name: _struct_of(below) for name, below in layout if below is not None}
    fields = [(f"f{number}", Any) for number in range(len(layout))]
    names = {f"f{number}": name for number, (name, _) in enumerate(layout)}
    return _Made(msgspec.defstruct("_Row", fields, rename=names, gc=False), inner)


def _structs(made: _Made, members: Mapping[str, Member], count: int) -> Iterator[msgspec.Struct]:
    if not members:
        return repeat(made.struct(), count)
    return map(made.struct, *(_arguments(made, name, member, count) for name, member in members.items()))


def _arguments(made: _Made, name: str, member: Member, count: int) -> Iterable[Any]:
    if type(member) is dict:
        return _structs(made.inner[name], member, count)
    return _values(member, count)
