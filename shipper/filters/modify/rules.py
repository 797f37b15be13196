"""The rules of the modify filter; each changes the top-level fields of one record.

What a rule does depends on the keys of the record and their order, never on a value.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import ClassVar, Self

import msgspec

from ...config.options import Written
from ...config.words import split_words
from ...parsers.onigmo import Regex
from ...record import Body
from ..shapes import Change

_REMEMBERED_KEYS = 1024


class Rule(msgspec.Struct, frozen=True):
    """One rule as written: its place in the section, and what it does; None if it has a word too many."""

    shown_as: ClassVar[str] = "words"
    name: str
    text: str
    place: int
    change: Change | None

    @classmethod
    def parse_written(cls, written: Written) -> Self:
        """Read a rule; raises `ValueError` if its number of words cannot be."""
        needed, make = _MAKERS[written.key]
        words = split_words(written.text)
        # Fluent Bit starts with a rule of two words that has three, so that must not stop us: it is told and ignored.
        if needed == 2 and len(words) == 3:
            return cls(written.key, written.text, written.place, None)
        if len(words) != needed:
            expected = "KEY VALUE" if needed == 2 else "KEY"
            raise ValueError(f"expected {expected}, got {written.text!r}; put words with blanks in quotes")
        return cls(written.key, written.text, written.place, make(*words))


def _set(key: str, value: str) -> Change:
    def change(body: Body) -> Body:
        body.pop(key, None)
        body[key] = value
        return body

    return change


def _add(key: str, value: str) -> Change:
    def change(body: Body) -> Body:
        body.setdefault(key, value)
        return body

    return change


def _remove(key: str) -> Change:
    def change(body: Body) -> Body:
        body.pop(key, None)
        return body

    return change


def _remove_wildcard(prefix: str) -> Change:
    return _remove_where(lambda key: key.startswith(prefix))


def _remove_regex(pattern: str) -> Change:
    search = Regex(pattern).search
    return _remove_where(functools.lru_cache(_REMEMBERED_KEYS)(lambda key: search(key) is not None))


def _remove_where(is_unwanted: Callable[[str], bool]) -> Change:
    def change(body: Body) -> Body:
        for key in [k for k in body if is_unwanted(k)]:
            del body[key]
        return body

    return change


def _rename(key: str, name: str) -> Change:
    def change(body: Body) -> Body:
        if key not in body or name in body:
            return body
        return {(name if k == key else k): v for k, v in body.items()}

    return change


def _hard_rename(key: str, name: str) -> Change:
    def change(body: Body) -> Body:
        if key not in body or key == name:
            return body
        return {(name if k == key else k): v for k, v in body.items() if k != name}

    return change


def _copy(key: str, name: str) -> Change:
    insert = _hard_copy(key, name)
    return lambda body: body if name in body else insert(body)


def _hard_copy(key: str, name: str) -> Change:
    def change(body: Body) -> Body:
        if key not in body or key == name:
            return body
        copied: Body = {}
        for k, v in body.items():
            if k != name:
                copied[k] = v
            if k == key:
                copied[name] = v
        return copied

    return change


def _move_to_start(prefix: str) -> Change:
    def change(body: Body) -> Body:
        moved = {k: v for k, v in body.items() if k.startswith(prefix)}
        return {**moved, **body} if moved else body

    return change


def _move_to_end(prefix: str) -> Change:
    def change(body: Body) -> Body:
        for key in [k for k in body if k.startswith(prefix)]:
            body[key] = body.pop(key)
        return body

    return change


_MAKERS: dict[str, tuple[int, Callable[..., Change]]] = {
    "set": (2, _set),
    "add": (2, _add),
    "remove": (1, _remove),
    "remove_wildcard": (1, _remove_wildcard),
    "remove_regex": (1, _remove_regex),
    "rename": (2, _rename),
    "hard_rename": (2, _hard_rename),
    "copy": (2, _copy),
    "hard_copy": (2, _hard_copy),
    "move_to_start": (1, _move_to_start),
    "move_to_end": (1, _move_to_end),
}
