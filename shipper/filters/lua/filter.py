"""Change, drop, split and keep records by a function in Lua."""

from __future__ import annotations

import importlib
import os
from pathlib import Path
from typing import Annotated, Any

from ...config.classic import find_file, searched_folders
from ...config.options import opt
from ...context import Context
from ...errors import OptionError
from ...record import Body, Record, RecordBatch
from ..base import Filter, FilterOptions
from .values import Null, Unusable, Values

_REMARK_EVERY_S = 60.0
_SECOND_NS = 1_000_000_000
_RUNTIMES = ("lupa.luajit21", "lupa.luajit20", "lupa.lua51")
"""Those that speak Lua 5.1, best first."""
_DROP, _KEEP, _CHANGED, _CHANGED_WITHOUT_TIME = -1, 0, 1, 2
_PARAMETERS_WITH_METADATA = 5


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

    `_function` takes either three values, or five with the metadata of the record among them.
    """

    Options = LuaOptions

    def __init__(self, options: LuaOptions, context: Context) -> None:
        self._options = options
        self._log = context.log
        self._folder = context.folder
        self._lua: Any = None
        self._values: Values | None = None
        self._function: Any = None
        self._has_metadata = False
        self._error: type[Exception] = Unusable

    async def open(self) -> None:
        """Load the script; raises `OptionError` if that fails or it has no such function."""
        runtime = _runtime()
        self._error = runtime.LuaError
        lua = self._lua = runtime.LuaRuntime(unpack_returned_tuples=True, register_eval=False, register_builtins=False)
        null = Null() if self._options.enable_flb_null else None
        self._values = Values(lua, runtime.lua_type, null)
        names = lua.globals()
        names.FLB_ENV = self._values.to_lua({k: v for k, v in os.environ.items() if v.isprintable()})
        if null is not None:
            names.flb_null = null
        option, code = ("code", self._options.code) if self._options.code is not None else ("script", self._script())
        try:
            lua.execute(code)
        except runtime.LuaError as error:
            raise OptionError(option, f"cannot be loaded: {error}") from error
        self._function = names[self._options.call]
        if runtime.lua_type(self._function) != "function":
            raise OptionError("call", f"names '{self._options.call}', which is no function of the script")
        parameters = lua.eval('function(f) return debug.getinfo(f, "u").nparams or 0 end')
        self._has_metadata = parameters(self._function) >= _PARAMETERS_WITH_METADATA

    def apply(self, batch: RecordBatch) -> RecordBatch | None:
        if self._values is None:
            raise RuntimeError("the filter is not open")
        kept: list[Record] = []
        try:
            for record in batch.content.records():
                kept += self._called(batch.tag, record, self._values)
        except (self._error, Unusable, UnicodeError, OverflowError) as error:
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
        time, body = self._shown_time(record.time_ns), values.to_lua(record.body)
        metadata: Any = None
        if self._has_metadata:
            shown = values.to_lua(record.metadata or {})
            result = self._function(tag, time, values.to_lua({}), shown, body)
            code, new_time, metadata, new = _padded(result, 4)
        else:
            code, new_time, new = _padded(self._function(tag, time, body), 3)
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
            each = [record.metadata] * len(bodies)
        elif isinstance(metadata, list) and len(metadata) == len(bodies):
            each = [one if isinstance(one, dict) and one else None for one in metadata]
        else:
            each = [metadata if isinstance(metadata, dict) and metadata else None] * len(bodies)
        for body in bodies:
            self._force_types(body)
        return [Record(time_ns, body, one) for body, one in zip(bodies, each, strict=True)]

    def _force_types(self, body: Body) -> None:
        for key in self._options.type_int_key:
            if type(value := body.get(key)) is float:
                body[key] = int(value)
        for key in self._options.type_array_key:
            if body.get(key) == {}:
                body[key] = []

    def _shown_time(self, time_ns: int) -> Any:
        if not self._options.time_as_table:
            return time_ns / _SECOND_NS
        seconds, ns = divmod(time_ns, _SECOND_NS)
        return self._lua.table(sec=seconds, nsec=ns)

    def _told_time(self, told: Any, shown: Any, time_ns: int) -> int:
        """The returned time; one that was returned as it was shown stays exact."""
        if isinstance(told, int | float):
            return time_ns if told == shown else int(told * _SECOND_NS)
        try:
            return int(told["sec"]) * _SECOND_NS + int(told["nsec"] or 0)
        except (TypeError, KeyError, ValueError) as error:
            raise Unusable("the function did not give back a time") from error

    def _script(self) -> str:
        name = self._options.script or ""
        path = find_file(name, self._folder)
        if path is None:
            raise OptionError("script", f"names no file '{name}'", searched_folders(name, self._folder))
        try:
            return Path(path).read_text(encoding="utf-8", errors="surrogateescape")
        except OSError as error:
            raise OptionError("script", f"{path} cannot be read: {error.strerror}") from error


def _runtime() -> Any:
    """The module with the Lua that is there; raises `OptionError` if none is."""
    for name in _RUNTIMES:
        try:
            return importlib.import_module(name)
        except ImportError:
            continue
    raise OptionError("call", "needs the package lupa, which is not installed", "install shipper with its extra 'lua'")


def _padded(result: Any, count: int) -> tuple[Any, ...]:
    """So many values, None where the function gave fewer."""
    values = result if isinstance(result, tuple) else (result,)
    return (*values, *[None] * count)[:count]


__all__ = ["LuaFilter", "LuaOptions"]
