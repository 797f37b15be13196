"""Plain texts of which a pattern needs one: a search for them in a block tells whether the pattern has to be tried.

The search for a plain text runs at many times the speed of a pattern that can begin anywhere. Only what is certain
counts: of a pattern that is not understood nothing is known.
"""

from __future__ import annotations

import re

_ALTERNATIVES = re.compile(r"\?:([\w :.,/=<>-]+(?:\|[\w :.,/=<>-]+)*)")
_SHORTEST = 3


def needles_of(pattern: str, flags: str = "") -> tuple[str, ...]:
    """Texts one of which is in every text in which the pattern is found; none if that is not known.

    The pattern is in Ruby syntax, without slashes.
    """
    if "i" in flags or "x" in flags or "(?i" in pattern or "(?x" in pattern or "(?m" in pattern:
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
        character = pattern[at]
        if character == "|":
            return []
        if character in "*?{":
            # What was repeated any number of times, or perhaps not at all, is not needed.
            run = run[:-1]
            run = end_run()
            at = pattern.find("}", at) + 1 if character == "{" else at + 1
            if not at:
                return []
        elif character == "(":
            end = _end_of_group(pattern, at)
            alternatives = _ALTERNATIVES.fullmatch(pattern, at + 1, end)
            if alternatives and pattern[end + 1 : end + 2] not in ("*", "?", "{"):
                found.append(tuple(alternatives[1].split("|")))
            run, at = end_run(), end + 1
        elif character == "[":
            end = pattern.find("]", at + 2)
            if end < 0 or "[" in pattern[at + 1 : end] or "\\" in pattern[end - 1 : end]:
                return []
            run, at = end_run(), end + 1
        elif character == "\\":
            escaped = pattern[at + 1 : at + 2]
            run = end_run() if escaped.isalnum() or not escaped else run + escaped
            at += 2
        elif character in ".^$+":
            run, at = end_run(), at + 1
        else:
            run, at = run + character, at + 1
    end_run()
    return found


def _end_of_group(pattern: str, start: int) -> int:
    """Where the group that begins here is closed; the end of the pattern if that is not plain to see."""
    depth, at = 0, start
    while at < len(pattern):
        character = pattern[at]
        if character == "\\":
            at += 1
        elif character == "[":
            return len(pattern)
        elif character == "(":
            depth += 1
        elif character == ")":
            depth -= 1
            if not depth:
                return at
        at += 1
    return len(pattern)
