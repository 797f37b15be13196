"""What an API server tells of events: lists, lines of a watch, and the times of events."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Any

import msgspec

from ...record import Body

_TIME = re.compile(r"([0-9]{4})-([0-9]{2})-([0-9]{2})T([0-9]{2}):([0-9]{2}):([0-9]{2})(?:\.([0-9]{1,9})[0-9]*)?Z")
_SECOND = 1_000_000_000
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_LONGEST_VERSION = 18
_LINE_END = re.compile(rb"[\r\n]")


class ListMeta(msgspec.Struct, gc=False):
    """What a list says about itself."""

    version: str = msgspec.field(default="", name="resourceVersion")
    more: str | None = msgspec.field(default=None, name="continue")


class EventList(msgspec.Struct):
    """One page of a list; its events are read when their turn comes."""

    metadata: ListMeta
    items: list[msgspec.Raw] | None = None


class Change(msgspec.Struct):
    """One line of a watch."""

    type: str
    object: msgspec.Raw


class Event(msgspec.Struct):
    """An event and what has to be known of it; `number` is its version if that is a number, else 0."""

    body: Body
    uid: str
    version: str
    size: int

    @property
    def number(self) -> int:
        return version_number(self.version)


def read_list(body: bytes) -> EventList:
    """A page of a list; raises `ValueError` for anything else."""
    return msgspec.json.decode(body, type=EventList)


def read_change(line: bytes) -> Change:
    """A line of a watch; raises `ValueError` for anything else."""
    return msgspec.json.decode(line, type=Change)


def read_event(raw: msgspec.Raw | bytes) -> Event:
    """An object as it was received, with its keys in their order; raises `ValueError` if it is none."""
    try:
        body = msgspec.json.decode(raw, type=dict[str, Any])
    except RecursionError as error:
        raise ValueError("the object is nested too deeply") from error
    found = body.get("metadata")
    meta = found if isinstance(found, dict) else {}
    return Event(body, _text(meta.get("uid")), _text(meta.get("resourceVersion")), len(memoryview(raw)))


def version_number(version: str) -> int:
    """A version as a number, 0 if it is none; versions are only compared if they are numbers."""
    return int(version) if version.isascii() and version.isdecimal() and len(version) <= _LONGEST_VERSION else 0


def event_time_ns(body: Body) -> int | None:
    """When the event happened last; None if nothing tells.

    Events of newer components have an `eventTime` alone. Within the same second the time of creation stands for it,
    as in Fluent Bit, because consumers know it without a fraction. One that recurs has a `series` that tells of the
    last time.
    """
    told, series = _told_ns(body), body.get("series")
    recurred = _time_ns(series.get("lastObservedTime")) if isinstance(series, dict) else None
    if recurred is None or (told is not None and recurred // _SECOND <= told // _SECOND):
        return told
    return recurred


def _told_ns(body: Body) -> int | None:
    for key in ("lastTimestamp", "firstTimestamp"):
        if (told := _time_ns(body.get(key))) is not None:
            return told
    meta = body.get("metadata")
    created = _time_ns(meta.get("creationTimestamp")) if isinstance(meta, dict) else None
    happened = _time_ns(body.get("eventTime"))
    if happened is None or (created is not None and happened // _SECOND == created // _SECOND):
        return created
    return happened


def _time_ns(value: object) -> int | None:
    found = _TIME.fullmatch(value) if isinstance(value, str) else None
    if found is None:
        return None
    year, month, day, hour, minute, second = (int(part) for part in found.groups()[:6])
    try:
        moment = datetime(year, month, day, hour, minute, second, tzinfo=UTC)
    except ValueError:
        return None
    between = moment - _EPOCH
    return (between.days * 86_400 + between.seconds) * _SECOND + int((found[7] or "0").ljust(9, "0"))


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""


class LineSplitter:
    """Cuts a stream into lines at CR or LF, however it comes; `too_long` counts lines that were left out for it."""

    def __init__(self, longest: int) -> None:
        self._longest = longest
        self._parts: list[bytes] = []
        self._size = 0
        self._is_skipping = False
        self.too_long = 0

    def feed(self, data: bytes) -> list[bytes]:
        """The lines that are complete now, without empty ones."""
        *complete, rest = _LINE_END.split(data)
        lines = []
        for part in complete:
            self._append(part)
            if line := self.rest():
                lines.append(line)
        self._append(rest)
        return lines

    def rest(self) -> bytes:
        """What has come since the last end of a line; it is taken out."""
        line = b"" if self._is_skipping else b"".join(self._parts)
        self._parts.clear()
        self._size, self._is_skipping = 0, False
        return line

    def _append(self, part: bytes) -> None:
        if self._is_skipping or not part:
            return
        self._parts.append(part)
        self._size += len(part)
        if self._size > self._longest:
            self._parts.clear()
            self._is_skipping = True
            self.too_long += 1
