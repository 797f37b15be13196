"""Events of one stream become requests while they come, batch by batch.

A batch is encoded as soon as it is made, a few events at a time: its texts are in the cache of the processor then, and
reading them again from memory would cost as much as encoding them. JSON lines are escaped and measured as a whole; they
are looked at one by one only where a request ends. What is out of the ordinary, events out of order or too large, goes
the long way through `requests_of`. All ways that can be gone give the same requests.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterator
from io import BytesIO
from itertools import accumulate, islice

import msgspec

from ...codecs.escaped_lines import EscapedLines, pieces_of
from ...codecs.json_lines import HOLE, HoledLines, ascii_json
from ...codecs.line_feeds import count_line_feeds
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


class LineEvents(msgspec.Struct):
    """Events whose messages are JSON lines, none of them without any fields; `times` are milliseconds.

    With `ascii_only` the lines hold no other characters already.
    """

    times: list[int]
    lines: HoledLines
    ascii_only: bool = False

    @property
    def entity(self) -> bytes:
        """What the events are about, which is told of no lines."""
        return b""

    @property
    def size(self) -> int:
        """UTF-8 bytes of all messages."""
        return self.lines.size(len(self.times))

    @property
    def sizes(self) -> list[int]:
        """UTF-8 bytes of each message."""
        text, filling = self.lines
        more = -1 if filling is None else len(filling) - len(HOLE) - 1
        return [length + more for length in map(len, BytesIO(text))]

    def pieces(self) -> Iterator[LineEvents]:
        """The events in pieces of about so many bytes that they stay in the cache of the processor."""
        (text, filling), times = self.lines, self.times
        first = 0
        for piece in pieces_of(text):
            last = first + count_line_feeds(piece)
            yield LineEvents(times[first:last], HoledLines(piece, filling), self.ascii_only)
            first = last

    def cut_at(self, place: int) -> tuple[LineEvents, LineEvents]:
        """The events before this one, and the others."""
        text, filling = self.lines
        end = sum(map(len, islice(BytesIO(text), place)))
        return tuple(  # type: ignore[return-value]  # two of them
            LineEvents(times, HoledLines(part, filling), self.ascii_only)
            for times, part in ((self.times[:place], text[:end]), (self.times[place:], text[end:]))
        )

    def events(self) -> Events:
        """The same with a text for each message."""
        messages = self.lines.whole().decode().split("\n")
        messages.pop()
        return Events(self.times, messages, self.sizes, b"", self.ascii_only)


class Packer:
    """Makes the requests of one stream. `cut` says what becomes of events that are too large, and counts them."""

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

    def add(self, events: Events | LineEvents) -> None:
        """Take events that belong behind those that were added before."""
        times = events.times
        if not times:
            return
        if not self._head:
            self._entity, self._ascii_only = events.entity, events.ascii_only
            self._head = self._in_ascii(request_head(self._stream, events.entity))
            self._last_ms = times[0]
        if self._odd is None:
            pieces = list(events.pieces()) if isinstance(events, LineEvents) else [events]
            if times[0] >= self._last_ms and all(map(self._has_no_large, pieces)) and sorted(times) == times:
                for piece in pieces:
                    if isinstance(piece, LineEvents):
                        self._take_lines(piece)
                    else:
                        self._take(piece)
                self._last_ms = times[-1]
                return
            self._odd = self._taken_back()
        _extend(self._odd, events.events() if isinstance(events, LineEvents) else events)

    def finish(self) -> list[Request]:
        """The requests, in the order in which they are sent; ends the packing."""
        if self._odd is not None:
            return requests_of(self._stream, self._odd, self._event_limit, self._cut)
        if self._count:
            self._close()
        return self._requests

    def _has_no_large(self, events: Events | LineEvents) -> bool:
        most = self._event_limit - EVENT_OVERHEAD
        return (isinstance(events, LineEvents) and events.size <= most) or max(events.sizes) <= most

    def _take(self, events: Events) -> None:
        times = events.times
        start, count = 0, len(times)
        weights = list(accumulate(events.sizes, initial=0))
        while start < count:
            end = self._end(times, weights, start)
            if end > start:
                self._count_in(times[start], end - start, weights[end] - weights[start])
                self._encode(events, start, end)
            if end < count:
                self._close()
            start = end

    def _take_lines(self, events: LineEvents) -> None:
        while not self._has_room(events):
            end = self._end(events.times, list(accumulate(events.sizes, initial=0)), 0)
            first, events = events.cut_at(end)
            if end:
                self._encode_lines(first)
            self._close()
        self._encode_lines(events)

    def _has_room(self, events: LineEvents) -> bool:
        """Whether the request that is being filled can take them all."""
        times, count = events.times, self._count + len(events.times)
        first_ms = self._first_ms if self._count else times[0]
        size = self._size + events.size + EVENT_OVERHEAD * count
        return count <= EVENTS_LIMIT and size <= REQUEST_LIMIT and times[-1] - first_ms < DAY_MS

    def _end(self, times: list[int], weights: list[int], start: int) -> int:
        """How far the events from `start` on fit into the request that is being filled; one always does."""
        first_ms = self._first_ms if self._count else times[start]
        end = min(start + EVENTS_LIMIT - self._count, len(times))
        if end > start and times[end - 1] - first_ms >= DAY_MS:
            end = bisect_left(times, first_ms + DAY_MS, start, end)
        # weights[i] + 26 * i grows with i, so the search works without a second list.
        room = REQUEST_LIMIT - self._size - EVENT_OVERHEAD * self._count
        most = weights[start] + EVENT_OVERHEAD * start + room
        if weights[end] + EVENT_OVERHEAD * end > most:
            end = bisect_right(range(end + 1), most, start, end + 1, key=lambda i: weights[i] + EVENT_OVERHEAD * i) - 1
        return end

    def _count_in(self, first_ms: int, count: int, size: int) -> None:
        if not self._count:
            self._first_ms = first_ms
        self._count += count
        self._size += size

    def _encode(self, events: Events, start: int, end: int) -> None:
        times, messages, pieces = events.times, events.messages, self._pieces
        for first in range(start, end, _AT_ONCE):
            last = min(first + _AT_ONCE, end)
            encoded = _encode(list(map(Event, times[first:last], messages[first:last])))
            pieces.append(self._in_ascii(encoded)[1:-1] + b",")

    def _encode_lines(self, events: LineEvents) -> None:
        self._count_in(events.times[0], len(events.times), events.size)
        lines = EscapedLines(events.lines, len(events.times))
        self._pieces += lines.woven(b'{"timestamp":', events.times, b',"message":"', b'"},')

    def _close(self) -> None:
        pieces = self._pieces
        pieces[-1] = pieces[-1][:-1]
        body = b"".join([self._head, b"[", *pieces, b"]}"])
        self._requests.append(Request(body, self._count, self._size))
        self._pieces = []
        self._count = self._size = 0

    def _in_ascii(self, encoded: bytes) -> bytes:
        """What is encoded here, as it stands in the body; lines come as they have to be."""
        return ascii_json(encoded) if self._ascii_only else encoded

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
