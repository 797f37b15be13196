"""Whole blocks of CRI lines at once: the columns of all lines in one pass, records only when somebody asks.

This is the short way of `JoinedLines`; it takes only what it can prove to be plain: every line of the block has the
form `TIME stdout|stderr F|P TEXT` with a time as the runtimes write it, and every partial line is completed in the
block. For anything else it gives back nothing, or stops before the first line that is not complete, and the multiline
engine, whose results are the same by test, takes over.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from functools import cache
from itertools import starmap
from operator import attrgetter, itemgetter

import msgspec

from ...codecs.line_feeds import count_line_feeds
from ...parsers.container_time import container_time_ns
from ...record import Body, Record

Row = tuple[str, str, str, str]
"""Time, stream, flag and text of a line, or of the lines joined to a record."""

_ROW = re.compile(
    r"^(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{1,9}(?:Z|[+-]\d\d:\d\d)) (stdout|stderr) ([FP]) (.*)$", re.M | re.A
)


class _Body(msgspec.Struct, gc=False):
    """A row as the map it stands for; encoding it costs half of encoding a dict."""

    time: str
    stream: str
    _p: str
    log: str


_encode_lines = msgspec.json.Encoder().encode_lines
_decode_lines = msgspec.json.Decoder(_Body).decode_lines
_as_row = attrgetter(*_Body.__struct_fields__)
_flag = itemgetter(2)


_FIELDS = ("time", "stream", "_p", "log")
_decode_numbers = msgspec.json.Decoder(list[int]).decode
_TIME_SIZE = len("2006-01-02T15:04:05.123456789Z\n")
_NUMBER_SIZE = len("1136214245123456789,")
_MOST_SECONDS = 16
"""Seconds of one block that are looked for in all its times; a block with more of them is quiet, and short."""


@cache
def _dated_body(key: str) -> Callable[..., msgspec.Struct]:
    fields = [("date", str), *((name, str) for name in _FIELDS)]
    return msgspec.defstruct("_DatedBody", fields, rename={"date": key}, gc=False)


def _is_of_the_calendar(second: str) -> bool:
    """Whether the text of a time is the one that its number has; the 30th of February becomes the 2nd of March."""
    try:
        datetime.fromisoformat(second)
    except ValueError:
        return False
    return container_time_ns(second + "Z") is not None


def _plain_seconds(times: Sequence[str]) -> tuple[list[str], list[int]] | None:
    """The seconds in which the times are, and the times as numbers, if that is plain; None for the long way."""
    text, seconds = _plain_times(times), list[str]()
    # Seconds are few: they become numbers in the text, so that each time is one number with its nine digits.
    for _ in range(_MOST_SECONDS):
        if text is None:
            break
        dash = text.find(b"-")
        if dash < 0:
            return seconds, _numbers_in(text)
        second = text[dash - 4 : dash + 15]
        ns = container_time_ns(second.decode() + "Z")
        if ns is None or ns < 10**18:
            break
        text = text.replace(second + b".", b"%d" % (ns // 10**9))
        seconds.append(second.decode())
    return None


def _plain_times(times: Sequence[str]) -> bytes | None:
    """The times, one a line, if all have nine digits and a Z: what the runtimes write."""
    text = ("\n".join(times) + "\n").encode()
    count = len(times)
    # No time holds a line feed, so these stand at the ends of times.
    is_full = len(text) == _TIME_SIZE * count and text[_TIME_SIZE - 1 :: _TIME_SIZE] == b"\n" * count
    return text if is_full and text[_TIME_SIZE - 2 :: _TIME_SIZE] == b"Z" * count else None


def _numbers_in(text: bytes) -> list[int]:
    """The numbers, each of them followed by a Z and a line feed."""
    # Each is as long as the other, so that columns can be taken out and replaced.
    numbers = bytearray(text)
    del numbers[_NUMBER_SIZE - 1 :: _NUMBER_SIZE + 1]
    numbers[_NUMBER_SIZE - 1 :: _NUMBER_SIZE] = b"," * (len(numbers) // _NUMBER_SIZE)
    return _decode_numbers(b"[%b]" % bytes(numbers[:-1]))


class CriBlock:
    """The records of a block as rows; `consumed` bytes of the block are in them, read from `lines` lines.

    A record whose time is none (a date that does not exist, a year out of range) gets `now_ns`. Rows weigh twice what
    JSON does: once there is that, they are forgotten, and made of it again for whoever asks then.
    """

    __slots__ = ("_count", "_dated", "_json", "_now_ns", "_rows", "_seconds", "_times", "consumed", "lines")

    has_metadata = False
    fields = _FIELDS
    """What the columns of `rows` are called."""

    def __init__(self, rows: list[Row], consumed: int, lines: int, now_ns: int) -> None:
        self._rows: list[Row] | None = rows
        self._count = len(rows)
        self._now_ns = now_ns
        self._times: list[int] | None = None
        self._seconds: Iterable[str] | None = None
        self._json: bytes | None = None
        self._dated: tuple[str, bytes] | None = None
        self.consumed = consumed
        self.lines = lines

    def __len__(self) -> int:
        return self._count

    @property
    def rows(self) -> list[Row]:
        """The records as rows of texts; nobody may change them."""
        if self._rows is not None:
            return self._rows
        lines = self._json if self._json is not None or self._dated is None else self._dated[1]
        return list(map(_as_row, _decode_lines(lines or b"")))

    def records(self) -> list[Record]:
        return [Record(t, body) for t, body in zip(self.times_ns(), self.bodies(), strict=True)]

    def times_ns(self) -> list[int]:
        if self._times is None:
            times = [row[0] for row in self.rows]
            if (plain := _plain_seconds(times)) is not None:
                self._seconds, self._times = plain
            else:
                self._times = [container_time_ns(time) or self._now_ns for time in times]
        return self._times

    def bodies(self) -> list[Body]:
        return [{"time": t, "stream": s, "_p": p, "log": log} for t, s, p, log in self.rows]

    def json_lines(self) -> bytes:
        if self._json is None:
            self.times_ns()
            self._json = _encode_lines(list(starmap(_Body, self.rows)))
            self._rows = None
        return self._json

    def dated_json_lines(self, key: str) -> bytes | None:
        """`json_lines` with the time of each record in front under this key, in ISO 8601 with microseconds and Z.

        None if that cannot be had from the rows, because the key is theirs or a time is not written with nine digits.
        """
        if self._dated is not None and self._dated[0] == key:
            return self._dated[1]
        if key in _FIELDS:
            return None
        rows = self.rows
        self.times_ns()
        if (seconds := self._seconds) is None:
            times = [row[0] for row in rows]
            if _plain_times(times) is None:
                return None
            seconds = {time[:19] for time in times}
        if not all(map(_is_of_the_calendar, seconds)):
            return None
        body = _dated_body(key)
        lines = _encode_lines([body(t[:26] + "Z", t, s, p, log) for t, s, p, log in rows])
        self._dated = key, lines
        self._rows = None
        return lines


def read_cri_block(data: bytes, now_ns: int) -> CriBlock | None:
    """The records of a block of CRI lines, or None if any line is not of the plain form."""
    if b"\r" in data:  # one byte is found many times faster than two, and neither is usual
        return None
    try:
        text = data.decode()
    except UnicodeDecodeError:
        return None
    rows: list[Row] = _ROW.findall(text)
    lines = count_line_feeds(data)
    if len(rows) != lines:
        return None
    rows, taken = _join_partials(rows)
    consumed = len(data) if taken == lines else _offset_of_line(data, taken)
    return CriBlock(rows, consumed, taken, now_ns)


def _join_partials(rows: list[Row]) -> tuple[list[Row], int]:
    """Join partial lines per stream, in the order in which the last lines of the records came.

    Gives the records of the lines before the first partial line that is not completed, and the number of those lines.
    """
    lines = len(rows)
    if "P" not in map(_flag, rows):  # looking for it in the text takes six times as long
        return rows, lines
    while True:
        joined = rows[:lines]
        first_open = _join_into(joined)
        if first_open is None:
            return joined, lines
        lines = first_open


def _join_into(rows: list[Row]) -> int | None:
    """Put whole records in place of their last lines and take the partial lines out; stops at one that stays open."""
    partial = [number for number, row in enumerate(rows) if row[2] == "P"]
    joined: set[int] = set()
    for number in partial:
        if number in joined:
            continue
        time, stream, flag, text = rows[number]
        texts = [text]
        for following in range(number + 1, len(rows)):
            _, other_stream, other_flag, text = rows[following]
            if other_stream == stream:
                texts.append(text)
                if other_flag == "F":
                    rows[following] = (time, stream, flag, "".join(texts))
                    break
                joined.add(following)
        else:
            return number
    for number in reversed(partial):
        del rows[number]
    return None


def _offset_of_line(data: bytes, number: int) -> int:
    offset = 0
    for _ in range(number):
        offset = data.index(b"\n", offset) + 1
    return offset
