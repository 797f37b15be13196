"""JSON objects as Fluent Bit reads them, which is a little more than JSON.

msgspec reads what is strictly JSON. What it refuses is looked at again by the standard library: text behind the object
is ignored unless it is JSON itself, control characters may stand in strings, half a surrogate pair becomes a
replacement character.

An object that is nested deeper than 256 levels is none. Encoders and whatever else descends into a record stop at a
depth that depends on the place where they are called, and what was read has to pass them all.
"""

from __future__ import annotations

import json
import re
from typing import Any, NoReturn

import msgspec

from ..record import Body

_BLANKS = " \t\r\n"
_SMALLEST, _LARGEST = -(2**63), 2**64 - 1
DEEPEST = 256
"""Levels that an object may have."""

# Both halves of a surrogate pair, one half alone (the group), or any other escape.
_HALF_PAIR = re.compile(
    r"\\(?:u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}|(u[dD][89a-fA-F][0-9a-fA-F]{2})|.)", re.DOTALL
)
_MAY_HOLD_INTEGERS = frozenset((int, dict, list))
_strict = msgspec.json.Decoder(dict[str, Any]).decode


def read_object(text: str) -> Body | None:
    """The object that the text begins with, or None if it does not begin with one.

    Integers are exact in 64 bits, larger ones become floats. Of several entries with one key the last stays.
    """
    if text[:1] != "{":
        text = text.lstrip(_BLANKS)
        if text[:1] != "{":
            return None
    try:
        body = _strict(text)
    except (msgspec.DecodeError, UnicodeEncodeError, RecursionError, ValueError):
        return _read_leniently(text)
    if _MAY_HOLD_INTEGERS.isdisjoint(map(type, body.values())):
        return body
    return body if shorten_integers(body) else None


def shorten_integers(held: Body | list[Any]) -> bool:
    """Replace integers of more than 64 bits, which no encoder takes, by floats; False for too many levels.

    It goes down level by level, so that it needs no depth of its own.
    """
    holders: list[Any] = [held]
    for _ in range(DEEPEST):
        inner: list[Any] = []
        for holder in holders:
            for key, value in holder.items() if type(holder) is dict else enumerate(holder):
                kind = type(value)
                if kind is int:
                    if not _SMALLEST <= value <= _LARGEST:
                        holder[key] = _integer(str(value))
                elif kind is dict or kind is list:
                    inner.append(value)
        if not inner:
            return True
        holders = inner
    return False


def read_pairs(text: str) -> list[tuple[str, Any]] | None:
    """The entries of the object that the text begins with, those with a repeated key too; None if there is no object.

    This is far slower than `read_object`.
    """
    pairs: list[tuple[str, Any]] = []

    def keep_latest(found: list[tuple[str, Any]]) -> Body:
        pairs[:] = found  # the outermost object ends last
        return dict(found)

    decoder = json.JSONDecoder(strict=False, parse_int=_integer, parse_constant=_refuse, object_pairs_hook=keep_latest)
    text = text.lstrip(_BLANKS)
    return None if text[:1] != "{" or _read_leniently(text, decoder) is None else pairs


def _read_leniently(text: str, decoder: json.JSONDecoder | None = None) -> Body | None:
    text = _HALF_PAIR.sub(lambda m: "\\ufffd" if m[1] else m[0], text)
    try:
        body, end = (decoder or _lenient).raw_decode(text)
    except (ValueError, RecursionError):
        return None
    if _begins_with_value(text[end:].lstrip(_BLANKS)):
        return None
    return body if shorten_integers(body) else None


def _begins_with_value(text: str) -> bool:
    if text[:1] in ("{", "[", '"'):
        return True
    try:
        _lenient.raw_decode(text)
    except ValueError:
        return False
    return True


def _integer(digits: str) -> int | float:
    if len(digits) > 20:
        return _rounded(float(digits))
    value = int(digits)
    return value if _SMALLEST <= value <= _LARGEST else _rounded(value)


def _rounded(value: float) -> float:
    """A float of the 16 digits that Fluent Bit prints, so that it looks the same."""
    return float(f"{value:.16g}")


def _refuse(word: str) -> NoReturn:
    raise ValueError(f"{word} is not JSON")


_lenient = json.JSONDecoder(strict=False, parse_int=_integer, parse_constant=_refuse)

__all__ = ["DEEPEST", "read_object", "read_pairs", "shorten_integers"]
