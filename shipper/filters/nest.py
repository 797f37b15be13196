"""Put fields into a map, or lift the fields of a map up."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any, Self

import msgspec

from ..columns import columns_of
from ..config.options import Written, opt
from ..context import Context
from ..errors import OptionError
from ..record import Body, Record, RecordBatch
from .base import Filter, FilterOptions
from .shapes import ShapedChange

_REMARK_EVERY_S = 60.0

Rename = Callable[[str], str]


class Operation(str):
    """nest or lift."""

    shown_as = "nest | lift"

    @classmethod
    def parse(cls, text: str) -> Self:
        """Four lower-case letters count, as in Fluent Bit; raises `ValueError` for anything else."""
        if text[:4] not in ("nest", "lift"):
            raise ValueError(f"{text!r} is not possible; write nest or lift, in lower case")
        return cls(text[:4])


class Target(msgspec.Struct, frozen=True):
    """The name of the map, and where in the section it stands."""

    shown_as = "text"
    name: str
    place: int

    @classmethod
    def parse_written(cls, written: Written) -> Self:
        return cls(written.text, written.place)


class NestOptions(FilterOptions, kw_only=True):
    """Options of the nest filter; both names for the map mean the same, the last one counts."""

    operation: Annotated[Operation, opt("nest: put fields into a map. lift: take them out of it.", example="nest")]
    wildcard: Annotated[
        tuple[str, ...], opt("nest: a field to put into the map; KEY* means all that begin so.", example="k8s_*")
    ] = ()
    nest_under: Annotated[tuple[Target, ...], opt("Name of the map.", example="kubernetes")] = ()
    nested_under: Annotated[tuple[Target, ...], opt("Name of the map.", example="kubernetes")] = ()
    add_prefix: Annotated[str | None, opt("Prefix to put before the names of the moved fields.", example="k8s_")] = None
    remove_prefix: Annotated[str | None, opt("Prefix to take from the names of the moved fields.")] = None

    def __post_init__(self) -> None:
        if self.add_prefix is not None and self.remove_prefix is not None:
            raise OptionError("remove_prefix", "cannot be used together with add_prefix", "use one of the two")
        if self.operation == "nest" and self.target() is None:
            raise OptionError("nest_under", "is required to nest", "for example: Nest_under kubernetes")

    def target(self) -> str | None:
        """The name of the map, None if there is none."""
        named = max((*self.nest_under, *self.nested_under), key=lambda target: target.place, default=None)
        return named.name if named else None


class NestFilter(Filter):
    """Nests or lifts in every record; one without any of the fields meant stays as it is."""

    Options = NestOptions

    def __init__(self, options: NestOptions, context: Context) -> None:
        self._log = context.log
        self._target = options.target() or ""
        self._rename = _rename(options)
        self._names = frozenset(w for w in options.wildcard if not w.endswith("*"))
        self._prefixes = tuple(w[:-1] for w in options.wildcard if w.endswith("*"))
        self._lifts = options.operation == "lift"
        self._shaped = ShapedChange(self._lifted, inside=self._target) if self._lifts else ShapedChange(self._nested)

    def apply(self, batch: RecordBatch) -> RecordBatch | None:
        if (changed := self._shaped.made_of(batch)) is not None:
            columns = columns_of(batch.content) if self._lifts and changed is batch else None
            if columns is not None and self._target in columns.members:
                self._remark_other_than_map()
            return changed
        records = batch.records
        self._shaped.make(self._without_shared(records) if self._lifts else records)
        return batch

    def _without_shared(self, records: list[Record]) -> list[Record]:
        """Lift maps that were encoded ahead, and are the same for all records of a pod; gives the records left over.

        Such a map is decoded and renamed once. Where all of its names are new they are only put behind the others.
        """
        target, left = self._target, list[Record]()
        last: msgspec.Raw | None = None
        last_shape: tuple[str, ...] = ()
        members: Any = None
        lifted: Body | None = None
        for record in records:
            body = record.body
            encoded = body.get(target)
            if type(encoded) is not msgspec.Raw:
                left.append(record)
                continue
            shape = tuple(body)
            if encoded is not last or shape != last_shape:
                if encoded is not last:
                    members = _shared_members(encoded)
                last, last_shape = encoded, shape
                lifted = self._renamed(members) if isinstance(members, dict) else None
                if lifted is not None and not body.keys().isdisjoint(lifted):
                    lifted = None
            if lifted is not None:
                del body[target]
                body.update(lifted)
            else:
                body[target] = members
                left.append(record)
        return left

    def _renamed(self, members: Body) -> Body:
        found: Body = {}
        for key, value in members.items():
            name = self._rename(key)
            found.pop(name, None)
            found[name] = value
        return found

    def _nested(self, body: Body) -> Body:
        names, prefixes, rename = self._names, self._prefixes, self._rename
        moved = [key for key in body if key in names or key.startswith(prefixes)]
        if not moved:
            return body
        nested: dict[str, Any] = {}
        for key in moved:
            name = rename(key)
            nested.pop(name, None)
            nested[name] = body.pop(key)
        body.pop(self._target, None)
        body[self._target] = nested
        return body

    def _lifted(self, body: Body) -> Body:
        target, rename = self._target, self._rename
        if target not in body:
            return body
        nested = body[target]
        if not isinstance(nested, dict):
            self._remark_other_than_map()
            return body
        del body[target]
        for key, value in nested.items():
            name = rename(key)
            body.pop(name, None)
            body[name] = value
        return body

    def _remark_other_than_map(self) -> None:
        self._log.warning("the value to lift is not a map; the record stays as it is", every=_REMARK_EVERY_S)


def _shared_members(encoded: msgspec.Raw) -> Any:
    """The map that was encoded ahead, for many records to lift. Maps and arrays in it stay encoded: none is shared."""
    members = msgspec.json.decode(encoded)
    if not isinstance(members, dict):
        return encoded
    still_encoded = msgspec.json.decode(encoded, type=dict[str, msgspec.Raw])
    return {k: still_encoded[k] if isinstance(v, dict | list) else v for k, v in members.items()}


def _rename(options: NestOptions) -> Rename:
    if (added := options.add_prefix) is not None:
        return lambda key: added + key
    if (removed := options.remove_prefix) is not None:
        return lambda key: key.removeprefix(removed)
    return str
