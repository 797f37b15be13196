"""The header `Retry-After`: how long a server wishes to be left alone."""

from __future__ import annotations

from email.utils import parsedate_to_datetime

_LONGEST_S = 86_400.0


def retry_after_s(value: str | None, now_s: float) -> float | None:
    """Seconds to wait, at most a day; the header holds seconds or a date. None if it is missing or says nothing."""
    text = (value or "").strip()
    if not text:
        return None
    if text.replace(".", "", 1).isdecimal():
        return min(float(text), _LONGEST_S)
    try:
        until = parsedate_to_datetime(text).timestamp()
    except (ValueError, TypeError, OverflowError, IndexError):
        return None
    return min(max(0.0, until - now_s), _LONGEST_S)
