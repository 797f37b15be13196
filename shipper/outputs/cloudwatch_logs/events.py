"""Records become events: which stream each goes to, and its message.

A message is the record as JSON text, or the value of `log_key` alone.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from io import BytesIO
from itertools import compress
from operator import ne
from typing import Any

import msgspec

from ...codecs.json_lines import JsonEncoder
from ...codecs.template import Template
from ...record import Body, Content, Record, RecordBatch, RecordList
from .emf import MetricFormat
from .entity import entity_of, without_entity
from .event_times import TimeBounds, within
from .packing import LineEvents, Packer
from .requests import Cut, Events, Request, Stream

_GROUP_NAME = re.compile(r"[A-Za-z0-9_/.#-]{1,512}")
_STREAM_NAME_LIMIT = 512
_HARMFUL_IN_STREAM = re.compile(r"[:*\x00-\x1f\x7f]")
_MISSING: Any = object()
_decode_text = msgspec.json.Decoder(str).decode


def is_group_name(name: str) -> bool:
    """Whether AWS accepts the name of a group."""
    return _GROUP_NAME.fullmatch(name) is not None


def stream_name(name: str) -> str:
    """The nearest name for a stream: no colon, asterisk or control character, at most 512 bytes; it may be empty.

    AWS accepts most control characters, and then nobody can write such a name to look for it.
    """
    name = _HARMFUL_IN_STREAM.sub("_", name)
    if len(name) * 4 > _STREAM_NAME_LIMIT:
        return name.encode("utf-8", "replace")[:_STREAM_NAME_LIMIT].decode("utf-8", "ignore")
    return name


class StreamNames(msgspec.Struct, frozen=True, kw_only=True):
    """Names the stream of a record. `warn` is told of templates that gave no usable name; the fallback is used then."""

    group: str
    stream: str | None = None
    prefix: str = ""
    group_template: Template | None = None
    stream_template: Template | None = None
    warn: Callable[[str], None] = lambda message: None

    @property
    def use_record(self) -> bool:
        """Whether records of one tag can go to several streams."""
        templates = (self.group_template, self.stream_template)
        return any(t is not None and t.uses_record for t in templates)

    def of(self, tag: str, body: Body) -> Stream:
        """The stream for a record of this tag."""
        return Stream(self._group(tag, body), self._stream(tag, body))

    def _group(self, tag: str, body: Body) -> str:
        if self.group_template is None:
            return self.group
        name = self.group_template.render_strict(tag, body)
        if name is None:
            self.warn(f"a key of log_group_template is missing in a record; group {self.group} is used")
        elif is_group_name(name):
            return name
        else:
            self.warn(f"log_group_template gave a name that is no group name; group {self.group} is used")
        return self.group

    def _stream(self, tag: str, body: Body) -> str:
        fallback = self.stream if self.stream is not None else stream_name(self.prefix + tag)
        if self.stream_template is None:
            return fallback
        name = self.stream_template.render_strict(tag, body)
        if name is None:
            self.warn("a key of log_stream_template is missing in a record; the fallback name is used")
            return fallback
        return stream_name(name) or fallback


class WithoutEvent(msgspec.Struct, kw_only=True):
    """How many records made no event, because the log key was missing or its value empty."""

    missing_log_key: int = 0
    empty: int = 0


class Prepared(WithoutEvent):
    """The events of a delivery by stream."""

    streams: dict[Stream, Events]


class Packed(WithoutEvent):
    """The requests of a delivery by stream, in the order in which they are sent.

    `refused` are the numbers of events that are not sent for their time, by stream and reason, and `clamped` is how
    many got another.
    """

    requests: dict[Stream, list[Request]]
    refused: dict[tuple[Stream, str], int] = {}
    clamped: int = 0


class EventMaker:
    """Turns batches into events."""

    def __init__(
        self, names: StreamNames, json: JsonEncoder, log_key: str | None, metrics: MetricFormat, *, add_entity: bool
    ) -> None:
        self._names = names
        self._json = json
        self._log_key = log_key
        self._metrics = metrics
        self._add_entity = add_entity
        self._uses_record = names.use_record or add_entity
        self.takes_lines = not self._uses_record and log_key is None
        """Whether records are needed as JSON lines only."""

    def prepare(self, batches: Iterable[RecordBatch]) -> Prepared:
        """The events of all batches, grouped by stream; within a stream they keep the order of the records."""
        prepared = Prepared({})
        for batch in batches:
            for stream, events in self._parts(batch, prepared):
                _append(prepared.streams, stream, events)
        return prepared

    def pack(
        self, batches: Iterable[RecordBatch], event_limit: int, cut: Cut, bounds: TimeBounds | None = None
    ) -> Packed:
        """The same as requests, without the events that are out of bounds.

        Events above the limit are counted in `cut` and cut as it says.
        """
        packed, packers = Packed({}), dict[Stream, Packer]()
        for batch in batches:
            lines = self._lines(batch) if self.takes_lines else None
            parts: list[tuple[Stream, Events | LineEvents]]
            parts = [(self._names.of(batch.tag, {}), lines)] if lines else [*self._parts(batch, packed)]
            for stream, events in parts:
                packer = packers.get(stream)
                if packer is None:
                    packer = packers[stream] = Packer(stream, event_limit, cut)
                packer.add(events if bounds is None else _in_bounds(events, bounds, stream, packed))
        packed.requests = {stream: found for stream, packer in packers.items() if (found := packer.finish())}
        return packed

    def _lines(self, batch: RecordBatch) -> LineEvents | None:
        """The records as JSON lines, if each of them is an event."""
        lines = self._json.encode_holed(batch.content)
        # Rows say which fields they have, and need no look at each.
        may_be_empty = lines.filling is None and not getattr(batch.content, "fields", ())
        if self._metrics.describes(lines.text) or (may_be_empty and _has_empty_line(lines.text)):
            return None
        return LineEvents(_times_ms(batch.content), lines, self._json.escape_unicode)

    def _parts(self, batch: RecordBatch, skipped: WithoutEvent) -> list[tuple[Stream, Events]]:
        """The events of a batch by stream, without those that have no message."""
        bodies: Sequence[Body] = ()
        content = batch.content
        if self._uses_record or self._log_key is not None:
            bodies = _maps(batch)
            if self._add_entity:
                content = RecordList([Record(0, without_entity(b)) for b in bodies])
        if self._log_key is not None:
            messages, sizes, missing = self._values(bodies, self._log_key)
            skipped.missing_log_key += missing
            skipped.empty += sizes.count(0) - missing
        else:
            lines = self._metrics.wrapped(self._json.encode_lines(content), batch)
            messages = lines.decode().split("\n")
            messages.pop()
            sizes = list(map(len, messages)) if lines.isascii() else [len(m.encode()) for m in messages]
            if sizes and min(sizes) <= len("{}"):
                sizes = [size if size > len("{}") else 0 for size in sizes]
                skipped.empty += sizes.count(0)
        events = Events(_times_ms(batch.content), messages, sizes, b"", self._json.escape_unicode)
        return self._by_stream(batch.tag, bodies, events)

    def _values(self, bodies: Sequence[Body], key: str) -> tuple[list[str], list[int], int]:
        """Messages and sizes of the values of the log key, and in how many records it is missing; those have size 0."""
        values = [b.get(key, _MISSING) for b in bodies]
        missing = sum(1 for v in values if v is _MISSING)
        if set(map(type, values)) == {str} and all(map(str.isascii, values)):
            return values, list(map(len, values)), missing
        messages = [self._message(v) for v in values]
        return messages, [len(m.encode()) for m in messages], missing

    def _message(self, value: Any) -> str:
        """A text as it is, nothing for a missing value, and the JSON text of anything else."""
        if value is _MISSING:
            return ""
        encoded = self._json.encode(value)
        return _decode_text(encoded) if encoded[:1] == b'"' else encoded.decode()

    def _by_stream(self, tag: str, bodies: Sequence[Body], found: Events) -> list[tuple[Stream, Events]]:
        if not self._uses_record:
            return [(self._names.of(tag, {}), _with_message(found))]
        of, rows = self._names.of, dict[Stream, list[int]]()
        for row, body in enumerate(bodies):
            rows.setdefault(of(tag, body), []).append(row)
        parts = []
        for stream, picked in rows.items():
            events = _with_message(found if len(picked) == len(found) else found.picked(picked))
            if self._add_entity:
                events.entity = entity_of(bodies[picked[0]])
            parts.append((stream, events))
        return parts


def _in_bounds(events: Events | LineEvents, bounds: TimeBounds, stream: Stream, packed: Packed) -> Events | LineEvents:
    """The events that are sent; what is done to the others is counted in `packed`."""
    times = events.times
    if bounds.hold(times):
        return events
    if bounds.clamp:
        events.times = bounds.clamped(times)
        packed.clamped += sum(map(ne, times, events.times))
        return events
    kept, refused = within(events.events() if isinstance(events, LineEvents) else events, bounds)
    for reason, count in refused.items():
        packed.refused[stream, reason] = packed.refused.get((stream, reason), 0) + count
    return kept


def _has_empty_line(text: bytes) -> bool:
    """Whether any of the JSON lines is a map without fields."""
    return min(map(len, BytesIO(text)), default=0) <= len("{}\n")


def _times_ms(content: Content) -> list[int]:
    times = [t // 1_000_000 for t in content.times_ns()]
    if times and min(times) < 0:
        times = [max(t, 0) for t in times]  # the service knows no time before 1970
    return times


def _maps(batch: RecordBatch) -> Sequence[Body]:
    bodies = batch.content.bodies()
    if set(map(type, bodies)) <= {dict}:
        return bodies
    return [r.body for r in batch.content.records()]


def _with_message(events: Events) -> Events:
    """The events without those whose size is 0, which marks that they have no message."""
    if 0 not in events.sizes:
        return events
    has = list(map(bool, events.sizes))
    times, messages = list(compress(events.times, has)), list(compress(events.messages, has))
    return Events(times, messages, list(compress(events.sizes, has)), events.entity, events.ascii_only)


def _append(streams: dict[Stream, Events], stream: Stream, more: Events) -> None:
    events = streams.get(stream)
    if events is None:
        if more.times:
            streams[stream] = more
        return
    events.times += more.times
    events.messages += more.messages
    events.sizes += more.sizes
