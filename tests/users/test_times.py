"""Times of records: what users of other shippers got wrong ones for, or lost without a word.

V3: The row asks for the nearest year where a time tells none. Vector 20 of the times in the specification of parsers
demands this year, also for a time that is then in the future, and it wins; so the test holds that.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from shipper.filters.parser import ParserFilter, ParserOptions
from shipper.parsers.base import Parser, ParserLibrary
from shipper.parsers.library import build_parsers
from shipper.record import Record, RecordBatch
from shipper.testing import context_of

from ..written_options import options_from, section_of

SECOND = 1_000_000_000
ARRIVED_NS = 1_700_000_000_000_000_000
VIENNA = ZoneInfo("Europe/Vienna")


def parser_of(options: str, now: datetime | None = None) -> Parser:
    """The parser of a section with these options and the name `p`."""
    sections = [section_of(f"Name p\n{options}", "parser")]
    moment = now.timestamp() if now is not None else 0.0
    return build_parsers(sections, [], lambda message: None, lambda: int(moment * SECOND))["p"]


def time_of(parser: Parser, text: str) -> datetime | None:
    """The time that a line `TIME message` gets."""
    parsed = parser.parse(f"{text} message")
    return datetime.fromtimestamp(parsed[0] / SECOND, UTC) if parsed is not None and parsed[0] is not None else None


def line_with(form: str, more: str = "") -> str:
    return f"Format regex\nRegex ^(?<time>.+) message$\nTime_Format {form}\n{more}".strip()


@pytest.fixture
def shanghai(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("TZ", "Asia/Shanghai")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


@pytest.mark.usefixtures("shanghai")
@pytest.mark.parametrize(
    ("form", "text"),
    [
        ("%s", "1678608000"),
        ("%Y-%m-%dT%H:%M:%S", "2023-03-12T08:00:00"),
        ("%Y-%m-%dT%H:%M:%S%z", "2023-03-12T08:00:00Z"),
        ("%Y-%m-%dT%H:%M:%S%z", "2023-03-12T16:00:00+0800"),
        ("%d/%b/%Y:%H:%M:%S %z", "12/Mar/2023:01:00:00 -0700"),
    ],
)
def test_v1_the_zone_of_the_host_shifts_no_time(form: str, text: str) -> None:
    assert time_of(parser_of(line_with(form)), text) == datetime(2023, 3, 12, 8, tzinfo=UTC)


@pytest.mark.parametrize("change", [datetime(2025, 3, 30, 1, tzinfo=UTC), datetime(2025, 10, 26, 1, tzinfo=UTC)])
def test_v2_times_of_a_zone_are_exact_across_both_changes_of_its_clocks(change: datetime) -> None:
    parser = parser_of(line_with("%Y-%m-%d %H:%M:%S", "Time_Zone Europe/Vienna"))
    moments = [change + timedelta(minutes=10 * number) for number in range(-30, 30)]
    local = [moment.astimezone(VIENNA) for moment in moments]

    found = [time_of(parser, f"{one:%Y-%m-%d %H:%M:%S}") for one in local]

    # In the hour that comes twice the text does not tell which one it is; it is taken for the first.
    assert found == [moment - timedelta(hours=one.fold) for moment, one in zip(moments, local, strict=True)]
    assert sum(one.fold for one in local) == (6 if change.month == 10 else 0)


def test_v2_times_that_tell_their_offset_are_exact_in_the_hour_that_comes_twice() -> None:
    parser = parser_of(line_with("%Y-%m-%d %H:%M:%S%z", "Time_Zone Europe/Vienna"))
    moments = [datetime(2025, 10, 26, tzinfo=UTC) + timedelta(minutes=10 * number) for number in range(18)]

    assert [time_of(parser, f"{one.astimezone(VIENNA):%Y-%m-%d %H:%M:%S%z}") for one in moments] == moments


@pytest.mark.parametrize(
    ("now", "text", "expected"),
    [
        (
            datetime(2026, 12, 31, 23, 59, 59, tzinfo=UTC),
            "Dec 31 23:59:58",
            datetime(2026, 12, 31, 23, 59, 58, tzinfo=UTC),
        ),
        (datetime(2027, 1, 1, 0, 0, 1, tzinfo=UTC), "Jan 01 00:00:00", datetime(2027, 1, 1, tzinfo=UTC)),
        (datetime(2027, 1, 1, 0, 0, 1, tzinfo=UTC), "Dec 31 23:59:59", datetime(2027, 12, 31, 23, 59, 59, tzinfo=UTC)),
    ],
)
def test_v3_a_time_without_a_year_is_one_of_this_year(now: datetime, text: str, expected: datetime) -> None:
    assert time_of(parser_of(line_with("%b %d %H:%M:%S"), now), text) == expected


FORMATS = [
    ("Format json\nTime_Format %Y-%m-%dT%H:%M:%S.%L%z", '{{"time":"{}","m":"x"}}', 0),
    (line_with("%Y-%m-%dT%H:%M:%S.%L%z"), "{} message", 0),
    ("Format logfmt\nTime_Format %Y-%m-%dT%H:%M:%S.%L%z", "time={} m=x", 1),
    ("Format ltsv\nTime_Format %Y-%m-%dT%H:%M:%S.%L%z", "time:{}\tm:x", 1),
]


@pytest.mark.parametrize("bad", ["2025-01-02T03:04:05Z", "2025-01-02T03:04:05.5", "2025-01-02T03:04:05.5MOON"])
@pytest.mark.parametrize(("options", "line", "failures"), FORMATS, ids=["json", "regex", "logfmt", "ltsv"])
def test_v4_a_time_in_a_hundred_that_cannot_be_read_is_counted(
    options: str, line: str, failures: int, bad: str
) -> None:
    context = context_of("filter", "parser.0", parsers=ParserLibrary({"p": parser_of(options)}))
    one = ParserFilter(options_from(ParserOptions, "Key_Name log\nParser p"), context)
    texts = [line.format(bad if number == 41 else f"2025-01-02T03:04:05.{number:03}Z") for number in range(100)]
    batch = RecordBatch("t", [Record(ARRIVED_NS, {"log": text}) for text in texts], 1000)

    left = one.apply(batch)

    assert left is not None
    assert [number for number, r in enumerate(left.records) if r.time_ns == ARRIVED_NS] == [41]
    assert context.metrics.total("filter_invalid_times_total") == 1
    assert context.metrics.total("filter_parse_failures_total") == failures


def test_v4_a_line_in_a_hundred_that_no_parser_fits_is_counted() -> None:
    parsers = {name: parser_of(options) for name, options in (("a", "Format json"), ("b", "Format ltsv"))}
    context = context_of("filter", "parser.0", parsers=ParserLibrary(parsers))
    one = ParserFilter(options_from(ParserOptions, "Key_Name log\nParser a\nParser b"), context)
    texts = ["no form" if number == 41 else '{"a":1}' if number % 2 else "a:1" for number in range(100)]

    one.apply(RecordBatch("t", [Record(ARRIVED_NS, {"log": text}) for text in [*texts, None]], 1000))

    assert context.metrics.total("filter_parse_failures_total") == 1
    assert context.metrics.total("filter_invalid_times_total") == 0


def test_v4_two_filters_with_one_parser_count_each_their_own() -> None:
    parsers = ParserLibrary({"p": parser_of("Format json\nTime_Format %s")})
    contexts = [context_of("filter", f"parser.{number}", parsers=parsers) for number in range(2)]
    filters = [ParserFilter(options_from(ParserOptions, "Key_Name log\nParser p"), context) for context in contexts]

    for one, times in ((filters[0], ["no"]), (filters[1], ["1700000001", "no", "neither"]), (filters[0], ["never"])):
        one.apply(RecordBatch("t", [Record(ARRIVED_NS, {"log": f'{{"time":"{text}"}}'}) for text in times], 10))

    assert [context.metrics.total("filter_invalid_times_total") for context in contexts] == [2, 2]


def test_v4_a_time_that_is_there_twice_counts_once() -> None:
    parser = parser_of("Format json\nTime_Format %s")

    assert parser.parse('{"time":"1700000001","time":"no"}') == (1_700_000_001 * SECOND, {"time": "no"})
    assert parser.invalid_times == 0
    assert parser.parse('{"time":"neither","time":"no"}') is not None
    assert parser.invalid_times == 1
