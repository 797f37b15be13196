"""Values that are several words: blanks separate them, quotes hold blanks."""

from __future__ import annotations

import re

_WORD = re.compile(r"""\s*(?:"((?:\\.|[^"\\])*)"|'((?:\\.|[^'\\])*)'|(\S+))""", re.DOTALL)
_ESCAPED = re.compile(r"""\\(["'\\])""")


def split_words(text: str) -> list[str]:
    r"""The words of a text; inside quotes `\"`, `\'` and `\\` stand for the character itself.

    A closing quote ends a word, and a quote that is never closed is an ordinary character.
    """
    return [
        bare or _ESCAPED.sub(r"\1", double if double is not None else single or "")
        for double, single, bare in (found.groups() for found in _WORD.finditer(text))
    ]
