"""Times in texts, read by a format such as `%Y-%m-%dT%H:%M:%S.%L%z` into nanoseconds since the epoch.

A format is cut at `%L`, the fraction of a second. The part before it is read step by step, which takes microseconds,
and its result is remembered under the text it was read from: the lines of one second share it. The part behind, usually
a zone, is remembered too, so that most lines cost two look-ups and a number.

What a text does not say comes from today: a format without year means this year, and month and day are those of today
if they are missing. A format with a year but without month or day means January and day 0, as in Fluent Bit.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta, tzinfo

from .time_steps import Fields, Step, steps_of, unsupported

Now = Callable[[], int]

_NS = 1_000_000_000
_SCALES: tuple[int, ...] = tuple(10 ** (9 - digits) for digits in range(10))
_LATEST_NS = 2**32 * _NS
_EPOCH = datetime(1970, 1, 1)
_EPOCH_DAY = date(1970, 1, 1).toordinal()
_DAY = 86400
_MOST_REMEMBERED = 1000
# No zone begins a new day in between, so what is missing in a text is the same for so long.
_SAME_DAY_NS = 900 * _NS
_DIGITS = "0123456789"


class TimeFormat:
    """A compiled time format; `parse` gives nanoseconds since the epoch.

    A time without a zone is one of `zone` (daylight saving included), else of the host if `system_zone` is set, else
    `offset_s` east of UTC. `strict` refuses a text that does not fit; otherwise what could be read is used and the rest
    is zero. Text behind the format is ignored. `now` tells the time in nanoseconds, for what a text leaves out.
    """

    def __init__(
        self,
        format: str,
        *,
        offset_s: int = 0,
        zone: tzinfo | None = None,
        system_zone: bool = False,
        strict: bool = True,
        now: Now = time.time_ns,
    ) -> None:
        self.format = format
        self.unsupported = unsupported(format)
        steps = steps_of(format)
        directives = [s.directive for s in steps]
        self._has_fraction = "L" in directives
        cut = directives.index("L") if self._has_fraction else len(steps)
        self._head, self._tail = steps[:cut], steps[cut + 1 :]
        self._has_year = not {"Y", "y", "s"}.isdisjoint(directives)
        has_zone = not {"z", "Z"}.isdisjoint(directives) or "%SZ" in format or "%S.%LZ" in format
        self._is_utc = has_zone or not (zone or system_zone)
        self._zone = zone
        self._offset_s = 0 if has_zone else offset_s
        self._strict = strict
        self._now = now
        self._quarter = 0
        self._heads: dict[str, int] = {}
        self._tails: dict[str, int | None] = {}
        self._width = sum(s.width for s in self._head)
        self._is_split = self._has_fraction and _is_simple(self._head, self._tail)
        # Nanoseconds since the epoch, or None if the text does not fit or the time is not between 1970 and 2106.
        self.parse = self._split_parser() if self._is_split and self._has_year else self._parse

    def __repr__(self) -> str:
        return f"TimeFormat({self.format!r})"

    def _split_parser(self) -> Callable[[str], int | None]:
        """`_parse` with its usual case written out over local names, which halves the time."""
        heads, tails, width, has_tail, parse = self._heads, self._tails, self._width, bool(self._tail), self._parse

        def parse_split(text: str) -> int | None:
            seconds = heads.get(text[:width])
            if seconds is not None:
                rest = text[width:]
                tail = rest.lstrip(_DIGITS)
                digits = len(rest) - len(tail)
                offset_s = tails.get(tail) if has_tail else 0
                if 0 < digits < 10 and offset_s is not None:
                    return (seconds - offset_s) * _NS + int(rest[:digits]) * _SCALES[digits]
            return parse(text)

        return parse_split

    def _parse(self, text: str) -> int | None:
        if not self._has_year:
            self._forget_yesterday()
        time_ns = self._parse_split(text) if self._is_split else self._parse_whole(text)
        return time_ns if time_ns is not None and 0 < time_ns < _LATEST_NS else None

    def _forget_yesterday(self) -> None:
        quarter = self._now() // _SAME_DAY_NS
        if quarter != self._quarter:
            self._quarter = quarter
            self._heads.clear()

    # Remembered

    def _parse_split(self, text: str) -> int | None:
        """Read a text whose part before the fraction has its usual width; any other is read step by step."""
        width = self._width
        seconds = self._heads.get(text[:width])
        if seconds is None and (seconds := self._learn_head(text)) is None:
            return self._parse_whole(text)
        rest = text[width:]
        tail = rest.lstrip(_DIGITS)
        digits = len(rest) - len(tail)
        if not 0 < digits < 10:
            return self._parse_whole(text)
        if self._tail:
            offset_s = self._tails[tail] if tail in self._tails else self._learn_tail(tail)
            if offset_s is None:
                return self._parse_whole(text)
            seconds -= offset_s
        return seconds * _NS + int(rest[:digits]) * _SCALES[digits]

    def _learn_head(self, text: str) -> int | None:
        fields: Fields = {}
        if _read(self._head, text, 0, fields) != self._width:
            return None
        seconds = self._seconds(fields)
        if seconds is not None:
            self._remember_head(text[: self._width], seconds)
        return seconds

    def _remember_head(self, text: str, seconds: int) -> None:
        """Keep what can be stored whatever its zone, so that nothing need be checked when it is found again."""
        if 2 * _DAY < seconds < 2**32 - 2 * _DAY:
            if len(self._heads) >= _MOST_REMEMBERED:
                self._heads.clear()
            self._heads[text] = seconds

    def _learn_tail(self, tail: str) -> int | None:
        fields: Fields = {}
        fits = _read(self._tail, tail, 0, fields) >= 0
        offset_s = fields.get("offset", 0) if fits else None
        if len(self._tails) >= _MOST_REMEMBERED:
            self._tails.clear()
        self._tails[tail] = offset_s
        return offset_s

    # Step by step

    def _parse_whole(self, text: str) -> int | None:
        # One character is looked at behind what is read.
        key = text[: self._width + 1]
        if not self._has_fraction and (known := self._heads.get(key)) is not None:
            return known * _NS
        fields: Fields = {}
        end = _read(self._head, text, 0, fields)
        fraction_ns = 0
        if self._has_fraction and end >= 0:
            end, fraction_ns = self._read_fraction(text, end, fields)
        if end < 0 and self._strict:
            return None
        seconds = self._seconds(fields)
        if seconds is None:
            return None
        if not self._has_fraction and 0 <= end <= self._width:
            self._remember_head(key, seconds)
        return seconds * _NS + fraction_ns

    def _read_fraction(self, text: str, pos: int, fields: Fields) -> tuple[int, int]:
        """Read at most nine digits and what follows: the position behind (-1 if it does not fit), and nanoseconds."""
        rest = text[pos : pos + 9]
        digits = len(rest) - len(rest.lstrip(_DIGITS))
        if not digits:
            return -1, 0
        return _read(self._tail, text, pos + digits, fields), int(rest[:digits]) * _SCALES[digits]

    # From fields to seconds

    def _seconds(self, fields: Fields) -> int | None:
        """Seconds since the epoch, None if the fields are of no time that can be stored."""
        if "epoch" in fields:
            return fields["epoch"]
        clock_s = _clock_s(fields)
        day = self._day(fields)
        if clock_s is None or day is None:
            return None
        seconds = (day - _EPOCH_DAY) * _DAY + clock_s
        if not -2 * _DAY < seconds < 2**32 + 2 * _DAY:
            return None
        if self._is_utc:
            return seconds - fields.get("offset", self._offset_s)
        local = _EPOCH + timedelta(seconds=seconds)
        return int(local.replace(tzinfo=self._zone).timestamp())

    def _day(self, fields: Fields) -> int | None:
        """The day as a proleptic Gregorian ordinal; days that a month does not have lie in the next."""
        if self._has_year:
            year, month, day = _year(fields), 1, 0
        else:
            today = self._today()
            year, month, day = today.year, today.month, today.day
        if year is None or not 1 <= year <= 9999:
            return None
        if "day_of_year" in fields:
            return date(year, 1, 1).toordinal() + fields["day_of_year"] - 1
        first = date(year, fields.get("month", month), 1).toordinal()
        return first + fields.get("day", day) - 1

    def _today(self) -> date:
        now_s = self._now() // _NS
        return datetime.fromtimestamp(now_s, UTC if self._is_utc else self._zone).date()


def _is_simple(head: list[Step], tail: list[Step]) -> bool:
    """Whether head and tail can be remembered apart: the head ends with a separator, the tail tells a zone at most."""
    return bool(head) and head[-1].directive == "" and {s.directive for s in tail} <= {"", "z", "Z"}


def _read(steps: list[Step], text: str, pos: int, fields: Fields) -> int:
    """Take the steps until one does not fit: the position behind, or -1."""
    for step in steps:
        pos = step.read(text, pos, fields)
        if pos < 0:
            break
    return pos


def _clock_s(fields: Fields) -> int | None:
    hour = fields.get("hour", 0)
    if "is_pm" in fields:
        if hour > 12:
            return None
        hour = hour % 12 + 12 * fields["is_pm"]
    return hour * 3600 + fields.get("minute", 0) * 60 + fields.get("second", 0)


def _year(fields: Fields) -> int | None:
    if "year" in fields:
        return fields["year"]
    short = fields.get("short_year")
    if short is None:
        return None
    if "century" in fields:
        return fields["century"] * 100 + short
    return short + (2000 if short < 69 else 1900)
