"""Whether a destination as a whole is away, by what happens to the deliveries to it."""

from __future__ import annotations

from .retry import Backoff

OPENING_FAILURES = 3
"""Failures in a row, with no success between them, that open the circuit."""


class Circuit:
    """Whether a destination as a whole answers; `probe_at` is when the next attempt may find out."""

    def __init__(self, backoff: Backoff) -> None:
        self._backoff = backoff
        self._failures = 0
        self.probe_at = 0.0

    @property
    def is_open(self) -> bool:
        return self._failures >= OPENING_FAILURES

    def next_in(self, now: float, pause: float) -> float:
        """Seconds until the destination is tried again for a delivery that is to wait so long on its own.

        While the circuit is open one of the deliveries that wait is tried for all of them, however long it was to wait.
        """
        return max(0.0, self.probe_at - now) if self.is_open else pause

    def succeeded(self) -> bool:
        """Note a success; true if that closed the circuit."""
        was_open, self._failures = self.is_open, 0
        return was_open

    def failed(self, now: float, started: float, wish: float, most: float) -> None:
        """Note the failure of an attempt; `wish` and `most` are the seconds that the next one is to wait, and may."""
        if self.is_open and started < self.probe_at:
            return  # it was on its way when the circuit opened, and tells nothing new
        self._failures += 1
        if self.is_open:
            self.probe_at = now + min(self._backoff.wait(self._failures - OPENING_FAILURES + 1, wish), most)
