"""How long to wait before a delivery is tried again."""

from __future__ import annotations

import random
from collections.abc import Callable


class Backoff:
    """Full-jitter exponential back-off with the bounds of `scheduler.base` and `scheduler.cap`.

    The wait after the n-th failure (n = 1, 2, …) is `1 + uniform integer in [base, min(cap, base * 2^n)]` seconds.
    """

    def __init__(self, base: float, cap: float, pick: Callable[[int, int], int] = random.randint) -> None:
        if base < 1 or cap < base:
            raise ValueError(
                f"scheduler.cap ({cap:g}) must not be below scheduler.base ({base:g}), and base is at least 1"
            )
        self._base = int(base)
        self._cap = int(cap)
        self._pick = pick

    def bounds(self, failures: int) -> tuple[int, int]:
        """The shortest and the longest wait in seconds after this many failures."""
        upper = min(self._cap, self._base << min(failures, 40))
        return 1 + self._base, 1 + upper

    def wait(self, failures: int, wish: float = 0.0) -> float:
        """A wait in seconds after this many failures; longer if the destination wishes so, up to the cap."""
        low, high = self.bounds(failures)
        return max(self._pick(low, high), min(wish, self._cap))
