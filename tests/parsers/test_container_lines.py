"""The lines of container runtimes and their times."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shipper.parsers.container_time import container_time_ns
from shipper.parsers.cri import CriParser
from shipper.parsers.docker import DockerParser
from shipper.parsers.json_object import read_object

SECOND_NS = 1577836800_000000000


@pytest.mark.parametrize(
    ("text", "time_ns"),
    [
        ("2020-01-01T00:00:00.123456789Z", SECOND_NS + 123456789),
        ("2020-01-01T00:00:00.5Z", SECOND_NS + 500000000),
        ("2020-01-01T00:00:00.000000001Z", SECOND_NS + 1),
        ("2020-01-01T00:00:00Z", SECOND_NS),
        ("2020-01-01T00:00:00", SECOND_NS),
        ("2020-01-01T00:00:00.25", SECOND_NS + 250000000),
        ("2020-01-01T00:00:00.1234567899Z", SECOND_NS + 123456789),
        ("2020-01-01T01:00:00.5+01:00", SECOND_NS + 500000000),
        ("2020-01-01T01:30:00.123456789+0130", SECOND_NS + 123456789),
        ("2019-12-31T19:00:00-05", SECOND_NS),
        ("2020-01-01T01:00:00.123456789+01:00", SECOND_NS + 123456789),
        ("2019-12-31T19:00:00.123456789-05:00", SECOND_NS + 123456789),
        ("2020-01-01T00:00:00.123456789+00:00", SECOND_NS + 123456789),
        ("2020-01-01T01:00:00.1234567891+01:00", SECOND_NS + 123456789),
        ("2020-01-01T00:00:00.1_3Z", SECOND_NS + 100000000),
        ("2020-01-01T00:00:00.Z", SECOND_NS),
        ("2106-02-07T06:28:15.123456789-01:00", None),
        ("2020-01-01T00:00:00.5z", SECOND_NS + 500000000),
        ("2019-12-31T23:59:60Z", SECOND_NS),
        ("2022-02-30T12:00:00Z", 1646222400_000000000),
        ("2106-02-07T06:28:15.999999999Z", 2**32 * 10**9 - 1),
        ("2106-02-07T06:28:16Z", None),
        ("2106-02-07T06:28:15-01:00", None),
        ("1970-01-01T00:00:00Z", None),
        ("1969-12-31T23:59:59Z", None),
        ("0000-01-01T00:00:00Z", None),
        ("2020-13-01T00:00:00Z", None),
        ("2020-01-01T24:00:00Z", None),
        ("2020-01-01 00:00:00Z", None),
        ("2020-01-01", None),
        ("nonsense", None),
        ("", None),
    ],
)
def test_a_time_is_read_exactly_or_not_at_all(text: str, time_ns: int | None) -> None:
    assert container_time_ns(text) == time_ns


def test_an_offset_is_ignored_on_request() -> None:
    assert container_time_ns("2020-01-01T00:00:00.5+02:00", use_offset=False) == SECOND_NS + 500000000


@given(st.datetimes(datetime(1970, 1, 2), datetime(2106, 1, 1)), st.integers(0, 999), st.integers(1, 9))
def test_every_time_in_range_is_read_to_its_last_digit(moment: datetime, nanoseconds: int, digits: int) -> None:
    moment = moment.replace(tzinfo=UTC)
    fraction = f"{moment.microsecond:06}{nanoseconds:03}"[:digits]
    seconds = int(moment.replace(microsecond=0).timestamp())

    time_ns = container_time_ns(f"{moment:%Y-%m-%dT%H:%M:%S}.{fraction}Z")

    assert time_ns == seconds * 10**9 + int(fraction.ljust(9, "0"))


@pytest.mark.parametrize(
    ("line", "fields"),
    [
        ("T stdout F a b  c ", ["T", "stdout", "F", "a b  c "]),
        ("T stderr P ", ["T", "stderr", "P", ""]),
        ("T stdout F T stderr P x", ["T", "stdout", "F", "T stderr P x"]),
        ("a b stdout F x", ["a b", "stdout", "F", "x"]),
        (" stdout F x stdout F y", [" stdout F x", "stdout", "F", "y"]),
        ("first\nT stdout F x\nlast", ["T", "stdout", "F", "x"]),
        ("T stdout F x\n", ["T", "stdout", "F", "x"]),
        ("T stdout F", None),
        ("T stdlog F x", None),
        ("T stdout G x", None),
        ("T stdout P:tag x", None),
        (" stdout F x", None),
        ("", None),
    ],
)
def test_a_cri_line_has_time_stream_flag_and_text(line: str, fields: list[str] | None) -> None:
    parsed = CriParser().parse(line)

    assert (list(parsed[1].values()) if parsed else None) == fields
    assert parsed is None or list(parsed[1]) == ["time", "stream", "_p", "log"]


def test_a_docker_line_is_a_json_object() -> None:
    parsed = DockerParser().parse('{"log":"a\\n","time":"2020-01-01T00:00:00.5Z","attrs":{"k":1}}')

    assert parsed == (
        SECOND_NS + 500000000,
        {"log": "a\n", "time": "2020-01-01T00:00:00.5Z", "attrs": {"k": 1}},
    )


@pytest.mark.parametrize(
    ("line", "log"),
    [
        ('  {"log":"a\\n"}', "a\n"),
        ('{"log":"a\tb\\n"}', "a\tb\n"),
        ('{"log":"a\\ud800\\n"}', "a\ufffd\n"),
        ('{"log":"a\\n"} behind', "a\n"),
        ('{"log":"a\\n","n":123456789012345678901234567890}', "a\n"),
    ],
)
def test_a_docker_line_is_read_as_any_json(line: str, log: str) -> None:
    parsed = DockerParser().parse(line)

    assert parsed == (None, read_object(line))
    assert parsed[1]["log"] == log


@pytest.mark.parametrize("line", ["", "plain", "[1]", '"x"', "5", "{", '{"log":"a"', "\udcff", '["\udcff"]'])
def test_anything_else_is_no_docker_line(line: str) -> None:
    assert DockerParser().parse(line) is None


@pytest.mark.parametrize("time", ["5", "null", '"nonsense"'])
def test_a_docker_line_without_a_readable_time_has_none(time: str) -> None:
    parsed = DockerParser().parse(f'{{"log":"a","time":{time}}}')

    assert parsed is not None
    assert parsed[0] is None


def test_bytes_that_are_no_utf8_stay_in_a_docker_line() -> None:
    line = b'{"log":"a\xff\\n"}'.decode("utf-8", "surrogateescape")

    assert DockerParser().parse(line) == (None, {"log": "a\udcff\n"})
