"""Print records on standard output and let them go on."""

from __future__ import annotations

import sys
from typing import TextIO

from ..codecs.msgpack_text import encode, render
from ..context import Context
from ..record import RecordBatch
from .base import Filter, FilterOptions

_SECOND_NS = 1_000_000_000


class StdoutOptions(FilterOptions):
    """Options of the stdout filter: it has none of its own."""


class StdoutFilter(Filter):
    """Prints one line for each record, with its number in the batch."""

    Options = StdoutOptions

    def __init__(self, options: StdoutOptions, context: Context, stream: TextIO | None = None) -> None:
        self._stream = stream or sys.stdout

    def apply(self, batch: RecordBatch) -> RecordBatch | None:
        lines = []
        for number, record in enumerate(batch.content.records()):
            seconds, ns = divmod(record.time_ns, _SECOND_NS)
            body, metadata = render(record.body), render(record.metadata or {})
            lines.append(f"[{number}] {batch.tag}: [{seconds}.{ns:09d}, {metadata}, {body}]\n")
        self._stream.buffer.write(encode("".join(lines)))
        self._stream.flush()
        return batch
