"""Every directive of a time format, and every name of a time zone."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from shipper.parsers.time_format import TimeFormat
from shipper.parsers.time_zones import TimeOffset

NOW_NS = int(datetime(2026, 11, 20, 12, tzinfo=UTC).timestamp()) * 10**9


def read(format: str, text: str, **keys: Any) -> str | None:
    found = TimeFormat(format, now=lambda: NOW_NS, **keys).parse(text)
    return None if found is None else datetime.fromtimestamp(found / 1e9, UTC).strftime("%Y-%m-%d %H:%M:%S")


@pytest.mark.parametrize(
    ("format", "text", "expected"),
    [
        ("%Y", "2022", "2021-12-31 00:00:00"),
        ("%Y-%m-%d", "987-01-02", None),
        ("%Y-%m-%d", "2022-1-2", "2022-01-02 00:00:00"),
        ("%y-%m-%d", "00-01-01", "2000-01-01 00:00:00"),
        ("%y-%m-%d", "69-01-01", None),
        ("%y-%m-%d", "70-01-02", "1970-01-02 00:00:00"),
        ("%C%y-%m-%d", "2099-01-01", "2099-01-01 00:00:00"),
        ("%Y-%m-%d", "2022-13-01", None),
        ("%Y-%m-%d", "2022-00-01", None),
        ("%Y-%m-%d", "2022-01-32", None),
        ("%Y-%b-%d", "2022-jAN-01", "2022-01-01 00:00:00"),
        ("%Y-%B-%d", "2022-September-01", "2022-09-01 00:00:00"),
        ("%Y-%h-%d", "2022-Dec-01", "2022-12-01 00:00:00"),
        ("%Y-%h-%d", "2022-Foo-01", None),
        ("%Y-%m-%e", "2022-01- 7", "2022-01-07 00:00:00"),
        ("%Y %j", "2022 1", "2022-01-01 00:00:00"),
        ("%Y %j", "2022 365", "2022-12-31 00:00:00"),
        ("%Y %j", "2022 367", None),
        ("%Y %j", "2022 0", None),
        ("%F %H", "2022-01-01 0", "2022-01-01 00:00:00"),
        ("%F %H", "2022-01-01 23", "2022-01-01 23:00:00"),
        ("%F %H", "2022-01-01 24", None),
        ("%F %k", "2022-01-01  9", "2022-01-01 09:00:00"),
        ("%F %I %p", "2022-01-01 12 am", "2022-01-01 00:00:00"),
        ("%F %I %p", "2022-01-01 11 PM", "2022-01-01 23:00:00"),
        ("%F %I %p", "2022-01-01 13 PM", None),
        ("%F %I %p", "2022-01-01 0 AM", None),
        ("%F %l %p", "2022-01-01  1 pm", "2022-01-01 13:00:00"),
        ("%F %H:%M:%S", "2022-01-01 1:60:00", None),
        ("%F %H:%M:%S", "2022-01-01 1:2:3", "2022-01-01 01:02:03"),
        ("%F %H:%M:%S", "2022-01-01 1:2:61", None),
        ("%s", "1640995200", "2022-01-01 00:00:00"),
        ("%s", "+1640995200", None),
        ("%F %T %a", "2022-01-01 00:00:00 Mon", "2022-01-01 00:00:00"),
        ("%F %T %A", "2022-01-01 00:00:00 friday", "2022-01-01 00:00:00"),
        ("%F %T %A", "2022-01-01 00:00:00 Fryday", None),
        ("%F %u %w", "2022-01-01 7 0", "2022-01-01 00:00:00"),
        ("%F %u", "2022-01-01 8", None),
        ("%F %w", "2022-01-01 7", None),
        ("%F %U %W", "2022-01-01 53 0", "2022-01-01 00:00:00"),
        ("%F %U", "2022-01-01 54", None),
        ("%F %V %g %G", "2022-01-01 53 21 2021", "2022-01-01 00:00:00"),
        ("%D %R", "01/02/22 03:04", "2022-01-02 03:04:00"),
        ("%F %r", "2022-01-01 03:04:05 PM", "2022-01-01 15:04:05"),
        ("%x %X", "01/02/22 03:04:05", "2022-01-02 03:04:05"),
        ("%c", "Sun Jan  2 03:04:05 2022", "2022-01-02 03:04:05"),
        ("%F%n%T", "2022-01-01\n\t 01:02:03", "2022-01-01 01:02:03"),
        ("%F%t%T", "2022-01-0101:02:03", "2022-01-01 01:02:03"),
        ("%F%%%T", "2022-01-01%01:02:03", "2022-01-01 01:02:03"),
        ("%EY-%Om-%Od", "2022-01-02", "2022-01-02 00:00:00"),
        ("[%F]", "[2022-01-02] and more", "2022-01-02 00:00:00"),
        ("[%F]", "2022-01-02", None),
        ("%F %f", "2022-01-02 1", None),
        ("%F %N", "2022-01-02 1", None),
        ("%F %Q", "2022-01-02 1", None),
        ("%F %3N", "2022-01-02 1", None),
        ("%F.%L.%L", "2022-01-02.1.1", None),
    ],
)
def test_a_directive_takes_what_it_stands_for(format: str, text: str, expected: str | None) -> None:
    assert read(format, text) == expected


HOURS = {
    0: "GMT UTC Z UT WET",
    1: "WEST CET WAT A",
    2: "CEST EET CAT SAST B",
    3: "EEST MSK EAT C",
    4: "GST D",
    5: "E",
    5.5: "IST",
    5.75: "NPT",
    6: "BDT F",
    7: "ICT WIB G",
    8: "AWST SGT WITA MYT H",
    9: "JST KST WIT I",
    9.5: "ACST",
    10: "AEST K",
    10.5: "ACDT",
    11: "AEDT L",
    12: "NZST M",
    13: "NZDT",
    -1: "N",
    -2: "BRST O",
    -2.5: "NDT",
    -3: "ADT ART BRT CLST P",
    -3.5: "NST",
    -4: "AST EDT CLT Q",
    -5: "EST CDT R",
    -6: "CST MDT S",
    -7: "PDT MST T",
    -8: "PST AKDT U",
    -9: "AKST HADT V",
    -10: "HST W",
    -11: "X",
    -12: "Y",
}


@pytest.mark.parametrize(("hours", "name"), [(h, name) for h, names in HOURS.items() for name in names.split()])
def test_a_name_of_a_zone_stands_for_its_hours(hours: float, name: str) -> None:
    found = TimeFormat("%F %T %Z", now=lambda: NOW_NS).parse(f"2022-01-02 12:00:00 {name}")

    assert found == (1641124800 - int(hours * 3600)) * 10**9


@pytest.mark.parametrize(
    ("name", "hours"),
    [("EST", 5), ("EDT", 4), ("CST", 6), ("CDT", 5), ("MST", 7), ("MDT", 6), ("PST", 8), ("PDT", 7)],
)
def test_the_american_names_are_offsets_too(name: str, hours: int) -> None:
    found = TimeFormat("%F %T %z", now=lambda: NOW_NS).parse(f"2022-01-02 12:00:00 {name}")

    assert found == (1641124800 + hours * 3600) * 10**9


OFFSET = {"offset_s": TimeOffset.parse("-0600")}
BERLIN = {"zone": ZoneInfo("Europe/Berlin")}


@pytest.mark.parametrize(
    ("format", "text", "keys", "expected"),
    [
        ("%F %T%z", "2022-01-02 12:00:00+0100", OFFSET, "2022-01-02 11:00:00"),
        ("%F %T%z", "2022-01-02 12:00:00+0300", BERLIN, "2022-01-02 09:00:00"),
        ("%F %T %Z", "2022-01-02 12:00:00 JST", OFFSET, "2022-01-02 03:00:00"),
        ("%FT%H:%M:%SZ", "2022-01-02T12:00:00Z", OFFSET, "2022-01-02 12:00:00"),
        ("%FT%H:%M:%S.%LZ", "2022-01-02T12:00:00.5Z", OFFSET, "2022-01-02 12:00:00"),
        ("%FT%H:%M:%S.%LZ", "2022-01-02T12:00:00.5Z", BERLIN, "2022-01-02 12:00:00"),
        ("%F %T", "2022-01-02 12:00:00", {**BERLIN}, "2022-01-02 11:00:00"),
        ("%F %T", "2022-07-02 12:00:00", {**BERLIN}, "2022-07-02 10:00:00"),
        ("%F %T", "2022-01-02 12:00:00", OFFSET, "2022-01-02 18:00:00"),
        ("%F %T", "2022-01-02 12:00:00", {}, "2022-01-02 12:00:00"),
    ],
)
def test_the_zone_in_the_text_comes_before_the_configured_one(
    format: str, text: str, keys: dict[str, Any], expected: str
) -> None:
    assert read(format, text, **keys) == expected
