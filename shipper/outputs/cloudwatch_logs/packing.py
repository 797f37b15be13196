"""Events of one stream become requests while they come, batch by batch.

A batch is encoded as soon as it is made, a few events at a time: its texts are in the cache of the processor then, and
reading them again from memory would cost as much as encoding them. What is out of the ordinary, events out of order or
too large, goes the long way through `requests_of`; where both ways can be gone they give the same requests.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from itertools import accumulate

import msgspec

from ...codecs.json_lines import ascii_json
from .requests import (
    DAY_MS,
    EVENT_OVERHEAD,
    EVENTS_LIMIT,
    REQUEST_LIMIT,
    Cut,
    Event,
    Events,
    Request,
    Stream,
    request_head,
    requests_of,
    taken_apart,
)

_AT_ONCE = 64
"""Events that are encoded together."""

_encode = msgspec.json.encode


class Packer:
    """Makes the requests of one stream. `cut` takes note of events that are shortened."""

    def __init__(self, stream: Stream, event_limit: int, cut: Cut) -> None:
        self._stream = stream
        self._event_limit = event_limit
        self._cut = cut
        self._head = b""
        self._entity = b""
        self._ascii_only = False
        self._requests: list[Request] = []
        # The request that is being filled: its encoded events, their number and size, and their first and last times.
        self._pieces: list[bytes] = []
        self._count = 0
        self._size = 0
        self._first_ms = 0
        self._last_ms = 0
        self._odd: Events | None = None
        """All events, once some of them need the long way."""

    def add(self, events: Events) -> None:
        """Take events that belong behind those that were added before."""
        times, sizes = events.times, events.sizes
        if not times:
            return
        if not self._head:
            self._entity, self._ascii_only = events.entity, events.ascii_only
            self._head = request_head(self._stream, events.entity)
            self._last_ms = times[0]
        if self._odd is None:
            if (
                times[0] >= self._last_ms
                and max(sizes) <= self._event_limit - EVENT_OVERHEAD
                and sorted(times) == times
            ):
                self._take(events)
                self._last_ms = times[-1]
                return
            self._odd = self._taken_back()
        _extend(self._odd, events)

    def finish(self) -> list[Request]:
        """The requests, in the order in which they are sent; ends the packing."""
        if self._odd is not None:
            return requests_of(self._stream, self._odd, self._event_limit, self._cut)
        if self._count:
            self._close()
        return self._requests

    def _take(self, events: Events) -> None:
        times, sizes = events.times, events.sizes
        start, count = 0, len(times)
        weights = list(accumulate(sizes, initial=0))
        while start < count:
            if not self._count:
                self._first_ms = times[start]
            end = self._end(times, weights, start)
            if end > start:
                self._encode(events, start, end)
                self._count += end - start
                self._size += weights[end] - weights[start]
            if end < count:
                self._close()
            start = end

    def _end(self, times: list[int], weights: list[int], start: int) -> int:
        """How far the events from `start` on fit into the request that is being filled; one always does."""
        end = min(start + EVENTS_LIMIT - self._count, len(times))
        if end > start and times[end - 1] - self._first_ms >= DAY_MS:
            end = bisect_left(times, self._first_ms + DAY_MS, start, end)
        # weights[i] + 26 * i grows with i, so the search works without a second list.
        room = REQUEST_LIMIT - self._size - EVENT_OVERHEAD * self._count
        most = weights[start] + EVENT_OVERHEAD * start + room
        if weights[end] + EVENT_OVERHEAD * end > most:
            end = bisect_right(range(end + 1), most, start, end + 1, key=lambda i: weights[i] + EVENT_OVERHEAD * i) - 1
        return end

    def _encode(self, events: Events, start: int, end: int) -> None:
        times, messages, pieces = events.times, events.messages, self._pieces
        for first in range(start, end, _AT_ONCE):
            last = min(first + _AT_ONCE, end)
            pieces.append(_encode(list(map(Event, times[first:last], messages[first:last])))[1:-1])

    def _close(self) -> None:
        body = b"%b[%b]}" % (self._head, b",".join(self._pieces))
        if self._ascii_only:
            body = ascii_json(body)
        self._requests.append(Request(body, self._count, self._size))
        self._pieces = []
        self._count = self._size = 0

    def _taken_back(self) -> Events:
        """What was packed so far, as events again."""
        if self._count:
            self._close()
        found = Events([], [], [], self._entity, self._ascii_only)
        for request in self._requests:
            _extend(found, taken_apart(request)[1])
        self._requests = []
        return found


def _extend(events: Events, more: Events) -> None:
    events.times += more.times
    events.messages += more.messages
    events.sizes += more.sizes
