"""Sends requests, reads what the answers say, and makes each refusal cost no more than what it names.

Requests of one delivery and tenant go one after the other, so that each stream keeps its order. Tenants go side by
side, and trouble with one does not hold up the others; nor does a stream that must wait hold up the others of its
delivery. A rate limit is waited for here, for a while: it says that the destination works.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Hashable, Mapping
from functools import partial
from typing import TypeVar

import msgspec

from ...buffers.base import Delivery
from ...clock import Clock
from ...context import Context
from ...errors import Counts, RetryLater, worst_of
from ...log import Log
from ...net.retry_after import retry_after_s
from ...net.settings import HttpAnswer, HttpApi, NoAnswer
from ..places import RecordsOf
from . import late, mending
from .guard import Shape
from .mending import Lines, Mended
from .pace import Pace
from .requests import LINES_LIMIT, Progress, Request, halves
from .streams import Stream
from .verdicts import Kind, Verdict, verdict_on

PATIENCE_S = 120.0
"""How long a delivery may wait for rate limits before it is given back."""

LONGEST_WAIT_S = 30.0
BLOCKED_S = 60.0
TENANTS_AT_ONCE = 8
WAITING_AT_ONCE = 8
"""How many deliveries of one tenant may wait for its rate while there are other tenants."""

SEARCHES = 64
"""Requests that may be spent in one attempt on finding what the server does not like in a request."""

APART_S = 300.0
"""For so long the streams of a tenant go in requests of their own after one of them was behind."""

_SMALLEST = 131_072
_REMEMBERED = 1000

_Key = TypeVar("_Key", bound=Hashable)


class Push:
    """One way of writing requests: how a body is made, and the headers that go with it."""

    def __init__(self, target: str, headers: Mapping[str, str], body: Callable[[Request], bytes], lines: Lines) -> None:
        self.target = target
        self.headers = headers
        self.body = body
        self.lines = lines


class Destination:
    """One Loki. `limit` is the most bytes of lines that a request may have here, as far as is known.

    With a `late_label` entries that are too far behind their stream go to others, see `late`; else they are refused.
    """

    def __init__(self, http: HttpApi, push: Push, shape: Shape, context: Context, late_label: str = "") -> None:
        self._http = http
        self._late_label = late_label
        self._push = push
        self._shape = shape
        self._context = context
        self._clock: Clock = context.clock
        self._log: Log = context.log
        # What was learned from refusals, by tenant and by stream; the oldest are forgotten.
        self._tenants: dict[str | None, Pace] = {}
        self._streams: dict[Stream, Pace] = {}
        self._waiting: dict[str | None, int] = {}
        # An answer tells of one stream that is behind, if at all, and nothing of others that are.
        self._apart_until: dict[str | None, float] = {}
        self.limit = LINES_LIMIT

    async def deliver(self, delivery: Delivery, progress: Progress) -> None:
        """Send all that is left; what was accepted is taken out of `progress` and added up in the delivery.

        Raises a `RetryLater` after the other tenants have been served.
        """
        failures: list[RetryLater] = []
        tenants = list(progress)
        if len(tenants) == 1:
            await self._serve(tenants[0], delivery, progress, failures)
        else:
            slots = asyncio.Semaphore(TENANTS_AT_ONCE)
            async with asyncio.TaskGroup() as side_by_side:
                for tenant in tenants:
                    side_by_side.create_task(self._serve_in_turn(slots, tenant, delivery, progress, failures))
        if failures:
            raise worst_of(failures)

    async def _serve_in_turn(
        self,
        slots: asyncio.Semaphore,
        tenant: str | None,
        delivery: Delivery,
        progress: Progress,
        failures: list[RetryLater],
    ) -> None:
        async with slots:
            await self._serve(tenant, delivery, progress, failures)

    async def _serve(
        self, tenant: str | None, delivery: Delivery, progress: Progress, failures: list[RetryLater]
    ) -> None:
        try:
            await self._send(progress[tenant], delivery)
        except RetryLater as failure:
            failures.append(failure)
        else:
            del progress[tenant]

    async def _send(self, requests: deque[Request], delivery: Delivery) -> None:
        patience_until = self._clock.monotonic() + PATIENCE_S
        searches = SEARCHES
        while requests:
            self._bring_forward(requests)
            self._take_apart(requests)
            request = requests[0]
            await self._wait_for_turn(request, patience_until)
            answer = await self._post(request)
            verdict = verdict_on(answer)
            if verdict.kind is Kind.ACCEPTED:
                if request.tenant in self._tenants:
                    self._tenants[request.tenant].accepted()
                requests.popleft()
                delivery.accepted += request.records
                continue
            searches -= verdict.kind is Kind.UNREADABLE
            mended = self._mended(request, verdict, answer, may_search=searches > 0)
            if verdict.reason == "too_far_behind":
                mended = self._of_late(request, mended, delivery)
            requests.popleft()
            requests.extendleft(reversed(mended.again))
            again = sum([r.records for r in mended.again])
            delivery.accepted += request.records - again - len(mended.refused)
            if mended.refused:
                self._refuse(delivery, mended, verdict.reason, answer)

    def _take_apart(self, requests: deque[Request]) -> None:
        """Let each stream of the next request have one of its own, if one of the tenant's was behind lately."""
        request = requests[0]
        if len(request.parts) == 1 or self._clock.monotonic() >= self._apart_until.get(request.tenant, 0.0):
            return
        del requests[0]
        requests.extendleft(msgspec.structs.replace(request, parts=(part,)) for part in reversed(request.parts))

    def _bring_forward(self, requests: deque[Request]) -> None:
        """Let streams that may send pass those that must wait; each stream keeps its order."""
        if not self._streams:
            return
        now, paces = self._clock.monotonic(), self._streams
        streams = {part.stream for request in requests for part in request.parts}
        waits = {stream: paces[stream].wait(now) if stream in paces else 0.0 for stream in streams}
        least = min(waits.values())
        if max(waits.values()) <= least:
            return
        for place, request in enumerate(requests):
            first = tuple([part for part in request.parts if waits[part.stream] <= least])
            if not first:
                continue
            rest = tuple([part for part in request.parts if waits[part.stream] > least])
            del requests[place]
            if rest:
                requests.insert(place, msgspec.structs.replace(request, parts=rest))
            requests.appendleft(msgspec.structs.replace(request, parts=first))
            return

    def _refuse(self, delivery: Delivery, mended: Mended, reason: str, answer: HttpAnswer) -> None:
        records, said = len(mended.refused), _words(answer)
        which = partial(RecordsOf(delivery.batches).at, mended.refused)
        delivery.refuse(records, reason, which, status=str(answer.status), message=said)
        self._log.error(f"Loki refused records: {reason}", every=10, records=records, reason=said)

    async def _post(self, request: Request) -> HttpAnswer:
        headers = self._push.headers
        if request.tenant is not None:
            headers = {**headers, "X-Scope-OrgID": request.tenant}
        try:
            answer = await self._http.request("POST", self._push.target, headers, self._push.body(request))
        except NoAnswer as error:
            self._context.counter("no_answer_total", phase=error.phase).add()
            raise RetryLater(error.reason) from error
        self._context.counter("answers_total", status=str(answer.status)).add()
        return answer

    async def _wait_for_turn(self, request: Request, until: float) -> None:
        """Wait until tenant and streams may send so much; raises `RetryLater` if that would take too long."""
        now = self._clock.monotonic()
        waits = [self._tenants[request.tenant].reserve(now, request.size)] if request.tenant in self._tenants else []
        if self._streams:
            slow = [(self._streams[p.stream], p.entries.size) for p in request.parts if p.stream in self._streams]
            waits += [pace.reserve(now, size) for pace, size in slow]
        wait = max(waits, default=0.0)
        if wait <= 0:
            return
        waiting = self._waiting.get(request.tenant, 0)
        if wait > LONGEST_WAIT_S or now + wait > until or (waiting >= WAITING_AT_ONCE and len(self._tenants) > 1):
            raise RetryLater(f"the rate limit of tenant {request.tenant or '-'} leaves no room", wait, Counts.NEVER)
        self._waiting[request.tenant] = waiting + 1
        try:
            await self._clock.sleep(wait)
        finally:
            self._waiting[request.tenant] -= 1
            if not self._waiting[request.tenant]:
                del self._waiting[request.tenant]

    def _mended(self, request: Request, verdict: Verdict, answer: HttpAnswer, *, may_search: bool) -> Mended:
        """What to send in place of a refused request; raises `RetryLater` if all that helps is to wait."""
        kind, lines = verdict.kind, self._push.lines
        if kind in (Kind.LATER, Kind.DENIED, Kind.BLOCKED):
            raise self._later(verdict, answer)
        if kind in (Kind.TENANT_RATE, Kind.STREAM_RATE, Kind.TOO_MANY_STREAMS):
            return self._slower(request, verdict, answer)
        if kind is Kind.SOME_REFUSED:
            return mending.without_refused(request, verdict)
        if kind is Kind.LINES_TOO_LONG and (mended := mending.with_shorter_lines(request, verdict, lines)):
            return mended
        if kind is Kind.BAD_METADATA:
            return mending.with_less_metadata(request, verdict)
        if kind is Kind.NO_METADATA:
            self._log.warning("Loki takes no structured metadata; entries are sent without", every=60)
            return mending.without_metadata(request)
        if kind is Kind.TOO_LARGE:
            self._learn_limit(request)
            return mending.smaller(request, lines)
        if kind is Kind.BAD_STREAM and (mended := mending.with_other_labels(request, verdict, self._shape)):
            return mended
        if request.records > 1 and may_search:
            return Mended(halves(request))
        return mending.refused_whole(request)

    def _of_late(self, request: Request, mended: Mended, delivery: Delivery) -> Mended:
        """What becomes of a request of which entries were late: all of it again, stream by stream, if it has several.

        So do lines that may be too long, as an answer that tells of late ones does not tell of these. Loki stores an
        entry once that is sent twice, so what was taken does no harm. The late entries of a single stream go to another
        one, see `late`.
        """
        self._apart_until.pop(request.tenant, None)
        self._apart_until[request.tenant] = self._clock.monotonic() + APART_S
        if len(self._apart_until) > _REMEMBERED:
            del self._apart_until[next(iter(self._apart_until))]
        if len(request.parts) > 1:
            return Mended([request])  # whose streams go apart now
        if apart := mending.long_lines_apart(request):
            return Mended(apart)
        if not self._late_label:
            return mended
        moved = late.apart(request, mended, delivery.batches, self._late_label, self._shape)
        if records := len(mended.refused) - len(moved.refused):
            self._context.counter("late_records_total").add(records)
            self._log.warning(
                f"records too far behind others of their stream go to streams of their own, label {self._late_label}",
                every=60,
                records=records,
                remedy="give each file a stream, for example by: labels job=app, tag=$TAG",
            )
        return moved

    def _slower(self, request: Request, verdict: Verdict, answer: HttpAnswer) -> Mended:
        """The same entries, or those of the streams that are too fast; the pace says when they are sent."""
        now, wish = self._clock.monotonic(), self._wish(answer)
        self._log.warning(
            f"Loki limits the {verdict.reason}", every=60, tenant=request.tenant or "-", limit=verdict.limit
        )
        if verdict.kind is Kind.TENANT_RATE:
            _pace(self._tenants, request.tenant).refused(now, request.size, verdict.limit, wish)
            is_small = request.records == 1 or request.size <= _SMALLEST
            return Mended([request] if is_small else halves(request))
        if verdict.kind is Kind.TOO_MANY_STREAMS:
            mended = mending.with_fewer_streams(request, verdict, self._shape)
            if mended is not None:
                return mended
        named = mending.only_named(request, verdict.streams)
        for part in named.parts:
            _pace(self._streams, part.stream).refused(now, part.entries.size, verdict.limit, wish)
        return Mended([named])

    def _later(self, verdict: Verdict, answer: HttpAnswer) -> RetryLater:
        words = f"status {answer.status}: {_words(answer)}"
        if verdict.kind is Kind.DENIED:
            self._log.error(
                f"Loki does not let us in, status {answer.status}; records are held", every=60, reason=words
            )
        if verdict.kind is Kind.BLOCKED:
            self._log.warning("Loki has blocked ingestion; records are held", every=60, reason=words)
            return RetryLater(words, self._wish(answer) or BLOCKED_S, Counts.NEVER)
        return RetryLater(words, self._wish(answer), Counts.NEVER if verdict.kind is Kind.DENIED else Counts.ALWAYS)

    def _wish(self, answer: HttpAnswer) -> float | None:
        """How long the server wishes to be left alone, as far as `scheduler.cap` allows."""
        wish = retry_after_s(answer.headers.get("retry-after"), self._clock.time_ns() / 1e9)
        return None if wish is None else min(wish, float(self._context.service.scheduler_cap))

    def _learn_limit(self, request: Request) -> None:
        smaller = max(_SMALLEST, request.size // 2)
        if smaller < self.limit:
            self.limit = smaller
            self._log.warning("Loki takes smaller requests only", limit=smaller)


def _pace(paces: dict[_Key, Pace], key: _Key) -> Pace:
    """The pace of a tenant or stream, now the one that was used last; of too many the oldest is forgotten."""
    paces[key] = found = paces.pop(key, None) or Pace()
    if len(paces) > _REMEMBERED:
        del paces[next(iter(paces))]
    return found


def _words(answer: HttpAnswer) -> str:
    """The beginning of what the server says."""
    return " ".join(answer.text[:300].split())
