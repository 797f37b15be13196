"""The modify filter: rename, add, copy, move and remove fields, if conditions hold."""

from .filter import ModifyFilter, ModifyOptions

__all__ = ["ModifyFilter", "ModifyOptions"]
