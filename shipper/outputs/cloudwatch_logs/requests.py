"""Events of one stream become PutLogEvents bodies that obey every limit of the service.

An event weighs its message in UTF-8 bytes and 26 more. A request holds at most 1,048,576 bytes of that and 10,000
events, in ascending order of time, less than 24 hours apart. The same events always give the same bytes.

Events are kept as columns until their body is encoded, so that sorting, measuring and splitting need no objects.
"""

from __future__ import annotations

import json
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Sequence
from itertools import accumulate
from typing import NamedTuple

import msgspec

from ...codecs.json_lines import ascii_json
from .cutting import Part, id_of, parts_of, shortened

REQUEST_LIMIT = 1_048_576
EVENT_LIMIT = 1_048_576
OLD_EVENT_LIMIT = 262_144
"""What an event could weigh until April 2025, and still can where the service was not brought up to date."""
EVENTS_LIMIT = 10_000
EVENT_OVERHEAD = 26
DAY_MS = 86_400_000

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

    def picked(self, rows: list[int]) -> Events:
        """The events at these places."""
        times, messages, sizes = self.times, self.messages, self.sizes
        columns = ([times[i] for i in rows], [messages[i] for i in rows], [sizes[i] for i in rows])
        return Events(columns[0], columns[1], columns[2], self.entity, self.ascii_only)


class Event(msgspec.Struct, gc=False):
    """One event as it stands in a body."""

    timestamp: int
    message: str


class Request(msgspec.Struct, frozen=True):
    """A finished PutLogEvents body, the number of events in it, and the bytes of their messages.

    An event is a record, unless it is a `part` of one: that is alone in its request, and the next request of the stream
    holds the next part.
    """

    body: bytes
    events: int
    size: int
    part: Part | None = None

    @property
    def weight(self) -> int:
        """The bytes that the service counts for it."""
        return self.size + EVENT_OVERHEAD * self.events

    @property
    def goes_on(self) -> bool:
        """Whether the rest of its record follows."""
        return self.part is not None and not self.part.is_last

    def with_token(self, token: str) -> bytes:
        """The body with a sequence token, for destinations of before 2023."""
        # Quotes inside names and messages are escaped, so the first match is the member itself.
        return self.body.replace(b'"logEvents":[', b'"sequenceToken":%b,"logEvents":[' % _encode(token), 1)


class Cut(msgspec.Struct):
    """How many events were cut to fit, and the size of the largest. With `in_parts` nothing of them is left out."""

    events: int = 0
    largest: int = 0
    in_parts: bool = False

    def note(self, size: int) -> None:
        """Count an event of this size."""
        self.events += 1
        self.largest = max(self.largest, size)


def requests_of(stream: Stream, events: Events, event_limit: int, cut: Cut) -> list[Request]:
    """The requests that carry the events, in the order in which they are sent.

    Events above `event_limit` (their 26 bytes included) are counted in `cut`, and shortened or divided as it says; none
    is left out.
    """
    most = event_limit - EVENT_OVERHEAD
    _sort(events)
    head = request_head(stream, events.entity)
    requests: list[Request] = []
    start = 0
    for index in _too_large(events, most):
        cut.note(events.sizes[index])
        if cut.in_parts:
            requests += _whole(head, events, start, index)
            requests += _in_parts(head, events, index, most, id_of(events.messages[index]))
            start = index + 1
        else:
            events.messages[index], events.sizes[index] = shortened(events.messages[index], most)
    return requests + _whole(head, events, start, len(events))


def request_head(stream: Stream, entity: bytes = b"") -> bytes:
    """A body up to its first event."""
    about = b'"entity":%b,' % entity if entity else b""
    return b'{"logGroupName":%b,"logStreamName":%b,%b"logEvents":' % (
        json.dumps(stream.group).encode(),
        json.dumps(stream.name).encode(),
        about,
    )


def _too_large(events: Events, most: int) -> list[int]:
    sizes = events.sizes
    if not sizes or max(sizes) <= most:
        return []
    return [index for index, size in enumerate(sizes) if size > most]


def _whole(head: bytes, events: Events, start: int, end: int) -> list[Request]:
    """The requests of the events from one index to before another."""
    ranges = _ranges(events.times[start:end], events.sizes[start:end])
    return [_request(head, events, start + first, start + last) for first, last in ranges]


def _in_parts(head: bytes, events: Events, index: int, most: int, message_id: str) -> list[Request]:
    """A request for each part of one event."""
    requests = []
    for part, text in parts_of(events.messages[index], most, message_id):
        alone = Events([events.times[index]], [text], [len(text.encode())], events.entity, events.ascii_only)
        requests.append(_request(head, alone, 0, 1, part))
    return requests


def _request(head: bytes, events: Events, start: int, end: int, part: Part | None = None) -> Request:
    messages, sizes, times = events.messages, events.sizes, events.times
    if start > 0 or end < len(times):
        messages, sizes, times = messages[start:end], sizes[start:end], times[start:end]
    body = b"%b%b}" % (head, _encode(list(map(Event, times, messages))))
    if events.ascii_only:
        body = ascii_json(body)
    return Request(body, len(times), sum(sizes), part)


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


class _SentBody(msgspec.Struct):
    logGroupName: str
    logStreamName: str
    logEvents: list[Event]
    entity: msgspec.Raw = msgspec.Raw(b"")


def remade(requests: Sequence[Request], event_limit: int, cut: Cut) -> list[Request]:
    """The events of one request, or of those with all parts of a record, as requests of which none is too large.

    `cut` tells whether that has changed anything.
    """
    stream, events = taken_apart(requests[0])
    part = requests[0].part
    if part is None:
        return requests_of(stream, events, event_limit, cut)
    most, largest = event_limit - EVENT_OVERHEAD, max(r.size for r in requests)
    if largest <= most:
        return list(requests)
    cut.note(largest)
    events.messages = ["".join(map(_text_of_part, requests))]
    return _in_parts(request_head(stream, events.entity), events, 0, most, part.id)


def _text_of_part(request: Request) -> str:
    """What the part says, without its marker."""
    marker = request.part.marker if request.part is not None else ""
    return taken_apart(request)[1].messages[0].removeprefix(marker)


def halves(request: Request) -> list[Request]:
    """The same events as two requests; the request must hold at least two, so none of them is a part."""
    stream, events = taken_apart(request)
    head = request_head(stream, events.entity)
    middle = len(events) // 2
    return [_request(head, events, 0, middle), _request(head, events, middle, len(events))]


def events_in(request: Request) -> tuple[list[int], list[str]]:
    """The times and messages of a request, in its order."""
    _, events = taken_apart(request)
    return events.times, events.messages


def weight_of(request: Request, rows: Iterable[range]) -> int:
    """The bytes that the service counts for some events of a request."""
    sizes = taken_apart(request)[1].sizes
    return sum(sizes[row] + EVENT_OVERHEAD for picked in rows for row in picked)


def taken_apart(request: Request) -> tuple[Stream, Events]:
    """The stream and the events that a request was made from."""
    # Requests are taken apart only after a refusal; keeping the columns of all of them would cost their memory twice.
    body = msgspec.json.decode(request.body, type=_SentBody)
    messages = [e.message for e in body.logEvents]
    sizes = [len(m.encode()) for m in messages]
    times = [e.timestamp for e in body.logEvents]
    stream = Stream(body.logGroupName, body.logStreamName)
    return stream, Events(times, messages, sizes, bytes(body.entity), request.body.isascii())
