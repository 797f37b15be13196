"""Change, drop, split and keep records by a function in Lua."""

from __future__ import annotations

from typing import Annotated, Any

from ...config.options import opt
from ...context import Context
from ...errors import OptionError
from ...record import Body, Record, RecordBatch
from ..base import Filter, FilterOptions
from .script import load_script
from .values import Unusable, Values

_REMARK_EVERY_S = 60.0
_SECOND_NS = 1_000_000_000
_END_OF_RANGE_S = 2**32
_END_OF_RANGE_NS = _END_OF_RANGE_S * _SECOND_NS
_SMALLEST, _BEHIND_LARGEST = -(2**63), 2**64
_DROP, _KEEP, _CHANGED, _CHANGED_WITHOUT_TIME = -1, 0, 1, 2


class LuaOptions(FilterOptions, kw_only=True):
    """Options of the lua filter."""

    call: Annotated[str, opt("Function to call with each record.", example="filter")]
    script: Annotated[
        str | None, opt("File with the function; also looked for beside the main file.", example="filter.lua")
    ] = None
    code: Annotated[str | None, opt("The function itself; wins over script.")] = None
    type_int_key: Annotated[tuple[str, ...], opt("Fields that become integers.", split=" ", example="status")] = ()
    type_array_key: Annotated[tuple[str, ...], opt("Fields that are arrays if empty.", split=" ", example="list")] = ()
    protected_mode: Annotated[bool, opt("Accepted; errors of the function never lose records.")] = True
    time_as_table: Annotated[bool, opt("Tell and take times as a table of sec and nsec.")] = False
    enable_flb_null: Annotated[bool, opt("Show null to the function as flb_null, instead of as nothing.")] = False

    def __post_init__(self) -> None:
        if self.script is None and self.code is None:
            raise OptionError("script", "or code is required", "for example: script filter.lua")


class LuaFilter(Filter):
    """Calls the function with tag, time and record. An error in it lets the whole batch pass as it was.

    The script is loaded here and not by `open`, so that a dry run finds its mistakes. A time that no record can have is
    not taken: the record keeps its own.
    """

    Options = LuaOptions

    def __init__(self, options: LuaOptions, context: Context) -> None:
        self._options = options
        self._log = context.log
        script = load_script(options.script, options.code, options.call, context.folder, options.enable_flb_null)
        self._function = script.function
        self._has_metadata = script.has_metadata
        self._values = script.values
        self._error = script.error
        self._invalid_times = context.counter("invalid_times_total")

    def apply(self, batch: RecordBatch) -> RecordBatch | None:
        kept: list[Record] = []
        try:
            for record in batch.content.records():
                kept += self._called(batch.tag, record, self._values)
        except (self._error, Unusable, ValueError, OverflowError) as error:
            self._log.error("the function failed; the batch passes as it was", every=_REMARK_EVERY_S, reason=error)
            return batch
        if not kept:
            return None
        if len(kept) < len(batch):
            batch.size = batch.size * len(kept) // len(batch)
        batch.records = kept
        return batch

    def _called(self, tag: str, record: Record, values: Values) -> list[Record]:
        """What becomes of one record; the record itself is not changed."""
        time, body = self._shown_time(record.time_ns, values), values.to_lua(record.body)
        named = values.to_lua(tag)
        metadata: Any = None
        if self._has_metadata:
            shown = values.to_lua(record.metadata or {})
            result = self._function(named, time, values.to_lua({}), shown, body)
            code, new_time, metadata, new = _padded(result, 4)
        else:
            code, new_time, new = _padded(self._function(named, time, body), 3)
        if code == _DROP:
            return []
        if code not in (_CHANGED, _CHANGED_WITHOUT_TIME):
            if code != _KEEP:
                self._log.error(
                    "the function gave an unknown code; the record is kept", every=_REMARK_EVERY_S, code=code
                )
            return [record]
        time_ns = record.time_ns if code == _CHANGED_WITHOUT_TIME else self._told_time(new_time, time, record.time_ns)
        return self._made(values.from_lua(new, record.body), values.from_lua(metadata), record, time_ns)

    def _made(self, found: Any, metadata: Any, record: Record, time_ns: int) -> list[Record]:
        """The records that a returned map, or array of maps, stands for."""
        bodies = found if isinstance(found, list) else [found]
        if not all(isinstance(body, dict) for body in bodies):
            raise Unusable("the function did not give back a map, or an array of maps")
        if not self._has_metadata:
            each = _copies(record.metadata, len(bodies))
        elif isinstance(metadata, list) and len(metadata) == len(bodies):
            each = [one if isinstance(one, dict) and one else None for one in metadata]
        else:
            each = _copies(metadata if isinstance(metadata, dict) else None, len(bodies))
        for body in bodies:
            self._force_types(body)
        return [Record(time_ns, body, one) for body, one in zip(bodies, each, strict=True)]

    def _force_types(self, body: Body) -> None:
        for key in self._options.type_int_key:
            # What is no number, and what has no place in 64 bits, stays as it is.
            if type(value := body.get(key)) is float and _SMALLEST <= value < _BEHIND_LARGEST:
                body[key] = int(value)
        for key in self._options.type_array_key:
            if body.get(key) == {}:
                body[key] = []

    def _shown_time(self, time_ns: int, values: Values) -> Any:
        if not self._options.time_as_table:
            return time_ns / _SECOND_NS
        seconds, ns = divmod(time_ns, _SECOND_NS)
        return values.to_lua({"sec": seconds, "nsec": ns})

    def _told_time(self, told: Any, shown: Any, time_ns: int) -> int:
        """The returned time, or that of the record if it cannot be one; returned as it was shown it stays exact."""
        is_number = type(told) in (int, float)
        if is_number and told == shown:
            return time_ns
        try:
            seconds, ns = (told, 0) if is_number else (told[b"sec"], told[b"nsec"] or 0)
            if 0 <= seconds < _END_OF_RANGE_S and 0 < (found := int(seconds * _SECOND_NS) + int(ns)) < _END_OF_RANGE_NS:
                return found
        except (TypeError, KeyError) as error:
            raise Unusable("the function did not give back a time") from error
        except (ValueError, OverflowError):
            pass
        self._invalid_times.add()
        self._log.warning(
            "the function gave back a time outside of 1970 to 2106; the record keeps its own (times are in seconds)",
            every=_REMARK_EVERY_S,
            seconds=seconds,
        )
        return time_ns


def _copies(metadata: Body | None, count: int) -> list[Body | None]:
    """Metadata for so many records, each of which may change its own."""
    return [dict(metadata) if metadata else None for _ in range(count)]


def _padded(result: Any, count: int) -> tuple[Any, ...]:
    """So many values, None where the function gave fewer."""
    values = result if isinstance(result, tuple) else (result,)
    return (*values, *[None] * count)[:count]


__all__ = ["LuaFilter", "LuaOptions"]
