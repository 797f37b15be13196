"""Plain texts of which a pattern needs one: a search for them in a block tells whether the pattern has to be tried.

The search for a plain text runs at many times the speed of a pattern that can begin anywhere. Only what is certain
counts: of a pattern that is not understood nothing is known, because a needle that is wrong would hide lines.
"""

from __future__ import annotations

import re

_ALTERNATIVES = re.compile(r"\?:([\w :,/=<>-]+(?:\|[\w :,/=<>-]+)*)")
"""A group of nothing but plain texts."""
_CHANGES_MEANING = re.compile(r"\(\?[^:=!<>'(]")
"""Flags and comments: behind them letters may mean something else, and a quantifier may belong to what is before."""
_INTERVAL = re.compile(r"\{\d*,?\d*\}")
_MATCHES_NO_TEXT = frozenset("wWdDsShHRAzZbBGntrfvae")
"""Letters that make an escape of two characters in all, none of which is text as it is written."""
_QUANTIFIERS = ("*", "?", "{", "+")
_SHORTEST = 3


def needles_of(pattern: str, flags: str = "") -> tuple[str, ...]:
    """Texts one of which is in every text in which the pattern is found; none if that is not known.

    The pattern is in Ruby syntax, without slashes.
    """
    if "i" in flags or "x" in flags or _CHANGES_MEANING.search(pattern):
        return ()
    candidates = _candidates(pattern)
    best = max(candidates, key=lambda texts: min(map(len, texts)), default=())
    return best if best and min(map(len, best)) >= _SHORTEST else ()


def _candidates(pattern: str) -> list[tuple[str, ...]]:
    """What the pattern needs beside one another, each a list of alternatives."""
    found: list[tuple[str, ...]] = []
    run, at = "", 0

    def end_run() -> str:
        if run:
            found.append((run,))
        return ""

    while at < len(pattern):
        character, end = pattern[at], _end_of_element(pattern, at)
        if end is None or character == "|":
            return []
        if character in "*?{" or (character == "+" and pattern.startswith(_QUANTIFIERS, end)):
            # What was repeated any number of times, or perhaps not at all, is not needed.
            run = run[:-1]
            run = end_run()
        elif character == "(":
            alternatives = _ALTERNATIVES.fullmatch(pattern, at + 1, end - 1)
            if alternatives and not pattern.startswith(_QUANTIFIERS, end):
                found.append(tuple(alternatives[1].split("|")))
            run = end_run()
        elif character == "\\" and not pattern[at + 1].isalnum():
            run += pattern[at + 1]
        elif character in "\\[.^$+":
            run = end_run()
        else:
            run += character
        at = end
    end_run()
    return found


def _end_of_element(pattern: str, start: int) -> int | None:
    """Where the character, escape, class, group or interval that begins here ends; None if that is not plain to see."""
    character = pattern[start]
    if character == "\\":
        escaped = pattern[start + 1 : start + 2]
        is_plain = escaped in _MATCHES_NO_TEXT if escaped.isalnum() else bool(escaped)
        return start + 2 if is_plain else None
    if character == "{":
        interval = _INTERVAL.match(pattern, start)
        return interval.end() if interval else None
    if character == "[":
        return _end_of_class(pattern, start)
    return _end_of_group(pattern, start) if character == "(" else start + 1


def _end_of_class(pattern: str, start: int) -> int | None:
    first = start + 2 if pattern.startswith("[^", start) else start + 1
    end = pattern.find("]", first + 1)  # one that comes first is not the end
    if end < 0 or "[" in pattern[first:end] or pattern[end - 1] == "\\":
        return None
    return end + 1


def _end_of_group(pattern: str, start: int) -> int | None:
    at = start + 1
    while at < len(pattern):
        if pattern[at] == ")":
            return at + 1
        # Between parentheses `?` and `{` may stand for themselves; either way they end where they begin.
        end = at + 1 if pattern[at] == "{" else _end_of_element(pattern, at)
        if end is None:
            return None
        at = end
    return None
