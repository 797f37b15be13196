"""The parser for lines of `key=value` pairs."""

from __future__ import annotations

import re

from ..record import Body
from .base import Parsed, Parser
from .decoders import Decoders
from .escapes import unescape_unicode
from .record_time import REFUSED, RecordTime
from .remarks import Remark, ignore
from .types import Types

# A key, whether a "=" follows, and the value in quotes or without. Characters that begin no key are skipped.
_PAIR = re.compile(
    r'([^\x00-\x20="]+)(=(?:"([^"\\]*+(?:\\.[^"\\]*+)*+\\?)(?:"|\Z)|([^\x00-\x20="]+))?)?',
    re.DOTALL,
)


class LogfmtParser(Parser):
    """Makes a field of every pair; a key without value is true, or empty if the parser has `types`.

    With `no_bare_keys` a key without "=" refuses the text, as does a time that cannot be read.
    """

    def __init__(
        self,
        name: str,
        *,
        time: RecordTime | None = None,
        types: Types | None = None,
        decoders: Decoders | None = None,
        no_bare_keys: bool = False,
        remark: Remark = ignore,
    ) -> None:
        self.name = name
        self._time = time
        self._types = types
        self._decoders = decoders
        self._no_bare_keys = no_bare_keys
        self._remark = remark
        self._nothing: bool | str = True if types is None else ""

    def parse(self, text: str) -> Parsed | None:
        body = self._pairs(text)
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

    def _pairs(self, text: str) -> Body | None:
        """The fields; None if a bare key stands among them and may not."""
        body: Body = {}
        nothing = self._nothing
        for key, is_pair, quoted, plain in _PAIR.findall(text):
            if plain:
                body[key] = plain
            elif quoted:
                body[key] = unescape_unicode(quoted)
            elif len(is_pair) > 1:
                body[key] = ""
            elif self._no_bare_keys and not is_pair:
                return None
            else:
                body[key] = nothing
        return body
