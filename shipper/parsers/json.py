"""The parser for lines that are one JSON object."""

from __future__ import annotations

from .base import Parsed, Parser
from .decoders import Decoders
from .json_object import read_object
from .record_time import RecordTime


class JsonParser(Parser):
    """Reads an object; a time that cannot be read stays a field, and numbers are never times."""

    def __init__(self, name: str, *, time: RecordTime | None = None, decoders: Decoders | None = None) -> None:
        self.name = name
        self._time = time
        self._decoders = decoders

    def parse(self, text: str) -> Parsed | None:
        body = read_object(text)
        if body is None:
            return None
        # REFUSED is false, like no time at all: now is used.
        time_ns = self._time.take(body) or None if self._time is not None else None
        if self._decoders is not None:
            self._decoders.apply(body)
        return time_ns, body
