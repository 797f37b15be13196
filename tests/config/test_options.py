"""Options read from a section: types, words, and what the user is told about mistakes."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

import pytest
from msgspec import field

from shipper.config.model import Property, Section
from shipper.config.options import (
    Options,
    declared_options,
    did_you_mean,
    opt,
    option_problem,
    read_options,
    read_value,
    shown_type,
)
from shipper.config.service import ServiceOptions
from shipper.config.units import ByteSize, Seconds
from shipper.errors import OptionError, Origin, Problem
from shipper.inputs.base import InputOptions
from shipper.outputs.base import NetworkOptions

from ..written_options import section_of


class Pair:
    """A type that reads its own text."""

    shown_as = "pair"

    def __init__(self, one: str, other: str) -> None:
        self.both = (one, other)

    @classmethod
    def parse(cls, text: str) -> Self:
        one, _, other = text.partition(" ")
        if not other:
            raise ValueError(f"expected 'ONE OTHER', got {text!r}")
        return cls(one, other)


class BaseOptions(Options):
    tag: Annotated[str | None, opt("The tag.", core=True)] = None
    level: Annotated[Literal["info", "Debug"], opt("The level.", core=True)] = "info"


class SampleOptions(BaseOptions, kw_only=True):
    path: Annotated[str, opt("The path.", example="/var/log/*.log")]
    buffer_max_size: Annotated[ByteSize, opt("The size.", aliases=("max_size",))] = ByteSize(1000)
    wait: Annotated[Seconds, opt("The time.", example="5s")] = Seconds(5)
    deep: Annotated[bool, opt("Deep or not.")] = field(default=False, name="db.deep")
    count: Annotated[int, opt("A number.")] = 1
    names: Annotated[tuple[str, ...], opt("Names.", split=",")] = ()
    words: Annotated[tuple[str, ...], opt("Words.", split=" ")] = ()
    pairs: Annotated[tuple[Pair, ...], opt("Pairs.", example="a b")] = ()
    password: Annotated[int, opt("Secret number.", secret=True)] = 0
    parsers: Annotated[tuple[str, ...], opt("Further parsers.", family="parser_")] = ()

    def __post_init__(self) -> None:
        if self.count < 0:
            raise OptionError("count", "must not be negative", "write 0 or more")


class Reading:
    """The outcome of reading a section."""

    def __init__(self, *lines: str | tuple[str, ...]) -> None:
        properties = [Property("name", "sample", Origin("c.conf", 2))]
        for number, line in enumerate(lines, 3):
            text, *unset = (line,) if isinstance(line, str) else line
            key, _, value = text.partition(" ")
            properties.append(Property(key, value, Origin("c.conf", number), tuple(unset)))
        self.problems: list[Problem] = []
        self.warnings: list[str] = []
        section = Section("input", Origin("c.conf", 1), properties)
        self.options = read_options(SampleOptions, section, "sample", self.problems, self.warnings.append)

    def value(self, name: str) -> Any:
        assert self.options is not None, self.told
        return getattr(self.options, name)

    @property
    def told(self) -> list[str]:
        return [str(problem) for problem in self.problems]


@pytest.mark.parametrize(
    ("line", "name", "value"),
    [
        ("buffer_max_size 5M", "buffer_max_size", 5_000_000),
        ("max_size 2k", "buffer_max_size", 2000),
        ("wait 2m", "wait", 120),
        ("db.deep ON", "deep", True),
        ("count 7", "count", 7),
        ("count 1s", "count", 1),
        ("names a, b,,c", "names", ("a", "b", "c")),
        ("words a  b,c", "words", ("a", "b,c")),
        ("level debug", "level", "Debug"),
        ("tag a b", "tag", "a b"),
    ],
)
def test_a_value_is_read_as_its_declared_type(line: str, name: str, value: Any) -> None:
    reading = Reading("path x", line)

    assert reading.value(name) == value
    assert (reading.told, reading.warnings) == ([], [])


def test_options_that_are_not_given_have_their_defaults() -> None:
    options = Reading("path x").options

    assert options == SampleOptions(path="x")


def test_a_list_collects_the_values_of_all_its_lines_in_order() -> None:
    reading = Reading("path x", "names b", "pairs 1 2", "names a,c", "pairs 3 4")

    assert reading.value("names") == ("b", "a", "c")
    assert [pair.both for pair in reading.value("pairs")] == [("1", "2"), ("3", "4")]


def test_a_family_collects_every_key_with_its_prefix_in_order() -> None:
    assert Reading("path x", "parser_2 b", "parser_1 a").value("parsers") == ("b", "a")


def test_the_bare_prefix_of_a_family_is_no_key() -> None:
    assert "unknown option 'parser_'" in Reading("path x", "parser_ a").told[0]


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("bufer_max_size 1", "c.conf:4: sample: unknown option 'bufer_max_size' - did you mean 'buffer_max_size'?"),
        ("db.sleep on", "c.conf:4: sample: unknown option 'db.sleep' - did you mean 'db.deep'?"),
        ("wait soon", "c.conf:4: sample: option 'wait': 'soon' is not a duration; write a number with s, m, h or d, "),
        ("db.deep maybe", "c.conf:4: sample: option 'db.deep': 'maybe' is not a boolean; write on or off"),
        ("level debig", "c.conf:4: sample: option 'level': 'debig' is not possible; did you mean 'debug'?"),
        ("pairs a", "c.conf:4: sample: option 'pairs': expected 'ONE OTHER', got 'a' - for example: pairs a b"),
        ("count -1", "c.conf:4: sample: option 'count' must not be negative - write 0 or more"),
    ],
)
def test_a_mistake_is_told_with_its_place_and_a_remedy(line: str, told: str) -> None:
    reading = Reading("path x", line)

    assert reading.options is None
    assert len(reading.told) == 1
    assert reading.told[0].startswith(told)


def test_an_unknown_option_like_none_is_told_with_all_names() -> None:
    assert "known are: buffer_max_size, count, db.deep" in Reading("path x", "zzzzzz 1").told[0]


def test_all_mistakes_of_a_section_are_told_at_once() -> None:
    assert len(Reading("wait soon", "nope 1", "count x").told) == 4


@pytest.mark.parametrize(("line", "exit_code"), [("level loud", 1), ("wait soon", 255), ("nope 1", 255)])
def test_only_a_bad_value_of_a_core_key_is_a_load_error(line: str, exit_code: int) -> None:
    assert [p.exit_code for p in Reading("path x", line).problems] == [exit_code]


def test_a_repeated_option_is_a_mistake_that_names_the_lines() -> None:
    reading = Reading("path x", "count 1", "path y", "count 2")

    assert reading.options is None
    assert [t.partition(" - ")[0] for t in sorted(reading.told)] == [
        "c.conf:5: sample: option 'path' is set 2 times (lines 3, 5)",
        "c.conf:6: sample: option 'count' is set 2 times (lines 4, 6)",
    ]


def test_an_option_given_under_two_of_its_names_is_repeated() -> None:
    assert "is set 2 times" in Reading("path x", "buffer_max_size 1", "max_size 2").told[0]


def test_of_a_repeated_core_key_the_last_one_counts_with_a_warning() -> None:
    reading = Reading("path x", "tag a", "tag b")

    assert reading.value("tag") == "b"
    assert reading.warnings == ["c.conf:5: property 'tag' is already specified with value 'a'. Overwriting with 'b'"]


def test_a_required_option_that_is_missing_is_told_at_the_section() -> None:
    reading = Reading("count 1")

    assert reading.told == ["c.conf:1: sample: option 'path' is required - for example: path /var/log/*.log"]


@pytest.mark.parametrize("line", [("path ", "LOGS"), ("tag ", "LOGS")])
def test_a_required_or_core_option_may_not_become_empty(line: tuple[str, ...]) -> None:
    reading = Reading(*(() if line[0] == "path " else ("path x",)), line)
    key = line[0].strip()

    assert reading.options is None
    assert len(reading.told) == 1
    assert f"option '{key}' is empty because ${{LOGS}} is empty or not set" in reading.told[0]
    assert "${LOGS:-default}" in reading.told[0]


def test_another_option_that_becomes_empty_keeps_its_default_with_a_warning() -> None:
    reading = Reading("path x", ("wait ", "W"), ("count ", "A", "B"))

    assert (reading.value("wait"), reading.value("count")) == (5, 1)
    assert reading.warnings == [
        "c.conf:4: sample: option 'wait' is empty because ${W} is empty or not set; its default is used",
        "c.conf:5: sample: option 'count' is empty because ${A}, ${B} is empty or not set; its default is used",
    ]


def test_a_secret_is_not_shown_when_it_cannot_be_read() -> None:
    reading = Reading("path x", "password hunter2")

    assert "its value cannot be read" in reading.told[0]
    assert "hunter2" not in reading.told[0]


def test_declared_options_are_those_of_the_class_before_those_of_its_bases() -> None:
    declared = declared_options(SampleOptions)

    assert [d.name for d in declared][:4] == ["path", "buffer_max_size", "wait", "db.deep"]
    assert [d.name for d in declared][-2:] == ["tag", "level"]
    assert [d.name for d in declared if d.is_required] == ["path"]
    assert [d.name for d in declared if d.is_list] == ["names", "words", "pairs", "parsers"]


def test_a_suggestion_names_the_nearest_choice_whatever_its_case() -> None:
    assert did_you_mean("REGX", ["regex", "exclude"]) == "did you mean 'regex'?"
    assert did_you_mean("zzz", ["regex", "exclude"]) == "known are: exclude, regex"


def test_an_option_error_of_a_constructor_points_at_the_option() -> None:
    section = Section("input", Origin("c.conf", 1), [Property("wait", "5", Origin("c.conf", 7))])

    problem = option_problem(OptionError("wait", "is too long"), section, "x")

    assert str(problem) == "c.conf:7: x: option 'wait' is too long"
    assert problem.exit_code == 255
    assert str(option_problem(OptionError("path", "is bad"), section, "x")) == "c.conf:1: x: option 'path' is bad"


@pytest.mark.parametrize(
    ("kind", "shown"),
    [
        (bool, "boolean"),
        (int, "integer"),
        (float, "number"),
        (str, "text"),
        (ByteSize, "size"),
        (Seconds, "time"),
        (Pair, "pair"),
        (tuple[Pair, ...], "list of pair"),
        (Literal["a", "b"], "a | b"),
    ],
)
def test_a_type_is_shown_in_plain_words(kind: Any, shown: str) -> None:
    assert shown_type(kind) == shown


def test_a_word_of_a_closed_set_is_read_in_any_case_as_it_is_declared() -> None:
    assert read_value(Literal["info", "Debug"], " DEBUG ") == "Debug"


def test_an_input_accepts_the_rate_options_and_tells_those_without_effect() -> None:
    problems: list[Problem] = []
    warnings: list[str] = []
    section = section_of("rate_window 5s\nrate_gate on\nrate_gate.max_bytes 1M\nrate_gate.backpressure true", "input")

    options = read_options(InputOptions, section, "dummy", problems, warnings.append)

    assert problems == []
    assert options is not None and options.rate_window == Seconds(5)
    reason = "an input waits when its buffer is full, whatever its rate"
    assert warnings == [
        f"test.conf:3: dummy: 'rate_gate' has no effect: {reason}",
        f"test.conf:4: dummy: 'rate_gate.max_bytes' has no effect: {reason}",
        f"test.conf:5: dummy: 'rate_gate.backpressure' has no effect: {reason}",
    ]


# -- bounds ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "line", "field_name", "value"),
    [
        (NetworkOptions, "workers -1", "workers", 0),
        (NetworkOptions, "port 0", "port", None),
        (NetworkOptions, "port -5", "port", None),
        (NetworkOptions, "net.max_worker_connections -1", "max_worker_connections", 0),
        (NetworkOptions, "net.keepalive_max_recycle -1", "keepalive_max_recycle", 2000),
        (ServiceOptions, "storage.max_chunks_up -1", "storage_max_chunks_up", 128),
        (ServiceOptions, "grace -7", "grace", 5),
        (ServiceOptions, "http_port -1", "http_port", 2020),
        (ServiceOptions, "hc_period 0", "hc_period", 60),
    ],
)
def test_below_the_least_number_the_default_is_used_and_that_is_told(
    options: type[Options], line: str, field_name: str, value: Any
) -> None:
    problems: list[Problem] = []
    warnings: list[str] = []
    read = read_options(options, section_of(line, "output"), "some", problems, warnings.append)

    key, _, text = line.partition(" ")
    assert problems == []
    assert getattr(read, field_name) == value
    (warning,) = warnings
    assert warning.startswith(f"test.conf:2: some: option '{key}': '{text}' is below ")


@pytest.mark.parametrize("line", ["grace -1", "workers 0", "port 1", "port 65535", "storage.max_chunks_up 0"])
def test_numbers_at_the_bounds_are_taken_as_they_are(line: str) -> None:
    problems: list[Problem] = []
    warnings: list[str] = []
    options = ServiceOptions if line.startswith(("grace", "storage")) else NetworkOptions
    read = read_options(options, section_of(line, "output"), "some", problems, warnings.append)

    assert (problems, warnings) == ([], [])
    key, _, text = line.partition(" ")
    assert getattr(read, key.replace(".", "_")) == int(text)


def test_a_port_that_cannot_be_is_refused() -> None:
    problems: list[Problem] = []

    assert read_options(NetworkOptions, section_of("port 99999", "output"), "http", problems, pytest.fail) is None
    assert [str(p) for p in problems] == [
        "test.conf:2: http: option 'port': '99999' is too large; the largest is 65535"
    ]
