"""What calls to REST services are made of, for modules that must not import botocore."""

from __future__ import annotations

import os
import re
from collections.abc import Generator, Mapping

import msgspec

_ESCAPES = (("<", "&lt;"), (">", "&gt;"), ('"', "&quot;"), ("'", "&apos;"), ('"', "&#34;"), ("'", "&#39;"))


_READ = 1 << 16


class FilePart(msgspec.Struct, frozen=True):
    """A body that is a part of a file, with the hash (SHA-256, hexadecimal) of its bytes."""

    path: str
    start: int
    end: int
    sha256: str

    @property
    def size(self) -> int:
        return self.end - self.start

    def pieces(self) -> Generator[bytes, None, None]:
        """The bytes, a little at a time; raises `OSError` if the file ends before its time."""
        file = os.open(self.path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            place = self.start
            while place < self.end:
                data = os.pread(file, min(_READ, self.end - place), place)
                if not data:
                    raise OSError(f"{self.path} ends before its time")
                yield data
                place += len(data)
        finally:
            os.close(file)


class RestAnswer(msgspec.Struct, frozen=True):
    """The answer to a call: status, headers by name in lower case, and body."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    def element(self, name: str) -> str | None:
        """The text of the first element of this name in a body that is XML."""
        return next(iter(self.elements(name)), None)

    def elements(self, name: str) -> list[str]:
        """The texts of all elements of this name that hold no others, in their order."""
        text = self.body.decode("utf-8", "replace")
        return [_unescaped(found) for found in re.findall(f"<{name}(?: [^>]*)?>([^<]*)</{name}>", text)]


def escaped(text: str) -> str:
    """The text as content of an XML element."""
    text = text.replace("&", "&amp;")
    for character, escape in _ESCAPES[:3]:
        text = text.replace(character, escape)
    return text


def _unescaped(text: str) -> str:
    for character, escape in _ESCAPES:
        text = text.replace(escape, character)
    return text.replace("&amp;", "&")
