"""The option `Types`: which fields of a parsed text are numbers or booleans."""

from __future__ import annotations

import re
from collections.abc import Callable

from ..config.options import did_you_mean
from ..record import Body
from .remarks import Remark, ignore

Cast = Callable[[str], object]

_INTEGER = re.compile(r"[ \t\n\v\f\r]*([+-]?[0-9]+)")
_HEX = re.compile(r"[ \t\n\v\f\r]*([+-]?)(?:0[xX](?=[0-9a-fA-F]))?([0-9a-fA-F]+)")
_FLOAT = re.compile(
    r"[ \t\n\v\f\r]*([+-]?(?:inf(?:inity)?|nan|(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:e[+-]?[0-9]+)?))", re.IGNORECASE
)
_SMALLEST, _LARGEST = -(2**63), 2**63 - 1
_LARGEST_UNSIGNED = 2**64 - 1


def to_integer(text: str) -> int:
    """The number at the beginning of the text, 0 if there is none, held within 64 bits."""
    found = _INTEGER.match(text)
    return max(_SMALLEST, min(_LARGEST, int(found[1]))) if found else 0


def to_hex(text: str) -> int:
    """The number in base 16 at the beginning of the text, with or without `0x`; 0 if there is none."""
    found = _HEX.match(text)
    if not found:
        return 0
    value = min(_LARGEST_UNSIGNED, int(found[2], 16))
    return -value if found[1] == "-" else value


def to_float(text: str) -> float:
    """The number at the beginning of the text, 0.0 if there is none."""
    found = _FLOAT.match(text)
    return float(found[1]) if found else 0.0


def to_bool(text: str) -> bool:
    """True or false if the text begins with that word in any case; raises `ValueError` for anything else."""
    if text[:4].lower() == "true":
        return True
    if text[:5].lower() == "false":
        return False
    raise ValueError(text)


_CASTS: dict[str, Cast] = {"integer": to_integer, "float": to_float, "hex": to_hex, "bool": to_bool}


class Types:
    """The casts of one parser, by field.

    `doubts` are remarks about what was written: types that do not exist, whose fields stay texts.
    """

    shown_as = "list of field:type"

    def __init__(self, text: str) -> None:
        self.doubts: list[str] = []
        self._casts: dict[str, Cast] = {}
        for item in text.split():
            field, _, word = item.partition(":")
            if cast := _CASTS.get(word.lower()):
                self._casts[field] = cast
            elif word.lower() != "string":
                self.doubts.append(_doubt(field, word))

    @classmethod
    def parse(cls, text: str) -> Types:
        return cls(text)

    def apply(self, body: Body, remark: Remark = ignore) -> None:
        """Replace the texts of the fields by their values; a text that is no boolean stays, with a remark."""
        for field, cast in self._casts.items():
            text = body.get(field)
            if isinstance(text, str):
                try:
                    body[field] = cast(text)
                except ValueError:
                    remark(f"cast error of '{field}', saved as string", text)


def _doubt(field: str, word: str) -> str:
    if "," in word:
        return f"types are separated by blanks: '{field}' and what follows its comma stay texts"
    remedy = did_you_mean(word, (*_CASTS, "string")) if word else "write it as field:type"
    return f"'{field}' stays a text because there is no type '{word}' - {remedy}"
