"""Parsers made from [PARSER] sections, and what is said about mistakes in them."""

from __future__ import annotations

import pytest

from shipper.config.model import Property, Section
from shipper.errors import Origin, Problem
from shipper.parsers.base import Parser
from shipper.parsers.json import JsonParser
from shipper.parsers.library import build_parsers
from shipper.parsers.logfmt import LogfmtParser
from shipper.parsers.ltsv import LtsvParser
from shipper.parsers.regex import RegexParser

NOW_NS = 1795176000 * 10**9  # 2026-11-20 12:00 UTC


def section(text: str, first_line: int = 1) -> Section:
    """A section of `p.conf` whose header stands in `first_line`, from lines of keys and values."""
    properties = []
    for number, line in enumerate(text.strip().splitlines(), first_line + 1):
        key, _, value = line.strip().partition(" ")
        properties.append(Property(key.lower(), value.strip(), Origin("p.conf", number)))
    return Section("parser", Origin("p.conf", first_line), properties)


class Built:
    """What came of some sections."""

    def __init__(self, *sections: Section) -> None:
        self.problems: list[Problem] = []
        self.warnings: list[str] = []
        self.remarks: list[tuple[str, str]] = []
        self.parsers: dict[str, Parser] = build_parsers(
            list(sections),
            self.problems,
            self.warnings.append,
            lambda: NOW_NS,
            lambda *remark: self.remarks.append(remark),
        )


def built(text: str) -> Built:
    return Built(section(text))


@pytest.mark.parametrize(
    ("format", "kind"),
    [
        ("json", JsonParser),
        ("logfmt", LogfmtParser),
        ("ltsv", LtsvParser),
        ("regex", RegexParser),
        ("JSON", JsonParser),
    ],
)
def test_the_format_decides_the_parser(format: str, kind: type[Parser]) -> None:
    result = built(f"Name p\nFormat {format}\nRegex ^(?<a>.*)$")

    assert type(result.parsers["p"]) is kind
    assert result.parsers["p"].name == "p"
    assert (result.problems, result.warnings) == ([], [])


def test_names_differ_by_case() -> None:
    result = Built(section("Name p\nFormat json"), section("Name P\nFormat ltsv", 9))

    assert sorted(result.parsers) == ["P", "p"]
    assert result.problems == []


def test_all_keys_take_effect() -> None:
    result = built(
        r"""
        Name              p
        Format            regex
        Regex             /^(?<at>[^|]*)\|(?<n>\d*)\|(?<x>[A-Z]*)\|(?<j>.*)$/i
        Time_Key          at
        Time_Format       %H:%M
        Time_Offset       +0530
        Time_Keep         on
        Types             n:integer
        Skip_Empty_Values off
        Decode_Field_As   escaped j do_next
        Decode_Field      json j
        Decode_Field_As   json k
        """
    )

    assert (result.problems, result.warnings) == ([], [])
    assert result.parsers["p"].parse(r"10:00|7||{\"a\":1}") == (
        1795149000 * 10**9,
        {"at": "10:00", "n": 7, "x": "", "j": '{"a":1}', "a": 1},
    )


def test_zones_and_strictness_take_effect() -> None:
    zone = built("Name p\nFormat json\nTime_Format %F %T\nTime_Zone America/New_York")
    lax = built("Name p\nFormat json\nTime_Key t\nTime_Format %F %T\nTime_Strict off")

    assert zone.parsers["p"].parse('{"time":"2022-10-31 12:00:00"}') == (1667232000 * 10**9, {})
    assert lax.parsers["p"].parse('{"t":"2022-10-31 zz"}') == (1667174400 * 10**9, {})


def test_bare_keys_can_be_refused() -> None:
    result = built("Name p\nFormat logfmt\nLogfmt_No_Bare_Keys on")

    assert result.parsers["p"].parse("a b=c") is None


def test_times_and_values_that_cannot_be_read_are_remarked() -> None:
    result = built("Name p\nFormat ltsv\nTime_Format %s\nTypes b:bool")
    parser = result.parsers["p"]

    assert parser.parse("time:never\ta:1") is None
    assert parser.parse("b:maybe") == (None, {"b": "maybe"})
    assert result.remarks == [
        ("p: invalid time format %s", "never"),
        ("p: cast error of 'b', saved as string", "maybe"),
    ]


@pytest.mark.parametrize(
    ("text", "place", "words"),
    [
        ("Format json", "p.conf:1", "a parser has no name - add: Name my_parser"),
        ("Name p", "p.conf:1", "parser 'p': option 'format' is required"),
        ("Name p\nFormat jsn", "p.conf:3", "did you mean 'json'?"),
        ("Name p\nFormat regex", "p.conf:3", "parser 'p': format regex needs a Regex - for example:"),
        ("Name p\nFormat regex\nRegex ^(?<a>x", "p.conf:4", "position 1: the group is not closed in '^<here>(?<a>x'"),
        ("Name p\nFormat json\nTime_Offset 0100", "p.conf:4", "'0100' is not a time offset; write Z, +hhmm"),
        ("Name p\nFormat json\nTime_Format %s\nTime_Zone Mars/Base", "p.conf:5", "'Mars/Base' is not a time zone"),
        ("Name p\nFormat json\nTime_Zone UTC", "p.conf:4", "Time_Zone needs a Time_Format"),
        ("Name p\nFormat json\nTime_Format %s\nTime_Offset Z\nTime_Zone UTC", "p.conf:6", "Time_Zone excludes"),
        (
            "Name p\nFormat json\nTime_Format %s\nTime_System_Timezone on\nTime_Zone UTC",
            "p.conf:6",
            "Time_Zone excludes",
        ),
        ("Name p\nFormat json\nTime_Keep maybe", "p.conf:4", "'maybe' is not a boolean"),
    ],
)
def test_a_mistake_is_told_with_its_place_and_remedy(text: str, place: str, words: str) -> None:
    result = built(text)

    assert result.parsers == {}
    assert [p.exit_code for p in result.problems] == [1]
    assert str(result.problems[0]).startswith(f"{place}: ")
    assert words in str(result.problems[0])


def test_a_name_that_is_taken_is_told_with_both_places() -> None:
    result = Built(section("Name p\nFormat json"), section("Name p\nFormat ltsv", 11))

    assert [str(p) for p in result.problems] == [
        "p.conf:12: parser named 'p' already exists, it is defined at p.conf:2 - rename or remove one of the two"
    ]
    assert isinstance(result.parsers["p"], JsonParser)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("Time_Forma %s", "p.conf:4: parser 'p': unknown key 'time_forma' is ignored - did you mean 'time_format'?"),
        ("Time_Key t", "Time_Key has no effect without Time_Format"),
        ("Time_Format %Y.%f", "no time will ever fit: %f is not known here - a fraction of a second is %L, once"),
        ("Types a:integer", "Types has no effect with json"),
        ("Decode_Field_As jsn log", "decode_field_as is ignored: there is no decoder 'jsn'; did you mean 'json'?"),
        ("Time_Keep on\nTime_Keep off", "already specified"),
    ],
)
def test_what_stops_nothing_is_a_warning(text: str, words: str) -> None:
    result = built(f"Name p\nFormat json\n{text}")

    assert list(result.parsers) == ["p"]
    assert result.problems == []
    assert len(result.warnings) == 1
    assert words in result.warnings[0]


def test_types_that_do_not_exist_and_patterns_without_names_are_doubted() -> None:
    result = built("Name p\nFormat regex\nRegex ^(.*)$\nTypes a:int")

    assert [w.split(": ", 2)[2] for w in result.warnings] == [
        "'a' stays a text because there is no type 'int' - did you mean 'integer'?",
        "it has no named group, so no line will ever match - write (?<name>…)",
    ]


def test_a_pattern_is_read_only_if_the_format_needs_it() -> None:
    result = built("Name p\nFormat json\nRegex ^(?<a>x")

    assert result.problems == []
    assert list(result.parsers) == ["p"]
