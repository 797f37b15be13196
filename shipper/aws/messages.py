"""What calls to REST services are made of, for modules that must not import aiohttp."""

from __future__ import annotations

import re

import msgspec

_ESCAPES = (("<", "&lt;"), (">", "&gt;"), ('"', "&quot;"), ("'", "&apos;"), ('"', "&#34;"), ("'", "&#39;"))


class FilePart(msgspec.Struct, frozen=True):
    """A body that is a part of a file, with the hash (SHA-256, hexadecimal) of its bytes."""

    path: str
    start: int
    end: int
    sha256: str

    @property
    def size(self) -> int:
        return self.end - self.start


class RestAnswer(msgspec.Struct, frozen=True):
    """The answer to a call: status, headers by name in lower case, and body."""

    status: int
    headers: dict[str, str]
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
