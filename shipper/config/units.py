"""Types for values with a unit; the unit is the type, and each type reads its own text.

The rules are those of Fluent Bit: sizes are decimal unless the type says binary, times have one-letter suffixes,
booleans are six words.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import ClassVar, Self

_SIZE = re.compile(r"([0-9]*\.?[0-9]+)([KMG]?)B?", re.IGNORECASE)
_TIME = re.compile(r"([0-9]+(?:\.[0-9]+)?)([smhd]?)", re.IGNORECASE)
_INTEGER = re.compile(r"[+-]?[0-9]+")
_FLOAT = re.compile(r"[+-]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]+)?")
_SIZE_FACTORS = {"": 1, "k": 1000, "m": 1_000_000, "g": 1_000_000_000}
_BINARY_FACTORS = {"": 1, "k": 1024, "m": 1024**2, "g": 1024**3}
_TIME_FACTORS = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86400}


class ByteSize(int):
    """A number of bytes; `5M` is 5,000,000 and `false` or `off` is 0."""

    _factors: ClassVar[Mapping[str, int]] = _SIZE_FACTORS

    @classmethod
    def parse(cls, text: str) -> Self:
        if text.strip().lower() in ("false", "off"):
            return cls(0)
        found = _SIZE.fullmatch(text.strip())
        if not found:
            raise ValueError(f"{text!r} is not a size; write a number with K, M or G, such as 512k or 5M")
        return cls(float(found[1]) * cls._factors[found[2].lower()])

    def __str__(self) -> str:
        return shown_size(int(self))


class BinaryByteSize(ByteSize):
    """A number of bytes where Fluent Bit reads binary units: `2M` is 2,097,152."""

    shown_as = "size"
    _factors: ClassVar[Mapping[str, int]] = _BINARY_FACTORS


class Seconds(float):
    """A duration; `90`, `90s`, `2m`, `1h` and `1d` are all understood."""

    @classmethod
    def parse(cls, text: str) -> Self:
        found = _TIME.fullmatch(text.strip())
        if not found:
            raise ValueError(f"{text!r} is not a duration; write a number with s, m, h or d, such as 30s or 5m")
        return cls(float(found[1]) * _TIME_FACTORS[found[2].lower()])

    def __str__(self) -> str:
        return f"{float(self):g}s"


class PlainSeconds(Seconds):
    """A duration where Fluent Bit reads no suffix: `5m` means five seconds."""

    shown_as = "seconds"

    @classmethod
    def parse(cls, text: str) -> Self:
        return cls(parse_float(text))


def parse_bool(text: str) -> bool:
    """Read one of the six words; raise `ValueError` for anything else."""
    word = text.strip().lower()
    if word in ("on", "true", "yes"):
        return True
    if word in ("off", "false", "no"):
        return False
    raise ValueError(f"{text!r} is not a boolean; write on or off")


def parse_int(text: str) -> int:
    """Read a leading integer as C's atoi does, but refuse text without one."""
    found = _INTEGER.match(text.strip())
    if not found:
        raise ValueError(f"{text!r} is not a whole number")
    return int(found[0])


def parse_float(text: str) -> float:
    """Read a leading number as C's atof does, but refuse text without one."""
    found = _FLOAT.match(text.strip())
    if not found:
        raise ValueError(f"{text!r} is not a number")
    return float(found[0])


def shown_size(size: float) -> str:
    """A size for people, as Fluent Bit prints it: binary units, one decimal, `b` without."""
    unit = "b"
    for following in ("K", "M", "G", "T", "P", "E", "Z", "Y"):
        if size < 1024:
            break
        size, unit = size / 1024, following
    return f"{int(size)}b" if unit == "b" else f"{size:.1f}{unit}"
