r"""Regular expressions as Fluent Bit writes them: Ruby syntax as read by Onigmo, run by Python's `re`.

A pattern may stand between slashes and be followed by flags, `/…/imx`. `^` and `$` are line anchors, `\w \d \s` mean
ASCII, plain groups do not capture as soon as there is a named one, and a name may be given to several groups.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Self

from .needles import needles_of
from .onigmo_syntax import RegexError, Translation, translate

Match = re.Match[str]
_FLAGS = frozenset("imxo")


class Regex:
    """A pattern in Ruby syntax, compiled once; texts are decoded as UTF-8 with surrogateescape.

    `names` are the names of the groups in order of first appearance. `match` looks at the start of the text only,
    `search` anywhere, as Fluent Bit always does. Plain groups are numbered only in a pattern without named ones.
    """

    shown_as = "regular expression"
    __slots__ = ("match", "names", "needles", "pattern", "search", "values")

    match: Callable[[str], Match | None]
    search: Callable[[str], Match | None]
    values: Callable[[Match], tuple[str | None, ...]]
    """What each of `names` captured; of several groups with one name the last that took part counts."""

    def __init__(self, pattern: str) -> None:
        self.pattern = pattern
        found = _translated(pattern)
        self.match = found.compiled.match
        self.search = _searcher(found)
        self.names = tuple(dict.fromkeys(found.groups))
        self.values = _reader(self.names, found.groups)
        body, flags, _ = _without_slashes(pattern)
        self.needles = needles_of(body, flags)
        """Texts one of which is in every text in which the pattern is found; empty if that is not known."""

    @classmethod
    def parse(cls, text: str) -> Self:
        """Compile the text of an option; raises `ValueError` that names the place of what cannot be used."""
        return cls(text)

    def groups(self, match: Match) -> dict[str, str | None]:
        """The captures by name, None for a group that took no part."""
        return dict(zip(self.names, self.values(match), strict=True))

    def __repr__(self) -> str:
        return f"Regex({self.pattern!r})"


def _translated(pattern: str) -> Translation:
    body, flags, start = _without_slashes(pattern)
    try:
        return translate(body, flags)
    except RegexError as error:
        position = error.position + start
        marked = f"{pattern[:position]}<here>{pattern[position:]}"
        raise RegexError(f"position {position}: {error} in {marked!r}", position) from error


def _without_slashes(pattern: str) -> tuple[str, str, int]:
    """The pattern itself, its flags, and where it begins in the text."""
    if len(pattern) > 1 and pattern[0] == "/":
        last = pattern.rindex("/")
        if last and _FLAGS.issuperset(flags := pattern[last + 1 :]):
            return pattern[1:last], flags, 1
    return pattern, "", 0


def _reader(names: tuple[str, ...], groups: tuple[str, ...]) -> Callable[[Match], tuple[str | None, ...]]:
    """Reads the captures of a match in the order of `names`."""
    if not names:
        return lambda match: ()
    if len(names) == len(groups):
        return re.Match.groups
    indexes = [[i for i in reversed(range(len(groups))) if groups[i] == name] for name in names]

    def merged(match: Match) -> tuple[str | None, ...]:
        found = match.groups()
        return tuple(next((found[i] for i in several if found[i] is not None), None) for several in indexes)

    return merged


def _searcher(found: Translation) -> Callable[[str], Match | None]:
    """A search that does not try every character of a text when only a line start can match."""
    match, search = found.compiled.match, found.compiled.search
    if found.anchor == "text":
        return match
    if found.anchor == "":
        return search

    def search_lines(text: str) -> Match | None:
        first = match(text)
        return search(text) if first is None and "\n" in text else first

    return search_lines


__all__ = ["Match", "Regex", "RegexError"]
