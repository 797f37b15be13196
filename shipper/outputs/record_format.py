"""The `format` option of outputs that print records: JSON in a framing, that of OpenTelemetry, or MessagePack text."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from itertools import groupby
from typing import Annotated, cast

from ..codecs import msgpack_text
from ..codecs.dates import DateFormat
from ..codecs.json_lines import FRAMINGS, Framing, JsonEncoder
from ..codecs.otlp_json import OtlpEncoder, chosen_otlp
from ..config.options import opt
from ..context import Context
from ..record import RecordBatch
from .base import OutputOptions

Renderer = Callable[[str, Sequence[RecordBatch]], bytes]
"""Prints batches of one tag as one piece."""


class FormatOptions(OutputOptions):
    """Options of outputs that print records."""

    format: Annotated[
        str,
        opt(
            "json, json_lines, json_stream, otlp_json, otlp_json_pretty, or msgpack for the text form.",
            example="json_lines",
        ),
    ] = "msgpack"
    json_date_key: Annotated[str, opt("Key of the date in JSON; false for no date.")] = "date"
    json_date_format: Annotated[DateFormat, opt("Form of the date in JSON.", example="iso8601")] = "double"


def chosen_renderer(options: FormatOptions, context: Context) -> Renderer:
    """What prints in the format of the options; a format that is not known is told, and text is printed."""
    name = options.format.strip().lower()
    if name in FRAMINGS:
        return _json_renderer(cast(Framing, name), options, context)
    if (otlp := chosen_otlp(name, JsonEncoder(context.service.escape_unicode))) is not None:
        return _otlp_renderer(otlp)
    if name != "msgpack":
        context.log.error("unknown format; records are printed as text", format=options.format)
    return render_text


def runs_of_one_tag(batches: Iterable[RecordBatch]) -> list[tuple[str, list[RecordBatch]]]:
    """Neighbouring batches of one tag together, in their order."""
    return [(tag, list(run)) for tag, run in groupby(batches, key=lambda batch: batch.tag)]


def render_text(tag: str, batches: Sequence[RecordBatch]) -> bytes:
    """One line a record, counted from 0: `[0] tag: [[seconds.nanoseconds, {metadata}], {body}]`."""
    render = msgpack_text.render
    records = (r for batch in batches for r in batch.content.records())
    lines = []
    for index, record in enumerate(records):
        seconds, rest = divmod(record.time_ns, 1_000_000_000)
        metadata = render(record.metadata or {})
        lines.append(f"[{index}] {tag}: [[{seconds}.{rest:09d}, {metadata}], {render(record.body)}]\n")
    return msgpack_text.encode("".join(lines))


def _json_renderer(framing: Framing, options: FormatOptions, context: Context) -> Renderer:
    encoder = JsonEncoder(context.service.escape_unicode)
    key = None if options.json_date_key.strip().lower() in ("false", "off", "no") else options.json_date_key
    date_format, frame = options.json_date_format, FRAMINGS[framing]
    end = b"" if framing == "json_lines" else b"\n"

    def render(tag: str, batches: Sequence[RecordBatch]) -> bytes:
        return frame([line for b in batches for line in encoder.encode_dated(b.content, key, date_format)]) + end

    return render


def _otlp_renderer(encoder: OtlpEncoder) -> Renderer:
    def render(tag: str, batches: Sequence[RecordBatch]) -> bytes:
        return encoder.document(batch.content for batch in batches) + b"\n"

    return render


__all__ = ["FormatOptions", "Renderer", "chosen_renderer", "render_text", "runs_of_one_tag"]
