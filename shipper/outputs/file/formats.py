"""The lines of the file output: one function a format, from the records of one tag to bytes."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Literal

from ...codecs import msgpack_text
from ...codecs.json_lines import JsonEncoder, as_json_lines
from ...codecs.msgpack_events import encode_events
from ...record import Body, Content, Record

FileFormat = Literal["out_file", "plain", "csv", "ltsv", "template", "msgpack"]
LineEncoder = Callable[[str, Content], bytes]

_SECOND = 1_000_000_000
_DELIMITERS = {"\\t": "\t", "tab": "\t", "space": " ", "comma": ","}
_PLACE = re.compile(r"\{([^{}]*)\}")


def delimiter_of(word: str | None, default: str) -> str:
    """The character that a word such as `tab` stands for; the default for a word that is not known."""
    return _DELIMITERS.get((word or "").strip().lower(), default)


def plain_encoder(encoder: JsonEncoder) -> LineEncoder:
    """The body as JSON."""
    return lambda tag, content: as_json_lines(encoder.encode_bodies(content))


def out_file_encoder(encoder: JsonEncoder) -> LineEncoder:
    """`tag: [seconds.nanoseconds, {body as JSON}]`."""

    def encode(tag: str, content: Content) -> bytes:
        front = msgpack_text.encode(tag) + b": ["
        bodies = encoder.encode_bodies(content)
        return b"".join(
            [
                b"%b%d.%09d, %b]\n" % (front, time_ns // _SECOND, time_ns % _SECOND, body)
                for time_ns, body in zip(content.times_ns(), bodies, strict=True)
            ]
        )

    return encode


def csv_encoder(delimiter: str) -> LineEncoder:
    """The time and the values, in the order in which each record has them."""
    render = msgpack_text.render

    def line(record: Record) -> str:
        seconds, rest = divmod(record.time_ns, _SECOND)
        return delimiter.join([f"{seconds}.{rest:09d}", *map(render, record.body.values())])

    return _by_line(line)


def csv_header(content: Content, delimiter: str) -> bytes:
    """The names of the columns, as the first record has them."""
    keys = content.records()[0].body
    return msgpack_text.encode(delimiter.join(["timestamp", *map(msgpack_text.render, keys)]) + "\n")


def ltsv_encoder(delimiter: str, label_delimiter: str) -> LineEncoder:
    """Labels and values, the time first."""
    render = msgpack_text.render

    def line(record: Record) -> str:
        fields = [f"{render(k)}{label_delimiter}{render(v)}" for k, v in record.body.items()]
        return delimiter.join([f'"time"{label_delimiter}{record.time_ns / 1e9:f}', *fields])

    return _by_line(line)


def template_encoder(template: str) -> LineEncoder:
    """A text whose `{key}` are replaced by values; a key that a record has not stays as it is written."""

    def line(record: Record) -> str:
        return _PLACE.sub(lambda place: _filled(place, record.body, record.time_ns), template)

    return _by_line(line)


def msgpack_encoder() -> LineEncoder:
    """The events as Fluent Bit passes them on: `[[time, metadata], body]` in MessagePack."""
    return lambda tag, content: b"".join(encode_events(content))


def _by_line(line: Callable[[Record], str]) -> LineEncoder:
    return lambda tag, content: msgpack_text.encode("".join([line(r) + "\n" for r in content.records()]))


def _filled(place: re.Match[str], body: Body, time_ns: int) -> str:
    key = place[1]
    if key == "time":
        return f"{time_ns / 1e9:f}"
    if key not in body:
        return place[0]
    value = body[key]
    return value if isinstance(value, str) else msgpack_text.render(value)


__all__ = [
    "FileFormat",
    "LineEncoder",
    "csv_encoder",
    "csv_header",
    "delimiter_of",
    "ltsv_encoder",
    "msgpack_encoder",
    "out_file_encoder",
    "plain_encoder",
    "template_encoder",
]
