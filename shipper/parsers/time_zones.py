"""Zones as they are written in times: offsets, and the abbreviations that Fluent Bit knows."""

from __future__ import annotations

import re
import time
from typing import Self

_HOUR = 3600
_HOURS = {
    0: "GMT UTC Z UT WET",
    1: "WEST CET WAT",
    2: "CEST EET CAT SAST",
    3: "EEST MSK EAT",
    4: "GST",
    5.5: "IST",
    5.75: "NPT",
    6: "BDT",
    7: "ICT WIB",
    8: "AWST SGT WITA MYT",
    9: "JST KST WIT",
    9.5: "ACST",
    10: "AEST",
    10.5: "ACDT",
    11: "AEDT",
    12: "NZST",
    13: "NZDT",
    -2: "BRST",
    -2.5: "NDT",
    -3: "ADT ART BRT CLST",
    -3.5: "NST",
    -4: "AST EDT CLT",
    -5: "EST CDT",
    -6: "CST MDT",
    -7: "MST PDT",
    -8: "PST AKDT",
    -9: "AKST HADT",
    -10: "HST",
}
_MILITARY = {letter: hours for hours, letter in enumerate("ABCDEFGHIKLM", 1)} | {
    letter: -hours for hours, letter in enumerate("NOPQRSTUVWXY", 1)
}
_ABBREVIATIONS = {name: int(hours * _HOUR) for hours, names in _HOURS.items() for name in names.split()} | {
    letter: hours * _HOUR for letter, hours in _MILITARY.items()
}
_OFFSET = re.compile(
    r"[ \t\n\v\f\r]*(?:UTC|UT|GMT|Z|(?P<american>[ECMP][SD]T)"
    r"|(?P<sign>[+-])(?P<h>[0-9]{2}):?+(?:(?P<m>[0-9]{2})|(?![0-9])))"
)
_ABBREVIATION = re.compile(r"([A-Za-z]+)(?![A-Za-z0-9])")
_CONFIGURED = re.compile(r"([+-])([0-9]{2}):?([0-9]{2})")


class TimeOffset(int):
    """Seconds east of UTC, as the option `Time_Offset` has them: `Z`, `+0100` or `-05:30`."""

    shown_as = "time offset"

    @classmethod
    def parse(cls, text: str) -> Self:
        if text.strip() == "Z":
            return cls(0)
        found = _CONFIGURED.fullmatch(text.strip())
        if not found or int(found[2]) > 23 or int(found[3]) > 59:
            raise ValueError(f"{text!r} is not a time offset; write Z, +hhmm or -hh:mm")
        return cls(_signed(found[1], found[2], found[3]))


def read_offset(text: str, pos: int) -> tuple[int, int] | None:
    """What `%z` finds at `pos`: seconds east of UTC and the position behind; None if it is no offset."""
    found = _OFFSET.match(text, pos)
    if not found:
        return None
    if american := found["american"]:
        return _ABBREVIATIONS[american], found.end()
    if sign := found["sign"]:
        return _signed(sign, found["h"], found["m"] or "0"), found.end()
    return 0, found.end()


def read_abbreviation(text: str, pos: int) -> tuple[int, int] | None:
    """What `%Z` finds at `pos`: seconds east of UTC and the position behind; None if the name is not known."""
    found = _ABBREVIATION.match(text, pos)
    if not found:
        return None
    name = found[1].upper()
    offset_s = _ABBREVIATIONS.get(name)
    if offset_s is None:
        host = {time.tzname[1].upper(): -time.altzone, time.tzname[0].upper(): -time.timezone}
        offset_s = host.get(name)
    return None if offset_s is None else (offset_s, found.end())


def _signed(sign: str, hours: str, minutes: str) -> int:
    seconds = int(hours) * _HOUR + int(minutes) * 60
    return -seconds if sign == "-" else seconds
