"""Push requests as JSON. Lines are escaped when they are made, all lines of a batch in one go."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import overload

import msgspec

from ...codecs.json_lines import ascii_json
from .requests import Part, Request
from .streams import LineEncoder

_SEPARATOR = "\x7f"
_PIECE = 65_536
_SURROGATE = re.compile("[\ud800-\udfff]")
_encode = msgspec.json.encode
_encode_lines = msgspec.json.Encoder().encode_lines


def json_push(request: Request, *, escape_unicode: bool) -> bytes:
    """The body of a request; with `escape_unicode` it is pure ASCII."""
    # All pieces are joined once: each further copy of a mebibyte shows in the CPU time of a record.
    pieces = [b'{"streams":[']
    for part in request.parts:
        _add_stream(pieces, part)
        pieces.append(b"]},")
    pieces[-1] = b"]}]}"
    body = b"".join(pieces)
    return ascii_json(body) if escape_unicode else body


class EscapedLines(Sequence[bytes]):
    """Lines in pieces of many, each line followed by a separator; they become objects only if somebody asks for them.

    Nearly always they go into one body as they are. Pieces are small enough to stay in the cache of the processor, and
    to be allocated without asking the system for memory; that halves their cost.
    """

    __slots__ = ("_lines", "_pieces")

    def __init__(self, pieces: Sequence[bytes]) -> None:
        self._pieces = pieces
        self._lines: list[bytes] | None = None

    def add_values(self, times: Sequence[int], target: list[bytes]) -> None:
        """Add pieces that are, joined, `["time","line"],["time","line"],` with a comma at the end."""
        start = 0
        for piece in self._pieces:
            end = start + piece.count(b"\x7f")
            text = piece.replace(b"%", b"%%") if b"%" in piece else piece
            # The separator stands behind each line: what follows the last one is cut off, and put in front.
            text = b'["%d","' + text.replace(b"\x7f", b'"],["%d","')[: -len(b'["%d","')]
            target.append(text % tuple(times[start:end]))
            start = end

    def _split(self) -> list[bytes]:
        if self._lines is None:
            self._lines = b"".join(self._pieces).split(b"\x7f")
            self._lines.pop()
        return self._lines

    def __len__(self) -> int:
        return len(self._split()) if self._lines is not None else sum([p.count(b"\x7f") for p in self._pieces])

    @overload
    def __getitem__(self, place: int) -> bytes: ...
    @overload
    def __getitem__(self, place: slice) -> list[bytes]: ...
    def __getitem__(self, place: int | slice) -> bytes | list[bytes]:
        return self._split()[place]

    def __iter__(self) -> Iterator[bytes]:
        return iter(self._split())


def escaped_json_lines(blob: bytes, size: int = _PIECE) -> EscapedLines:
    """Each line of JSON text as it stands inside a JSON string; taken in pieces of about so many bytes."""
    pieces = []
    start = 0
    while start < len(blob):
        end = blob.rfind(b"\n", start, start + size) + 1 or blob.index(b"\n", start) + 1
        # The encoder of JSON lines writes DEL as an escape, so that none is in them, and msgspec leaves it alone.
        pieces.append(_encode(blob[start:end].replace(b"\n", b"\x7f").decode())[1:-1])
        start = end
    return EscapedLines(pieces)


def escaped_texts(texts: Sequence[str]) -> list[bytes]:
    """Each text as it stands inside a JSON string; what is no Unicode becomes U+FFFD."""
    if not texts:
        return []
    joined = _SEPARATOR.join(texts)
    try:
        if joined.count(_SEPARATOR) == len(texts) - 1:
            return _encode(joined)[1:-1].split(b"\x7f")
        return [_encode(text)[1:-1] for text in texts]
    except UnicodeEncodeError:
        return [_encode(_SURROGATE.sub("\ufffd", text))[1:-1] for text in texts]


def plain_text(line: bytes) -> str:
    """The text that stands in a body like this."""
    return msgspec.json.decode(b'"%b"' % line, type=str)


LINE_ENCODER = LineEncoder(escaped_json_lines, escaped_texts, True)


def _add_stream(pieces: list[bytes], part: Part) -> None:
    labels, entries = part.stream.labels, part.entries
    names = b",".join([b'"%b":"%b"' % pair for pair in zip(*_columns(labels), strict=True)])
    pieces.append(b'{"stream":{%b},"values":[' % names)
    if entries.metadata is None and isinstance(entries.lines, EscapedLines):
        entries.lines.add_values(entries.times, pieces)
        pieces[-1] = pieces[-1][:-1]
        return
    between = b'","\n"],["' if entries.metadata is None else b'","\n],["'
    heads = (b'["%b","' % _encode(entries.times)[1:-1].replace(b",", between)).split(b"\n")
    count = len(entries)
    if entries.metadata is None:
        values = [b""] * (2 * count)
        values[0::2], values[1::2] = heads, entries.lines
        values.append(b'"]')
    else:
        maps = _encode_lines(entries.metadata).split(b"\n")
        maps.pop()
        values = [b'",'] * (4 * count)
        values[0::4], values[1::4], values[3::4] = heads, entries.lines, maps
        values.append(b"]")
    pieces += values


def _columns(labels: Sequence[tuple[str, str]]) -> tuple[list[bytes], list[bytes]]:
    return escaped_texts([k for k, _ in labels]), escaped_texts([v for _, v in labels])
