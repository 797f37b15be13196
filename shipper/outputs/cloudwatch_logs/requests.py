"""Events of one stream become PutLogEvents bodies that obey every limit of the service.

An event weighs its message in UTF-8 bytes and 26 more. A request holds at most 1,048,576 bytes of that and 10,000
events, in ascending order of time, less than 24 hours apart. The same events always give the same bytes.

Events are kept as columns until their body is encoded, so that sorting, measuring and splitting need no objects.
"""

from __future__ import annotations

import json
import re
from bisect import bisect_left, bisect_right
from collections.abc import Iterator
from itertools import accumulate
from typing import NamedTuple

import msgspec

from ...codecs.json_lines import ascii_json

REQUEST_LIMIT = 1_048_576
EVENT_LIMIT = 1_048_576
OLD_EVENT_LIMIT = 262_144
"""What an event could weigh until April 2025, and still can where the service was not brought up to date."""
EVENTS_LIMIT = 10_000
EVENT_OVERHEAD = 26
DAY_MS = 86_400_000

# The last escape if it is not whole, or the first half of a pair with whatever is left of the second.
_HALF_AN_ESCAPE = re.compile(
    r"(?<!\\)((?:\\\\)*)\\(?:u(?:[0-9a-f]{0,3}|d[89ab][0-9a-f]{2}(?:\\(?:u[0-9a-f]{0,3})?)?))?\Z"
)
_encode = msgspec.json.encode


class Stream(NamedTuple):
    """Where events go."""

    group: str
    name: str


class Events(msgspec.Struct):
    """Events of one stream as columns of equal length.

    `times` are milliseconds, `sizes` the UTF-8 bytes of the messages. `entity` is the JSON text of what the events are
    about, if that is sent. With `ascii_only` the body holds no other characters.
    """

    times: list[int] = []
    messages: list[str] = []
    sizes: list[int] = []
    entity: bytes = b""
    ascii_only: bool = False

    def __len__(self) -> int:
        return len(self.times)


class Event(msgspec.Struct, gc=False):
    """One event as it stands in a body."""

    timestamp: int
    message: str


class Request(msgspec.Struct, frozen=True):
    """A finished PutLogEvents body, the number of events in it, and the bytes of their messages."""

    body: bytes
    events: int
    size: int

    def with_token(self, token: str) -> bytes:
        """The body with a sequence token, for destinations of before 2023."""
        # Quotes inside names and messages are escaped, so the first match is the member itself.
        return self.body.replace(b'"logEvents":[', b'"sequenceToken":%b,"logEvents":[' % _encode(token), 1)


class Cut(msgspec.Struct):
    """How many events were shortened to fit, and the size of the largest."""

    events: int = 0
    largest: int = 0


def requests_of(stream: Stream, events: Events, event_limit: int, cut: Cut) -> list[Request]:
    """The requests that carry the events, in the order in which they are sent.

    Events above `event_limit` (their 26 bytes included) are shortened and noted in `cut`; none is left out.
    """
    _shorten(events, event_limit - EVENT_OVERHEAD, cut)
    _sort(events)
    head = request_head(stream, events.entity)
    return [_request(head, events, start, end) for start, end in _ranges(events.times, events.sizes)]


def request_head(stream: Stream, entity: bytes = b"") -> bytes:
    """A body up to its first event."""
    about = b'"entity":%b,' % entity if entity else b""
    return b'{"logGroupName":%b,"logStreamName":%b,%b"logEvents":' % (
        json.dumps(stream.group).encode(),
        json.dumps(stream.name).encode(),
        about,
    )


def _request(head: bytes, events: Events, start: int, end: int) -> Request:
    messages, sizes, times = events.messages, events.sizes, events.times
    if start > 0 or end < len(times):
        messages, sizes, times = messages[start:end], sizes[start:end], times[start:end]
    body = b"%b%b}" % (head, _encode(list(map(Event, times, messages))))
    if events.ascii_only:
        body = ascii_json(body)
    return Request(body, len(times), sum(sizes))


def _ranges(times: list[int], sizes: list[int]) -> Iterator[tuple[int, int]]:
    """First and last-but-one index of each request; takes as many events into each as the limits allow."""
    count = len(times)
    start = 0
    weights = list(accumulate(sizes, initial=0)) if count else []
    while start < count:
        end = min(start + EVENTS_LIMIT, count)
        if times[end - 1] - times[start] >= DAY_MS:
            end = bisect_left(times, times[start] + DAY_MS, start, end)
        # weights[i] + 26 * i grows with i, so the search works without a second list.
        most = weights[start] + EVENT_OVERHEAD * start + REQUEST_LIMIT
        if weights[end] + EVENT_OVERHEAD * end > most:
            end = bisect_right(range(end + 1), most, start, end + 1, key=lambda i: weights[i] + EVENT_OVERHEAD * i) - 1
        yield start, end
        start = end


def _sort(events: Events) -> None:
    """Bring the events into ascending order of time; those of one millisecond keep their order."""
    times = events.times
    in_order = sorted(times)
    if in_order == times:
        return
    order = sorted(range(len(times)), key=times.__getitem__)
    events.times = in_order
    events.messages = [events.messages[i] for i in order]
    events.sizes = [events.sizes[i] for i in order]


def _shorten(events: Events, most: int, cut: Cut) -> None:
    sizes = events.sizes
    if not sizes or max(sizes) <= most:
        return
    for index, size in enumerate(sizes):
        if size > most:
            events.messages[index], sizes[index] = shortened(events.messages[index], most)
            cut.events += 1
            cut.largest = max(cut.largest, size)


def shortened(message: str, most: int) -> tuple[str, int]:
    """The longest beginning of a message that has at most so many UTF-8 bytes, and how many it has.

    It ends with a whole character, and in a message that is JSON text with a whole escape.
    """
    text = message.encode()[:most].decode("utf-8", "ignore")
    if text.startswith("{"):
        text = _HALF_AN_ESCAPE.sub(r"\1", text)
    return text, len(text.encode())


class _SentBody(msgspec.Struct):
    logGroupName: str
    logStreamName: str
    logEvents: list[Event]
    entity: msgspec.Raw = msgspec.Raw(b"")


def remade(request: Request, event_limit: int, cut: Cut) -> list[Request]:
    """The same events as requests in which none weighs more than `event_limit`."""
    stream, events = taken_apart(request)
    return requests_of(stream, events, event_limit, cut)


def halves(request: Request) -> list[Request]:
    """The same events as two requests; the request must hold at least two."""
    stream, events = taken_apart(request)
    head = request_head(stream, events.entity)
    middle = len(events) // 2
    return [_request(head, events, 0, middle), _request(head, events, middle, len(events))]


def events_in(request: Request) -> tuple[list[int], list[str]]:
    """The times and messages of a request, in its order."""
    _, events = taken_apart(request)
    return events.times, events.messages


def taken_apart(request: Request) -> tuple[Stream, Events]:
    """The stream and the events that a request was made from."""
    # Requests are taken apart only after a refusal; keeping the columns of all of them would cost their memory twice.
    body = msgspec.json.decode(request.body, type=_SentBody)
    messages = [e.message for e in body.logEvents]
    sizes = [len(m.encode()) for m in messages]
    times = [e.timestamp for e in body.logEvents]
    stream = Stream(body.logGroupName, body.logStreamName)
    return stream, Events(times, messages, sizes, bytes(body.entity), request.body.isascii())
