"""Entries that come too late for their stream go to a stream of their own, with one label more.

A stream takes no entry that is more than an hour behind its newest. Several files that share a stream, and are caught
up with after an outage, each at its own pace, would lose most of their lines by that. A file by itself is in order:
with its tag as a label its late lines have a stream in which they are not late. Queries for the labels of the first
stream find both.
"""

from __future__ import annotations

from collections.abc import Sequence

from ...record import RecordBatch
from ..places import located
from .guard import Shape
from .mending import Mended, relabelled
from .requests import LINES_LIMIT, Part, Request, packed
from .streams import unicode


def apart(request: Request, mended: Mended, batches: Sequence[RecordBatch], label: str, shape: Shape) -> Mended:
    """What was refused of a request, to be sent in streams that have the tag of the records as this label.

    Entries that have such a stream already, or whose streams can have no further label, stay refused. `batches` are
    those of the delivery.
    """
    refused = frozenset(mended.refused)
    parts: list[Part] = []
    for part in request.parts:
        late = [(row, place) for row, place in enumerate(part.entries.places) if place in refused]
        rows_by_tag: dict[str, list[int]] = {}
        for (row, _), (number, _) in zip(late, located(batches, [place for _, place in late]), strict=True):
            rows_by_tag.setdefault(batches[number].tag, []).append(row)
        for tag, rows in rows_by_tag.items():
            if label in dict(part.stream.labels):
                continue
            labels, moved = shape.admit(part.stream.tenant, (*part.stream.labels, (label, unicode(tag) or label)))
            if label in dict(labels):
                parts.append(relabelled(Part(part.stream, part.entries.rows(rows)), labels, moved))
    rescued = {place for part in parts for place in part.entries.places}
    left = [place for place in mended.refused if place not in rescued]
    return Mended([*mended.again, *packed(parts, LINES_LIMIT, is_mended=request.is_mended)], left)
