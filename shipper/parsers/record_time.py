"""The field of a parsed text that holds the time of the record."""

from __future__ import annotations

from ..record import Body
from .remarks import Remark, ignore
from .time_format import TimeFormat

REFUSED = 0
"""What `RecordTime.take` returns for a time that cannot be read; no record has this time."""


class RecordTime:
    """Takes the time of a record from its field `key`; the field goes with it unless `keep` is set."""

    __slots__ = ("_keep", "_misfit", "_parse", "_remark", "format", "key")

    def __init__(self, format: TimeFormat, key: str = "time", *, keep: bool = False, remark: Remark = ignore) -> None:
        self.key = key
        self.format = format
        self._keep = keep
        self._parse = format.parse
        self._misfit = f"invalid time format {format.format}"
        self._remark = remark

    def take(self, body: Body) -> int | None:
        """Nanoseconds since the epoch, None if the field is not there or no text, `REFUSED` if it cannot be read.

        A time that cannot be read stays in the body.
        """
        text = body.get(self.key)
        if not isinstance(text, str) or not text:
            return None
        time_ns = self._parse(text)
        if time_ns is None:
            self._remark(self._misfit, text)
            return REFUSED
        if not self._keep:
            del body[self.key]
        return time_ns
