"""The date that goes in front of a record in JSON, in the formats of `json_date_format`."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Sequence
from typing import Literal

DateFormat = Literal[
    "double", "iso8601", "java_sql_timestamp", "epoch", "epoch_ms", "epoch_millis", "epoch_milliseconds"
]

_SECOND = 1_000_000_000
_FIRST_DATE, _LAST_DATE = -30_610_224_000, 253_402_300_799
"""The seconds in which the years 1000 and 9999 begin and end: what is outside gets the nearest date there is."""

_EPOCH_OR_OTHER = re.compile(r"%[-_0^#]*[0-9]*[EO]?(.)", re.DOTALL)


def strftime_utc(form: str, second: int) -> str:
    """`form` filled in as C does it, in UTC; `%s` is the second itself, where C would take the local time zone's."""
    if "s" in form:
        form = _EPOCH_OR_OTHER.sub(lambda found: str(second) if found[1] == "s" else found[0], form)
    return time.strftime(form, _date(second))


def encode_dates(times_ns: Sequence[int], date_format: DateFormat) -> list[bytes]:
    """One JSON value per time: a number or a quoted text."""
    return _FORMATS[date_format](times_ns)


def _date(second: int) -> time.struct_time:
    return time.gmtime(min(max(second, _FIRST_DATE), _LAST_DATE))


def _double(times_ns: Sequence[int]) -> list[bytes]:
    # A double has about 16 digits, so today's times are printed with microseconds.
    return [b"%.16g" % s if s % 1 else b"%.1f" % s for s in [t / 1e9 for t in times_ns]]


def _epoch(times_ns: Sequence[int]) -> list[bytes]:
    return [b"%d" % (t // _SECOND) for t in times_ns]


def _epoch_ms(times_ns: Sequence[int]) -> list[bytes]:
    return [b"%d" % (t // 1_000_000) for t in times_ns]


def _iso8601(times_ns: Sequence[int]) -> list[bytes]:
    return _calendar(times_ns, '"%Y-%m-%dT%H:%M:%S.', b'Z"')


def _java_sql_timestamp(times_ns: Sequence[int]) -> list[bytes]:
    return _calendar(times_ns, '"%Y-%m-%d %H:%M:%S.', b'"')


def _calendar(times_ns: Sequence[int], pattern: str, end: bytes) -> list[bytes]:
    beginnings: dict[int, bytes] = {}  # records of a batch share their seconds, and strftime is dear
    dates = []
    for time_ns in times_ns:
        second, rest = divmod(time_ns, _SECOND)
        beginning = beginnings.get(second)
        if beginning is None:
            beginning = beginnings[second] = time.strftime(pattern, _date(second)).encode()
        dates.append(b"%b%06d%b" % (beginning, rest // 1000, end))
    return dates


_FORMATS: dict[DateFormat, Callable[[Sequence[int]], list[bytes]]] = {
    "double": _double,
    "iso8601": _iso8601,
    "java_sql_timestamp": _java_sql_timestamp,
    "epoch": _epoch,
    "epoch_ms": _epoch_ms,
    "epoch_millis": _epoch_ms,
    "epoch_milliseconds": _epoch_ms,
}
