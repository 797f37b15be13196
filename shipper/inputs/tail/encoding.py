"""Files that are not UTF-8: which encodings there are, and how their bytes become UTF-8.

Bytes that mean nothing in the encoding become bytes that mean nothing in UTF-8, so that whoever reads the text counts
the line and puts U+FFFD there, as for any file.
"""

from __future__ import annotations

import codecs
from collections.abc import Iterator

from .source import Converter, Piece

UNICODE_ENCODINGS = {"auto": "auto", "UTF-16LE": "utf-16-le", "UTF-16BE": "utf-16-be"}
"""What `unicode.encoding` may say, and Python's name for it; `auto` looks at the first two bytes of the file."""

GENERIC_ENCODINGS = {
    "ShiftJIS": "cp932",
    "UHC": "cp949",
    "GBK": "gbk",
    "GB18030": "gb18030",
    "Big5": "cp950",
    "Win866": "cp866",
    "Win874": "cp874",
    "Win1250": "cp1250",
    "Win1251": "cp1251",
    "Win1252": "cp1252",
    "Win1253": "cp1253",
    "Win1254": "cp1254",
    "Win1255": "cp1255",
    "Win1256": "cp1256",
}
"""What `generic.encoding` may say, and Python's name for it."""

AUTO = "auto"

_BYTE_ORDER_MARKS = {codecs.BOM_UTF16_LE: "utf-16-le", codecs.BOM_UTF16_BE: "utf-16-be"}
_BYTE_ORDER_MARK = codecs.BOM_UTF8
_REPLACEMENT = "\ufffd".encode()
_NO_TEXT = b"\xff"


def python_codec(name: str, encodings: dict[str, str]) -> str | None:
    """Python's name of the encoding, None if it is not among these; case does not matter."""
    return next((codec for known, codec in encodings.items() if known.lower() == name.lower()), None)


def codec_by_mark(head: bytes) -> str | None:
    """The encoding that a file beginning with these bytes has; None if they are too few to tell."""
    if len(head) >= 2:
        return _BYTE_ORDER_MARKS.get(head[:2], "utf-8")
    return None if head in (b"", b"\xfe", b"\xff") else "utf-8"


def unit_size(codec: str) -> int:
    """The number of bytes of which every position in such a file is a multiple."""
    return 2 if codec.startswith("utf-16") else 1


class TextDecoder:
    """Makes UTF-8 of an encoding, piece by piece; a byte order mark at the beginning of the file is left out."""

    def __init__(self, codec: str, is_head: bool) -> None:
        self._decoder = codecs.getincrementaldecoder(codec)("replace")
        self._may_begin_with_mark = is_head and codec.startswith("utf-16")
        self._is_utf8 = codec == "utf-8"

    def decode(self, data: bytes) -> bytes:
        """The text of these bytes; those of a character that is not complete yet are kept for the next call."""
        if self._is_utf8:
            return data
        text = self._decoder.decode(data).encode().replace(_REPLACEMENT, _NO_TEXT)
        if text and self._may_begin_with_mark:
            self._may_begin_with_mark = False
            return text.removeprefix(_BYTE_ORDER_MARK)
        return text

    @property
    def kept(self) -> int:
        """How many bytes of an incomplete character are kept."""
        return 0 if self._is_utf8 else len(self._decoder.getstate()[0])


class EncodingConverter(Converter):
    """Converts a file in an encoding; it can be taken up again behind its line ends."""

    def __init__(self, codec: str, is_head: bool) -> None:
        self._decoder = TextDecoder(codec, is_head)
        self._newline = "\n".encode(codec)

    def convert(self, data: bytes) -> Iterator[Piece]:
        end = self._end_of_lines(data)
        for part in (data[:end], data[end:]):
            if part:
                text = self._decoder.decode(part)
                yield Piece(text, len(part), not self._decoder.kept)

    def _end_of_lines(self, data: bytes) -> int:
        """The end of the last newline, 0 if there is none."""
        newline, size = self._newline, len(self._newline)
        start = data.rfind(newline)
        while start >= 0 and (start + self._decoder.kept) % size:  # the halves of two neighbours
            start = data.rfind(newline, 0, start + size - 1)
        return start + size if start >= 0 else 0
