"""Backslash escapes in texts, in the three manners that decoders and logfmt know."""

from __future__ import annotations

import re

_SIMPLE = {"n": "\n", "t": "\t", "r": "\r", "a": "\a", "b": "\b", "v": "\v", "f": "\f"}
_MYSQL = {"n": "\n", "t": "\t", "r": "\r", "b": "\b", "\\": "\\", "'": "'", '"': '"', "0": "\0", "Z": "\x1a"}
_ANY = re.compile(r"\\(.)", re.DOTALL)
_REAL = re.compile(
    r"\\(?:u[dD][89abAB](?P<high>[0-9a-fA-F]{2})\\u[dD](?P<low>[c-fC-F][0-9a-fA-F]{2})"
    r"|(?:u(?P<u>[0-9a-fA-F]{1,4})|U(?P<U>[0-9a-fA-F]{1,8})|x(?P<x>[0-9a-fA-F]{1,2}))"
    r"|(?P<octal>[0-7]{1,3})|(?P<other>.))",
    re.DOTALL,
)


def unescape(text: str) -> str:
    """Control characters decoded; every other escape just loses its backslash."""
    if "\\" not in text:
        return text
    return _ANY.sub(lambda m: _SIMPLE.get(m[1], m[1]), text)


def unescape_unicode(text: str) -> str:
    r"""All escapes decoded, `\uXXXX`, `\UXXXXXXXX`, `\xNN` and octal ones as characters."""
    return _REAL.sub(_real_character, text) if "\\" in text else text


def unquote_mysql(text: str) -> str | None:
    """The inside of a text in single or double quotes, None if it is not quoted; unknown escapes are kept."""
    if len(text) < 2 or text[0] not in "'\"" or text[-1] != text[0]:
        return None
    return _ANY.sub(lambda m: _MYSQL.get(m[1], m[0]), text[1:-1])


def _real_character(found: re.Match[str]) -> str:
    if other := found["other"]:
        return _SIMPLE.get(other, other)
    if found["low"]:
        pair = found[0]
        return chr(0x10000 + ((int(pair[2:6], 16) & 0x3FF) << 10) + (int(pair[8:12], 16) & 0x3FF))
    if found["octal"]:
        return chr(int(found["octal"], 8))
    code = int(found["u"] or found["U"] or found["x"], 16)
    # Half of a surrogate pair, and numbers behind the last character, cannot be written as UTF-8.
    return chr(code) if code < 0xD800 or 0xDFFF < code < 0x110000 else "\ufffd"
