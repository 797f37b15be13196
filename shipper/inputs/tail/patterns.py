"""Shell patterns as C's fnmatch(3) and glob(3) read them, with which Fluent Bit finds files.

`*`, `?` and `[...]` match as everywhere; `[!...]` and `[^...]` match what is not in the set, `[[:digit:]]` a class of
characters, and a backslash takes the next character as it is. A `[` without its `]` is a character like others. Neither
`**` nor `{a,b}` mean anything special.
"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence

_ONE = r"\[([:.=]).*?\{}\]|\\.|[^\]\\]"
# A bracket that comes first is a member of the set.
_SET = re.compile(rf"\[([!^]?)((?:\]|{_ONE.format(3)})(?:{_ONE.format(4)})*)\]", re.DOTALL)
_MEMBER = re.compile(r"\[:(\w+):\]|\[[.=](.)[.=]\]|\\(.)|(.)", re.DOTALL)
_MAGIC = re.compile(r"[*?\[\\]")

_CLASSES = {
    "alnum": "a-zA-Z0-9",
    "alpha": "a-zA-Z",
    "blank": r" \t",
    "cntrl": r"\x00-\x1f\x7f",
    "digit": "0-9",
    "graph": r"\x21-\x7e",
    "lower": "a-z",
    "print": r"\x20-\x7e",
    "punct": r"\x21-\x2f\x3a-\x40\x5b-\x60\x7b-\x7e",
    "space": r"\s",
    "upper": "A-Z",
    "xdigit": "0-9A-Fa-f",
}


class PathPattern:
    """A pattern of paths of which each part is matched on its own, as glob(3) does it."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.is_wild = _is_magic(text)
        self._match = re.compile("/".join(map(_part, text.split("/"))))

    def matches(self, path: str) -> bool:
        """Whether the path is one that `paths` would find if it existed."""
        return self._match.fullmatch(path) is not None

    def paths(self) -> list[str]:
        """What exists and matches, in order; without a wildcard the path itself, there or not."""
        return sorted(_found(self.text)) if self.is_wild else [self.text]


class Wanted:
    """Tells by its name alone whether a path is one to follow."""

    def __init__(self, patterns: Sequence[str], excludes: Sequence[str]) -> None:
        self.patterns = [PathPattern(os.path.expanduser(p)) for p in patterns]
        self._excluded = [compile_pattern(p).match for p in excludes]

    def __contains__(self, path: str) -> bool:
        return any(p.matches(path) for p in self.patterns) and not self.is_excluded(path)

    def is_excluded(self, path: str) -> bool:
        return any(match(path) for match in self._excluded)


def compile_pattern(text: str) -> re.Pattern[str]:
    """A regular expression that matches from the beginning to the end what the pattern matches."""
    return re.compile(_expression(text, ".") + r"\Z")


def _part(text: str) -> str:
    """The expression of one part of a path, for which no wildcard finds what is hidden."""
    return ("" if _takes_hidden(text) else r"(?!\.)") + _expression(text, "[^/]")


def _takes_hidden(text: str) -> bool:
    return not _is_magic(text) or text.startswith((".", "\\."))


def _expression(text: str, any_character: str) -> str:
    parts, at = [], 0
    while at < len(text):
        character = text[at]
        found = _SET.match(text, at) if character == "[" else None
        if found is not None:
            parts.append(_set(found[1], found[2], any_character))
            at = found.end()
            continue
        if character == "\\":
            at += 1
            parts.append(re.escape(text[at]) if at < len(text) else "(?!)")
        else:
            parts.append({"*": f"{any_character}*", "?": any_character}.get(character) or re.escape(character))
        at += 1
    return f"(?s:{''.join(parts)})"


def _set(negation: str, members: str, any_character: str) -> str:
    told, rest = "", list(_MEMBER.finditer(members))
    while rest:
        first = rest.pop(0)
        if first[1] is not None:
            told += _CLASSES.get(first[1], "")
            continue
        begin = end = _character(first)
        if len(rest) > 1 and rest[0][0] == "-" and rest[1][1] is None:
            end = _character(rest[1])
            del rest[:2]
        if begin <= end:
            told += f"{re.escape(begin)}-{re.escape(end)}"
    if not told:
        return any_character if negation else "(?!)"
    # Of a path, no set matches what separates its parts.
    part = "" if any_character == "." else "(?!/)"
    return f"{part}[{'^' if negation else ''}{told}]"


def _character(member: re.Match[str]) -> str:
    return member[2] or member[3] or member[4]


def _found(pattern: str) -> list[str]:
    folder, name = os.path.split(pattern)
    if not name:
        return [os.path.join(one, "") for one in _folders(folder)]
    if not _is_magic(name):
        paths = [os.path.join(one, name) for one in _folders(folder)]
        return [path for path in paths if os.path.lexists(path)]
    match = compile_pattern(name).match
    takes_hidden = _takes_hidden(name)
    return [
        os.path.join(one, entry)
        for one in _folders(folder)
        for entry in _names(one)
        if match(entry) and (takes_hidden or not entry.startswith("."))
    ]


def _folders(pattern: str) -> list[str]:
    return _found(pattern) if _is_magic(pattern) else [pattern]


def _names(folder: str) -> list[str]:
    try:
        return os.listdir(folder or ".")
    except OSError:
        return []


def _is_magic(text: str) -> bool:
    return _MAGIC.search(text) is not None
