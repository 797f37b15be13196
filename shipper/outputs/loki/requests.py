"""Entries become push requests of about a mebibyte of lines, for one tenant each.

A request keeps its entries as columns and is encoded when it is sent: the same entries always give the same bytes, and
a refusal that concerns some of them can be answered without taking a body apart.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping

import msgspec

from .streams import Entries, Stream

LINES_LIMIT = 1_048_576
"""Bytes of lines and metadata in a request; Loki's parts exchange messages of at most four times that much."""


class Part(msgspec.Struct, frozen=True):
    """The entries of one stream in a request."""

    stream: Stream
    entries: Entries


class Request(msgspec.Struct, frozen=True):
    """The streams that are sent together, all of one tenant.

    `is_mended` says that it was changed to please the server, which is done once only.
    """

    tenant: str | None
    parts: tuple[Part, ...]
    is_mended: bool = False

    @property
    def records(self) -> int:
        return sum([len(p.entries) for p in self.parts])

    @property
    def size(self) -> int:
        return sum([p.entries.size for p in self.parts])


Progress = dict[str | None, deque[Request]]
"""What of a delivery has not been accepted yet, by tenant."""


def requests_of(streams: Mapping[Stream, Entries], limit: int = LINES_LIMIT) -> Progress:
    """The requests that carry the entries, tenants in the order in which they first appear."""
    by_tenant: dict[str | None, list[Part]] = {}
    for stream, entries in streams.items():
        by_tenant.setdefault(stream.tenant, []).append(Part(stream, entries))
    return {tenant: deque(packed(parts, limit)) for tenant, parts in by_tenant.items()}


def packed(parts: Iterable[Part], limit: int, *, is_mended: bool = False) -> list[Request]:
    """The parts in as few requests as hold them in their order; a stream that is larger than a request is cut."""
    requests: list[Request] = []
    current: list[Part] = []
    size = 0
    for part in parts:
        for piece in _pieces(part, limit):
            if current and size + piece.entries.size > limit:
                requests.append(Request(current[0].stream.tenant, tuple(current), is_mended))
                current, size = [], 0
            current.append(piece)
            size += piece.entries.size
    if current:
        requests.append(Request(current[0].stream.tenant, tuple(current), is_mended))
    return requests


def halves(request: Request) -> list[Request]:
    """The same entries in two requests, streams kept whole if there are several; it must hold at least two entries."""
    parts = request.parts
    if len(parts) > 1:
        middle = len(parts) // 2
        return [msgspec.structs.replace(request, parts=p) for p in (parts[:middle], parts[middle:])]
    stream, entries = parts[0].stream, parts[0].entries
    middle = len(entries) // 2
    cut = (entries.part(0, middle), entries.part(middle, len(entries)))
    return [msgspec.structs.replace(request, parts=(Part(stream, e),)) for e in cut]


def _pieces(part: Part, limit: int) -> list[Part]:
    """The part itself, or pieces of it of about equal weight, none much above the limit unless it is one entry."""
    entries = part.entries
    if entries.size <= limit:
        return [part]
    weights = list(map(len, entries.lines))
    most = sum(weights) * limit // entries.size
    pieces: list[Part] = []
    start = weight = 0
    for row, more in enumerate(weights):
        if weight + more > most and row > start:
            pieces.append(Part(part.stream, entries.part(start, row)))
            start, weight = row, 0
        weight += more
    pieces.append(Part(part.stream, entries.part(start, len(entries))))
    return pieces
