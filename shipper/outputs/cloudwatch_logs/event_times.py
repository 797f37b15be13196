"""Which times of events are sent.

AWS takes no event that is older than 14 days or more than 2 hours ahead: it rejects such events one by one, beside
others that it stores. What breaks this rule by our clock, and by more than clocks may disagree, is refused here and
never sent. Two things must be known first:

- that the destination is AWS. Others that speak its protocol take any time, so they get every event until they have
  rejected one for its time.
- that our clock is right. A node whose clock was never set would refuse all it has. AWS takes no signature that is more
  than 15 minutes off, so a call that was answered is the proof.

With clamping the times of such events are changed instead, from the beginning.
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from ...aws.settings import Answer
from ...clock import Clock
from ..aws_calls import AwsApi
from .requests import DAY_MS, Events
from .verdicts import rejected_in

OLDEST_MS = 14 * DAY_MS
AHEAD_MS = 2 * 3_600_000
IN_DOUBT_MS = 15 * 60_000
"""How far from a bound the clocks may disagree."""

ROOM_MS = 3_600_000
"""By how much a clamped event is younger than it must be, for as long as it may have to be sent again."""

_NO_HEADERS: Mapping[str, str] = {}
_ANY_TIME_MS = 2**63


class TimeBounds(msgspec.Struct, frozen=True):
    """The first and the last time in milliseconds that is sent; with `clamp` others become the nearest of them."""

    first: int
    last: int
    clamp: bool = False

    @property
    def refused(self) -> dict[str, range]:
        """The times that are not sent, by reason."""
        return {"too_old": range(self.first), "too_new": range(self.last + 1, _ANY_TIME_MS)}

    def hold(self, times: list[int]) -> bool:
        """Whether all of them are sent."""
        return not times or (min(times) >= self.first and max(times) <= self.last)

    def clamped(self, times: list[int]) -> list[int]:
        """The times, each as near to what it was as can be."""
        first, last = self.first, self.last
        return [first if t < first else min(t, last) for t in times]


class EventTimes:
    """Knows which times the destination has rejected; `bounds` are for events that are made now."""

    def __init__(self, clock: Clock, *, clamp: bool, is_aws: bool = False) -> None:
        self._clock = clock
        self._clamp = clamp
        self._is_aws = is_aws
        self._rejects_old = False
        self._rejects_new = False

    def bounds(self) -> TimeBounds | None:
        """None if every time is sent."""
        now = self._clock.time_ns() // 1_000_000
        if self._clamp:
            return TimeBounds(now - OLDEST_MS + ROOM_MS, now + AHEAD_MS - IN_DOUBT_MS, clamp=True)
        if not self._rejects_old and not self._rejects_new:
            return None
        first = now - OLDEST_MS - IN_DOUBT_MS if self._rejects_old else 0
        return TimeBounds(first, now + AHEAD_MS + IN_DOUBT_MS if self._rejects_new else _ANY_TIME_MS - 1)

    def learn(self, answer: Answer) -> None:
        """Note what an answer to a signed call says of times."""
        told = rejected_in(answer)
        self._rejects_old = self._rejects_old or self._is_aws or bool(told and told.too_old_end)
        self._rejects_new = self._rejects_new or self._is_aws or bool(told and told.too_new_start is not None)

    def __repr__(self) -> str:
        rejects = f"rejects_old={self._rejects_old}, rejects_new={self._rejects_new}"
        return f"EventTimes(clamp={self._clamp}, is_aws={self._is_aws}, {rejects})"


class WatchedCalls:
    """Makes the calls of another and shows the answers to `times`."""

    def __init__(self, api: AwsApi, times: EventTimes) -> None:
        self._api = api
        self._times = times

    async def call(self, operation: str, body: bytes, headers: Mapping[str, str] = _NO_HEADERS) -> Answer:
        """Make one call and wait for its answer."""
        answer = await self._api.call(operation, body, headers)
        self._times.learn(answer)
        return answer

    def forget_credentials(self) -> None:
        """Look through all sources of credentials again at the next call."""
        self._api.forget_credentials()


def within(events: Events, bounds: TimeBounds) -> tuple[Events, dict[str, int]]:
    """The events that are sent, and how many are not, by reason."""
    times = events.times
    counts = {reason: sum(1 for t in times if t in refused) for reason, refused in bounds.refused.items()}
    rows = [row for row, time in enumerate(times) if bounds.first <= time <= bounds.last]
    return events.picked(rows), {reason: count for reason, count in counts.items() if count}
