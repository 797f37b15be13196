"""Dates in front of records, format by format."""

from __future__ import annotations

import time
from typing import get_args

import pytest

from shipper.codecs.dates import DateFormat, encode_dates, strftime_utc

T = 1_700_000_000_123_000_000


@pytest.mark.parametrize(
    ("date_format", "time_ns", "expected"),
    [
        ("double", T, b"1700000000.123"),
        ("double", 1_700_000_001_000_000_000, b"1700000001.0"),
        ("double", 1_700_000_000_123_456_789, b"1700000000.123457"),
        ("double", 1_700_000_000_000_000_001, b"1700000000.0"),
        ("double", 5_123_000_000, b"5.123"),
        ("double", 0, b"0.0"),
        ("iso8601", T, b'"2023-11-14T22:13:20.123000Z"'),
        ("iso8601", 1_700_000_000_123_456_789, b'"2023-11-14T22:13:20.123456Z"'),
        ("iso8601", 1_700_000_001_000_000_000, b'"2023-11-14T22:13:21.000000Z"'),
        ("iso8601", -1, b'"1969-12-31T23:59:59.999999Z"'),
        ("java_sql_timestamp", T, b'"2023-11-14 22:13:20.123000"'),
        ("java_sql_timestamp", 1_700_000_000_500_000_000, b'"2023-11-14 22:13:20.500000"'),
        ("epoch", T, b"1700000000"),
        ("epoch_ms", T, b"1700000000123"),
        ("epoch_ms", 1_700_000_000_500_000_000, b"1700000000500"),
        ("epoch_millis", T, b"1700000000123"),
        ("epoch_milliseconds", T, b"1700000000123"),
    ],
)
def test_a_date_is_written_in_its_format(date_format: DateFormat, time_ns: int, expected: bytes) -> None:
    assert encode_dates([time_ns], date_format) == [expected]


@pytest.mark.parametrize("second", [2**40, 10**20, -(2**40), -(10**20)])
def test_a_time_that_no_date_has_gets_the_nearest_one(second: int) -> None:
    date = "9999-12-31" if second > 0 else "1000-01-01"

    assert strftime_utc("%Y-%m-%d", second) == date
    assert encode_dates([second * 1_000_000_000], "iso8601")[0].decode().startswith(f'"{date}T')


@pytest.mark.parametrize("date_format", get_args(DateFormat))
def test_there_is_one_date_for_each_time_in_order(date_format: DateFormat) -> None:
    times = [T + n * 700_000_000 for n in range(20)]

    assert encode_dates(times, date_format) == [encode_dates([t], date_format)[0] for t in times]


@pytest.mark.parametrize(
    ("form", "text"),
    [
        ("%Y-%m-%dT%H:%M:%S %Z", "2023-11-14T22:13:20 GMT"),
        ("%s", "1700000000"),
        ("%%s %-s", "%s 1700000000"),
        ("%-d.%-m", "14.11"),
        ("logs %", "logs %"),
    ],
)
def test_a_form_is_filled_in_by_utc_wherever_the_machine_is(
    form: str, text: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as elsewhere:
        elsewhere.setenv("TZ", "Asia/Tokyo")
        time.tzset()
        found = strftime_utc(form, 1_700_000_000)
    time.tzset()

    assert found == text
