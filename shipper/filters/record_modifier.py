"""Append fixed fields to records, and remove or keep fields by name."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from itertools import chain
from typing import Annotated

from ..config.options import opt
from ..config.words import split_words
from ..context import Context
from ..errors import OptionError
from ..record import Body, RecordBatch
from .base import Filter, FilterOptions


class RecordModifierOptions(FilterOptions):
    """Options of the record_modifier filter."""

    record: Annotated[
        tuple[str, ...], opt("Append a field with this KEY and VALUE; the value is text.", example="cluster prod-1")
    ] = ()
    remove_key: Annotated[
        tuple[str, ...], opt("Remove the field; case does not matter, KEY* removes all that begin so.", example="tmp*")
    ] = ()
    allowlist_key: Annotated[
        tuple[str, ...],
        opt("Keep only fields listed so; case does not matter.", example="log", aliases=("whitelist_key",)),
    ] = ()
    uuid_key: Annotated[str | None, opt("Append a random UUID under this key.", example="id")] = None

    def __post_init__(self) -> None:
        if self.remove_key and self.allowlist_key:
            raise OptionError("remove_key", "cannot be used together with allowlist_key", "use one of the two")


class RecordModifierFilter(Filter):
    """Removes fields from the records as they came, then appends fields at the end.

    Records that are left without any field are dropped, unless that would happen to the whole batch: then nothing is
    removed.
    """

    Options = RecordModifierOptions

    def __init__(self, options: RecordModifierOptions, context: Context) -> None:
        self._context = context
        self._fields = _fields(options.record, context)
        self._uuid_key = options.uuid_key
        self._appended = {*self._fields, options.uuid_key} if options.uuid_key else set(self._fields)
        self._is_unwanted = _unwanted(options)

    def apply(self, batch: RecordBatch) -> RecordBatch | None:
        bodies = [r.body for r in batch.records]
        keys: set[str] = set(chain.from_iterable(bodies))
        unwanted = {k for k in keys if self._is_unwanted(k)}
        if self._appended:
            self._append(bodies, unwanted | (keys & self._appended))
        elif unwanted:
            self._remove(bodies, unwanted)
            self._drop_empty(batch, bodies)
            return batch
        for record, body in zip(batch.records, bodies, strict=True):
            record.body = body
        return batch

    def _append(self, bodies: list[Body], replaced: set[str]) -> None:
        if replaced:
            self._remove(bodies, replaced)
        fields, uuid_key = self._fields, self._uuid_key
        for body in bodies:
            body.update(fields)
        if uuid_key is not None:
            for body in bodies:
                body[uuid_key] = str(uuid.uuid4())

    def _remove(self, bodies: list[Body], unwanted: set[str]) -> None:
        bodies[:] = [{k: v for k, v in body.items() if k not in unwanted} for body in bodies]

    def _drop_empty(self, batch: RecordBatch, bodies: list[Body]) -> None:
        if not any(bodies):
            return
        records = batch.records
        for record, body in zip(records, bodies, strict=True):
            record.body = body
        if empty := bodies.count({}):
            size = batch.size * empty // len(records)
            batch.records = [r for r in records if r.body]
            batch.size -= size
            self._context.dropped(empty, size, "no field left", wanted=True)


def _fields(lines: tuple[str, ...], context: Context) -> Body:
    fields: Body = {}
    for line in lines:
        words = split_words(line)
        if len(words) != 2:
            context.log.error("invalid record parameters, expects 'KEY VALUE'; the line is ignored", record=line)
            continue
        fields.pop(words[0], None)
        fields[words[0]] = words[1]
    return fields


def _unwanted(options: RecordModifierOptions) -> Callable[[str], bool]:
    patterns = options.remove_key or options.allowlist_key
    names = frozenset(p.lower() for p in patterns if not p.endswith("*"))
    prefixes = tuple(p[:-1].lower() for p in patterns if p.endswith("*"))

    def is_listed(key: str) -> bool:
        lower = key.lower()
        return lower in names or lower.startswith(prefixes)

    if options.allowlist_key:
        return lambda key: not is_listed(key)
    return is_listed
