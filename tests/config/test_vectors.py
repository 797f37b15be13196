"""The vectors for configurations, by their numbers: what is refused with which words, and what runs with which values.

Files with odd indentation (2 to 4, 6 to 8) are read here, where Fluent Bit refuses them. Vectors about sizes, record
accessors and the monitoring API are with their units.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

from shipper.assembly import assemble
from shipper.cli import load_pipeline
from shipper.command_line import parse_command_line
from shipper.config.options import read_options
from shipper.disk import SystemDisk
from shipper.errors import ConfigError
from shipper.metrics import Metrics
from shipper.outputs.base import OutputOptions
from shipper.pipeline import Pipeline, try_instances
from shipper.testing import ManualClock

from ..written_options import section_of

INPUT = "[INPUT]\n    Name dummy\n"
OUTPUT = "[OUTPUT]\n    Name stdout\n    Match *\n"


class Loaded:
    """What became of a configuration: its pipeline or its problems, and the remarks."""

    def __init__(self, folder: Path, text: str, more: Mapping[str, str], name: str = "c.conf") -> None:
        for file, content in more.items():
            (folder / file).parent.mkdir(exist_ok=True)
            (folder / file).write_text(content)
        (folder / name).write_bytes(text.encode())
        self.warnings: list[str] = []
        self.problems: list[str] = []
        self.exit_code = 0
        self.pipeline: Pipeline | None = None
        process = {"HOME": "/root", "T": "proc"}
        try:
            self.pipeline = load_pipeline(parse_command_line(["-c", str(folder / name)]), process, self.warnings)
            try_instances(self.pipeline)
        except ConfigError as error:
            self.problems, self.exit_code = [str(problem) for problem in error.problems], error.exit_code

    def tags(self) -> list[str]:
        assert self.pipeline is not None, self.problems
        return [instance.options.tag for instance in self.pipeline.inputs]


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Relative names are looked up in the working folder first, which has nothing here."""
    (tmp_path / "empty").mkdir()
    monkeypatch.chdir(tmp_path / "empty")


@pytest.mark.parametrize(
    ("text", "more", "told", "exit_code"),
    [
        pytest.param(f"[INPUT]\n    Name\tdummy\n{OUTPUT}", {}, "", 0, id="9 a tab is a blank here"),
        pytest.param(f"{INPUT}    Dummy\n{OUTPUT}", {}, "undefined value", 1, id="10"),
        pytest.param(f"{INPUT}    Dummy \n{OUTPUT}", {}, "empty value", 1, id="11"),
        pytest.param(f"{INPUT}    Dummy   \n{OUTPUT}", {}, "could not allocate key value pair", 1, id="12"),
        pytest.param(f"    Name x\n{INPUT}{OUTPUT}", {}, "could not allocate key value pair", 1, id="13"),
        pytest.param(f"{INPUT}{OUTPUT}[INPUT", {}, "bad header definition", 1, id="14"),
        pytest.param(f"[INPUT]\n    Name dummy # c\n{OUTPUT}", {}, "section 'dummy # c' tried to instance", 1, id="16"),
        pytest.param(f"[INPUT]\n    Tag dummy\n{OUTPUT}", {}, "missing the 'name' property", 1, id="17"),
        pytest.param(f"{INPUT}    Foo bar\n{OUTPUT}", {}, "unknown option 'foo'", 255, id="18"),
        pytest.param(f"{INPUT}    Samples 1\n    Samples 1\n{OUTPUT}", {}, "is set 2 times", 255, id="19"),
        pytest.param(
            f"[INPUT]\n    Name tail\n    Path /x\n    Skip_Long_Lines maybe\n{OUTPUT}",
            {},
            "not a boolean",
            255,
            id="21",
        ),
        pytest.param(f"{INPUT}    Tag ${{NOPE}}\n{OUTPUT}", {}, "option 'tag' is empty", 255, id="24"),
        pytest.param(f"@SETfoo\n{INPUT}{OUTPUT}", {}, "'@SETfoo' has no argument", 1, id="27"),
        pytest.param(f"@INCLUDE nope.conf\n{INPUT}{OUTPUT}", {}, "could not open included file", 1, id="28"),
        pytest.param(f"@INCLUDE n*.conf\n{INPUT}{OUTPUT}", {}, "no match", 1, id="28 a glob"),
        pytest.param(
            f"@INCLUDE d/i.conf\n{INPUT}{OUTPUT}",
            {"d/i.conf": "@INCLUDE j.conf\n", "d/j.conf": ""},
            "could not open included file 'j.conf'",
            1,
            id="29",
        ),
        pytest.param(f"@INCLUDE i.conf\n@INCLUDE i.conf\n{OUTPUT}", {"i.conf": INPUT}, "Read twice. path=", 1, id="30"),
        pytest.param(f"{INPUT}{OUTPUT}    @INCLUDE x\n", {}, "unknown option '@include'", 255, id="32"),
        pytest.param(f"[SERVICE]\n    Flush 0\n{INPUT}{OUTPUT}", {}, "invalid flush value, aborting.", 1, id="34"),
        pytest.param(
            f"[SERVICE]\n    Log_Level foo\n{INPUT}{OUTPUT}", {}, "could not configure service property", 1, id="35"
        ),
        pytest.param(f"{INPUT}[FILTER]\n    Name grep\n{OUTPUT}", {}, "NO match rule for grep.0 filter", 255, id="36"),
        pytest.param(f"\ufeff{INPUT}{OUTPUT}", {}, "undefined value", 1, id="50 a byte order mark"),
        pytest.param(
            f"{INPUT}    storage.type filesystem\n{OUTPUT}", {}, "no filesystem path was defined", 255, id="53"
        ),
        pytest.param(f"{INPUT}    storage.type foo\n{OUTPUT}", {}, "storage.type", 1, id="53 no type"),
        pytest.param(f"{INPUT}    Mem_Buf_Limit 10X\n{OUTPUT}", {}, "mem_buf_limit", 1, id="53 no size"),
    ],
)
def test_a_configuration_is_refused_with_these_words(
    tmp_path: Path, text: str, more: dict[str, str], told: str, exit_code: int
) -> None:
    loaded = Loaded(tmp_path, text, more)

    assert loaded.exit_code == exit_code
    if told:
        assert any(told in problem for problem in loaded.problems), loaded.problems
    else:
        assert loaded.problems == []


@pytest.mark.parametrize(
    ("text", "more", "tags"),
    [
        pytest.param(
            "[InPuT]\n    nAmE dummy\n    TAG x\n[OUTPUT] trailing\n    NAME STDOUT\n    MATCH *\n", {}, ["x"], id="1"
        ),
        pytest.param(f"{INPUT}  Tag x\n{OUTPUT}", {}, ["x"], id="2"),
        pytest.param(f"{INPUT}      Tag x\n{OUTPUT}", {}, ["x"], id="3"),
        pytest.param(f"{INPUT}\tTag x\n{OUTPUT}", {}, ["x"], id="4"),
        pytest.param(f"{INPUT}        Tag x\n{OUTPUT}", {}, ["x"], id="5"),
        pytest.param("[INPUT]\nName dummy\nTag x\n[OUTPUT]\nName stdout\nMatch *\n", {}, ["x"], id="6"),
        pytest.param(f"{INPUT}  \n    Tag x\n    \n{OUTPUT}", {}, ["x"], id="7"),
        pytest.param(f"{INPUT}  # c\n    # c\n        # c\n    Tag x\n{OUTPUT}", {}, ["x"], id="8"),
        pytest.param(f"{INPUT}    Tag x\n{OUTPUT}[FOO]\n    Name a\n", {}, ["x"], id="15"),
        pytest.param(f"{INPUT}    Tag ${{L}}\n{OUTPUT}@SET L=late tag\n", {}, ["late tag"], id="22"),
        pytest.param(f"{INPUT}    Tag a.${{NOPE}}.b.${{X:-def}}\n{OUTPUT}", {}, ["a..b.def"], id="23"),
        pytest.param(f"{INPUT}    Tag ${{A:-${{HOME}}}}\n{OUTPUT}", {}, ["${HOME}"], id="26"),
        pytest.param(
            f"@INCLUDE d/*.conf\n{OUTPUT}",
            {"d/a.conf": f"{INPUT}    Tag a\n", "d/b.conf": f"{INPUT}    Tag b\n"},
            ["a", "b"],
            id="31",
        ),
        pytest.param(f"{INPUT}    Tag x\n{OUTPUT}".replace("\n", "\r\n"), {}, ["x"], id="50"),
        pytest.param("[IN]\n    Name dummy\n    Tag x\n[OUT]\n    Name stdout\n    Match *\n", {}, ["x"], id="51"),
        pytest.param(
            f"{INPUT}    Tag x\n[FILTER]\n    Name grep\n    Match *\n    Active false\n{OUTPUT}", {}, ["x"], id="54"
        ),
    ],
)
def test_a_configuration_is_accepted_and_has_these_tags(
    tmp_path: Path, text: str, more: dict[str, str], tags: list[str]
) -> None:
    loaded = Loaded(tmp_path, text, more)

    assert loaded.problems == []
    assert loaded.tags() == tags
    assert loaded.pipeline is not None and loaded.pipeline.filters == ()


@pytest.mark.parametrize(
    ("text", "tag", "told"),
    [
        pytest.param(
            f"{INPUT}    Tag a\n    Tag b\n{OUTPUT}", "b", "'tag' is already specified with value 'a'", id="20"
        ),
        pytest.param(f"@SET foo\n{INPUT}    Tag x\n{OUTPUT}", "x", "[meta SET] invalid parameter", id="27 no value"),
    ],
)
def test_a_configuration_is_accepted_with_a_warning(tmp_path: Path, text: str, tag: str, told: str) -> None:
    loaded = Loaded(tmp_path, text, {})

    assert (loaded.problems, loaded.tags()) == ([], [tag])
    assert [told in warning for warning in loaded.warnings] == [True], loaded.warnings


def test_52_with_two_inputs_an_output_without_a_pattern_gets_nothing_and_that_is_told(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    second = INPUT.replace("dummy", "dummy\n    Tag y")
    loaded = Loaded(tmp_path, f"{INPUT}    Tag x\n{second}[OUTPUT]\n    Name stdout\n", {})
    assert loaded.pipeline is not None, loaded.problems
    router = assemble(loaded.pipeline, Metrics(), ManualClock(), SystemDisk(), lambda status=0: None).router

    assert [router.outputs_for(tag) for tag in ("x", "y")] == [(), ()]
    assert any("NO match for stdout.0 output instance" in message for message in caplog.messages)


@pytest.mark.parametrize(
    ("text", "more", "outcome"),
    [
        pytest.param(
            'env: {T: tt, U: "${T}x"}\npipeline:\n  inputs: [{name: dummy, tag: "${T}.${U}"}]\n',
            {},
            ["tt.${T}x"],
            id="39",
        ),
        pytest.param(
            "includes: [d/a.yaml]\n",
            {
                "d/a.yaml": "includes: [b.yaml]\n",
                "d/b.yaml": "pipeline:\n  inputs: [{name: dummy, tag: x}]\n",
            },
            ["x"],
            id="41",
        ),
        pytest.param("foo: {a: b}\npipeline:\n  inputs: [{name: dummy, tag: x}]\n", {}, ["x"], id="42"),
        pytest.param("foo: [a]\n", {}, ("unknown section 'foo'", 1), id="42 a list"),
        pytest.param("foo: a\n", {}, ("unknown section 'foo'", 1), id="42 a scalar"),
        pytest.param("pipeline:\n  inputs: [{name: dummy, tag: }]\n", {}, ("option 'tag' is empty", 255), id="43"),
        pytest.param(
            "service: {flush: 1}\nservice: {grace: 1}\n", {}, ("duplicated definition of 'service'", 1), id="44"
        ),
        pytest.param(
            "pipeline:\n  inputs: [{name: dummy, tag: a}]\npipeline:\n  inputs: [{name: dummy, tag: b}]\n",
            {},
            ["a", "b"],
            id="45",
        ),
    ],
)
def test_a_configuration_in_yaml_has_these_tags_or_is_refused_with_these_words(
    tmp_path: Path, text: str, more: dict[str, str], outcome: list[str] | tuple[str, int]
) -> None:
    loaded = Loaded(tmp_path, text, more, "c.yaml")

    if isinstance(outcome, tuple):
        told, exit_code = outcome
        assert any(told in problem for problem in loaded.problems), loaded.problems
        assert loaded.exit_code == exit_code
    else:
        assert loaded.tags() == outcome


@pytest.mark.parametrize(
    ("written", "read"), [('{"a":"}${HOME}"}', "${HOME}"), ('{"a":"${HOME}"}', "/root")], ids=["25", "25 expanded"]
)
def test_a_variable_behind_a_closing_brace_is_not_expanded(tmp_path: Path, written: str, read: str) -> None:
    loaded = Loaded(tmp_path, f"{INPUT}    Dummy {written}\n{OUTPUT}", {})

    assert loaded.pipeline is not None
    assert read in (loaded.pipeline.inputs[0].section.get("dummy") or "")


def test_only_a_variable_without_value_and_default_is_told(tmp_path: Path) -> None:
    """Vector 23."""
    text = f"{INPUT}    Tag a.${{NOPE}}.b.${{X:-def}}\n[OUTPUT]\n    Name stdout\n"

    warnings = Loaded(tmp_path, text, {}).warnings

    assert [warning.partition(": ")[2] for warning in warnings] == ["[env] variable ${NOPE} is used but not set"]


def test_a_number_ends_where_its_digits_end(tmp_path: Path) -> None:
    """Vector 47."""
    loaded = Loaded(tmp_path, f"{INPUT}    Samples 1s\n{OUTPUT}", {})

    assert loaded.pipeline is not None, loaded.problems
    assert loaded.pipeline.inputs[0].options.samples == 1


@pytest.mark.parametrize(("text", "retries"), [("abc", 1), ("0", 1), ("-3", 1)])
def test_33_what_is_no_number_of_retries_is_one_and_is_told(text: str, retries: int) -> None:
    warnings: list[str] = []
    read = read_options(OutputOptions, section_of(f"Retry_Limit {text}", "output"), "stdout", [], warnings.append)

    assert read is not None
    assert read.retry_limit is not None
    assert read.retry_limit.retries == retries
    assert warnings == [
        f"test.conf:2: stdout: option 'retry_limit': '{text}' is no number of retries; 1 is used, as in Fluent Bit (or "
        "write no_retries or no_limits)"
    ]
