"""How fast a tenant, or a stream, may send: learned from refusals, and forgotten when there are none."""

from __future__ import annotations

import random
from collections.abc import Callable

_FIRST_WAIT_S = 0.5
_LONGEST_WAIT_S = 8.0
_SLOWER = 0.7
_FASTER_PER_S = 1.25
_SLOWEST = 16_384.0
_UNBOUND = 64e6


def _spread() -> float:
    return random.uniform(1.0, 1.25)


class Pace:
    """A rate in bytes a second, or none. It grows with time; a refusal cuts it to what the server says it allows.

    `_next_at` is when the next request may begin by the rate, `_rest_until` when the server wishes to hear again, which
    it may do whatever the rate has become. `_refusals` is how many came in a row.
    """

    __slots__ = ("_grown_at", "_next_at", "_rate", "_refusals", "_rest_until", "_spread")

    def __init__(self, spread: Callable[[], float] = _spread) -> None:
        self._rate: float | None = None
        self._next_at = 0.0
        self._rest_until = 0.0
        self._grown_at = 0.0
        self._refusals = 0
        self._spread = spread

    def reserve(self, now: float, size: int) -> float:
        """Seconds to wait before so many bytes may be sent; the requests after it wait for it too."""
        start = max(now, self._next_at, self._rest_until)
        self._grow(now)
        if self._rate is not None:
            self._next_at = start + size / self._rate
        return start - now

    def wait(self, now: float) -> float:
        """Seconds until something may be sent; nothing is reserved."""
        by_rate = self._next_at if self._rate is not None else 0.0
        return max(0.0, by_rate - now, self._rest_until - now)

    def accepted(self) -> None:
        """What was sent was not too fast."""
        self._refusals = 0

    def refused(self, now: float, size: int, limit: int | None, wish: float | None) -> None:
        """What was sent was too fast; `limit` is what the server says it allows, `wish` how long it wants to rest.

        There is a pause in any case, so that no answer, whatever it wishes, makes a loop without end.
        """
        self._refusals += 1
        self._rate = max(_SLOWEST, float(limit) if limit else _SLOWER * (self._rate or size))
        self._grown_at = now
        if limit:
            wait = min(_LONGEST_WAIT_S, max(0.05, size / limit))
        else:
            wait = min(_LONGEST_WAIT_S, _FIRST_WAIT_S * 2 ** min(self._refusals - 1, 10)) * self._spread()
        self._next_at = now + wait
        self._rest_until = now + (wish or 0.0)

    def _grow(self, now: float) -> None:
        if self._rate is None:
            return
        self._rate *= _FASTER_PER_S ** min(now - self._grown_at, 100.0)
        self._grown_at = now
        if self._rate > _UNBOUND:
            self._rate = None
            self._next_at = min(self._next_at, now)

    def __repr__(self) -> str:
        return f"Pace(rate={self._rate}, refusals={self._refusals})"
