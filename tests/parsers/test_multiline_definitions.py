"""Multiline definitions from sections: what is read, what is refused, what is only remarked."""

from __future__ import annotations

import pytest

from shipper.config.model import Property, Section
from shipper.errors import Origin, Problem
from shipper.parsers.base import Parsed, Parser
from shipper.parsers.multiline import (
    MultilineDefinition,
    build_multiline,
    built_in_definitions,
    check_flush_timeouts,
)
from shipper.parsers.rule_machine import Rule


class AnyParser(Parser):
    name = "any"

    def parse(self, text: str) -> Parsed | None:
        return None, {"log": text}


PARSERS: dict[str, Parser] = {"any": AnyParser()}
START_RULE = ("rule", r'"start_state" "/^\d+/" "start_state"')


def section(*properties: tuple[str, str], name: str | None = "mine") -> Section:
    named = [("name", name)] if name is not None else []
    origin = Origin("parsers.conf", 1)
    written = [
        Property(key, value, Origin("parsers.conf", line)) for line, (key, value) in enumerate([*named, *properties], 2)
    ]
    return Section("multiline_parser", origin, written)


def built(*sections: Section) -> tuple[dict[str, MultilineDefinition], list[Problem], list[str]]:
    problems: list[Problem] = []
    warnings: list[str] = []
    definitions = build_multiline(list(sections), PARSERS, problems, warnings.append)
    return definitions, problems, warnings


def test_all_keys_are_read() -> None:
    definitions, problems, warnings = built(
        section(
            ("type", "eq"),
            ("match_string", "END"),
            ("negate", "on"),
            ("key_content", "log"),
            ("key_pattern", "last"),
            ("key_group", "stream"),
            ("parser", "any"),
            ("flush_timeout", "1500"),
        )
    )

    mine = definitions["mine"]
    assert (problems, warnings) == ([], [])
    assert (mine.type, mine.match_string, mine.negate, mine.parser) == ("equal", "END", True, PARSERS["any"])
    assert (mine.key_content, mine.key_pattern, mine.key_group) == ("log", "last", "stream")
    assert mine.flush_timeout_s == 1.5


def test_names_are_found_in_lower_case() -> None:
    definitions, _, _ = built(section(("type", "endswith"), ("match_string", ";"), name="My-Format"))

    assert definitions["my-format"].name == "My-Format"


def test_the_built_in_definitions_are_always_there() -> None:
    definitions, _, _ = built()

    assert sorted(definitions) == ["cri", "docker", "go", "java", "python", "ruby"]
    assert all(definition.flush_timeout_s == 4.0 for definition in definitions.values())


def test_a_user_definition_of_a_built_in_name_is_never_used() -> None:
    definitions, problems, warnings = built(section(("type", "regex"), START_RULE, name="JAVA"))

    assert problems == []
    assert len(definitions["java"].rules.rules) == len(built_in_definitions()["java"].rules.rules)
    assert len(warnings) == 1
    assert "parsers.conf:1" in warnings[0]
    assert "built-in" in warnings[0]


def test_the_first_of_two_definitions_of_a_name_is_used() -> None:
    definitions, problems, warnings = built(
        section(("type", "endswith"), ("match_string", ";")), section(("type", "endswith"), ("match_string", "!"))
    )

    assert problems == []
    assert definitions["mine"].match_string == ";"
    assert "the first one is used" in warnings[0]


def test_unknown_keys_are_ignored_with_a_warning() -> None:
    definitions, problems, warnings = built(section(("type", "regex"), ("flush_timout", "9"), START_RULE))

    assert problems == []
    assert "mine" in definitions
    assert "parsers.conf:4" in warnings[0]
    assert "did you mean 'flush_timeout'?" in warnings[0]


@pytest.mark.parametrize(("text", "seconds"), [("1000", 1.0), ("0", 4.0), ("-1", 4.0), ("1s", 0.001), ("soon", 4.0)])
def test_flush_timeout_is_a_number_of_milliseconds(text: str, seconds: float) -> None:
    definitions, problems, _ = built(section(("type", "regex"), START_RULE, ("flush_timeout", text)))

    assert problems == []
    assert definitions["mine"].flush_timeout_s == seconds


def test_a_next_state_may_be_missing() -> None:
    definitions, problems, _ = built(section(("type", "regex"), ("rule", '"start_state" "/^A/"')))

    assert problems == []
    assert definitions["mine"].rules.rules[0].next_state is None


@pytest.mark.parametrize(
    ("properties", "line", "message"),
    [
        ([("match_string", "x")], 1, "'type' is required"),
        ([("type", "regexp"), START_RULE], 3, "'regexp' is not possible; did you mean 'regex'?"),
        ([("type", "endswith")], 3, "needs a 'match_string'"),
        ([("type", "regex"), ("rule", '"cont" "/^ /" "cont"')], 4, "doesn't contain a 'start_state'"),
        ([("type", "regex"), ("rule", '"start_state" "/a/" "cont"')], 4, "next state 'cont' is no state of any rule"),
        ([("type", "regex"), ("rule", '"start_state"')], 4, 'expected "STATE" "/REGEX/" "NEXT_STATE"'),
        ([("type", "regex"), ("rule", '"start_state" "/^(/" "start_state"')], 4, "option 'rule'"),
        ([("type", "regex"), ("parser", "an"), ("rule", '"start_state" "/a/"')], 4, "parser 'an' is not defined"),
    ],
)
def test_a_mistake_is_told_with_its_place(properties: list[tuple[str, str]], line: int, message: str) -> None:
    definitions, problems, _ = built(section(*properties))

    assert "mine" not in definitions
    assert [problem.exit_code for problem in problems] == [1]
    assert problems[0].origin == Origin("parsers.conf", line)
    assert message in problems[0].message


def test_rules_that_are_missing_are_remarked() -> None:
    definitions, problems, warnings = built(section(("type", "regex")))

    assert problems == []
    assert "mine" in definitions
    assert warnings == ["parsers.conf:1: multiline_parser: type regex without a 'rule' joins nothing"]


def test_a_name_is_required() -> None:
    definitions, problems, _ = built(section(("type", "regex"), ("rule", '"start_state" "/a/"'), name=None))

    assert sorted(definitions) == sorted(built_in_definitions())
    assert [str(p) for p in problems] == [
        "parsers.conf:1: multiline_parser: 'name' is required - for example: name my_format"
    ]


def test_an_undefined_parser_is_told_with_a_suggestion() -> None:
    _, problems, _ = built(section(("type", "endswith"), ("match_string", ";"), ("parser", "eny")))

    assert problems[0].remedy == "did you mean 'any'?"


@pytest.mark.parametrize(
    ("text", "states", "pattern", "next_state"),
    [
        (r'"start_state" "/^\d/" "cont"', ("start_state",), r"^\d", "cont"),
        (r'"a, b ,c" "/x y/" "d"', ("a", "b", "c"), "x y", "d"),
        ("start_state /^A/ cont", ("start_state",), "^A", "cont"),
        (r'"a" "/say \"x\" \\d/" "b"', ("a",), r'say "x" \\d', "b"),
        ('"a" "/x/"', ("a",), "x", None),
    ],
)
def test_a_rule_is_read_from_its_text(text: str, states: tuple[str, ...], pattern: str, next_state: str | None) -> None:
    rule = Rule.parse(text)

    assert (rule.states, rule.next_state) == (states, next_state)
    assert rule.regex.pattern in (pattern, f"/{pattern}/")


def test_too_short_timeouts_are_refused_where_they_are_used() -> None:
    short = MultilineDefinition(name="a", type="regex", flush_timeout_s=0.3)
    long = MultilineDefinition(name="b", type="regex", flush_timeout_s=0.5)

    check_flush_timeouts([short, long])
    with pytest.raises(ValueError, match="flush timeout '300' is too low"):
        check_flush_timeouts([short])
