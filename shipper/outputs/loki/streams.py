"""Batches become streams: which labels each record has, its structured metadata, its line and its tenant.

What depends on the tag alone is worked out once for a batch, what depends on values that records share (the map of a
pod, stdout or stderr) once for each of these values. A batch whose labels need no record is never looked into.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

import msgspec

from ...codecs.escaped_lines import EscapedLines
from ...codecs.json_lines import HoledLines, JsonEncoder
from ...codecs.template import KeyPath
from ...log import Log
from ...record import Body, RecordBatch
from .guard import Shape
from .lines import LineMaker
from .rules import Rule, label_name

Labels = tuple[tuple[str, str], ...]
Metadata = dict[str, str]

DEFAULT_LABELS: Labels = (("job", "fluent-bit"),)
_NO_HEADER = re.compile("[\x00-\x1f\x7f\ud800-\udfff]")
_SURROGATE = re.compile("[\ud800-\udfff]")
_KUBERNETES_LABELS = KeyPath("kubernetes", ("labels",))


class Stream(NamedTuple):
    """Where entries go: a tenant, if there is one, and labels."""

    tenant: str | None
    labels: Labels


class Entries(msgspec.Struct):
    """Entries of one stream as columns of equal length; `size` are the bytes of their lines and metadata.

    `lines` are encoded as the body of a request wants them. Without `metadata` no entry has any. `places` are those
    of the records in the delivery.
    """

    times: list[int]
    lines: Sequence[bytes]
    metadata: list[Metadata] | None
    size: int
    places: Sequence[int]

    def __len__(self) -> int:
        return len(self.times)

    def part(self, start: int, end: int) -> Entries:
        """The entries of these rows; their size is taken to be in proportion to their encoded length."""
        if start == 0 and end == len(self.times):
            return self
        lines = self.lines[start:end]
        whole = sum(map(len, self.lines))
        size = self.size * sum(map(len, lines)) // whole if whole else 0
        metadata = self.metadata and self.metadata[start:end]
        return Entries(self.times[start:end], lines, metadata, size, self.places[start:end])

    def rows(self, picked: Sequence[int]) -> Entries:
        """The entries of these rows, in this order."""
        lines = [self.lines[i] for i in picked]
        whole = sum(map(len, self.lines))
        size = self.size * sum(map(len, lines)) // whole if whole else 0
        metadata = [self.metadata[i] for i in picked] if self.metadata is not None else None
        places = self.places
        # The usual case, the first batch of a delivery, needs no look at each place.
        is_first = isinstance(places, range) and places.start == 0
        chosen = list(picked) if is_first else [places[i] for i in picked]
        return Entries([self.times[i] for i in picked], lines, metadata, size, chosen)


class LabelRules(msgspec.Struct, frozen=True, kw_only=True):
    """What the configuration says about labels, structured metadata and tenants."""

    labels: tuple[Rule, ...] = ()
    kubernetes_labels: bool = False
    metadata: tuple[Rule, ...] = ()
    metadata_maps: tuple[KeyPath, ...] = ()
    tenant: str | None = None
    tenant_path: KeyPath | None = None

    @property
    def has_metadata(self) -> bool:
        return bool(self.metadata or self.metadata_maps)

    def removed(self) -> list[KeyPath]:
        """The values that become labels or metadata, and therefore stand in no line."""
        paths = [path for rule in (*self.labels, *self.metadata) for path in rule.template.paths]
        return paths + list(self.metadata_maps)


class StreamMaker:
    """Sorts the records of batches into streams."""

    def __init__(
        self, rules: LabelRules, lines: LineMaker, json: JsonEncoder, shape: Shape, encode: LineEncoder, log: Log
    ) -> None:
        self._rules = rules
        self._lines = lines
        self._json = json
        self._shape = shape
        self._encode = encode
        self._log = log
        paths = [path for rule in rules.labels for path in rule.template.paths]
        paths += [_KUBERNETES_LABELS] if rules.kubernetes_labels else []
        paths += [rules.tenant_path] if rules.tenant_path else []
        # The keys whose values decide about the stream, and those that decide about the metadata.
        self._stream_keys = tuple(dict.fromkeys(path.key for path in paths))
        metadata_paths = [path for rule in rules.metadata for path in rule.template.paths] + list(rules.metadata_maps)
        self._metadata_keys = tuple(dict.fromkeys(path.key for path in metadata_paths))

    @property
    def takes_lines(self) -> bool:
        """Whether records are needed as JSON lines only."""
        return self._lines.is_plain and not (self._stream_keys or self._metadata_keys)

    @property
    def uses_record(self) -> bool:
        """Whether records of one tag can go to several streams."""
        return bool(self._stream_keys)

    def prepare(self, batches: Iterable[RecordBatch]) -> dict[Stream, Entries]:
        """The entries of all batches by stream, in ascending order of time; equal times keep their order."""
        streams: dict[Stream, Entries] = {}
        start = 0
        for batch in batches:
            if len(batch):
                self._add(streams, batch, start)
                start += len(batch)
        for stream, entries in streams.items():
            in_order = sorted(entries.times)
            if in_order != entries.times:
                streams[stream] = entries.rows(sorted(range(len(in_order)), key=entries.times.__getitem__))
        return streams

    def _add(self, streams: dict[Stream, Entries], batch: RecordBatch, start: int) -> None:
        rules, lines = self._rules, self._lines
        bodies: Sequence[Body] = ()
        if not self.takes_lines:
            bodies = _maps(batch)
        if lines.is_plain:
            found_lines = lines.json_lines(batch.content)
            encoded, size = self._encode.blob(found_lines, len(batch)), found_lines.size(len(batch))
        else:
            texts = lines.lines(bodies)
            encoded = self._encode.texts(texts)
            size = sum(map(len, encoded)) if not self._encode.escapes else sum(map(len, texts))
        places = range(start, start + len(batch))
        found = Entries(list(batch.content.times_ns()), encoded, None, size, places)
        if rules.has_metadata:
            found.metadata = self._metadata(batch.tag, bodies, len(found))
            found.size += sum([len(k) + len(v) for m in found.metadata for k, v in m.items()])
        for (stream, moved), rows in self._streams_of(batch.tag, bodies).items():
            _append(streams, stream, found if rows is None else found.rows(rows), moved)

    def _streams_of(
        self, tag: str, bodies: Sequence[Body]
    ) -> dict[tuple[Stream, tuple[tuple[str, str], ...]], list[int] | None]:
        """Which rows go to which stream with which labels made metadata; None stands for all rows."""
        if not self._stream_keys:
            return {self._stream(tag, {}): None}
        known: dict[tuple[Any, ...], tuple[Stream, Labels]] = {}
        rows: dict[tuple[Stream, Labels], list[int] | None] = {}
        for row, seen in enumerate(_values(bodies, self._stream_keys)):
            if (place := known.get(seen)) is None:
                place = known[seen] = self._stream(tag, bodies[row])
                rows.setdefault(place, [])
            rows[place].append(row)  # type: ignore[union-attr]  # only lists are put in above
        if len(rows) == 1:
            return dict.fromkeys(rows)
        return rows

    def _stream(self, tag: str, body: Body) -> tuple[Stream, Labels]:
        tenant = self._tenant(body)
        labels, moved = self._shape.admit(tenant, self._labels(tag, body))
        return Stream(tenant, labels), moved

    def _tenant(self, body: Body) -> str | None:
        rules = self._rules
        if rules.tenant_path is None:
            return rules.tenant
        value = rules.tenant_path.get(body)
        if value is None or value == "":
            return rules.tenant
        # It comes from a record and goes into a header, so there must be no line break in it.
        if not isinstance(value, str) or _NO_HEADER.search(value):
            self._log.warning(
                "what tenant_id_key finds is no text, or none that a header can hold; such records go to tenant_id",
                every=60,
            )
            return rules.tenant
        return value

    def _labels(self, tag: str, body: Body) -> Labels:
        """The labels in the order of the options; of two with one name the last one stands."""
        labels: dict[str, str] = {}
        for rule in self._rules.labels:
            if value := rule.template.render_strict(tag, body):
                labels.pop(rule.name, None)
                labels[rule.name] = unicode(value)
        if self._rules.kubernetes_labels:
            found = _map(_KUBERNETES_LABELS.get(body))
            labels.update({label_name(k): unicode(v) for k, v in found.items() if isinstance(v, str) and v})
        return tuple(labels.items()) or DEFAULT_LABELS

    def _metadata(self, tag: str, bodies: Sequence[Body], count: int) -> list[Metadata]:
        if not self._metadata_keys:
            return [self._metadata_of(tag, {})] * count
        known: dict[tuple[Any, ...], Metadata] = {}
        found = []
        for body, seen in zip(bodies, _values(bodies, self._metadata_keys), strict=True):
            if (metadata := known.get(seen)) is None:
                metadata = known[seen] = self._metadata_of(tag, body)
            found.append(metadata)
        return found

    def _metadata_of(self, tag: str, body: Body) -> Metadata:
        found: Metadata = {}
        for path in self._rules.metadata_maps:
            for key, value in _map(path.get(body)).items():
                found[label_name(key)] = unicode(value) if isinstance(value, str) else self._json.encode(value).decode()
        for rule in self._rules.metadata:
            if value := rule.template.render_strict(tag, body):
                found.pop(rule.name, None)
                found[rule.name] = unicode(value)
        return found


class LineEncoder(msgspec.Struct, frozen=True):
    """How the lines stand in a body: all at once from JSON lines, or from texts; `escapes` if that changes lengths."""

    blob: Callable[[HoledLines, int], Sequence[bytes]]
    texts: Callable[[Sequence[str]], Sequence[bytes]]
    escapes: bool


def unicode(text: str) -> str:
    """The text with U+FFFD for what is no Unicode."""
    return text if text.isascii() else _SURROGATE.sub("\ufffd", text)


def _values(bodies: Sequence[Body], keys: Sequence[str]) -> list[tuple[Any, ...]]:
    """For each body what stands for its values of the keys: texts for themselves, anything else for its identity."""
    columns = []
    for key in keys:
        column = [body.get(key) for body in bodies]
        columns.append([v if type(v) is str else id(v) for v in column])
    return list(zip(*columns, strict=True))


def _map(value: Any) -> Body:
    if isinstance(value, msgspec.Raw):
        value = msgspec.json.decode(value)
    return value if isinstance(value, dict) else {}


def _maps(batch: RecordBatch) -> Sequence[Body]:
    bodies = batch.content.bodies()
    if set(map(type, bodies)) <= {dict}:
        return bodies
    return [r.body for r in batch.content.records()]


def with_metadata(entries: Entries, labels: Labels) -> Entries:
    """The entries with these labels as metadata; those that they have already win."""
    extra = dict(labels)
    metadata = [{**extra, **m} for m in entries.metadata] if entries.metadata is not None else [extra] * len(entries)
    size = entries.size + len(entries) * sum([len(k) + len(v) for k, v in labels])
    return Entries(entries.times, entries.lines, metadata, size, entries.places)


def _append(streams: dict[Stream, Entries], stream: Stream, more: Entries, moved: Labels) -> None:
    if moved:
        more = with_metadata(more, moved)
    entries = streams.get(stream)
    if entries is None:
        streams[stream] = more
        return
    if entries.metadata is not None or more.metadata is not None:
        entries.metadata = [
            *(entries.metadata if entries.metadata is not None else [{}] * len(entries)),
            *(more.metadata if more.metadata is not None else [{}] * len(more)),
        ]
    entries.times += more.times
    if isinstance(entries.lines, EscapedLines) and isinstance(more.lines, EscapedLines):
        entries.lines.extend(more.lines)
    else:
        if not isinstance(entries.lines, list):
            entries.lines = list(entries.lines)
        entries.lines.extend(more.lines)
    entries.size += more.size
    entries.places = _joined(entries.places, more.places)


def _joined(places: Sequence[int], more: Sequence[int]) -> Sequence[int]:
    """Places one after the other; a run of them stays a run, which weighs nothing."""
    if isinstance(places, range) and isinstance(more, range) and places.stop == more.start:
        return range(places.start, more.stop)
    return [*places, *more]
