"""The conditions of the modify filter; each looks at one record as it came."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, ClassVar, Self

import msgspec

from ...codecs.template import KeyPath
from ...config.options import did_you_mean
from ...config.words import split_words
from ...parsers.onigmo import Regex
from ...record import Body

Test = Callable[[Body], bool]

_REMEMBERED_KEYS = 1024
_MISSING: Any = object()


class Condition(msgspec.Struct, frozen=True):
    """A question to a record, such as `Key_value_equals stream stderr`."""

    shown_as: ClassVar[str] = "words"
    text: str
    holds: Test

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read a condition; raises `ValueError` for an unknown name or a wrong number of words."""
        name, *words = split_words(text) or [""]
        known = _MAKERS.get(name.lower())
        if known is None:
            raise ValueError(f"{name!r} is no condition; {did_you_mean(name, _MAKERS)}")
        needed, make = known
        if len(words) != needed:
            expected = "FIELD VALUE" if needed == 2 else "one word"
            raise ValueError(f"{name} takes {expected}, got {text!r}; put words with blanks in quotes")
        return cls(text, make(*words))


def _value_of(field: str) -> Callable[[Body], Any]:
    """Looks a field up, giving `_MISSING` where there is none."""
    path = KeyPath.parse(field)
    if path.steps and isinstance(path.steps[-1], int):
        return lambda body: _MISSING  # as in Fluent Bit: an array element is never found
    get = path.get
    return lambda body: get(body, _MISSING)


def _key_matches(pattern: str) -> Callable[[str], bool]:
    search = Regex(pattern).search
    return functools.lru_cache(_REMEMBERED_KEYS)(lambda key: search(key) is not None)


def _value_matches(pattern: str) -> Callable[[Any], bool]:
    """Strings are searched, and booleans as the words true and false; nothing else matches."""
    search = Regex(pattern).search

    def matches(value: Any) -> bool:
        if isinstance(value, bool):
            value = "true" if value else "false"
        return isinstance(value, str) and search(value) is not None

    return matches


def _key_exists(field: str) -> Test:
    value = _value_of(field)
    return lambda body: value(body) is not _MISSING


def _a_key_matches(pattern: str) -> Test:
    matches = _key_matches(pattern)
    return lambda body: any(map(matches, body))


def _key_value_equals(field: str, wanted: str) -> Test:
    value = _value_of(field)
    return lambda body: bool(value(body) == wanted)


def _key_value_does_not_equal(field: str, unwanted: str) -> Test:
    value = _value_of(field)
    return lambda body: value(body) not in (_MISSING, unwanted)


def _key_value_matches(field: str, pattern: str) -> Test:
    value, matches = _value_of(field), _value_matches(pattern)
    return lambda body: matches(value(body))


def _key_value_does_not_match(field: str, pattern: str) -> Test:
    value, matches = _value_of(field), _value_matches(pattern)
    return lambda body: (found := value(body)) is not _MISSING and not matches(found)


def _matching_keys_have_matching_values(key_pattern: str, value_pattern: str) -> Test:
    is_meant, matches = _key_matches(key_pattern), _value_matches(value_pattern)
    return lambda body: all(matches(v) for k, v in body.items() if is_meant(k))


def _negated(make: Callable[..., Test]) -> Callable[..., Test]:
    def make_negated(*words: str) -> Test:
        holds = make(*words)
        return lambda body: not holds(body)

    return make_negated


_MAKERS: dict[str, tuple[int, Callable[..., Test]]] = {
    "key_exists": (1, _key_exists),
    "key_does_not_exist": (1, _negated(_key_exists)),
    "a_key_matches": (1, _a_key_matches),
    "no_key_matches": (1, _negated(_a_key_matches)),
    "key_value_equals": (2, _key_value_equals),
    "key_value_does_not_equal": (2, _key_value_does_not_equal),
    "key_value_matches": (2, _key_value_matches),
    "key_value_does_not_match": (2, _key_value_does_not_match),
    "matching_keys_have_matching_values": (2, _matching_keys_have_matching_values),
    "matching_keys_do_not_have_matching_values": (2, _negated(_matching_keys_have_matching_values)),
}
