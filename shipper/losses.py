"""Tells of what buffers drop: the first of it at once, and what follows in sums, so that none goes without a line."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import msgspec

from .buffers.base import DAMAGED, OVER_LIMIT, RING_OVER_LIMIT, Loss
from .clock import Clock
from .flush_log import shown_tags
from .log import Log

TOLD_EVERY_S = 30.0
"""Of losses of one kind one line is written in this time."""

_MOST_TAGS = 100
_WORDS = {
    RING_OVER_LIMIT: (
        "oldest records in memory are dropped, Mem_Buf_Limit is reached and storage.type is memrb",
        "see to that output, raise Mem_Buf_Limit, or let the input wait with another storage.type",
    ),
    OVER_LIMIT: (
        "stored records are dropped, storage.total_limit_size is reached",
        "see to that output, or raise its storage.total_limit_size",
    ),
    DAMAGED: (
        "stored records cannot be read any more",
        "see what the disk has, the damaged files are in quarantine/ below storage.path",
    ),
}
"""What is said for a reason, and what can be done about it."""


class _Sum(msgspec.Struct):
    """Losses of one input, output and reason that were not told; `tags` are the first of theirs, in order."""

    told_at: float
    records: int = 0
    tags: dict[str, None] = {}
    first_ns: int | None = None
    last_ns: int | None = None


class Losses:
    """The losses of all buffers, told in the logs of the outputs that do not get the records.

    While `run` runs nothing waits for longer than `TOLD_EVERY_S` until it is told.
    """

    def __init__(self, log_of: Callable[[str], Log], clock: Clock) -> None:
        self._log_of = log_of
        self._clock = clock
        self._sums: dict[tuple[str, str, str], _Sum] = {}
        self._is_any_untold = asyncio.Event()

    async def run(self) -> None:
        """Tell what was not told for a while, until cancelled; waits for losses."""
        while True:
            await self._is_any_untold.wait()
            self._is_any_untold.clear()
            while (due := self._next_due()) is not None:
                await self._clock.sleep(max(0.0, due - self._clock.monotonic()))
                self._tell_due()

    def note(self, input_name: str, loss: Loss) -> None:
        """Take note of a loss, and tell what is known of its kind if that was not told for a while."""
        now, kind = self._clock.monotonic(), (input_name, loss.output, loss.reason)
        found = self._sums.get(kind)
        if found is None:
            found = self._sums[kind] = _Sum(now - TOLD_EVERY_S)
        found.records += loss.records
        if loss.tag and len(found.tags) < _MOST_TAGS:
            found.tags[loss.tag] = None
        if loss.put_ns is not None:
            found.first_ns = loss.put_ns if found.first_ns is None else min(found.first_ns, loss.put_ns)
            found.last_ns = loss.put_ns if found.last_ns is None else max(found.last_ns, loss.put_ns)
        if now - found.told_at >= TOLD_EVERY_S:
            self._tell(kind, found)
            self._sums[kind] = _Sum(now)
        else:
            self._is_any_untold.set()

    def tell_rest(self) -> None:
        """Tell of everything that was not told yet."""
        for kind, found in self._sums.items():
            if found.records:
                self._tell(kind, found)
        self._sums.clear()

    def _next_due(self) -> float | None:
        """When the next sum is to be told; None if all losses are told."""
        return min((found.told_at + TOLD_EVERY_S for found in self._sums.values() if found.records), default=None)

    def _tell_due(self) -> None:
        now = self._clock.monotonic()
        for kind, found in self._sums.items():
            if found.records and now >= found.told_at + TOLD_EVERY_S:
                self._tell(kind, found)
                self._sums[kind] = _Sum(now)

    def _tell(self, kind: tuple[str, str, str], found: _Sum) -> None:
        input_name, output, reason = kind
        what, remedy = _WORDS[reason]
        fields: dict[str, Any] = {"output": output, "input": input_name, "records": found.records, "reason": reason}
        if found.tags:
            fields["tag"] = shown_tags(tuple(found.tags))
        if found.first_ns is not None and found.last_ns is not None:
            fields["read_from"], fields["read_to"] = _shown(found.first_ns), _shown(found.last_ns)
        self._log_of(output).error(what, **fields, remedy=remedy)


def _shown(time_ns: int) -> str:
    return datetime.fromtimestamp(time_ns // 1_000_000_000, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
