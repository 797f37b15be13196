"""Text that was decoded with bytes in it that are no UTF-8 (`surrogateescape`), made such that it can be written."""

from __future__ import annotations

import re
from typing import Any

# Halves of surrogate pairs that stand for no byte.
_HALVES = re.compile("[\ud800-\udc7f\udd00-\udfff]")


def mended(value: Any, damaged: list[str]) -> Any:
    """The value with all texts in it mended, those of keys and of nested values too.

    Characters that were cut in two are put together. What still is no UTF-8 becomes U+FFFD; such texts are added to
    `damaged`.
    """
    if isinstance(value, str):
        return value if value.isascii() else _mended_text(value, damaged)
    if isinstance(value, dict):
        return {mended(key, damaged): mended(inner, damaged) for key, inner in value.items()}
    if isinstance(value, list):
        return [mended(inner, damaged) for inner in value]
    return value


def _mended_text(text: str, damaged: list[str]) -> str:
    data = _HALVES.sub("\ufffd", text).encode("utf-8", "surrogateescape")
    whole = data.decode("utf-8", "replace")
    if whole.encode() != data or _HALVES.search(text):
        damaged.append(text)
    return whole
