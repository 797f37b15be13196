"""The parser for lines that are one JSON object."""

from __future__ import annotations

import msgspec

from ..record import Body
from .base import Parsed, Parser
from .decoders import Decoders
from .json_object import read_object, read_pairs
from .record_time import REFUSED, RecordTime


class JsonParser(Parser):
    """Reads an object; a time that cannot be read stays a field, and numbers are never times."""

    def __init__(self, name: str, *, time: RecordTime | None = None, decoders: Decoders | None = None) -> None:
        self.name = name
        self._time = time
        self._decoders = decoders
        self._time_member = msgspec.json.encode(time.key).decode() if time is not None else ""

    def parse(self, text: str) -> Parsed | None:
        body = read_object(text)
        if body is None:
            return None
        time_ns = None
        if self._time is not None:
            taken = self._time.take(body)
            # REFUSED is false, like no time at all: now is used.
            time_ns = taken or None
            # Looking for a second entry in every text would cost a tenth of the parsing. It is worth it only where the
            # last one, which is the one that `read_object` keeps, is no time.
            if time_ns is None and self._time.key in body and text.count(self._time_member) > 1:
                time_ns, body = _with_first_time(text, body, self._time)
            if time_ns is None and taken == REFUSED:
                self.invalid_times += 1
        if self._decoders is not None:
            self._decoders.apply(body)
        return time_ns, body


def _with_first_time(text: str, body: Body, time: RecordTime) -> tuple[int | None, Body]:
    """The time by the first of several entries with the key of the time; the others are fields."""
    pairs = read_pairs(text) or []
    places = [place for place, (key, _) in enumerate(pairs) if key == time.key]
    if len(places) < 2:  # the name stands in a value, or deeper
        return None, body
    first = {time.key: pairs[places[0]][1]}
    time_ns = time.take(first) or None
    if time.key not in first:
        del pairs[places[0]]
    rest: Body = {}
    for key, value in pairs:
        rest.pop(key, None)  # of several entries the last one stays, where it stands
        rest[key] = value
    return time_ns, rest
