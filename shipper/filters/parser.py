"""Parse the text of a field into fields of its own."""

from __future__ import annotations

from typing import Annotated

from ..codecs.template import KeyPath
from ..config.options import did_you_mean, opt
from ..context import Context
from ..errors import OptionError
from ..parsers.base import Parsed
from ..parsers.base import Parser as TextParser
from ..record import Body, RecordBatch
from .base import Filter, FilterOptions


class ParserOptions(FilterOptions, kw_only=True):
    """Options of the parser filter."""

    key_name: Annotated[str, opt("Field to parse; $a['b'] reaches into maps.", example="log")]
    parser: Annotated[tuple[str, ...], opt("Parser to try; the first that fits is used.", example="json")] = ()
    preserve_key: Annotated[bool, opt("Keep the parsed field itself.")] = False
    reserve_data: Annotated[bool, opt("Keep the other fields of the record.")] = False
    unescape_key: Annotated[bool, opt("Accepted and without effect.")] = False

    def __post_init__(self) -> None:
        if not self.parser:
            raise OptionError("parser", "is required", "for example: Parser json")


class ParserFilter(Filter):
    """Puts the parsed fields in the place of the record's; a record that no parser fits stays as it is.

    Both those and times that cannot be read, in place of which a record keeps its own, are counted.
    Of a parsed field and one that is kept of the record, both of one name, that of the record wins.
    """

    Options = ParserOptions

    def __init__(self, options: ParserOptions, context: Context) -> None:
        try:
            self._path = KeyPath.parse(options.key_name)
        except ValueError as error:
            raise OptionError("key_name", str(error)) from error
        self._reserve = options.reserve_data
        # The place that a path leads to is never taken out of the record, nor kept alone.
        is_path = options.key_name.startswith("$")
        self._removed = None if is_path or options.preserve_key else options.key_name
        self._preserved = options.key_name if options.preserve_key and not is_path else None
        self._parsers = _parsers(options, context)
        self._parses = [parser.parse for parser in self._parsers]
        self._failures = context.counter("parse_failures_total")
        self._invalid_times = context.counter("invalid_times_total")

    def apply(self, batch: RecordBatch) -> RecordBatch | None:
        get, parse, merge = self._path.get, self._parse, self._merge
        invalid_before, failures = self._invalid(), 0
        for record in batch.records:
            text = get(record.body)
            if isinstance(text, bytes):
                text = text.decode("utf-8", "replace")
            if not isinstance(text, str):
                continue
            if (parsed := parse(text)) is None:
                failures += 1
                continue
            time_ns, fields = parsed
            if time_ns is not None:
                record.time_ns = time_ns
            merge(fields, record.body)
            record.body = fields
        self._failures.add(failures)
        self._invalid_times.add(self._invalid() - invalid_before)
        return batch

    def _invalid(self) -> int:
        """The times that the parsers could not read so far, for this filter and for others."""
        return sum(parser.invalid_times for parser in set(self._parsers))

    def _parse(self, text: str) -> Parsed | None:
        for parse in self._parses:
            parsed = parse(text)
            if parsed is not None:
                return parsed
        return None

    def _merge(self, fields: Body, original: Body) -> None:
        """Put what is kept of the original behind the parsed fields."""
        if self._reserve:
            if self._removed is not None:
                original.pop(self._removed, None)
            for key in original.keys() & fields.keys():
                del fields[key]
            fields.update(original)
        elif self._preserved is not None:
            fields.pop(self._preserved, None)
            fields[self._preserved] = original[self._preserved]


def _parsers(options: ParserOptions, context: Context) -> list[TextParser]:
    found = []
    for name in options.parser:
        parser = context.parsers.get(name)
        if parser is None:
            context.log.error(f"requested parser '{name}' not found; it is left out")
        else:
            found.append(parser)
    if not found:
        remedy = did_you_mean(options.parser[0], context.parsers.names()) if context.parsers.names() else ""
        raise OptionError("parser", f"names no parser that is registered: {', '.join(options.parser)}", remedy)
    return found
