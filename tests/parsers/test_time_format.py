"""Times in texts by their formats."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shipper.parsers.time_format import TimeFormat
from shipper.parsers.time_zones import TimeOffset

TODAY_NS = int(datetime(2026, 11, 20, 12, tzinfo=UTC).timestamp()) * 10**9
ISO = "%Y-%m-%dT%H:%M:%S"
PLAIN = "%Y-%m-%d %H:%M:%S"
NEW_YORK = {"zone": ZoneInfo("America/New_York")}
AT_ONE = "2022-10-31T12:00:01"
FAIL = None


def offset(text: str) -> dict[str, int]:
    return {"offset_s": TimeOffset.parse(text)}


def seconds(format: str, text: str, now_ns: int = TODAY_NS, **keys: Any) -> Decimal | None:
    """The exact seconds of a text, read twice: the second time from memory."""
    compiled = TimeFormat(format, now=lambda: now_ns, **keys)
    first = compiled.parse(text)
    assert compiled.parse(text) == first
    return None if first is None else Decimal(first) / 10**9


@pytest.mark.parametrize(
    ("format", "text", "expected"),
    [
        pytest.param(f"{ISO}.%L", f"{AT_ONE}.123", "1667217601.123", id="1"),
        pytest.param(f"{ISO}.%L", f"{AT_ONE}.123Z", "1667217601.123", id="2a"),
        pytest.param(f"{ISO}.%L", f"{AT_ONE}.123+02:00", "1667217601.123", id="2b"),
        pytest.param(f"{ISO}.%L%z", f"{AT_ONE}.123+02:00", "1667210401.123", id="3"),
        pytest.param(f"{ISO}.%L%z", f"{AT_ONE}.123456789Z", "1667217601.123456789", id="4a"),
        pytest.param(f"{ISO}.%L%z", f"{AT_ONE}.1234567891Z", FAIL, id="4b"),
        pytest.param(f"{ISO}.%L%z", f"{AT_ONE}.123456789123+02:00", FAIL, id="4c"),
        pytest.param(f"{ISO}.%L%z", f"{AT_ONE}.+02:00", FAIL, id="4d"),
        pytest.param(f"{ISO}.%LZ", f"{AT_ONE}.1Z", "1667217601.1", id="5a"),
        pytest.param(f"{ISO}.%LZ", f"{AT_ONE}Z", FAIL, id="5b"),
        pytest.param(f"{ISO}.%LZ", f"{AT_ONE}.5", FAIL, id="5c"),
        pytest.param(ISO, f"{AT_ONE}.5", "1667217601", id="6"),
        pytest.param(f"{ISO}%z", f"{AT_ONE} -0500", "1667235601", id="7a"),
        pytest.param(f"{ISO} %z", f"{AT_ONE}-0500", "1667235601", id="7b"),
        pytest.param(f"{ISO}%z", f"{AT_ONE}Z", "1667217601", id="8a"),
        pytest.param(f"{ISO}%z", f"{AT_ONE}.5Z", FAIL, id="8b"),
        pytest.param(f"{ISO} %Z", f"{AT_ONE} PST", "1667246401", id="9"),
        pytest.param("%s", "1678608000", "1678608000", id="16a"),
        pytest.param("%s.%L", "1678608000.123456789", "1678608000.123456789", id="16b"),
        pytest.param("%s.%L", "1678608000", FAIL, id="17a"),
        pytest.param("%s", "-5", FAIL, id="17b"),
        pytest.param("%s", "1678608000.5", "1678608000", id="17c"),
        pytest.param("%s%L", "1678608000123", FAIL, id="17d"),
        pytest.param("%b %d %H:%M:%S", "Feb  6 04:06:58", "1770350818", id="18"),
        pytest.param("%b %d %H:%M:%S.%L", "Feb 06 04:06:58.123", "1770350818.123", id="19"),
        pytest.param("%b %d %H:%M:%S", "Dec 31 23:59:59", "1798761599", id="20"),
        pytest.param("%H:%M:%S", "00:01:02", "1795132862", id="21"),
        pytest.param("%d/%b/%Y:%H:%M:%S %z", "10/Oct/2000:13:55:36 -0700", "971211336", id="23"),
        pytest.param("%Y-%m-%d", "2022-10-31", "1667174400", id="24a"),
        pytest.param("%Y-%m", "2022-10", "1664496000", id="24b"),
        pytest.param("%%%Y", "%2022", "1640908800", id="24c"),
        pytest.param("%m/%d/%y %I:%M:%S %p", "07/17/17 08:17:03 PM", "1500322623", id="25"),
        pytest.param("%Y-%m-%d %I:%M:%S %p", "2022-10-31 12:00:00 AM", "1667174400", id="26a"),
        pytest.param("%Y-%m-%d %I:%M:%S %p", "2022-10-31 12:00:00 PM", "1667217600", id="26b"),
        pytest.param("%Y-%m-%d %I:%M:%S %p", "2022-10-31 01:00:00 pm", "1667221200", id="26c"),
        pytest.param("%Y-%m-%d %I:%M:%S %p", "2022-10-31 13:00:00 PM", FAIL, id="26d"),
        pytest.param("%Y-%m-%d %I:%M:%S %p", "2022-10-31 01:00:00 XM", FAIL, id="26e"),
        pytest.param(f"{PLAIN},%L", "2022-10-31 12:00:01,5", "1667217601.5", id="27"),
        pytest.param(PLAIN, "garbage", FAIL, id="28"),
        pytest.param(PLAIN, "2022-02-30 12:00:00", "1646222400", id="31"),
        pytest.param("%e %B %Y %T", "5 November 2022 01:02:03", "1667610123", id="32"),
        pytest.param("%F %T", "2022-10-31 12:00:01", "1667217601", id="33a"),
        pytest.param("%Y%m%d%H%M%S", "20221031120001", "1667217601", id="33b"),
        pytest.param("%Y-%m-%d %T %L", "2022-10-31 12:00:01 250", "1667217601.25", id="34"),
        pytest.param("%A, %d-%b-%y %H:%M:%S %Z", "Monday, 31-Oct-22 12:00:01 GMT", "1667217601", id="35"),
        pytest.param("%a %b %d %H:%M:%S %Y", "Mon Oct 31 12:00:00 2022", "1667217600", id="36a"),
        pytest.param("%a %b %d %H:%M:%S %Y", "Fri Oct 31 12:00:00 2022", "1667217600", id="36b"),
        pytest.param("%c", "Mon Oct 31 12:00:00 2022", "1667217600", id="36c"),
        pytest.param("%j %Y", "304 2022", "1667174400", id="37"),
        pytest.param("%Q", "1", FAIL, id="38"),
        pytest.param(f"{PLAIN} %z", "2022-10-31 12:00:01 UTC", "1667217601", id="39a"),
        pytest.param(f"{PLAIN} %z", "2022-10-31 12:00:01 CET", FAIL, id="39b"),
        pytest.param(f"{PLAIN} %z", "2022-10-31 12:00:01 EST", "1667235601", id="39c"),
        pytest.param(f"{PLAIN} %z", "2022-10-31 12:00:01 0200", FAIL, id="39d"),
        pytest.param(f"{PLAIN} %z", "2022-10-31 12:00:01", FAIL, id="39e"),
        pytest.param(f"{PLAIN} %Z", "2022-10-31 12:00:01 CET", "1667214001", id="40a"),
        pytest.param(f"{PLAIN} %Z", "2022-10-31 12:00:01 +0200", FAIL, id="40b"),
        pytest.param(f"{PLAIN} %Z", "2022-10-31 12:00:01 XYZ", FAIL, id="40c"),
        pytest.param(f"{PLAIN} %Z", "2022-10-31 12:00:01 JST", "1667185201", id="40d"),
        pytest.param(PLAIN, "2022-10-31 12:00:60", "1667217660", id="41a"),
        pytest.param(PLAIN, "2022-10-31 23:59:61", FAIL, id="41b"),
        pytest.param(PLAIN, "2022-10-31 24:00:00", FAIL, id="41c"),
        pytest.param(PLAIN, "2022-10-31 7:5:3", "1667199903", id="41d"),
        pytest.param("%y-%m-%d", "68-01-01", "3092601600", id="42a"),
        pytest.param("%y-%m-%d", "15-01-01", "1420070400", id="42b"),
        pytest.param("%y-%m-%d", "99-01-01", "915148800", id="42c"),
        pytest.param("%C %y %m %d", "20 22 01 01", "1640995200", id="43"),
        pytest.param("%b %d %Y", "october 31 2022", "1667174400", id="44a"),
        pytest.param("%b %d %Y", "OCT 31 2022", "1667174400", id="44b"),
        pytest.param("%B %d %Y", "Oct 31 2022", "1667174400", id="44c"),
        pytest.param("%d %m %Y", " 1 10 2022", FAIL, id="45a"),
        pytest.param("%e/%m/%Y", " 1/10/2022", "1664582400", id="45b"),
        pytest.param("%Y-%m-%d %k:%M", "2022-10-31  1:02", "1667178120", id="46a"),
        pytest.param("%Y-%m-%d %l:%M %p", "2022-10-31  1:02 PM", "1667221320", id="46b"),
        pytest.param("%Y-%m-%d%t%H", "2022-10-31 7", "1667199600", id="47a"),
        pytest.param("%Y-%m-%d %H", "2022-10-317", "1667199600", id="47b"),
        pytest.param("%L", "5", "1795132800.5", id="48"),
        pytest.param("%G-%V-%u", "2022-44-1", "1795132800", id="49"),
        pytest.param("%m/%d %H:%M", "02/29 10:00", "1772359200", id="50"),
        pytest.param("%Y-%m-%d %T", "1970-01-01 00:00:00", FAIL, id="51a"),
        pytest.param("%Y-%m-%d %T", "1969-12-31 23:59:59", FAIL, id="51b"),
        pytest.param("%Y-%m-%d %T", "0001-01-01 00:00:00", FAIL, id="51c"),
        pytest.param("%Y-%m-%d %T", "9999-12-31 23:59:59", FAIL, id="51d"),
    ],
)
def test_a_time_is_read_by_its_format(format: str, text: str, expected: str | None) -> None:
    assert seconds(format, text) == (None if expected is None else Decimal(expected))


@pytest.mark.parametrize(
    ("format", "text", "keys", "expected"),
    [
        pytest.param(ISO, AT_ONE, offset("-0600"), 1667239201, id="10"),
        pytest.param(f"{ISO} %z", f"{AT_ONE} +0100", offset("-0600"), 1667214001, id="11"),
        pytest.param("%Y-%m-%d %T", "2022-10-31 12:00:00", offset("+05:30"), 1667197800, id="12a"),
        pytest.param("%Y-%m-%d %T", "2022-10-31 12:00:00", offset("Z"), 1667217600, id="12b"),
        pytest.param(f"{ISO}Z", f"{AT_ONE}Z", offset("-0600"), 1667217601, id="literal Z"),
        pytest.param("%Y-%m-%d %T", "2022-10-31 12:00:00", NEW_YORK, 1667232000, id="14a"),
        pytest.param("%Y-%m-%d %T", "2022-12-31 12:00:00", {"zone": ZoneInfo("Europe/Berlin")}, 1672484400, id="14b"),
        pytest.param("%m/%d/%Y %H:%M:%S", "07/17/2017 16:17:03", NEW_YORK, 1500322623, id="15a"),
        pytest.param("%m/%d/%Y %H:%M:%S", "01/15/2017 15:00:00", NEW_YORK, 1484510400, id="15b"),
        pytest.param("%H:%M", "10:00", offset("+0530"), 1795149000, id="22"),
        pytest.param("%s", "1678608000", offset("+0530"), 1678608000, id="epoch seconds have no zone"),
        pytest.param("%s", "1678608000", NEW_YORK, 1678608000, id="epoch seconds have no daylight saving"),
    ],
)
def test_a_time_without_zone_is_one_of_the_configured_zone(
    format: str, text: str, keys: dict[str, Any], expected: int
) -> None:
    assert seconds(format, text, **keys) == expected


def test_the_missing_year_is_that_of_the_configured_zone() -> None:
    found = seconds("%m/%d %H:%M:%S", "12/31 23:59:00", now_ns=1767241800 * 10**9, **NEW_YORK)

    assert found == 1767243540


@pytest.fixture
def new_york(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("TZ", "America/New_York")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


@pytest.mark.usefixtures("new_york")
def test_the_zone_of_the_host_is_used_if_asked_for() -> None:
    assert seconds(PLAIN, "2022-10-31 12:00:01", system_zone=True) == 1667232001
    assert seconds(PLAIN, "2022-12-31 12:00:01", system_zone=True) == 1672506001
    assert seconds(PLAIN, "2022-10-31 12:00:01") == 1667217601


@pytest.mark.usefixtures("new_york")
def test_the_names_of_the_zone_of_the_host_are_known(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(time, "tzname", ("LOC", "LOD"))

    assert seconds(f"{PLAIN} %Z", "2022-10-31 12:00:01 LOC") == 1667217601 + 5 * 3600
    assert seconds(f"{PLAIN} %Z", "2022-10-31 12:00:01 lod") == 1667217601 + 4 * 3600


@pytest.mark.parametrize(
    ("format", "text", "expected"),
    [
        pytest.param(PLAIN, "garbage", FAIL, id="28"),
        pytest.param(PLAIN, "2022-10-31 zz", "1667174400", id="29"),
        pytest.param(PLAIN, "2022-10-31 12:30", "1667219400", id="seconds missing"),
        pytest.param(f"{ISO}.%L%z", f"{AT_ONE}", "1667217601", id="fraction missing"),
        pytest.param(f"{ISO}.%L%z", f"{AT_ONE}.5 nowhere", "1667217601.5", id="zone missing"),
        pytest.param(f"{ISO}.%L%z", f"{AT_ONE}.5+01:00", "1667214001.5", id="all there"),
    ],
)
def test_without_strictness_what_could_be_read_is_used(format: str, text: str, expected: str | None) -> None:
    assert seconds(format, text, strict=False) == (None if expected is None else Decimal(expected))


@pytest.mark.parametrize(
    ("text", "hours"),
    [("Z", 0), ("UT", 0), ("GMT", 0), ("+02", 2), ("-0330", -3.5), ("+05:45", 5.75), ("PDT", -7), ("  +01:00", 1)],
)
def test_offsets_and_some_names_are_zones(text: str, hours: float) -> None:
    assert seconds(f"{ISO}%z", AT_ONE + text) == 1667217601 - Decimal(hours * 3600)


@pytest.mark.parametrize("text", ["+2", "+020", "+02:3", "pdt", "A", "", "+ab"])
def test_other_zones_do_not_fit_an_offset(text: str) -> None:
    assert seconds(f"{ISO}%z", AT_ONE + text) is None


@pytest.mark.parametrize(
    ("name", "hours"),
    [("NDT", -2.5), ("BRST", -2), ("NPT", 5.75), ("ist", 5.5), ("A", 1), ("M", 12), ("N", -1), ("Y", -12), ("Z", 0)],
)
def test_abbreviations_are_zones_in_any_case(name: str, hours: float) -> None:
    assert seconds(f"{ISO} %Z", f"{AT_ONE} {name}") == 1667217601 - Decimal(hours * 3600)


@pytest.mark.parametrize("name", ["J", "CET1", "CETX", ""])
def test_an_abbreviation_has_to_be_known_and_to_stand_alone(name: str) -> None:
    assert seconds(f"{ISO} %Z", f"{AT_ONE} {name}") is None


@pytest.mark.parametrize("text", ["", "0100", "+1", "+01", "+2400", "+0160", "EST", "+01:00:00"])
def test_an_offset_needs_sign_hours_and_minutes(text: str) -> None:
    with pytest.raises(ValueError, match="not a time offset"):
        TimeOffset.parse(text)


def test_a_fraction_of_ten_digits_is_cut_if_nothing_follows_it() -> None:
    assert seconds("%s.%L", "1678608000.1234567899") == Decimal("1678608000.123456789")


@pytest.mark.parametrize(
    ("format", "directive"),
    [("%Y %f", "%f"), ("%Y.%L.%L", "%L"), ("%3N", "%3"), ("%", "% "), ("%Y-%EY %Od %D %T.%L %Z", None)],
)
def test_directives_that_never_fit_are_known_beforehand(format: str, directive: str | None) -> None:
    assert TimeFormat(format).unsupported == directive


def test_what_is_missing_is_taken_from_the_day_on_which_a_text_is_read() -> None:
    days = [TODAY_NS, TODAY_NS + 86_400 * 10**9]
    compiled = TimeFormat("%H:%M", now=lambda: days[0])
    first = compiled.parse("10:00")
    days.pop(0)

    assert (compiled.parse("10:00") or 0) - (first or 0) == 86_400 * 10**9


def test_what_is_remembered_stays_little() -> None:
    compiled = TimeFormat(f"{ISO}.%L%z")
    for second in range(3000):
        compiled.parse(f"2022-10-31T12:{second // 60:02}:{second % 60:02}.5 +0{second % 10}:{second % 60:02} {second}")

    assert compiled.parse(f"{AT_ONE}.5Z") == 1667217601_500_000_000
    assert max(len(compiled._heads), len(compiled._tails)) <= 1000


_times = st.datetimes(datetime(1970, 1, 2), datetime(2106, 2, 6), timezones=st.just(UTC))
_zones = st.integers(-23 * 60, 23 * 60)


@given(st.lists(st.tuples(_times, st.integers(0, 999_999_999), _zones), min_size=1, max_size=5))
def test_any_time_is_read_exactly(times: list[tuple[datetime, int, int]]) -> None:
    compiled = TimeFormat(f"{ISO}.%L%z")
    for moment, fraction_ns, zone_minutes in times:
        local = moment.replace(microsecond=0) + timedelta(minutes=zone_minutes)
        sign, minutes = "-" if zone_minutes < 0 else "+", abs(zone_minutes)
        text = f"{local:%Y-%m-%dT%H:%M:%S}.{fraction_ns:09}{sign}{minutes // 60:02}:{minutes % 60:02}"

        assert compiled.parse(text) == int(moment.replace(microsecond=0).timestamp()) * 10**9 + fraction_ns


@given(st.lists(st.text("0123456789-: Z+.", min_size=1, max_size=30), min_size=2, max_size=6))
def test_what_was_read_before_changes_nothing(texts: list[str]) -> None:
    for format in ("%d %H:%M:%S", "%d:%H.%L%z", "%e-%H", "%y%m%d %H:%M %L", "%s.%L"):
        used = TimeFormat(format, now=lambda: TODAY_NS)
        fresh = [TimeFormat(format, now=lambda: TODAY_NS).parse(text) for text in texts]

        assert [used.parse(text) for text in texts] == fresh
