r"""The translation of Ruby regular expressions into those of Python's `re`.

The pattern is read from left to right, element by element; what each element becomes is one piece of the output, and
every piece remembers where it came from, so that what Python refuses is reported at its place in the original.

What needs more than another spelling:

- Plain groups capture only if no group is named, which is known at the end: their pieces are written last.
- Python wants every name once: further groups of a name get a name of their own.
- `(?i)` holds to the end of the group it is in: it opens a group that closes there.
- A quantifier may follow a quantifier: the first then becomes a group.
- `^` does not match behind the last newline of a text, where Python's does. That matters only if nothing behind it has
  to consume a character; such line starts are "loose" until something does, and what stays loose is spelled out.
"""

from __future__ import annotations

import re
from typing import Literal, NamedTuple

from .onigmo_class import read_class
from .onigmo_escapes import SPECIAL, RegexError, read_character, read_set
from .onigmo_names import GroupNames

Anchor = Literal["", "line", "text"]

_NAMED = re.compile(r"\(\?(?:<(\w+)>|'(\w+)')")
_CONDITION = re.compile(r"\(\?\((?:<(\w+)>|'(\w+)'|(\d+))\)")
_FLAGS = re.compile(r"\(\?([imxadu]*)(?:-([imx]*))?([:)])")
_COMMENT = re.compile(r"\(\?#(?:\\.|[^\\)])*\)", re.DOTALL)
_EXTENDED_BLANK = re.compile(r"(?:[ \t\n\r\f\v]+|#[^\n]*)+")
_INTERVAL = re.compile(r"\{(?:(\d+)(,?)(\d*)|(,)(\d+))\}")
_REFERENCE = re.compile(r"\\k(?:<(-?\w+)>|'(-?\w+)')")
_NUMBERED = re.compile(r"\\([1-9]\d?)")
_PLAIN_OPENINGS = ("(?:", "(?=", "(?!", "(?>", "(?<=", "(?<!")
_ANCHORS = {"A": r"\A", "z": r"\Z", "Z": r"(?=\n?\Z)", "b": r"\b", "B": r"\B", "G": r"\A"}
_LINE_BREAK = r"(?>\r\n|[\n-\r\x85\u2028\u2029])"
_NOT_SUPPORTED = {
    "g": r"subexpression calls (\g<…>) are not supported; write the group out",
    "K": r"\K is not supported; use a look-behind (?<=…)",
    "X": r"\X is not supported; use a dot or a class",
}


class Translation(NamedTuple):
    """A compiled pattern, the name of each capturing group (none if no group is named), and how it is anchored."""

    compiled: re.Pattern[str]
    groups: tuple[str, ...]
    anchor: Anchor


def translate(source: str, flags: str = "") -> Translation:
    """Compile a pattern in Ruby syntax with the flags `i`, `m` (dot matches newline) and `x`; raises `RegexError`."""
    translator = _Translator(source, "x" in flags, "i" in flags)
    translator.run()
    text = "".join(translator.out)
    # ASCII and line anchors are Ruby's defaults.
    options = re.ASCII | re.MULTILINE | (re.IGNORECASE if "i" in flags else 0) | (re.DOTALL if "m" in flags else 0)
    try:
        compiled = re.compile(text, options)
    except (re.error, OverflowError) as error:
        position = getattr(error, "pos", None)
        raise RegexError(getattr(error, "msg", str(error)), translator.place_of(position or 0)) from error
    return Translation(compiled, translator.groups, translator.anchor)


class _Group:
    """An open group, or the whole pattern.

    `loose` are the pieces of line starts behind which nothing has to consume a character so far, those of finished
    branches in `loose_before`; `consumes` says whether the current branch has to, `all_consume` the finished ones.
    """

    __slots__ = (
        "all_consume", "bars", "closing", "consumes", "extended", "ignore_case", "loose", "loose_before", "opening",
        "start",
    )  # fmt: skip

    def __init__(self, opening: str, start: int, extended: bool, ignore_case: bool) -> None:
        self.opening = opening
        self.start = start
        self.extended = extended
        self.ignore_case = ignore_case
        self.closing = ")"
        self.bars: list[int] = []
        self.loose: list[int] = []
        self.loose_before: list[int] = []
        self.consumes = False
        self.all_consume = True


class _Translator:
    """Reads `source`; `out` are the pieces written so far."""

    def __init__(self, source: str, extended: bool, ignore_case: bool) -> None:
        self._source = source
        self._pos = 0
        self.out: list[str] = []
        self._places: list[int] = []
        self._names = GroupNames()
        self.anchor: Anchor = ""
        self._plain: list[int] = []  # the pieces that open a plain group
        self._is_fresh = True  # nothing but flags has been read
        self._numbered: list[int] = []  # the places of references by number
        self._groups = [_Group("", 0, extended, ignore_case)]

    @property
    def groups(self) -> tuple[str, ...]:
        """The names of the named groups in order, repeated ones included."""
        return tuple(self._names.given)

    def run(self) -> None:
        """Translate everything."""
        while self._pos < len(self._source):
            self._element()
        if len(self._groups) > 1:
            raise RegexError("the group is not closed", self._places[self._groups[-1].start])
        whole = self._groups[0]
        self._spell_out(whole.loose_before + whole.loose)
        self._write(whole.closing[1:])
        if whole.bars:
            self.anchor = ""
        if self._names.given:
            if self._numbered:
                raise RegexError("a pattern with named groups refers to them by name: \\k<name>", self._numbered[0])
            for piece in self._plain:
                self.out[piece] += "?:"

    def place_of(self, position: int) -> int:
        """The position in the source of a position in the output."""
        for piece, place in zip(self.out, self._places, strict=True):
            if position < len(piece):
                return place
            position -= len(piece)
        return len(self._source)

    def _write(self, text: str) -> int:
        self.out.append(text)
        self._places.append(min(self._pos, len(self._source)))
        return len(self.out) - 1

    def _element(self) -> None:
        source, group = self._source, self._groups[-1]
        if self._skip_blank(group):
            return
        character = source[self._pos]
        if character == "|":
            self._bar(group)
        elif character == ")":
            self._close()
        elif character == "(":
            self._open(group)
        elif character in "*+?" or (character == "{" and _INTERVAL.match(source, self._pos)):
            raise RegexError("there is nothing to repeat", self._pos)
        else:
            self._atom(character, group)

    def _skip_blank(self, group: _Group) -> bool:
        """Go behind comments and, in extended syntax, blanks; true if there were any."""
        start = self._pos
        while found := _COMMENT.match(self._source, self._pos) or (
            _EXTENDED_BLANK.match(self._source, self._pos) if group.extended else None
        ):
            self._pos = found.end()
        return self._pos > start

    # Elements

    def _atom(self, character: str, group: _Group) -> None:
        start, place = len(self.out), self._pos
        is_first, self._is_fresh = self._is_fresh, False
        loose: list[int] = []
        is_anchor = False
        if character == "\\":
            consumes, is_anchor = self._escape(group)
        elif character == "[":
            text, end = read_class(self._source, self._pos, group.ignore_case)
            self._write(text)
            self._pos = end
            consumes = True
        elif character in "^$":
            piece = self._write(character)
            loose = [piece] if character == "^" else []
            self._pos += 1
            consumes, is_anchor = False, True
        else:
            self._write("." if character == "." else _literal(character, group))
            self._pos += 1
            consumes = True
        is_repeated, is_optional = self._quantify(start, is_anchor)
        if is_first and not is_repeated:
            self.anchor = "line" if character == "^" else "text" if self._source.startswith("\\A", place) else ""
        self._settle(group, consumes and not is_optional, loose, is_repeated)

    def _escape(self, group: _Group) -> tuple[bool, bool]:
        """Write an escape outside of classes; whether it consumes a character, and whether it is an anchor."""
        source, pos = self._source, self._pos
        letter = source[pos + 1 : pos + 2]
        if letter in _NOT_SUPPORTED:
            raise RegexError(_NOT_SUPPORTED[letter], pos)
        if letter in _ANCHORS:
            self._write(_ANCHORS[letter])
            self._pos += 2
            return False, True
        if letter == "R":
            self._write(_LINE_BREAK)
            self._pos += 2
            return True, False
        if letter == "k" or self._is_reference(pos):
            self._reference()
            return False, False
        if chars := read_set(source, pos):
            self._write(chars[0].text if letter in "wWdDsS" else f"[{chars[0].text}]")
            self._pos = chars[1]
            return True, False
        character, end = read_character(source, pos)
        self._write(_literal(character, group))
        self._pos = end
        return True, False

    def _is_reference(self, pos: int) -> bool:
        """Whether digits are the number of a group; if there are not so many groups they are an octal code."""
        found = _NUMBERED.match(self._source, pos)
        return found is not None and (len(found[1]) == 1 or int(found[1]) <= len(self._plain))

    def _reference(self) -> None:
        r"""Write `\k<name>`, `\k<1>`, `\k<-1>` or `\1`."""
        found = _REFERENCE.match(self._source, self._pos) or _NUMBERED.match(self._source, self._pos)
        if not found:
            raise RegexError("a reference to a group is written \\k<name>", self._pos)
        word = found[1] or found[2]
        if word.lstrip("-").isdecimal():
            self._numbered.append(self._pos)
            number = int(word) if int(word) > 0 else len(self._plain) + 1 + int(word)
            if not 0 < number <= len(self._plain):
                raise RegexError(f"there is no group {word} before this", self._pos)
            self._write(f"(?:\\{number})")
        else:
            self._write(self._names.reference(word, self._pos))
        self._pos = found.end()

    # Groups

    def _open(self, group: _Group) -> None:
        source, pos = self._source, self._pos
        start = len(self.out)
        for opening in _PLAIN_OPENINGS:
            if source.startswith(opening, pos):
                return self._push(opening, opening, pos + len(opening), group)
        if not source.startswith("(?", pos):
            self._plain.append(start)
            return self._push("(", "(", pos + 1, group)
        if found := _NAMED.match(source, pos):
            name = self._names.add(found[1] or found[2], pos)
            return self._push("(", f"(?P<{name}>", found.end(), group)
        if found := _CONDITION.match(source, pos):
            return self._push("(?(", self._condition(found), found.end(), group)
        if found := _FLAGS.match(source, pos):
            return self._flags(found, group)
        raise RegexError(_why_not(source[pos : pos + 4]), pos)

    def _push(self, opening: str, text: str, end: int, group: _Group) -> None:
        start = self._write(text)
        self._is_fresh = False
        self._groups.append(_Group(opening, start, group.extended, group.ignore_case))
        self._pos = end

    def _condition(self, found: re.Match[str]) -> str:
        if found[3]:
            self._numbered.append(self._pos)
            return f"(?({found[3]})"
        return f"(?({self._names.single(found[1] or found[2], self._pos)})"

    def _flags(self, found: re.Match[str], group: _Group) -> None:
        on, off, end = found[1], found[2] or "", found[3]
        python_on = "".join(dict.fromkeys({"i": "i", "m": "s", "a": "a", "d": "a", "u": "u"}.get(f, "") for f in on))
        python_off = "".join(dict.fromkeys({"i": "i", "m": "s"}.get(f, "") for f in off))
        text = f"(?{python_on}{'-' + python_off if python_off else ''}:"
        extended = ("x" in on or group.extended) and "x" not in off
        ignore_case = ("i" in on or group.ignore_case) and "i" not in off
        if end == ":":
            self._push("(?:", text, found.end(), group)
            group = self._groups[-1]
        else:
            self._spell_out(group.loose)
            group.loose.clear()
            self._write(text)
            self._pos = found.end()
            group.closing += ")"
        group.extended, group.ignore_case = extended, ignore_case

    def _bar(self, group: _Group) -> None:
        group.bars.append(self._write("|"))
        group.loose_before += group.loose
        group.all_consume &= group.consumes
        group.loose, group.consumes = [], False
        self._pos += 1

    def _close(self) -> None:
        if len(self._groups) == 1:
            raise RegexError("there is no group to close", self._pos)
        group = self._groups.pop()
        if group.opening in ("(?<=", "(?<!"):
            self._close_look_behind(group)
        else:
            self._write(group.closing)
        self._pos += 1
        looks_around = group.opening in ("(?=", "(?!", "(?<=", "(?<!", "(?(")
        is_repeated, is_optional = self._quantify(group.start, is_anchor=False)
        consumes = group.consumes and group.all_consume and not looks_around and not is_optional
        self._settle(self._groups[-1], consumes, group.loose_before + group.loose, is_repeated or looks_around)

    def _close_look_behind(self, group: _Group) -> None:
        """Close a look-behind; one with alternatives becomes several, because they may differ in length."""
        if group.bars and group.closing == ")":
            is_negative = group.opening == "(?<!"
            for bar in group.bars:
                self.out[bar] = ")" + group.opening if is_negative else ")|" + group.opening
            self.out[group.start] = "(?:" + self.out[group.start]
            group.closing = "))"
        self._write(group.closing)
        text = "".join(self.out[group.start :])
        try:
            re.compile(text, re.ASCII | re.MULTILINE)
        except re.error as error:
            if "look-behind" in error.msg:
                message = "a look-behind must have a fixed length; repeat with {n} or move it out"
                raise RegexError(message, self._places[group.start]) from error

    # Line starts

    def _settle(self, group: _Group, consumes: bool, loose: list[int], spell_out: bool) -> None:
        """Note that an element of `group` is complete."""
        if consumes:
            group.consumes = True
            group.loose.clear()
        if spell_out:
            self._spell_out(loose)
        else:
            group.loose += loose

    def _spell_out(self, pieces: list[int]) -> None:
        for piece in pieces:
            self.out[piece] = self.out[piece].replace("^", r"(?:\A|^(?!\Z))", 1)

    # Quantifiers

    def _quantify(self, start: int, is_anchor: bool) -> tuple[bool, bool]:
        """Write the quantifiers that follow the element from piece `start` on: whether any does, and allows none."""
        is_repeated = is_optional = False
        needs_group = is_anchor
        while True:
            place = self._pos
            self._skip_blank(self._groups[-1])
            if (found := self._quantifier()) is None:
                self._pos = place if not is_repeated else self._pos
                return is_repeated, is_optional
            text, may_be_none = found
            if text == "*" and is_repeated and self.out[-1] in ("*", "+", "?"):
                self.out[-1] = "*"
            else:
                if needs_group:
                    self.out[start] = "(?:" + self.out[start]
                    text = ")" + text
                self._write(text)
            is_repeated = needs_group = True
            is_optional |= may_be_none

    def _quantifier(self) -> tuple[str, bool] | None:
        r"""The quantifier at this place in Python's words, and whether it allows for nothing; None if there is none.

        Behind `{n}` a `?` is a quantifier of its own, as a `+` is behind any interval.
        """
        source, pos = self._source, self._pos
        if source.startswith(("*", "+", "?"), pos):
            suffix = source[pos + 1] if source.startswith(("?", "+"), pos + 1) else ""
            self._pos += 1 + len(suffix)
            return source[pos] + suffix, source[pos] != "+"
        found = _INTERVAL.match(source, pos)
        if not found:
            return None
        self._pos = found.end()
        low, high = found[1] or "0", found[3] or found[5] or ""
        if found[1] and not found[2] and not found[3]:
            return f"{{{low}}}", int(low) == 0
        if high and int(low) > int(high):
            raise RegexError("the repetition ends before it begins", pos)
        suffix = "?" if source.startswith("?", self._pos) else ""
        self._pos += len(suffix)
        return f"{{{low},{high}}}{suffix}", int(low) == 0


def _literal(character: str, group: _Group) -> str:
    if character in SPECIAL:
        return "\\" + character
    if group.ignore_case and character > "\x7f":
        return f"(?u:{character})"
    return character


def _why_not(opening: str) -> str:
    if opening.startswith("(?P"):
        return "'(?P' is not Ruby syntax; a named group is written (?<name>…)"
    if opening.startswith(("(?<", "(?'")):
        return "a group name is made of letters, digits and '_' only, and closed by '>'"
    if opening.startswith("(?~"):
        return "absence operators (?~…) are not supported; use a look-ahead (?!…)"
    return f"the group '{opening}' is not supported"


__all__ = ["RegexError", "Translation", "translate"]
