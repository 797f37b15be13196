"""Batches become messages of the forward protocol.

- Forward: `[tag, [entry, …]]`, or `[tag, [entry, …], options]`
- CompressedPackedForward: `[tag, gzip of the entries, options]`
- Message, where the tag depends on the record: `[tag, time, body, options]` for each record

The id of a message is made from its entries, so that a message that is sent again has the same one and the receiver
can leave it out.
"""

from __future__ import annotations

import base64
import hashlib
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from itertools import chain
from typing import Any

import msgspec

from ...codecs import msgpack_events
from ...codecs.compression import compress_gzip
from ...codecs.template import Template
from ...record import Content, RecordBatch

MESSAGES_AT_ONCE = 500
_LOGS = 0


class Parcel(msgspec.Struct, frozen=True):
    """One or more whole messages, and the ids that the receiver is to acknowledge."""

    data: bytes
    records: int
    ids: Sequence[str] = ()


class MessageForm(msgspec.Struct, frozen=True, kw_only=True):
    """What messages look like."""

    tag: Template | None = None
    integer_time: bool = False
    with_metadata: bool = True
    with_options: bool = False
    wants_ack: bool = False
    compress: bool = False
    more_options: Mapping[str, str] = {}


class MessageMaker:
    """Turns batches into parcels, each of which is sent, and acknowledged, as a whole."""

    def __init__(self, form: MessageForm) -> None:
        self._form = form
        self._encode = _entry_encoder(form)

    def parcels(self, batches: Sequence[RecordBatch]) -> deque[Parcel]:
        """The parcels of a delivery, in the order in which their tags come first."""
        template = self._form.tag
        if template is not None and template.uses_record:
            return self._single_messages(batches, template)
        by_tag: dict[str, list[RecordBatch]] = {}
        for batch in batches:
            tag = batch.tag if template is None else template.render(batch.tag, {})
            by_tag.setdefault(tag, []).append(batch)
        return deque(self._message(tag, found) for tag, found in by_tag.items())

    def _message(self, tag: str, batches: Sequence[RecordBatch]) -> Parcel:
        form = self._form
        entries = list(chain.from_iterable(self._encode(batch.content) for batch in batches))
        packed = b"".join(entries)
        has_options = form.with_options or form.wants_ack or form.compress
        if form.compress:
            body = msgspec.msgpack.encode(compress_gzip(packed))
        else:
            body = msgpack_events.array_head(len(entries)) + packed
        data = msgpack_events.array_head(3 if has_options else 2) + msgpack_events.encode(tag) + body
        if not has_options:
            return Parcel(data, len(entries))
        options, ids = self._options(packed, len(entries))
        return Parcel(data + options, len(entries), ids)

    def _single_messages(self, batches: Sequence[RecordBatch], template: Template) -> deque[Parcel]:
        messages: list[tuple[bytes, Sequence[str]]] = []
        for batch in batches:
            records = batch.content.records()
            for record, entry in zip(records, _single_encoder(self._form)(batch.content), strict=True):
                tag = template.render(batch.tag, record.body)
                time_and_body = entry[1:]  # without the head of its array
                options, ids = self._options(time_and_body, None)
                messages.append((b"\x94" + msgpack_events.encode(tag) + time_and_body + options, ids))
        parcels = deque[Parcel]()
        for start in range(0, len(messages), MESSAGES_AT_ONCE):
            some = messages[start : start + MESSAGES_AT_ONCE]
            ids = list(chain.from_iterable(ids for _, ids in some))
            parcels.append(Parcel(b"".join([data for data, _ in some]), len(some), ids))
        return parcels

    def _options(self, packed: bytes, size: int | None) -> tuple[bytes, Sequence[str]]:
        """The options of a message, and the ids to be acknowledged."""
        form = self._form
        options: dict[str, Any] = {}
        ids = (chunk_id(packed),) if form.wants_ack else ()
        if ids:
            options["chunk"] = ids[0]
        if size is not None:
            options["size"] = size
            if form.compress:
                options["compressed"] = "gzip"
        options |= {"fluent_signal": _LOGS, **form.more_options}
        return msgpack_events.encode(options), ids


def chunk_id(packed: bytes) -> str:
    """The id of a message with these entries."""
    return base64.b64encode(hashlib.sha512(packed).digest()[:16]).decode()


def _entry_encoder(form: MessageForm) -> Callable[[Content], list[bytes]]:
    if form.integer_time:
        return msgpack_events.encode_integer_events
    return msgpack_events.encode_events if form.with_metadata else msgpack_events.encode_plain_events


def _single_encoder(form: MessageForm) -> Callable[[Content], list[bytes]]:
    return msgpack_events.encode_integer_events if form.integer_time else msgpack_events.encode_plain_events
