"""Append fixed fields to records, and remove or keep fields by name."""

from __future__ import annotations

import functools
import uuid
from collections.abc import Callable
from typing import Annotated

from ..columns import columns_of
from ..config.options import opt
from ..config.words import split_words
from ..context import Context
from ..errors import OptionError
from ..record import Body, RecordBatch
from .base import Filter, FilterOptions
from .shapes import ShapedChange

_REMEMBERED_KEYS = 1024


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
        # Behind them comes the UUID, which replaces one of its name.
        self._fields = {k: v for k, v in _fields(options.record, context).items() if k != options.uuid_key}
        self._uuid_key = options.uuid_key
        self._appends = bool(self._fields or options.uuid_key)
        self._goes = _going(options, {*self._fields, options.uuid_key})
        self._shaped = ShapedChange(self._changed)

    def apply(self, batch: RecordBatch) -> RecordBatch | None:
        if self._uuid_key is None and (columns := columns_of(batch.content)) is not None:
            # Where nothing is appended, removing all that there is removes nothing.
            removes_all = not self._appends and all(map(self._goes, columns.members))
            return batch if removes_all else self._shaped.made_of(batch)
        records = batch.records
        if not self._appends:
            self._remove(batch)
            return batch
        self._shaped.make(records)
        if (uuid_key := self._uuid_key) is not None:
            for record in records:
                record.body[uuid_key] = str(uuid.uuid4())
        return batch

    def _changed(self, body: Body) -> Body:
        goes = self._goes
        changed = {k: v for k, v in body.items() if not goes(k)}
        changed.update(self._fields)
        return changed

    def _remove(self, batch: RecordBatch) -> None:
        records, goes = batch.records, self._goes
        if all(goes(key) for record in records for key in record.body):
            return
        fields = sum([len(r.body) for r in records])
        self._shaped.make(records)
        left = [r for r in records if r.body]
        empty = len(records) - len(left)
        # Records that came without fields stay as long as nothing is removed.
        if empty and fields > sum([len(r.body) for r in left]):
            size = batch.size * empty // len(records)
            batch.records = left
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


def _going(options: RecordModifierOptions, appended: set[str | None]) -> Callable[[str], bool]:
    """Whether a field that came goes, because it is unwanted or another of its name is appended."""
    patterns = options.remove_key or options.allowlist_key
    names = frozenset(p.lower() for p in patterns if not p.endswith("*"))
    prefixes = tuple(p[:-1].lower() for p in patterns if p.endswith("*"))
    goes_if_listed = not options.allowlist_key

    @functools.lru_cache(_REMEMBERED_KEYS)
    def goes(key: str) -> bool:
        lower = key.lower()
        is_listed = lower in names or lower.startswith(prefixes)
        return key in appended or is_listed is goes_if_listed

    return goes
