"""Records as compact JSON, byte for byte as Fluent Bit's users know it, and the framings around it.

A batch is encoded by one call into msgspec and split at the line feeds, which JSON never holds inside a value. What
msgspec writes differently is found by looking at the set of value types of the batch, and only records that hold such
a value are copied and mended:

- floats are written with 16 digits and exponents as `e+300`, bytes like text;
- text that is not Unicode (lone surrogates) and map keys that are not text make msgspec refuse, which is noticed.

`\\u007f` and, if asked for, `\\uXXXX` for everything that is not ASCII are put in afterwards, over the whole blob.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Callable, Mapping, Sequence
from io import BytesIO
from itertools import chain, compress, repeat
from json.encoder import encode_basestring_ascii
from operator import contains
from typing import Any, Literal, NamedTuple

import msgspec

from ..record import Body, Content, Record, RecordList
from .dates import DateFormat, encode_dates
from .line_feeds import count_line_feeds

Framing = Literal["json", "json_lines", "json_stream"]

HOLE = b"\x7f"
"""Stands for a value that is the same in all lines; text has it as an escape."""

_PLAIN = frozenset({str, int, bool, type(None), msgspec.Raw})
_CONTAINERS = frozenset({dict, list})
_KNOWN = _PLAIN | _CONTAINERS | {float}
_DEEPEST = 300
_SURROGATE = re.compile("[\ud800-\udfff]")
_ESCAPING = "shipper.json_escape"


def _escaped(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    return encode_basestring_ascii(error.object[error.start : error.end])[1:-1], error.end


# The codec calls this once for each run of characters that are not ASCII; a regular expression is four times slower.
codecs.register_error(_ESCAPING, _escaped)


def ascii_json(text: bytes) -> bytes:
    """The same JSON with every other character as `\\uXXXX`."""
    return text if text.isascii() else text.decode("utf-8", "replace").encode("ascii", _ESCAPING)


class HoledLines(NamedTuple):
    """JSON, one a line, and what belongs into the hole that each line has then as its last value.

    Nothing but `}` and a line feed follow the hole. Without a filling the lines are whole.
    """

    text: bytes
    filling: bytes | None

    def size(self, count: int) -> int:
        """Bytes of so many lines, which are all there are, without their line feeds."""
        filled = 0 if self.filling is None else len(self.filling) - len(HOLE)
        return len(self.text) + (filled - 1) * count

    def whole(self) -> bytes:
        """The lines with their holes filled."""
        return self.text if self.filling is None else self.text.replace(HOLE, self.filling)


def encode_early(content: Content) -> None:
    """Let content that has a short way to JSON lines go it now, while it is in the processor's cache, and keep them."""
    short_json_lines(content)


def short_json_lines(content: Content) -> HoledLines | None:
    """The JSON lines of content that has a short way to them, with a hole in each if it has that, too."""
    holed = _holed(content)
    if holed is not None:
        return holed
    lines = content.json_lines()
    return None if lines is None else HoledLines(lines, None)


def _holed(content: Content) -> HoledLines | None:
    """Its lines with one hole each, for a value that all of them share; None if it has no such way.

    Asking whether it has the whole of a protocol would take as long as encoding ten records.
    """
    way: Callable[[], HoledLines | None] | None = getattr(content, "holed_json_lines", None)
    return None if way is None else way()


class JsonEncoder:
    """Encodes whole batches; with `escape_unicode` the result is pure ASCII."""

    def __init__(self, escape_unicode: bool = True) -> None:
        self.escape_unicode = escape_unicode
        self._encoder = msgspec.json.Encoder(enc_hook=_foreign)

    def encode_bodies(self, content: Content) -> list[bytes]:
        """One JSON text per record, in order."""
        return split_lines(self.encode_lines(content))

    def encode_lines(self, content: Content) -> bytes:
        """One JSON text per record, in order, each followed by a line feed; there is no other line feed."""
        if not len(content):
            return b""
        short = content.json_lines()
        return self._finished(short if short is not None else self._encode_blob(content))

    def encode_holed(self, content: Content) -> HoledLines:
        """The lines of `encode_lines`; a value that all of them share is written once if the content can do that."""
        holed = _holed(content)
        if holed is None or holed.filling is None:
            return HoledLines(self.encode_lines(content), None)
        return HoledLines(self._in_ascii(holed.text), self._finished(holed.filling))

    def encode_dated(self, content: Content, date_key: str | None, date_format: DateFormat) -> list[bytes]:
        """One JSON text per record, its date and its metadata in front; without a key there is no date.

        A record that has a field of that name keeps its own and gets no date.
        """
        lines = self.encode_bodies(content)
        metadata = self._encode_metadata(content)
        if date_key is not None:
            member = self.encode(date_key) + b":"
            dates = encode_dates(content.times_ns(), date_format)
            if metadata is None and not _occurs(member, lines) and b"{}" not in lines:
                beginning = b"{" + member
                return [beginning + date + b"," + line[1:] for date, line in zip(dates, lines, strict=True)]
            fronts = [b"" if _has(line, member, date_key) else member + d for d, line in zip(dates, lines, strict=True)]
        else:
            if metadata is None:
                return lines
            fronts = [b""] * len(lines)
        rests = metadata or [b""] * len(lines)
        return [_joined(front, rest, line[1:-1]) for front, rest, line in zip(fronts, rests, lines, strict=True)]

    def encode(self, value: Any) -> bytes:
        """One value of any kind."""
        try:
            encoded = self._encoder.encode(value if type(value) in _PLAIN else self._mended(value))
        except (TypeError, UnicodeEncodeError, RecursionError):
            encoded = self._encoder.encode(self._mended(value))
        return self._finished(encoded)

    def _encode_blob(self, content: Content) -> bytes:
        bodies = content.bodies()
        if type(bodies[0]) is dict and _needs_mending(bodies):
            bodies = [self._mended(body) for body in bodies]
        try:
            blob = self._encoder.encode_lines(bodies)
        except (TypeError, UnicodeEncodeError, RecursionError):
            bodies = [self._mended(r.body) for r in content.records()]
            blob = self._encoder.encode_lines(bodies)
        if count_line_feeds(blob) != len(bodies):  # spliced-in JSON had line feeds between its values
            return b"".join([self._encoder.encode(b).replace(b"\n", b" ") + b"\n" for b in bodies])
        return blob

    def _encode_metadata(self, content: Content) -> list[bytes] | None:
        """The `__internal__` member of each record, empty where it has no metadata; None if no record has any."""
        if not content.has_metadata:
            return None
        found = [r.metadata for r in content.records()]
        if not any(found):
            return None
        lines = self.encode_bodies(RecordList([Record(0, m or {}) for m in found]))
        return [
            b'"__internal__":{"log_metadata":%b}' % line if m else b"" for m, line in zip(found, lines, strict=True)
        ]

    def _finished(self, blob: bytes) -> bytes:
        if b"\x7f" in blob:
            blob = blob.replace(b"\x7f", b"\\u007f")
        return self._in_ascii(blob)

    def _in_ascii(self, blob: bytes) -> bytes:
        return ascii_json(blob) if self.escape_unicode else blob

    def _mended(self, value: Any, depth: int = 0) -> Any:
        """A copy that msgspec writes as wanted."""
        if isinstance(value, str):
            return _SURROGATE.sub(self._replacement, value) if _SURROGATE.search(value) else value
        if isinstance(value, float):
            return msgspec.Raw(text.encode()) if (text := _float_text(value)) else value
        if isinstance(value, (bytes, bytearray, memoryview)):
            return self._mended(bytes(value).decode("utf-8", "surrogateescape"))
        if depth > _DEEPEST and isinstance(value, (dict, list, tuple)):
            return "(nested too deeply)"
        if isinstance(value, dict):
            return {self._key(k): self._mended(v, depth + 1) for k, v in value.items()}
        if isinstance(value, (list, tuple)):
            return [self._mended(v, depth + 1) for v in value]
        return value

    def _key(self, key: Any) -> str:
        if isinstance(key, (str, bytes)):
            return str(self._mended(key))
        return self.encode(key).decode()

    def _replacement(self, surrogate: re.Match[str]) -> str:
        # A byte that was no UTF-8 is read as U+DC80..U+DCFF; Fluent Bit shows the byte 0xHH as U+E0HH.
        code = ord(surrogate[0])
        return chr(code - 0xDC00 + 0xE000) if self.escape_unicode and 0xDC80 <= code <= 0xDCFF else "\ufffd"


def split_lines(text: bytes, start: int = 0) -> list[bytes]:
    """The lines of a text without their line feeds, and without so many bytes at the beginning of each."""
    # A file finds line feeds by memchr, and is four times faster than `split`, which looks at each byte by itself.
    lines = BytesIO(text).readlines()
    if not text.endswith(b"\n") and lines:
        lines[-1] += b"\n"
    return [line[start:-1] for line in lines]


def as_json(objects: Sequence[bytes]) -> bytes:
    """One array."""
    return b"[%b]" % b",".join(objects)


def as_json_lines(objects: Sequence[bytes]) -> bytes:
    """One object a line; every line ends with a line feed."""
    return b"\n".join(objects) + b"\n" if objects else b""


def as_json_stream(objects: Sequence[bytes]) -> bytes:
    """Objects one after the other, nothing between them."""
    return b"".join(objects)


FRAMINGS: Mapping[Framing, Callable[[Sequence[bytes]], bytes]] = {
    "json": as_json,
    "json_lines": as_json_lines,
    "json_stream": as_json_stream,
}


def _occurs(member: bytes, lines: list[bytes]) -> bool:
    """Whether a member of this name stands anywhere in the lines; inside a string its quotes would be escaped."""
    return any(map(contains, lines, repeat(member)))


def _has(line: bytes, member: bytes, key: str) -> bool:
    return member in line and key in msgspec.json.decode(line)


def _joined(*members: bytes) -> bytes:
    return b"{%b}" % b",".join(filter(None, members))


def _needs_mending(bodies: Sequence[Body]) -> bool:
    """Whether some value, at any depth, is one that msgspec writes differently."""
    kinds = set(map(type, chain.from_iterable(map(dict.values, bodies))))
    if kinds <= _PLAIN:
        return False
    values = list(chain.from_iterable(map(dict.values, bodies)))
    while kinds <= _KNOWN:
        if float in kinds and any(_float_text(v) for v in values if type(v) is float):
            return True
        nested = list(compress(values, map(_CONTAINERS.__contains__, map(type, values))))
        if not nested:
            return False
        once = dict(zip(map(id, nested), nested, strict=True)).values()  # maps that records share are looked at once
        values = list(chain.from_iterable([v.values() if type(v) is dict else v for v in once]))
        kinds = set(map(type, values))
    return True


def _float_text(value: float) -> str | None:
    """The digits of a float where they are other than msgspec's."""
    shortest = repr(value)
    if len(shortest) <= 17 and "e" not in shortest:
        return None  # at most 16 digits, which both write alike; NaN and infinities too are msgspec's business
    if not abs(value) < float("inf"):
        return None
    if value.is_integer() and abs(value) < 2**63:
        return f"{value:.1f}"
    rounded = f"{value:.16g}"
    return rounded if abs(float(rounded)) < float("inf") else shortest


def _foreign(value: Any) -> str:
    """The text of a value, or of a map key, that JSON has no form for."""
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, msgspec.msgpack.Ext):
        return "".join(f"\\x{byte:02x}" for byte in bytes(value.data))
    return str(value)


__all__ = [
    "FRAMINGS",
    "HOLE",
    "DateFormat",
    "Framing",
    "HoledLines",
    "JsonEncoder",
    "as_json",
    "as_json_lines",
    "as_json_stream",
    "encode_early",
    "short_json_lines",
    "split_lines",
]
