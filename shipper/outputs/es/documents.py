"""Records become documents, each with the action that says what is to be done with it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache, partial
from struct import Struct
from typing import Any

import msgspec

from ...clock import Clock
from ...codecs import msgpack_events
from ...codecs.dates import strftime_utc
from ...codecs.json_lines import JsonEncoder
from ...codecs.template import Template, text_of
from ...errors import OptionError
from ...record import Body, Content, Record, RecordBatch, RecordList
from .options import BulkOptions

_SECOND = 1_000_000_000
_SEED = 42
_REMEMBERED_SECONDS = 64
_REMEMBERED_INDICES = 1000
_DEEPEST = 100
_NUMBERS = Struct("<8H").unpack
_ID = "%04x%04x-%04x-%04x-%04x-%04x%04x%04x"
"""Fluent Bit prints a hash as numbers of two bytes."""


class Prepared(msgspec.Struct):
    """Actions with their documents, ready to be sent, and the places of records that made none."""

    actions: list[bytes]
    without_id: list[int]


class DocumentMaker:
    """Turns batches into actions. With `fills_in_index` the index is a template, filled in from the record."""

    def __init__(self, options: BulkOptions, json: JsonEncoder, clock: Clock, *, fills_in_index: bool = False) -> None:
        self._options = options
        self._json = json
        self._clock = clock
        self._template = lru_cache(_REMEMBERED_SECONDS)(_parse_index) if fills_in_index else None
        self._needs_bodies = bool(
            (self._template is not None and self._template(options.index).uses_record)
            or (options.logstash_format and options.logstash_prefix_key is not None)
            or options.id_key is not None
        )
        self._head = lru_cache(_REMEMBERED_INDICES)(self._make_head)
        self._second = lru_cache(_REMEMBERED_SECONDS)(_time_writer(json, options))
        self._date = lru_cache(_REMEMBERED_SECONDS)(partial(strftime_utc, options.logstash_dateformat))
        self._ours = {options.time_key, *([options.tag_key] if options.include_tag_key else ())}
        self._members = [json.encode(key) + b":" for key in self._ours]
        self._hash: Callable[[bytes], bytes] | None = _hash_function() if options.generate_id else None

    def prepare(self, batches: Sequence[RecordBatch]) -> Prepared:
        """The actions of all batches, in their order."""
        prepared = Prepared([], [])
        for batch in batches:
            self._add(prepared, batch.tag, batch.content)
        return prepared

    def _add(self, prepared: Prepared, tag: str, content: Content) -> None:
        options = self._options
        now_ns = self._clock.time_ns()
        times = [now_ns] * len(content) if options.current_time_index else content.times_ns()
        content, bodies, lines = self._shaped(content)
        fronts = self._fronts(tag, times)
        documents = [
            b"{%b,%b" % (front, line[1:]) if line != b"{}" else b"{%b}" % front
            for front, line in zip(fronts, lines, strict=True)
        ]
        indices = self._indices(tag, bodies, times, now_ns)
        ids = self._ids(tag, content, bodies, times)
        wrap = _WRAPPERS.get(options.write_operation)
        needs_id = wrap is not None
        for index, id, document in zip(indices, ids, documents, strict=True):
            if id is None and needs_id:
                prepared.without_id.append(len(prepared.actions) + len(prepared.without_id))
                continue
            head = self._head(index)
            action = head + b"}}\n" if id is None else b'%b,"_id":%b}}\n' % (head, self._json.encode(id))
            prepared.actions.append(b"%b%b\n" % (action, wrap % document if wrap else document))

    def _shaped(self, content: Content) -> tuple[Content, Sequence[Body], list[bytes]]:
        """The content as it is to be stored, the bodies as they came if something is read from them, and the JSON."""
        bodies: Sequence[Body] = ()
        if self._needs_bodies or self._options.replace_dots:
            bodies = [record.body for record in content.records()]
        if self._options.replace_dots:
            content = RecordList([Record(0, _without_dots(body)) for body in bodies])
        blob = self._json.encode_lines(content)
        if any(member in blob for member in self._members):
            # A document with two fields of one name is refused: ours stays.
            ours = self._ours
            content = RecordList(
                [Record(0, {k: v for k, v in r.body.items() if k not in ours}) for r in content.records()]
            )
            blob = self._json.encode_lines(content)
        lines = blob.split(b"\n")
        lines.pop()
        return content, bodies, lines

    def _fronts(self, tag: str, times: Sequence[int]) -> list[bytes]:
        """The fields of our own, without braces."""
        options = self._options
        end = b'Z"'
        if options.include_tag_key:
            end += b",%b:%b" % (self._json.encode(options.tag_key), self._json.encode(tag))
        second = self._second
        if options.time_key_nanos:
            return [b"%b%09d%b" % (second(t // _SECOND), t % _SECOND, end) for t in times]
        return [b"%b%03d%b" % (second(t // _SECOND), t % _SECOND // 1_000_000, end) for t in times]

    def _indices(self, tag: str, bodies: Sequence[Body], times: Sequence[int], now_ns: int) -> list[str]:
        options = self._options
        if options.logstash_format:
            prefix, separator, date = options.logstash_prefix, options.logstash_prefix_separator, self._date
            if options.logstash_prefix_key is None:
                return [f"{prefix}{separator}{date(t // _SECOND)}" for t in times]
            find = options.logstash_prefix_key.get
            found = [find(body) for body in bodies]
            prefixes = [value if isinstance(value, str) and value else prefix for value in found]
            return [f"{p}{separator}{date(t // _SECOND)}" for p, t in zip(prefixes, times, strict=True)]
        name = options.index
        if "%" in name:
            name = strftime_utc(name, now_ns // _SECOND)
        if self._template is None:
            return [name] * len(times)
        template = self._template(name)
        if not template.uses_record:
            return [template.render(tag, {})] * len(times)
        return [template.render(tag, body) for body in bodies]

    def _ids(self, tag: str, content: Content, bodies: Sequence[Body], times: Sequence[int]) -> Sequence[str | None]:
        options = self._options
        if options.id_key is not None:
            find = options.id_key.get
            return [_id_text(find(body)) for body in bodies]
        if self._hash is None:
            return [None] * len(times)
        return self._generated_ids(tag, content, times)

    def _generated_ids(self, tag: str, content: Content, times: Sequence[int]) -> list[str | None]:
        """Ids made from what is stored, the same as Fluent Bit makes."""
        digest = self._hash
        if digest is None:
            raise RuntimeError("no ids are to be generated")
        encode = msgpack_events.encode
        ids: list[str | None] = []
        for front, body in zip(self._fronts(tag, times), msgpack_events.encode_bodies(content), strict=True):
            own = msgspec.json.decode(b"{%b}" % front)
            fields, start = _map_head(body)
            head = msgpack_events.map_head(fields + len(own))
            ids.append(_ID % _NUMBERS(digest(head + encode(own)[1:] + body[start:])))
        return ids

    def _make_head(self, index: str) -> bytes:
        """An action up to where its id comes, if it has one."""
        options = self._options
        verb = "update" if options.write_operation == "upsert" else options.write_operation
        type_name = b"" if options.suppress_type_name else b',"_type":%b' % self._json.encode(options.type)
        return b'{"%b":{"_index":%b%b' % (verb.encode(), self._json.encode(index), type_name)


_WRAPPERS = {"update": b'{"doc":%b}', "upsert": b'{"doc_as_upsert":true,"doc":%b}'}


def _map_head(data: bytes) -> tuple[int, int]:
    """How many entries a map in MessagePack has, and where the first begins."""
    if data[0] < 0x90:
        return data[0] & 0x0F, 1
    end = 3 if data[0] == 0xDE else 5
    return int.from_bytes(data[1:end], "big"), end


def _parse_index(text: str) -> Template:
    try:
        return Template.parse(text)
    except ValueError as error:
        raise OptionError("index", str(error), "for example: index app-$tenant") from error


def _time_writer(json: JsonEncoder, options: BulkOptions) -> Callable[[int], bytes]:
    key = json.encode(options.time_key)
    form = options.time_key_format

    def write(second: int) -> bytes:
        return b"%b:%b." % (key, json.encode(strftime_utc(form, second))[:-1])

    return write


def _without_dots(value: Any, depth: int = 0) -> Any:
    """The same with `_` for dots in all keys."""
    if isinstance(value, msgspec.Raw):
        value = msgspec.json.decode(value)
    if depth > _DEEPEST:
        return value
    if isinstance(value, dict):
        return {str(k).replace(".", "_"): _without_dots(v, depth + 1) for k, v in value.items()}
    if isinstance(value, list):
        return [_without_dots(v, depth + 1) for v in value]
    return value


def _id_text(value: Any) -> str | None:
    text = None if value is None else text_of(value)
    return text or None


def _hash_function() -> Callable[[bytes], bytes]:
    try:
        import mmh3
    except ImportError as error:
        raise OptionError("generate_id", "needs the package mmh3", "install it, or use id_key") from error
    return lambda data: bytes(mmh3.mmh3_x64_128_digest(data, _SEED))
