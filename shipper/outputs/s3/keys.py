"""Names of objects: `s3_key_format` filled in with the tag, a counter, random characters and the time of a record."""

from __future__ import annotations

import re
import secrets
import string
from collections.abc import Callable
from urllib.parse import quote

import msgspec

from ...codecs.dates import strftime_utc

KEY_LIMIT = 1024
"""The most bytes that a key may have."""

COUNTER_LIMIT = 1 << 64

_RANDOM_LENGTH = 8
_ALPHABET = string.digits + string.ascii_uppercase + string.ascii_lowercase
_TAG_PART = re.compile(r"\$TAG\[([0-9])\]")
_SPECIFIER = re.compile(r"%[-_0^#]*[0-9]{0,3}[EO]?(.)", re.DOTALL)
_KNOWN_SPECIFIERS = frozenset("aAbBcCdDeFgGhHIjklmMnpPrRsStTuUVwWxXyYzZ%")
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_DOTS = re.compile(r"(?:(?<=/)|^)\.\.?(?=/|$)")


def random_name() -> str:
    """Eight characters out of 62 that nobody has used before."""
    return "".join(secrets.choice(_ALPHABET) for _ in range(_RANDOM_LENGTH))


class KeyFormat(msgspec.Struct, frozen=True, kw_only=True):
    """A key format with what goes with it; `is_static` keeps random characters away from keys that do not ask for them.

    `random` gives the characters; a test may choose them.
    """

    text: str
    delimiters: str = "."
    is_static: bool = False
    random: Callable[[], str] = random_name

    @property
    def uses_counter(self) -> bool:
        return "$INDEX" in self.text

    @property
    def is_unique(self) -> bool:
        """Whether no two objects can have the same key by chance."""
        return "$UUID" in self.text or not (self.is_static or self.uses_counter)

    def prefix(self, tag: str, time_ns: int) -> str:
        """What counts on its own: the key with its time and tag, but without counter and random characters."""
        return _timed(_tagged(self.text, tag, self.delimiters), time_ns)

    def key(self, tag: str, time_ns: int, counter: int = 0) -> str:
        """The key of a new object whose first record has this time; it has no leading slash."""
        text = _tagged(self.text, tag, self.delimiters)
        text = text.replace("$INDEX", str(counter % COUNTER_LIMIT))
        while "$UUID" in text:
            text = text.replace("$UUID", self.random(), 1)
        text = _timed(text, time_ns)
        has_uuid = "$UUID" in self.text
        has_own_end = self.is_static or self.uses_counter or has_uuid
        # What would be cut off may be all that makes the key differ from others.
        fits = len(text.removeprefix("/").encode("utf-8", "replace")) <= KEY_LIMIT
        is_whole = has_own_end and (fits or (self.is_static and not has_uuid))
        return _shortened(text, "" if is_whole else self.another_ending())

    def another_ending(self) -> str:
        """What makes a key differ from any other."""
        return f"-object{self.random()}"


def with_ending(key: str, ending: str) -> str:
    """A key with something behind it, not too long."""
    return _shortened("/" + key, ending)


def encoded_path(key: str) -> str:
    """The key as part of a URL: its slashes stay, everything else that is not unreserved is encoded."""
    return quote(key, safe="/-_.~", errors="replace")


def _tagged(text: str, tag: str, delimiters: str) -> str:
    """The tag comes from outside, so no part of it may become an instruction of the format."""
    parts = [part for part in re.split(f"[{re.escape(delimiters)}]", tag) if part] if delimiters else [tag]
    pieces = re.split(r"(\$TAG\[[0-9]\]|\$TAG)", text)
    for number, piece in enumerate(pieces):
        if found := _TAG_PART.fullmatch(piece):
            index = int(found[1])
            pieces[number] = _plain(parts[index]) if index < len(parts) else f"{_plain(tag)}[{index}]"
        elif piece == "$TAG":
            pieces[number] = _plain(tag)
    return "".join(pieces)


def _plain(value: str) -> str:
    """A value as it may stand in a format: no control characters, and what would be an instruction protected."""
    return _CONTROL.sub("_", value).replace("%", "%%").replace("$", "\0")


def _timed(text: str, time_ns: int) -> str:
    second = time_ns // 1_000_000_000

    def value(found: re.Match[str]) -> str:
        return strftime_utc(found[0], second) if found[1] in _KNOWN_SPECIFIERS else found[0]

    return _SPECIFIER.sub(value, text).replace("\0", "$")


def _shortened(path: str, ending: str) -> str:
    """The path without its leading slash, cut so that it fits with the ending, and without `.` and `..` as folders."""
    name = _DOTS.sub(lambda dots: "_" * len(dots[0]), path[1:] if path.startswith("/") else path)
    room = KEY_LIMIT - len(ending.encode())
    encoded = name.encode("utf-8", "replace")
    if len(encoded) > room:
        name = encoded[:room].decode("utf-8", "ignore")
    return name + ending
