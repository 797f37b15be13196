"""Values of records as values of Lua, and back.

Lua knows bytes and no characters: it may take half of one. So texts go in as the bytes that were read, and bytes that
are no UTF-8 come back as the tail input reads them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec

from ...codecs.msgpack_text import encode as in_bytes

_DEEPEST = 100
_IS_ARRAY = "shipper_is_array"


class Unusable(Exception):
    """Lua gave back something that is no record."""


class Null:
    """What Lua sees in the place of JSON's null, where it is to see it at all."""


class Values:
    """Converts for one Lua state.

    Arrays carry a mark in Lua, so that an empty one comes back as what it was. The state takes and gives bytes.
    """

    def __init__(self, lua: Any, lua_type: Callable[[Any], str | None], null: Null | None) -> None:
        self._new_table = lua.eval("function() return {} end")
        self._mark = lua.eval(f"function(t) return setmetatable(t, {{{_IS_ARRAY} = true}}) end")
        self._is_marked = lua.eval(f"function(t) local m = getmetatable(t) return m and m.{_IS_ARRAY} or false end")
        self._type = lua_type
        self._null = null

    def to_lua(self, value: Any, depth: int = 0) -> Any:
        """The value for Lua; it is a copy."""
        if isinstance(value, msgspec.Raw):
            value = msgspec.json.decode(value)
        if value is None:
            return self._null
        if isinstance(value, str):
            return in_bytes(value)
        if isinstance(value, bytes | bool | float):
            return value
        if isinstance(value, int):
            return value if -(2**63) <= value < 2**63 else float(value)
        if depth > _DEEPEST:
            raise Unusable("the record is nested too deeply")
        table = self._new_table()
        if isinstance(value, dict):
            for key, one in value.items():
                table[in_bytes(key) if isinstance(key, str) else key] = self.to_lua(one, depth + 1)
            return table
        if isinstance(value, list):
            for number, one in enumerate(value, 1):
                table[number] = self.to_lua(one, depth + 1)
            return self._mark(table)
        return in_bytes(str(value))

    def from_lua(self, value: Any, like: Any = None, depth: int = 0) -> Any:
        """The value that Lua gave back; raises `Unusable` for functions and the like.

        Lua knows no order of fields: those that `like` has come first, in its order, the others follow by name.
        """
        if value is None or isinstance(value, Null):
            return None
        if isinstance(value, bytes):
            return value.decode("utf-8", "surrogateescape")
        if isinstance(value, bool | int | float):
            return value
        if self._type(value) != "table":
            raise Unusable(f"a record cannot hold a {self._type(value)}")
        if depth > _DEEPEST:
            raise Unusable("the record is nested too deeply")
        known: dict[Any, Any] = like if isinstance(like, dict) else {}
        told = [(k.decode("utf-8", "surrogateescape") if type(k) is bytes else k, one) for k, one in value.items()]
        pairs = [(key, self.from_lua(one, known.get(key), depth + 1)) for key, one in told]
        if not pairs:
            return [] if self._is_marked(value) else {}
        if _are_places([key for key, _ in pairs]):
            return [one for _, one in sorted(pairs, key=lambda pair: pair[0])]
        places = {key: place for place, key in enumerate(known)}
        found = {key if isinstance(key, str) else str(key): one for key, one in pairs}
        return dict(sorted(found.items(), key=lambda pair: (places.get(pair[0], len(places)), pair[0])))


def _are_places(keys: list[Any]) -> bool:
    """Whether the keys are 1, 2, 3, … in any order."""
    return all(type(key) is int for key in keys) and set(keys) == set(range(1, len(keys) + 1))
