"""The multiline filter: join the texts of several records to one record."""

from .filter import MultilineFilter, MultilineOptions

__all__ = ["MultilineFilter", "MultilineOptions"]
