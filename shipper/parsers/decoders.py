"""The options `Decode_Field` and `Decode_Field_As`: fields whose text is decoded after parsing."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Literal

import msgspec

from ..config.options import did_you_mean
from ..record import Body
from .escapes import unescape, unescape_unicode, unquote_mysql
from .json_object import read_object

Action = Literal["stop", "try_next", "do_next"]
Decode = Callable[[str], Any]
"""Returns the decoded text, an object, or None if the text is not of its form."""

_DECODERS: dict[str, Decode] = {
    "json": read_object,
    "escaped": unescape,
    "escaped_utf8": unescape_unicode,
    "mysql_quoted": unquote_mysql,
}
_ACTIONS: dict[str, Action] = {"try_next": "try_next", "do_next": "do_next"}


class DecodeRule(msgspec.Struct, frozen=True):
    """One definition: a decoder, the field it is for, whether it replaces the field, and what comes after it.

    After success the next rule of the field is tried if the action is do_next, after failure if there is any action.
    """

    decode: Decode
    field: str
    replaces: bool
    action: Action

    @classmethod
    def parse(cls, text: str, replaces: bool) -> DecodeRule:
        """Read `DECODER FIELD [try_next|do_next]`."""
        words = text.split()
        if len(words) not in (2, 3):
            raise ValueError(f"expected 'DECODER FIELD [try_next|do_next]', got {text!r}")
        decode = _DECODERS.get(words[0].lower())
        if decode is None:
            raise ValueError(f"there is no decoder '{words[0]}'; {did_you_mean(words[0], _DECODERS)}")
        if len(words) == 2:
            return cls(decode, words[1], replaces, "stop")
        action = _ACTIONS.get(words[2].lower())
        if action is None:
            raise ValueError(f"'{words[2]}' cannot follow a field; {did_you_mean(words[2], _ACTIONS)}")
        return cls(decode, words[1], replaces, action)


class Decoders:
    """The rules of one parser, those of a field chained in the order in which they were written."""

    def __init__(self, rules: Iterable[DecodeRule]) -> None:
        self._chains: dict[str, list[DecodeRule]] = {}
        for rule in rules:
            self._chains.setdefault(rule.field, []).append(rule)

    def apply(self, body: Body) -> None:
        """Decode the fields that are texts; entries that rules add come last."""
        added: Body = {}
        for field, chain in self._chains.items():
            text = body.get(field)
            if isinstance(text, str):
                body[field] = _decode(text, chain, added)
        body.update(added)


def _decode(text: str, chain: list[DecodeRule], added: Body) -> Any:
    """What the field becomes; entries to add to the record go to `added`."""
    kept: Any = text
    for rule in chain:
        decoded = rule.decode(text)
        if decoded is None:
            if rule.action == "stop":
                break
            continue
        if rule.replaces:
            kept = decoded
        elif isinstance(decoded, dict):
            added.update(decoded)
        if not isinstance(decoded, str) or rule.action != "do_next":
            break
        text = decoded
    return kept
