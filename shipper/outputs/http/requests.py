"""Batches become requests: which records go into one, its body, and the headers that are its own."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from itertools import chain
from typing import Any

import msgspec

from ...buffers.base import Delivery
from ...codecs.json_lines import JsonEncoder
from ...codecs.template import KeyPath, text_of
from ...record import Content, RecordBatch
from ..http_options import header_value, is_header_name

_OURS = frozenset({"host", "content-length", "transfer-encoding", "connection"})
"""Headers that a record must not set, because they decide where a request goes and where it ends."""


class Format(msgspec.Struct, frozen=True):
    """How records are written: each one, several as one body, and what the server is told that it is."""

    encode: Callable[[Content], list[bytes]]
    frame: Callable[[Sequence[bytes]], bytes]
    content_type: str


class Request(msgspec.Struct, frozen=True):
    """Records, encoded one by one, and headers. Its body is made when it is sent, always the same bytes.

    `places` are those of its records in the delivery.
    """

    items: Sequence[bytes]
    headers: Mapping[str, str]
    frame: Callable[[Sequence[bytes]], bytes]
    places: Sequence[int]

    @property
    def records(self) -> int:
        return len(self.items)

    @property
    def body(self) -> bytes:
        return self.frame(self.items)

    def halves(self) -> list[Request]:
        """The same records as two requests."""
        middle = len(self.items) // 2
        return [
            Request(self.items[part], self.headers, self.frame, self.places[part])
            for part in (slice(middle), slice(middle, None))
        ]


class WholeBatches:
    """All records of a delivery in one request, or with `tag_header` those of each tag, which the header tells."""

    def __init__(self, format: Format, tag_header: str | None) -> None:
        self._format = format
        self._tag_header = tag_header

    def requests(self, delivery: Delivery) -> deque[Request]:
        """The requests of a delivery, in the order of its records."""
        headers = {"Content-Type": self._format.content_type}
        if self._tag_header is None:
            return deque(self._request(delivery.batches, headers, range(delivery.records)))
        by_tag: dict[str, list[RecordBatch]] = {}
        places: dict[str, list[int]] = {}
        start = 0
        for batch in delivery.batches:
            by_tag.setdefault(batch.tag, []).append(batch)
            places.setdefault(batch.tag, []).extend(range(start, start + len(batch)))
            start += len(batch)
        return deque(
            request
            for tag, batches in by_tag.items()
            for request in self._request(batches, {**headers, self._tag_header: header_value(tag)}, places[tag])
        )

    def _request(
        self, batches: Iterable[RecordBatch], headers: Mapping[str, str], places: Sequence[int]
    ) -> list[Request]:
        items = list(chain.from_iterable(self._format.encode(batch.content) for batch in batches))
        return [Request(items, headers, self._format.frame, places)] if items else []


class SingleValues:
    """One request for each record: the value of one field is its body, the entries of another one its headers."""

    def __init__(self, body: KeyPath, headers: KeyPath | None, tag_header: str | None, json: JsonEncoder) -> None:
        self._body = body
        self._headers = headers
        self._tag_header = tag_header
        self._json = json

    def requests(self, delivery: Delivery) -> deque[Request]:
        """The requests of a delivery; records without the field are refused."""
        requests = deque[Request]()
        place = -1
        for batch in delivery.batches:
            for record in batch.content.records():
                place += 1
                value = self._body.get(record.body)
                if value is None:
                    found = [(batch.tag, record)]
                    delivery.refuse(1, "missing_body_key", partial(list, found))
                    continue
                headers = {self._tag_header: header_value(batch.tag)} if self._tag_header else {}
                if self._headers is not None:
                    headers |= _headers_in(self._headers.get(record.body))
                requests.append(Request([self._text(value)], headers, b"".join, (place,)))
        return requests

    def _text(self, value: Any) -> bytes:
        if isinstance(value, bytes):
            return value
        return value.encode("utf-8", "surrogateescape") if isinstance(value, str) else self._json.encode(value)


def _headers_in(value: Any) -> dict[str, str]:
    """What of a record's map may be headers."""
    if isinstance(value, msgspec.Raw):
        value = msgspec.json.decode(value)
    if not isinstance(value, dict):
        return {}
    texts = {str(name): text_of(inner) for name, inner in value.items()}
    return {
        name: header_value(text)
        for name, text in texts.items()
        if text is not None and is_header_name(name) and name.lower() not in _OURS
    }
