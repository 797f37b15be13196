"""What is known of delivered events across restarts, for modules that need no database.

SQLite costs a megabyte of memory, so the module that uses it (`database.py`) is imported only if there is a database.
"""

from __future__ import annotations

from typing import Protocol

import msgspec


class DatabaseAway(Exception):
    """The database cannot be read now."""


class SentEvent(msgspec.Struct, frozen=True, gc=False):
    """A row of the table; `version` is 0 if the API server's is no number."""

    uid: str
    version: int
    time_ns: int


class SentEvents(Protocol):
    """The events that were delivered; `database.EventDatabase` keeps them."""

    def open(self) -> None:
        """Get ready; raises `OSError` or `DatabaseAway`."""

    def version(self, uid: str) -> int | None:
        """The newest version that was delivered of this event; None if there is none. Raises `DatabaseAway`."""

    def add(self, rows: list[SentEvent]) -> None:
        """Have the rows written with the next `flush`."""

    def flush(self) -> bool:
        """Write what waits; false if that is not possible now."""

    def forget(self, before_ns: int) -> None:
        """Delete the rows of events that are too old to be emitted."""

    def close(self) -> None: ...
