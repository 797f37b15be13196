"""Files that are gzip streams: any number of members one after another, padded with zero bytes or not."""

from __future__ import annotations

import zlib
from collections.abc import Iterator

from .encoding import TextDecoder
from .holes import leading_nul_bytes
from .source import Converter, Piece, Unreadable

_GZIP = 31
"""What zlib calls a gzip header and the largest window."""

_MOST_AT_ONCE = 256 * 1024
"""Bytes to decompress before the reader gets a say, however well they were compressed."""


def is_compressed(name: str) -> bool:
    return name.lower().endswith(".gz")


def decompressed_head(data: bytes, size: int) -> bytes:
    """The first bytes of the text of a file that begins with `data`; `data` itself if it is no gzip stream."""
    try:
        return zlib.decompressobj(_GZIP).decompress(data, size)
    except zlib.error:
        return data[:size]


class GzipConverter(Converter):
    """Decompresses, and decodes the text if it is in an encoding; can be taken up again between members."""

    def __init__(self, decoder: TextDecoder | None) -> None:
        self._decoder = decoder
        self._member: zlib._Decompress | None = None

    @property
    def is_inside(self) -> bool:
        return self._member is not None

    def convert(self, data: bytes) -> Iterator[Piece]:
        may_have_more = False
        while data or may_have_more:
            if self._member is None:
                if padding := leading_nul_bytes(data):
                    data = data[padding:]
                    yield Piece(b"", padding, self._is_between_characters)
                    continue
                self._member = zlib.decompressobj(_GZIP)
            member = self._member
            try:
                text = member.decompress(data, _MOST_AT_ONCE)
            except zlib.error as error:
                raise Unreadable(f"its content is no gzip data: {error}") from error
            rest = member.unused_data if member.eof else member.unconsumed_tail
            may_have_more = len(text) == _MOST_AT_ONCE and not member.eof
            used, data = len(data) - len(rest), rest
            if member.eof:
                self._member = None
            if self._decoder is not None:
                text = self._decoder.decode(text)
            yield Piece(text, used, member.eof and self._is_between_characters)

    @property
    def _is_between_characters(self) -> bool:
        return self._decoder is None or not self._decoder.kept
