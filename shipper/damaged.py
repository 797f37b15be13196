"""Databases that cannot be read are moved aside, never deleted, so that somebody can look at them."""

from __future__ import annotations

import os
import time

_PARTS = ("", "-wal", "-shm", "-journal")


def move_aside(path: str) -> str:
    """Rename an SQLite database, with the journals that belong to it; gives the new name of the database.

    Raises `OSError` if that cannot be done.
    """
    aside = f"{path}.damaged-{time.time_ns()}"
    for part in _PARTS:
        if os.path.exists(f"{path}{part}"):
            os.rename(f"{path}{part}", f"{aside}{part}")
    return aside
