"""Records become the lines of an object."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from itertools import compress, islice
from typing import Any

import msgspec

from ...codecs.dates import DateFormat
from ...codecs.json_lines import JsonEncoder
from ...codecs.otlp_json import OtlpEncoder
from ...record import Content, Record, RecordBatch

PRECISE_DATES = frozenset({"double", "iso8601", "java_sql_timestamp"})
"""Formats that show at least microseconds."""

_64_BITS = 0xFFFF_FFFF_FFFF_FFFF
_MISSING: Any = object()
_decode_text = msgspec.json.Decoder(str).decode


class Lines(msgspec.Struct):
    """The lines of a delivery as one text, each with its line feed.

    If the lines do not show the times of their records, `parts` has them one by one, with their times. `counts` is how
    many lines came of each batch, and `missing` how many records made none.
    """

    text: bytes = b""
    records: int = 0
    parts: list[tuple[bytes, int]] | None = None
    missing: int = 0
    counts: list[int] = []

    def identities(self) -> list[int]:
        """By what each record is known again."""
        if self.parts is None:
            return identities(self._split())
        return [identity_of(line, time_ns) for line, time_ns in self.parts]

    def notes(self) -> list[tuple[int, int, int]]:
        """Identity, length and time of each record, where that cannot be found out from the lines."""
        if self.parts is None:
            return []
        noted = zip(self.identities(), self.parts, strict=True)
        return [(one, len(line) + 1, time_ns & _64_BITS) for one, (line, time_ns) in noted]

    def keep(self, wanted: list[bool]) -> None:
        """Keep the lines that are wanted."""
        if self.parts is None:
            lines = list(compress(self._split(), wanted))
        else:
            self.parts = list(compress(self.parts, wanted))
            lines = [line for line, _ in self.parts]
        self.text, self.records = _joined(lines), len(lines)
        rest = iter(wanted)
        self.counts = [sum(islice(rest, count)) for count in self.counts]

    def _split(self) -> list[bytes]:
        lines = self.text.split(b"\n")
        lines.pop()
        return lines


class LineMaker:
    """Makes a line of each record: its JSON with the date in front, or the value of one key alone.

    With `otlp` it is a document of OpenTelemetry instead, which has many lines if it is to be pretty.
    `is_dated` says that every line shows its record's time, so that a line read again can be told from any other.
    """

    def __init__(
        self,
        json: JsonEncoder,
        date_key: str | None,
        date_format: DateFormat,
        log_key: str | None,
        otlp: OtlpEncoder | None = None,
    ) -> None:
        self._json = json
        self._date_key = date_key
        self._date_format = date_format
        self._log_key = log_key
        self._otlp = otlp
        has_date = log_key is None and date_key is not None and date_format in PRECISE_DATES
        self.is_dated = has_date if otlp is None else not otlp.is_pretty

    def make(self, batches: Sequence[RecordBatch]) -> Lines:
        """The lines of all batches, in order."""
        if self.is_dated:
            text = b"".join([self._dated(batch.content) for batch in batches])
            counts = list(map(len, batches))
            return Lines(text, sum(counts), counts=counts)
        parts: list[tuple[bytes, int]] = []
        counts = []
        for batch in batches:
            before = len(parts)
            parts += self._parts(batch.content)
            counts.append(len(parts) - before)
        text = _joined([line for line, _ in parts])
        return Lines(text, len(parts), parts, missing=sum(map(len, batches)) - len(parts), counts=counts)

    def encode_early(self, content: Content) -> None:
        """Let content that has a short way to dated lines go it now, and keep them."""
        if self.is_dated and self._otlp is None:
            self._short_way(content)

    def _short_way(self, content: Content) -> bytes | None:
        way: Callable[[str], bytes | None] | None = getattr(content, "dated_json_lines", None)
        if way is None or self._date_key is None or self._date_format != "iso8601":
            return None
        return way(self._date_key)

    def _dated(self, content: Content) -> bytes:
        if self._otlp is not None:
            return _joined(self._otlp.documents(content))
        short = self._short_way(content)
        if short is not None:
            return self._json.encode_lines(_Encoded(len(content), short))
        return _joined(self._json.encode_dated(content, self._date_key, self._date_format))

    def _parts(self, content: Content) -> Iterable[tuple[bytes, int]]:
        """The line and the time of each record that makes a line."""
        key = self._log_key
        if key is None:
            lines = (
                self._otlp.documents(content)
                if self._otlp is not None
                else self._json.encode_dated(content, self._date_key, self._date_format)
            )
            return zip(lines, content.times_ns(), strict=True)
        values = [(record.body.get(key, _MISSING), record.time_ns) for record in content.records()]
        return [(self._text(value), time_ns) for value, time_ns in values if value is not _MISSING]

    def without_line(self, batches: Sequence[RecordBatch]) -> list[tuple[str, Record]]:
        """The records that make no line, with their tags."""
        key = self._log_key
        return [(b.tag, r) for b in batches for r in b.content.records() if key is not None and key not in r.body]

    def _text(self, value: Any) -> bytes:
        """A text as it is, and the JSON of anything else."""
        encoded = self._json.encode(value)
        return _decode_text(encoded).encode("utf-8", "replace") if encoded[:1] == b'"' else encoded


class _Encoded:
    """Lines that are JSON already, for the encoder to give them its finish."""

    has_metadata = False

    def __init__(self, count: int, lines: bytes) -> None:
        self._count = count
        self._lines = lines

    def __len__(self) -> int:
        return self._count

    def records(self) -> list[Any]:
        return []

    def times_ns(self) -> Sequence[int]:
        return ()

    def bodies(self) -> Sequence[Any]:
        return ()

    def json_lines(self) -> bytes:
        return self._lines


def identities(lines: Sequence[bytes]) -> list[int]:
    """A number for each line by which it is known again."""
    from xxhash import xxh3_64_intdigest

    return list(map(xxh3_64_intdigest, lines))


def identity_of(line: bytes, time_ns: int) -> int:
    """The number of a line that does not show its time."""
    from xxhash import xxh3_64_intdigest

    return xxh3_64_intdigest(line, time_ns & _64_BITS)


def _joined(lines: list[bytes]) -> bytes:
    return b"\n".join([*lines, b""])
