"""The parser for lines described by a regular expression with named groups."""

from __future__ import annotations

from ..record import Body
from .base import Parsed, Parser
from .decoders import Decoders
from .onigmo import Regex
from .record_time import REFUSED, RecordTime
from .remarks import Remark, ignore
from .types import Types


class RegexParser(Parser):
    """Makes a field of every named group; those that captured nothing are left out if `skip_empty` is set.

    A time that cannot be read is removed, even if times are to be kept.
    """

    def __init__(
        self,
        name: str,
        regex: Regex,
        *,
        time: RecordTime | None = None,
        types: Types | None = None,
        decoders: Decoders | None = None,
        skip_empty: bool = True,
        remark: Remark = ignore,
    ) -> None:
        self.name = name
        self.regex = regex
        self._search = regex.search
        self._names = regex.names
        self._values = regex.values
        self._time = time
        self._types = types
        self._decoders = decoders
        self._skip_empty = skip_empty
        self._remark = remark

    def parse(self, text: str) -> Parsed | None:
        found = self._search(text)
        # Only named groups are numbered: without a last one none took part.
        if found is None or found.lastindex is None or not self._names:
            return None
        values = self._values(found)
        body: Body
        if all(values):
            body = dict(zip(self._names, values))  # noqa: B905 - strict takes half as long again
        elif self._skip_empty:
            body = {name: value for name, value in zip(self._names, values, strict=True) if value}
        else:
            body = {name: value or "" for name, value in zip(self._names, values, strict=True)}
        time_ns = None
        if self._time is not None and (time_ns := self._time.take(body)) == REFUSED:
            del body[self._time.key]
            time_ns = None
            self.invalid_times += 1
        if self._types is not None:
            self._types.apply(body, self._remark)
        if self._decoders is not None:
            self._decoders.apply(body)
        return time_ns, body
