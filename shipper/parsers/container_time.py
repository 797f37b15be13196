"""Times as container runtimes write them: RFC 3339 in UTC or with an offset, read exactly and fast.

The lines of a container come in bursts, so the seconds are remembered and only the fraction is read for every line.
"""

from __future__ import annotations

import re
from calendar import timegm
from functools import lru_cache

_NS = 1_000_000_000
_SCALES = (_NS, 100_000_000, 10_000_000, 1_000_000, 100_000, 10_000, 1_000, 100, 10, 1)
_END_OF_RANGE_S = 2**32
_END_OF_RANGE_NS = _END_OF_RANGE_S * _NS
_SECOND = re.compile(r"(\d{4})-(\d\d)-(\d\d)T(\d\d):(\d\d):(\d\d)\.", re.ASCII)
_REST = re.compile(r"(?:\.(\d{1,9})\d*)? ?(.*)", re.ASCII | re.DOTALL)
_OFFSET = re.compile(r"([+-])(\d\d):?(\d\d)?", re.ASCII)


def container_time_ns(text: str, use_offset: bool = True) -> int | None:
    """Nanoseconds since the epoch, or None if the text is no time that a record can have.

    The fraction may have any number of digits or be missing. An offset such as `+01:00` counts unless `use_offset` is
    false; anything else behind the fraction is taken for UTC.
    """
    second_ns = _second_ns(text[:20])
    if second_ns is not None:
        # containerd writes nine digits and Z, CRI-O nine digits and an offset; Docker leaves out zeros at the end.
        if text[-1] == "Z":
            digits = text[20:-1]
            if digits.isdecimal():
                count = len(digits)
                if count == 9:
                    return second_ns + int(digits)
                if count < 9:
                    return second_ns + int(digits) * _SCALES[count]
        elif use_offset and len(text) == 35 and (digits := text[20:29]).isdecimal():
            time_ns = second_ns + int(digits) - _offset_ns(text[29:])
            return time_ns if 0 < time_ns < _END_OF_RANGE_NS else None
    return _unusual_time_ns(text, use_offset)


def _unusual_time_ns(text: str, use_offset: bool) -> int | None:
    time_ns = _second_ns(text[:19] + ".")
    rest = _REST.fullmatch(text, 19)
    if time_ns is None or rest is None:
        return None
    fraction, zone = rest.groups()
    if fraction:
        time_ns += int(fraction) * _SCALES[len(fraction)]
    if use_offset:
        time_ns -= _offset_ns(zone)
    return time_ns if 0 < time_ns < _END_OF_RANGE_NS else None


@lru_cache(maxsize=1024)
def _second_ns(text: str) -> int | None:
    """The beginning of a time up to and with the dot of its fraction."""
    found = _SECOND.fullmatch(text)
    if not found:
        return None
    year, month, day, hour, minute, second = map(int, found.groups())
    if not (year and 1 <= month <= 12 and 1 <= day <= 31 and hour <= 23 and minute <= 59 and second <= 60):
        return None
    # An impossible day such as 30 February is counted on into the next month, as C does.
    seconds = timegm((year, month, day, hour, minute, second))
    return seconds * _NS if 0 < seconds < _END_OF_RANGE_S else None


@lru_cache(maxsize=128)
def _offset_ns(zone: str) -> int:
    found = _OFFSET.match(zone)
    if not found:
        return 0
    seconds = int(found[2]) * 3600 + int(found[3] or 0) * 60
    return (-seconds if found[1] == "-" else seconds) * _NS
