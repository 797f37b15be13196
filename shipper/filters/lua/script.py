"""Loads the script of a lua filter into a Lua state of its own."""

from __future__ import annotations

import importlib
import os
import re
from pathlib import Path
from typing import Any

import msgspec

from ...codecs.msgpack_text import encode as in_bytes
from ...config.classic import find_file, searched_folders
from ...config.options import did_you_mean
from ...errors import OptionError
from .values import Null, Values

_RUNTIMES = ("lupa.luajit21", "lupa.luajit20", "lupa.lua51")
"""Those that speak Lua 5.1, best first."""
_PARAMETERS_WITH_METADATA = 5
_PLACE = re.compile(r'\[string "[^"]*"\]:(\d+):')


class Script(msgspec.Struct):
    """A loaded script: its function, what converts for it, and what its failures are.

    The function takes either three values, or five with the metadata of the record among them.
    """

    function: Any
    has_metadata: bool
    values: Values
    error: type[Exception]


def load_script(file: str | None, code: str | None, call: str, folder: str, shows_null: bool) -> Script:
    """The function `call` of the code, or of the file; raises `OptionError` if there is no such function."""
    runtime = _runtime()
    # Lua has bytes where Python has texts, and a script may hold, and make, bytes that are no text.
    lua = runtime.LuaRuntime(encoding=None, unpack_returned_tuples=True, register_eval=False, register_builtins=False)
    null = Null() if shows_null else None
    values = Values(lua, runtime.lua_type, null)
    names = lua.globals()
    names[b"FLB_ENV"] = values.to_lua({k: v for k, v in os.environ.items() if v.isprintable()})
    if null is not None:
        names[b"flb_null"] = null
    given = set(names)
    option, place, source = ("script", *_read(file or "", folder)) if code is None else ("code", "it", in_bytes(code))
    try:
        lua.execute(source)
    except runtime.LuaError as error:
        remedy = "mend the script; it is read as Lua 5.1"
        raise OptionError(option, f"{place} cannot be loaded: {_first_line(error)}", remedy) from error
    function = names[in_bytes(call)]
    if runtime.lua_type(function) != "function":
        own = [name for name in set(names) - given if runtime.lua_type(names[name]) == "function"]
        known = [name.decode("utf-8", "replace") for name in own if isinstance(name, bytes)]
        remedy = did_you_mean(call, known) if known else "the script defines no global function"
        raise OptionError("call", f"names '{call}', which is no function of the script", remedy)
    parameters = lua.eval('function(f) return debug.getinfo(f, "u").nparams or 0 end')
    return Script(function, parameters(function) >= _PARAMETERS_WITH_METADATA, values, runtime.LuaError)


def _read(name: str, folder: str) -> tuple[str, bytes]:
    """The file of this name, where it is and what it holds."""
    path = find_file(name, folder)
    if path is None:
        raise OptionError("script", f"names no file '{name}'", searched_folders(name, folder))
    try:
        return path, Path(path).read_bytes()
    except OSError as error:
        raise OptionError(
            "script", f"{path} cannot be read: {error.strerror}", "check the path and its rights"
        ) from error


def _first_line(error: Exception) -> str:
    """What Lua says, without the stack behind it, and with the line alone in front."""
    text = str(error).partition("\n")[0].removeprefix("error loading code: ")
    return _PLACE.sub(r"line \1:", text) or "it gives no reason"


def _runtime() -> Any:
    """The module with the Lua that is there; raises `OptionError` if none is."""
    for name in _RUNTIMES:
        try:
            return importlib.import_module(name)
        except ImportError:
            continue
    raise OptionError("call", "needs the package lupa, which is not installed", "install shipper with its extra 'lua'")
