"""Join the texts of several records to one record: a stack trace, or the parts of a long line."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import field

from ...config.options import did_you_mean, opt
from ...config.units import ByteSize
from ...context import Context
from ...errors import OptionError
from ...parsers.multiline import MultilineDefinition
from ...record import RecordBatch
from ..base import FilterOptions, HoldingFilter
from .parsing import ParserMode
from .partial import PartialMessageMode

_SHORTEST_FLUSH_MS = 500


class MultilineOptions(FilterOptions):
    """Options of the multiline filter."""

    multiline_parser: Annotated[
        tuple[str, ...], opt("Multiline parsers to try on each record.", split=",", example="go, java")
    ] = field(default=(), name="multiline.parser")
    key_content: Annotated[
        str | None, opt("Field with the text; the default is that of the multiline parser.", example="log")
    ] = field(default=None, name="multiline.key_content")
    mode: Annotated[
        Literal["parser", "partial_message"], opt("Join by multiline parsers, or the parts of Docker's fluentd driver.")
    ] = "parser"
    buffer: Annotated[bool, opt("Join over batches; otherwise only within each.")] = True
    flush_ms: Annotated[int, opt("Milliseconds of silence after which a message is complete.")] = 2000
    emitter_name: Annotated[str | None, opt("Accepted; records stay with the input they came from.")] = None
    emitter_storage_type: Annotated[
        Literal["memory", "filesystem"], opt("Accepted; records are stored as those of their input.")
    ] = field(default="memory", name="emitter_storage.type")
    emitter_mem_buf_limit: Annotated[ByteSize, opt("Accepted; the limit of the input counts.")] = ByteSize(10_000_000)
    debug_flush: Annotated[bool, opt("Accepted and without effect.")] = False

    def __post_init__(self) -> None:
        if self.mode == "partial_message":
            if self.key_content is None:
                raise OptionError("multiline.key_content", "is required with mode partial_message")
            return
        if not self.multiline_parser:
            raise OptionError("multiline.parser", "is required", "for example: multiline.parser go, java")
        if self.flush_ms < _SHORTEST_FLUSH_MS:
            raise OptionError("flush_ms", f"'{self.flush_ms}' is too low", "it is in milliseconds, at least 500")


class MultilineFilter(HoldingFilter):
    """Joins records; the joined one has the other fields and the time of the first.

    With `buffer` on a message may spread over batches: all records are taken, and what is finished is handed out.
    """

    Options = MultilineOptions

    def __init__(self, options: MultilineOptions, context: Context) -> None:
        flush_s = options.flush_ms / 1000
        self._mode: ParserMode | PartialMessageMode
        if options.mode == "partial_message":
            if not options.buffer:
                context.log.error("'partial_message' 'Mode' requires 'Buffer' to be 'On'; it is taken to be on")
            self._mode = PartialMessageMode(options.key_content or "", flush_s, context)
        else:
            definitions = _definitions(options, context)
            self._mode = ParserMode(definitions, options.key_content, flush_s, options.buffer, context)

    @classmethod
    def hands_out(cls, options: MultilineOptions) -> bool:
        """Not if messages are joined within a batch only."""
        return options.buffer or options.mode == "partial_message"

    def take(self, batch: RecordBatch, source: str) -> RecordBatch | None:
        return self._mode.take(batch, source)

    def handed_out(self, source: str) -> list[RecordBatch]:
        return self._mode.handed_out(source)

    def held(self, source: str) -> int:
        return self._mode.held(source)

    def release(self, source: str, now: float | None) -> float | None:
        return self._mode.release(source, now)


def _definitions(options: MultilineOptions, context: Context) -> list[MultilineDefinition]:
    found = []
    for name in options.multiline_parser:
        definition = context.parsers.multiline(name)
        if definition is None:
            remedy = did_you_mean(name, context.parsers.multiline_names())
            raise OptionError("multiline.parser", f"names parser '{name}', which is not registered", remedy)
        if options.key_content is None and definition.key_content is None:
            context.log.warning("records pass as they are: multiline.key_content names no field", parser=name)
        found.append(definition)
    return found
