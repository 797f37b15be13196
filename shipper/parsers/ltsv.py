"""The parser for lines of `label:value` pairs between tabs."""

from __future__ import annotations

import re

from ..record import Body
from .base import Parsed, Parser
from .decoders import Decoders
from .record_time import REFUSED, RecordTime
from .remarks import Remark, ignore
from .types import Types

_is_label = re.compile(r"[0-9A-Za-z_.-]+").fullmatch


class LtsvParser(Parser):
    """Makes a field of every pair up to the first that has no proper label; none at all refuses the text.

    A time that cannot be read refuses the text too.
    """

    def __init__(
        self,
        name: str,
        *,
        time: RecordTime | None = None,
        types: Types | None = None,
        decoders: Decoders | None = None,
        remark: Remark = ignore,
    ) -> None:
        self.name = name
        self._time = time
        self._types = types
        self._decoders = decoders
        self._remark = remark

    def parse(self, text: str) -> Parsed | None:
        body: Body = {}
        for pair in text.split("\t"):
            label, colon, value = pair.partition(":")
            if not colon or not _is_label(label):
                break
            body[label] = value
        if not body:
            return None
        time_ns = None
        if self._time is not None and (time_ns := self._time.take(body)) == REFUSED:
            self.invalid_times += 1
            return None
        if self._types is not None:
            self._types.apply(body, self._remark)
        if self._decoders is not None:
            self._decoders.apply(body)
        return time_ns, body
