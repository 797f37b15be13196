"""parser: what of the record is kept, and which parser is used."""

from __future__ import annotations

import logging

import pytest

from shipper.errors import ConfigError, OptionError
from shipper.filters.parser import ParserFilter, ParserOptions
from shipper.parsers.base import ParserLibrary
from shipper.parsers.library import build_parsers
from shipper.record import Body, Record, RecordBatch
from shipper.testing import context_of

from ..written_options import options_from, section_of

TIME_NS = 5_000_000_000
INNER = '{"log":"inner","n":1}'
BODY = {"log": "x y", "k": 1, "j": INNER}
PARSERS = (
    "Name rx\nFormat regex\nRegex ^(?<a>[^ ]+) (?<b>[^ ]+)$",
    "Name json\nFormat json",
    "Name timed\nFormat regex\nRegex ^(?<time>[^ ]+) (?<b>.*)$\nTime_Key time\nTime_Format %Y-%m-%dT%H:%M:%S",
)


def parser_filter(lines: str) -> ParserFilter:
    sections = [section_of(text, "parser") for text in PARSERS]
    library = ParserLibrary(build_parsers(sections, [], print))
    return ParserFilter(options_from(ParserOptions, lines), context_of("filter", parsers=library))


def parsed(lines: str, body: Body) -> Record:
    batch = parser_filter(lines).apply(RecordBatch("t", [Record(TIME_NS, dict(body), {"m": 1})], 100))
    assert batch is not None
    [record] = batch
    return record


@pytest.mark.parametrize("opening", ["[", '{"k":'])
def test_a_text_that_is_nested_too_deeply_stays_as_it_is(opening: str) -> None:
    closing = {"[": "]"}.get(opening, "}")
    for levels in range(800, 1000):
        body = {"log": f'{{"a":{opening * levels}1{closing * levels}}}'}

        assert parsed("Key_Name log\nParser json", body).body == body


@pytest.mark.parametrize(
    ("lines", "before", "after"),
    [
        ("Key_Name log\nParser rx", BODY, {"a": "x", "b": "y"}),
        ("Key_Name log\nParser rx\nReserve_Data On", BODY, {"a": "x", "b": "y", "k": 1, "j": INNER}),
        ("Key_Name log\nParser rx\nPreserve_Key On", BODY, {"a": "x", "b": "y", "log": "x y"}),
        (
            "Key_Name log\nParser rx\nReserve_Data On\nPreserve_Key On",
            BODY,
            {"a": "x", "b": "y", "log": "x y", "k": 1, "j": INNER},
        ),
        ("Key_Name j\nParser json\nReserve_Data On", BODY, {"n": 1, "log": "x y", "k": 1}),
        ("Key_Name k\nParser json", BODY, BODY),
        ("Key_Name none\nParser json", BODY, BODY),
        ("Key_Name log\nParser json", BODY, BODY),
        ("Key_Name log\nParser json\nParser rx", BODY, {"a": "x", "b": "y"}),
        ("Key_Name j\nParser json\nPreserve_Key On", {"j": '{"j":0,"n":1}'}, {"n": 1, "j": '{"j":0,"n":1}'}),
        (
            "Key_Name $a['log']\nParser json\nReserve_Data On",
            {"a": {"log": '{"n":1}', "o": 2}, "k": "v"},
            {"n": 1, "a": {"log": '{"n":1}', "o": 2}, "k": "v"},
        ),
        ("Key_Name $log\nParser rx\nReserve_Data On", {"log": "x y"}, {"a": "x", "b": "y", "log": "x y"}),
        ("Key_Name $log\nParser rx\nPreserve_Key On", {"log": "x y", "k": 1}, {"a": "x", "b": "y"}),
        ("Key_Name log\nParser rx\nUnescape_Key On", {"log": b"x y"}, {"a": "x", "b": "y"}),
    ],
)
def test_parsed_fields_come_first_and_those_kept_behind_them(lines: str, before: Body, after: Body) -> None:
    record = parsed(lines, before)

    assert list(record.body.items()) == list(after.items())
    assert (record.time_ns, record.metadata) == (TIME_NS, {"m": 1})


def test_a_time_that_the_parser_finds_replaces_that_of_the_record() -> None:
    record = parsed("Key_Name log\nParser timed", {"log": "2020-01-02T03:04:05 hello"})

    assert record.time_ns == 1_577_934_245_000_000_000
    assert record.body == {"b": "hello"}


def test_an_unknown_parser_is_told_and_left_out(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.ERROR, "shipper"):
        record = parsed("Key_Name log\nParser nope\nParser rx", BODY)

    assert record.body == {"a": "x", "b": "y"}
    assert "requested parser 'nope' not found" in caplog.text


def test_without_any_known_parser_it_does_not_start() -> None:
    with pytest.raises(OptionError, match="names no parser that is registered: jsn") as caught:
        parser_filter("Key_Name log\nParser jsn")

    assert caught.value.remedy == "did you mean 'json'?"


def test_a_key_that_is_no_path_stops_the_start() -> None:
    with pytest.raises(OptionError, match="key_name: syntax error"):
        parser_filter("Key_Name $a[\nParser rx")


@pytest.mark.parametrize(
    ("lines", "message"),
    [("Parser rx", "'key_name' is required"), ("Key_Name log", "option 'parser' is required")],
)
def test_field_and_parser_are_required(lines: str, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        options_from(ParserOptions, lines)

    assert message in str(caught.value)
