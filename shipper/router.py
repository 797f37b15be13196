"""Which outputs get the records of a tag."""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Sequence
from typing import Protocol

import msgspec


class TagRegex(Protocol):
    """What the router needs of a regular expression: a match that begins at the start of the text."""

    def match(self, text: str, /) -> re.Match[str] | None: ...


class Route(msgspec.Struct, frozen=True):
    """The tags that lead to an output (or through a filter): a glob, a regular expression, either, or neither."""

    name: str
    match: str | None = None
    match_regex: TagRegex | None = None


def match_tag(pattern: str) -> Callable[[str], bool]:
    """A test whether a whole tag fits a glob in which only `*` is special and stands for any text, dots included.

    Looking for the parts between the stars one after another takes time in proportion to the tag, for any pattern.
    """
    if "*" not in pattern:
        return pattern.__eq__
    first, *middle, last = pattern.split("*")
    middle = [part for part in middle if part]
    least = len(first) + len(last)

    def fits(tag: str) -> bool:
        if len(tag) < least or not tag.startswith(first) or not tag.endswith(last):
            return False
        position, end = len(first), len(tag) - len(last)
        for part in middle:
            position = tag.find(part, position, end)
            if position < 0:
                return False
            position += len(part)
        return True

    return fits


def match_route(match: str | None, match_regex: TagRegex | None) -> Callable[[str], bool]:
    """A test whether a tag fits `Match` or `Match_Regex`; either suffices, and with neither nothing fits.

    The regular expression begins at the start of the tag, is open at its end and must consume something.
    """
    by_glob = match_tag(match) if match is not None else _never
    if match_regex is None:
        return by_glob
    at_start = match_regex.match

    def fits(tag: str) -> bool:
        found = at_start(tag)
        return (found is not None and found.end() > 0) or by_glob(tag)

    return fits


class Router:
    """Maps a tag to the names of the outputs that get it, in the order of the routes.

    `inputs` is the number of inputs, those that filters create for records of another tag included: if there is one,
    and one output, the output needs no `Match`. `warnings` says which outputs will get nothing. The answers for the
    last `remembered` tags are kept.
    """

    def __init__(self, routes: Sequence[Route], inputs: int, remembered: int = 4096) -> None:
        if inputs == 1 and len(routes) == 1:
            routes = [_with_default(routes[0])]
        self.warnings = tuple(f"[router] NO match for {r.name} output instance" for r in routes if not _has_match(r))
        self._tests = [(r.name, match_route(r.match, r.match_regex)) for r in routes]
        self.outputs_for: Callable[[str], tuple[str, ...]] = functools.lru_cache(remembered)(self._outputs_for)

    def _outputs_for(self, tag: str) -> tuple[str, ...]:
        return tuple(name for name, fits in self._tests if fits(tag))

    def __repr__(self) -> str:
        return f"Router({', '.join(name for name, _ in self._tests)})"


def outputs_without_tags(routes: Sequence[Route], tags: Sequence[str]) -> list[str]:
    """The names of the outputs whose pattern fits none of the inputs' tags; a `*` in a tag stands for any text.

    Outputs without a pattern are not named, the router warns about them. A regular expression is believed to fit any
    tag with a `*`, because what it stands for is not known before the first record.
    """
    return [r.name for r in routes if _has_match(r) and not any(_may_fit(r, tag) for tag in tags)]


def _may_fit(route: Route, tag: str) -> bool:
    if "*" not in tag:
        return match_route(route.match, route.match_regex)(tag)
    return route.match_regex is not None or (route.match is not None and _have_common_text(route.match, tag))


def _have_common_text(one: str, other: str) -> bool:
    """Whether some text fits both globs.

    `reached` holds the positions in `other` that can be reached with the part of `one` that was taken so far.
    """
    reached = _over_stars({0}, other)
    for char in one:
        if char == "*":
            reached = set(range(min(reached), len(other) + 1))
        else:
            stays = {p for p in reached if p < len(other) and other[p] == "*"}
            steps = {p + 1 for p in reached if p < len(other) and other[p] == char}
            reached = _over_stars(stays | steps, other)
        if not reached:
            return False
    return len(other) in reached


def _over_stars(reached: set[int], glob: str) -> set[int]:
    """The positions reached when stars that follow them stand for nothing."""
    more = {p + 1 for p in reached if p < len(glob) and glob[p] == "*"} - reached
    return _over_stars(reached | more, glob) if more else reached


def _has_match(route: Route) -> bool:
    return route.match is not None or route.match_regex is not None


def _with_default(route: Route) -> Route:
    return route if _has_match(route) else Route(route.name, "*")


def _never(tag: str) -> bool:
    return False
