"""When positions are written: at once after a quiet time, and paced while they keep changing.

In SQLite's WAL mode a write costs no fsync with `db.sync normal` or `off`, and positions are at most a twentieth of a
second behind. With other settings a write costs one or two, and there are at most two writes a second.
"""

from __future__ import annotations

import asyncio

from .positions import PositionStore

INTERVAL_S = 0.5
"""Time between two writes while positions keep changing, if a write costs an fsync or two."""

QUICK_INTERVAL_S = 0.05
"""The same if a write costs none."""

_BURST = 4
"""Writes that may come at once after a quiet time, so that the position of a quiet file is saved without delay."""


class PacedSaving:
    """Writes changed positions soon, however many changed; see the module's text for how soon."""

    def __init__(self, store: PositionStore, costs_fsync: bool) -> None:
        self._store = store
        self._interval_s = INTERVAL_S if costs_fsync else QUICK_INTERVAL_S
        self._next: asyncio.TimerHandle | None = None
        # A write is due when the clock is less than a burst behind this time, which every write puts forward.
        self._paid_until = 0.0

    def schedule(self) -> None:
        """Have the positions written soon; any number of calls before that cost one write."""
        if self._next is None:
            loop = asyncio.get_running_loop()
            wait_s = self._paid_until - (_BURST - 1) * self._interval_s - loop.time()
            self._next = loop.call_later(max(0.0, wait_s), self._save)

    def close(self) -> None:
        """Write at once what is left; nothing is written after that."""
        if self._next is not None:
            self._next.cancel()
            self._next = None
        self._store.flush()

    def _save(self) -> None:
        self._next = None
        self._paid_until = max(self._paid_until, asyncio.get_running_loop().time()) + self._interval_s
        self._store.flush()
