"""What an engine was told about its end, by signals, plugins, and the service that has another engine ready."""

from __future__ import annotations

import asyncio
import math

LAST_S = 2.0
"""What is left of the time that a reload may take, or half of it, for what the inputs bring last."""


class Stop:
    """What an engine was told about its end.

    `wanted` says that it is to end, `is_final` that no other one takes its place, `end_now` that nothing may be waited
    for. `is_told_anew` is set with every change; whoever waits for changes clears it.

    To make room for another engine it has until `ends_at`, and its inputs go on until `inputs_end_at` at most.
    """

    def __init__(self) -> None:
        self.wanted = asyncio.Event()
        self.is_final = asyncio.Event()
        self.end_now = asyncio.Event()
        self.is_told_anew = asyncio.Event()
        self.is_asked_by_signal = False
        self.ends_at = math.inf
        self.inputs_end_at = math.inf

    def ask(self, *, by_signal: bool = False) -> None:
        """Stop gracefully; asked a second time by a signal, at once."""
        if by_signal:
            if self.is_final.is_set():
                self.end_now.set()
            self.is_asked_by_signal = True
        self.is_final.set()
        self.wanted.set()
        self.is_told_anew.set()

    def retire(self, now: float, limit_s: float) -> None:
        """Stop gracefully within so many seconds, to make room for another engine; asked again, never later."""
        if now + limit_s < self.ends_at:
            self.ends_at = now + limit_s
            self.inputs_end_at = self.ends_at - min(LAST_S, limit_s / 2)
        self.wanted.set()
        self.is_told_anew.set()
