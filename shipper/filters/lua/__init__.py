"""The lua filter: let a function of the user decide on each record."""

from .filter import LuaFilter, LuaOptions

__all__ = ["LuaFilter", "LuaOptions"]
