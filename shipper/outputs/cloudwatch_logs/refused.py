"""From events that the service has refused back to the records they were made of.

Requests hold finished texts and no records, because that is all the service wants. Refusals are rare, so the records of
the delivery are looked through again: those with the time of a refused event are made into an event once more.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

from ...record import Record, RecordBatch
from .cutting import Part, id_of
from .events import EventMaker
from .requests import Request, Stream, events_in

Found = list[tuple[str, Record]]
"""Records with their tags."""

Finder = Callable[[Sequence[RecordBatch], Request, range], Found]
"""Finds the records of some events of a request among the batches it was made from."""


def find_refused(
    maker: EventMaker, batches: Sequence[RecordBatch], request: Request, picked: range, *, is_clamped: bool = False
) -> Found:
    """The records of these events of a request.

    An event that was shortened is known by its beginning, a part of one by the id of the whole. With `is_clamped` the
    first and the last time of the request may be those of records from before and after.
    """
    times, messages = events_in(request)
    time_of = _clamped_to(times) if is_clamped else _time_ms
    wanted: dict[int, list[str]] = {}
    for index in picked:
        wanted.setdefault(times[index], []).append(messages[index])
    found: Found = []
    for batch in batches:
        records = batch.content.records()
        for record in [r for r in records if time_of(r) in wanted]:
            texts = wanted[time_of(record)]
            message = _message(maker, batch.tag, record)
            refused = next((text for text in texts if message and _is_of(text, message, request.part)), None)
            if refused is not None:
                texts.remove(refused)
                found.append((batch.tag, record))
    return found


def rows_left(
    maker: EventMaker, batches: Sequence[RecordBatch], waiting: Mapping[Stream, Iterable[Request]]
) -> list[list[int]] | None:
    """For each batch the rows of the records whose events wait to be sent; None if a record is sent in parts."""
    wanted: dict[tuple[Stream, int], list[str]] = {}
    for stream, requests in waiting.items():
        for request in requests:
            if request.part is not None:
                return None
            for time, message in zip(*events_in(request), strict=True):
                wanted.setdefault((stream, time), []).append(message)
    rows: list[list[int]] = []
    for batch in batches:
        rows.append([])
        for row, record in enumerate(batch.content.records()):
            for stream, events in maker.prepare([RecordBatch(batch.tag, [record], 0)]).streams.items():
                texts = wanted.get((stream, events.times[0]), []) if events.times else []
                # One that was shortened is known by its beginning.
                text = next((one for one in texts if events.messages[0].startswith(one)), None)
                if text is not None:
                    texts.remove(text)
                    rows[-1].append(row)
    return rows


def find_out_of_time(maker: EventMaker, batches: Sequence[RecordBatch], refused: range) -> Found:
    """The records whose events have one of these times."""
    late = [(b.tag, r) for b in batches for r in b.content.records() if _time_ms(r) in refused]
    return [(tag, record) for tag, record in late if _message(maker, tag, record) is not None]


def _time_ms(record: Record) -> int:
    return max(record.time_ns // 1_000_000, 0)


def _clamped_to(times: Sequence[int]) -> Callable[[Record], int]:
    first, last = min(times), max(times)
    return lambda record: min(max(_time_ms(record), first), last)


def _is_of(text: str, message: str, part: Part | None) -> bool:
    """Whether an event with this text was made of this message."""
    return message.startswith(text) if part is None else part.id == id_of(message)


def find_without_event(maker: EventMaker, batches: Sequence[RecordBatch]) -> Found:
    """The records that made no event."""
    return [(b.tag, r) for b in batches for r in b.content.records() if _message(maker, b.tag, r) is None]


def _message(maker: EventMaker, tag: str, record: Record) -> str | None:
    alone = maker.prepare([RecordBatch(tag, [record], 0)])
    return next((events.messages[0] for events in alone.streams.values() if events.messages), None)
