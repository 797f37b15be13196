"""Quantities as Kubernetes writes them."""

from __future__ import annotations

import re
from typing import Any

_QUANTITY = re.compile(r"([0-9]*\.?[0-9]+|[0-9]+\.)(?:([eE][+-]?[0-9]{1,2})|(m|[kMGTPE]|[KMGTPE]i)?)")
_FACTORS = {"": 1.0, "m": 0.001, "k": 1e3, **{unit: 1000.0 ** (n + 2) for n, unit in enumerate("MGTPE")}}
_FACTORS |= {f"{unit}i": 1024.0 ** (n + 1) for n, unit in enumerate("KMGTPE")}


def parse_quantity(value: Any) -> int | None:
    """The number of bytes that `128Mi`, `0.5G`, `1e8` or a plain number stand for; None for what is no quantity."""
    found = _QUANTITY.fullmatch(str(value).strip())
    if found is None or isinstance(value, bool):
        return None
    number, exponent, unit = found.groups()
    return int(float(number + (exponent or "")) * _FACTORS[unit or ""])
