"""Sends finished requests to their streams, reads what was rejected, and isolates what is refused.

Requests of one stream go one after the other, in order. Streams go side by side, and trouble with one does not hold up
the others, unless it concerns the destination as a whole.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from functools import partial

from ...aws.settings import Answer, AwsError, is_throttled
from ...buffers.base import Delivery
from ...errors import Counts, RetryLater, worst_of
from ...log import Log
from .calls import Calls, StreamBlocked
from .creation import Creator
from .refused import Finder
from .requests import EVENT_LIMIT, EVENT_OVERHEAD, Cut, Request, Stream, halves, remade, weight_of
from .verdicts import Verdict, event_limit_in, next_token, rejected_in, verdict_on

Progress = dict[Stream, deque[Request]]
"""What of a delivery has not been accepted yet."""

STREAMS_AT_ONCE = 8
_CORRECTIONS = 3
_LEAST_EVENT_LIMIT = 1000
"""No service takes so little; an error that names less is misread."""

_STREAMS_REMEMBERED = 20_000


class _StreamState:
    """What is known of a stream. `lock` is held while a request is under way, so that requests keep their order."""

    __slots__ = ("is_ready", "lock", "takes_token", "token")

    def __init__(self) -> None:
        self.lock = asyncio.Lock()
        self.is_ready = False
        self.takes_token = False
        self.token: str | None = None


class Destination:
    """All streams of one output. `event_limit` is the most an event may weigh here, as far as is known.

    With `in_parts` a larger one becomes several, else it is shortened. With `compress`, which makes gzip of a body, the
    events go out compressed; the limits of the service are for what they were before. `ingested` is told the bytes that
    the service counts for the events that it accepts.
    """

    def __init__(
        self,
        calls: Calls,
        creator: Creator,
        log: Log,
        headers: Mapping[str, str],
        find: Finder,
        ingested: Callable[[int], None],
        *,
        in_parts: bool,
        compress: Callable[[bytes], bytes] | None = None,
    ) -> None:
        self._calls = calls
        self._creator = creator
        self._log = log
        self._headers = headers if compress is None else {**headers, "Content-Encoding": "gzip"}
        self._compress = compress
        self._find = find
        self._ingested = ingested
        self._in_parts = in_parts
        self._streams: dict[Stream, _StreamState] = {}
        self.event_limit = EVENT_LIMIT

    async def deliver(self, delivery: Delivery, waiting: Progress) -> None:
        """Send all that waits; what was accepted is taken out of `waiting` and added up in the delivery.

        Raises a `RetryLater` after the streams that could be served have been served.
        """
        names = iter(list(waiting))
        failures: list[RetryLater] = []
        if len(waiting) == 1:
            await self._serve(names, delivery, waiting, failures)
        else:
            async with asyncio.TaskGroup() as side_by_side:
                for _ in range(min(STREAMS_AT_ONCE, len(waiting))):
                    side_by_side.create_task(self._serve(names, delivery, waiting, failures))
        if failures:
            raise worst_of(failures)

    async def _serve(
        self, names: Iterator[Stream], delivery: Delivery, waiting: Progress, failures: list[RetryLater]
    ) -> None:
        """Send to one stream after the other until there is none left, or the destination is in trouble."""
        for stream in names:
            try:
                await self._send(stream, delivery, waiting[stream])
            except StreamBlocked as error:
                failures.append(error)
            except RetryLater as error:
                failures.append(error)
                for _ in names:  # no more for the others either
                    pass
            else:
                del waiting[stream]

    async def _send(self, stream: Stream, delivery: Delivery, requests: deque[Request]) -> None:
        state = self._state(stream)
        async with state.lock:
            corrections = _CORRECTIONS
            while requests:
                if not state.is_ready:
                    await self._creator.create(stream)
                    state.is_ready = True
                request = requests[0]
                body = request.with_token(state.token) if state.token is not None else request.body
                if self._compress is not None:
                    body = self._compress(body)
                try:
                    answer = await self._calls.make("PutLogEvents", body, stream.group, self._headers)
                except AwsError as error:
                    if self._correct(error, stream, state, delivery, requests):
                        corrections = _CORRECTIONS
                        continue
                    corrections -= 1
                    if corrections == 0:
                        raise StreamBlocked(f"PutLogEvents to {stream.name}: {error}", error.after) from error
                else:
                    corrections = _CORRECTIONS
                    self._accepted(answer, requests, stream, state, delivery)

    def _correct(
        self, error: AwsError, stream: Stream, state: _StreamState, delivery: Delivery, requests: deque[Request]
    ) -> bool:
        """Change what the error asks for, so that the next attempt can succeed.

        True if the queue of requests has changed, which cannot go on for ever. Raises `RetryLater` if all that helps
        is to wait.
        """
        verdict = verdict_on(error)
        if verdict is Verdict.LATER:
            counts = Counts.WITHOUT_PROGRESS if is_throttled(error) else Counts.ALWAYS
            raise RetryLater(
                f"PutLogEvents to {stream.name} in {stream.group}: {error}", error.after, counts
            ) from error
        if verdict is Verdict.NO_STREAM:
            state.is_ready = False
            return False
        if verdict in (Verdict.NEW_TOKEN, Verdict.ALREADY_ACCEPTED):
            state.takes_token = True
            state.token = next_token(error)
            if verdict is Verdict.NEW_TOKEN:
                return False
            delivery.accepted += self._done(requests.popleft())
            return True
        taken = taken_together(requests)
        if verdict is Verdict.EVENT_TOO_LARGE and (smaller := self._with_smaller_events(error, taken)):
            requests.extendleft(reversed(smaller))
        elif taken[0].events > 1:
            requests.extendleft(reversed(halves(taken[0])))
        else:
            self._refuse(delivery, taken, stream, error)
        return True

    def _with_smaller_events(self, error: AwsError, requests: list[Request]) -> list[Request]:
        """The same with events cut to the limit that the error names; empty if that changes nothing."""
        limit = max(event_limit_in(error.message), _LEAST_EVENT_LIMIT)
        if limit < self.event_limit:
            self.event_limit = limit
            self._log.warning("the destination takes smaller events only", limit=limit)
        cut = self.new_cut()
        smaller = remade(requests, self.event_limit, cut)
        self.warn_of_cuts(cut)
        return smaller if cut.events else []

    def new_cut(self) -> Cut:
        """What is to be done with events above the limit, and no such event yet."""
        return Cut(in_parts=self._in_parts)

    def warn_of_cuts(self, cut: Cut) -> None:
        """Tell that events were cut, if any were."""
        if cut.events:
            done = "Sending in parts an event" if cut.in_parts else "Truncating event"
            self._log.warning(
                f"[size={cut.largest}] {done} which is larger than max size allowed by CloudWatch",
                every=10,
                events=cut.events,
                limit=self.event_limit - EVENT_OVERHEAD,
            )

    def _accepted(
        self, answer: Answer, requests: deque[Request], stream: Stream, state: _StreamState, delivery: Delivery
    ) -> None:
        if state.takes_token:
            told = answer.body.get("nextSequenceToken")
            state.token = told if isinstance(told, str) else None
        request = requests[0]
        rejected = rejections(answer, request.events)
        if not rejected:
            delivery.accepted += self._done(requests.popleft())
            return
        # A record without one of its parts is none, so the parts that were still to come go the same way.
        taken_together(requests)
        for reason, picked in rejected.items():
            events = len(picked)
            which = partial(self._find, delivery.batches, request, picked)
            delivery.refuse(events, reason, which, status="200", message="rejectedLogEventsInfo: " + reason)
            self._log.error("log events rejected", group=stream.group, stream=stream.name, events=events, reason=reason)
        delivery.accepted += request.events - sum(map(len, rejected.values()))
        self._ingested(request.weight - weight_of(request, rejected.values()))

    def _done(self, request: Request) -> int:
        """Count what was accepted; gives the records that are delivered by it, see `records_done`."""
        self._ingested(request.weight)
        return records_done(request)

    def _refuse(self, delivery: Delivery, requests: list[Request], stream: Stream, error: AwsError) -> None:
        """Drop the only record of these requests."""
        which = partial(self._find, delivery.batches, requests[0], range(1))
        reason = "refused_by_destination"
        delivery.refuse(1, reason, which, status=str(error.status), message=str(error))
        self._log.error("log event refused", group=stream.group, stream=stream.name, reason=error)

    def _state(self, stream: Stream) -> _StreamState:
        state = self._streams.pop(stream, None) or _StreamState()
        self._streams[stream] = state  # behind those that were used longer ago
        if len(self._streams) > _STREAMS_REMEMBERED:
            oldest = next(iter(self._streams))
            if not self._streams[oldest].lock.locked():
                del self._streams[oldest]
        return state


def records_done(request: Request) -> int:
    """How many records are delivered when this request is accepted: that of a part is so only with its last part."""
    return 0 if request.goes_on else request.events


def taken_together(requests: deque[Request]) -> list[Request]:
    """The first request, taken out; if it holds a part, the rest of its record with it."""
    taken = [requests.popleft()]
    while taken[-1].goes_on:
        taken.append(requests.popleft())
    return taken


def rejections(answer: Answer, events: int) -> dict[str, range]:
    """Which events of an accepted request were rejected, by reason.

    The head of the request up to an exclusive index is too old or expired, the tail from an index on is too new.
    """
    told = rejected_in(answer)
    if told is None:
        return {}
    expired = min(told.expired_end or 0, events)
    head = max(min(told.too_old_end or 0, events), expired)
    tail = max(told.too_new_start, head) if told.too_new_start is not None else events
    found = {"expired": range(expired), "too_old": range(expired, head), "too_new": range(min(tail, events), events)}
    return {reason: picked for reason, picked in found.items() if picked}
