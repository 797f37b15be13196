"""From a configuration to a pipeline: names, numbers, and every mistake with its place."""

from __future__ import annotations

from pathlib import Path

import pytest

from shipper.config.environment import Environment
from shipper.config.load import load_file
from shipper.config.model import Configuration
from shipper.context import Context
from shipper.errors import ConfigError, OptionError, Origin, Problem
from shipper.filters.modify import ModifyFilter
from shipper.log import Log
from shipper.outputs.null import NullOutput
from shipper.pipeline import Instance, Pipeline, PipelineError, build_pipeline, try_instances


class Builder:
    """Builds pipelines from texts, which become files of a folder that is also the working folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.warnings: list[str] = []

    def configuration(self, text: str) -> Configuration:
        self.write("c.conf", text)
        return load_file("c.conf", Environment({}, host_name="node-1"))

    def build(self, text: str) -> Pipeline:
        configuration = self.configuration(text)
        try:
            return build_pipeline(configuration, Environment({}, host_name="node-1"))
        finally:
            self.warnings = configuration.warnings

    def problems(self, text: str) -> list[Problem]:
        with pytest.raises(PipelineError) as caught:
            self.build(text)
        return list(caught.value.problems)

    def write(self, name: str, text: str) -> None:
        (self._folder / name).write_text(text)


@pytest.fixture
def builder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Builder:
    monkeypatch.chdir(tmp_path)
    return Builder(tmp_path)


def section(kind: str, *lines: str) -> str:
    return "\n".join([f"[{kind}]", *(f"    {line}" for line in lines)]) + "\n"


INPUT = section("INPUT", "Name dummy", "Tag app.x")
OUTPUT = section("OUTPUT", "Name null", "Match *")


def test_instances_of_a_kind_are_numbered_across_plugins(builder: Builder) -> None:
    tail = section("INPUT", "Name tail", "Path /x.log")
    found = builder.build(tail + INPUT + tail + section("OUTPUT", "Name stdout", "Match *") + OUTPUT)

    assert [i.name for i in found.inputs] == ["tail.0", "dummy.1", "tail.2"]
    assert [o.name for o in found.outputs] == ["stdout.0", "null.1"]


def test_alias_replaces_the_name_in_logs_only(builder: Builder) -> None:
    found = builder.build(section("INPUT", "NAME Dummy", "Alias app") + OUTPUT).inputs[0]

    assert (found.plugin, found.name, found.alias) == ("dummy", "dummy.0", "app")


def test_inactive_filters_are_left_out_and_keep_their_number(builder: Builder) -> None:
    off = section("FILTER", "Name modify", "Match *", "active false")
    on = section("FILTER", "Name modify", "Match *", "active yes please")

    assert [f.name for f in builder.build(INPUT + off + on + OUTPUT).filters] == ["modify.1"]


def test_pipeline_without_inputs_and_outputs_is_fine(builder: Builder) -> None:
    found = builder.build(section("SERVICE", "Flush 2"))

    assert (found.service.flush, found.instances()) == (2.0, ())


def test_parsers_come_with_the_pipeline(builder: Builder) -> None:
    builder.write("p.conf", section("PARSER", "Name mine", "Format json"))

    found = builder.build(section("SERVICE", "Parsers_File p.conf") + INPUT + OUTPUT)

    assert found.parsers.names() == ["mine"]
    assert "cri" in found.parsers.multiline_names()


def test_all_mistakes_are_told_together_by_file_and_line(builder: Builder) -> None:
    builder.write("p.conf", section("PARSER", "Name mine"))
    found = builder.problems(
        section("OUTPUT", "Name nul", "Match *")
        + section("SERVICE", "Flush 0", "Parsers_File p.conf")
        + section("FILTER", "Name modify", "Bogus 1")
        + section("INPUT", "Tag x", "Mem_Buf_Limit 10X")
    )

    places = [str(problem.origin) for problem in found]
    assert places == ["c.conf:2", "c.conf:5", "c.conf:7", "c.conf:9", "c.conf:10", "p.conf:1"]


@pytest.mark.parametrize(
    ("text", "place", "message", "remedy", "exit_code"),
    [
        (section("INPUT", "Name dumy"), 2, "section 'dumy' tried to instance", "did you mean 'dummy'?", 1),
        (section("INPUT", "Name stdout"), 2, "'stdout'", "'stdout' is the name of a filter and of an output", 1),
        (
            section("INPUT", "Name loki"),
            2,
            "'loki'",
            "'loki' is the name of an output: put it into a section [OUTPUT]",
            1,
        ),
        (section("INPUT", "Name dummy # c"), 2, "section 'dummy # c' tried to instance", "did you mean 'dummy'?", 1),
        (section("INPUT", "Tag x"), 1, "section 'input' is missing the 'name' property", "add: Name with one of", 1),
        (section("INPUT", "Name ${WHO}"), 2, "because ${WHO} is empty or not set", "set the variable", 1),
        (section("INPUT", "Name dummy", "Foo bar"), 3, "unknown option 'foo'", "known are: ", 255),
        (section("INPUT", "Name dummy", "Samples 1", "Samples 1"), 4, "is set 2 times (lines 3, 4)", "remove", 255),
        (section("INPUT", "Name dummy", "Tag ${NOPE}"), 3, "'tag' is empty because ${NOPE}", "${NOPE:-default}", 255),
        (section("INPUT", "Name dummy", "Mem_Buf_Limit 10X"), 3, "'10X' is not a size", "mem_buf_limit 50M", 1),
        (section("INPUT", "Name dummy", "storage.type foo"), 3, "'foo' is not possible", "known are:", 1),
        (section("INPUT", "Name dummy", "storage.type filesystem"), 3, "requested filesystem", "add storage.path", 255),
        (section("INPUT", "Name tail", "Path x", "Skip_Long_Lines maybe"), 4, "not a boolean", "write on or off", 255),
        (section("FILTER", "Name modify"), 1, "NO match rule for modify.0", "add: Match *", 255),
        (section("FILTER", "Name modify", "Match_Regex ("), 3, "match_regex", "", 1),
        (section("SERVICE", "Flush 0"), 2, "invalid flush value, aborting.", "write seconds", 1),
        (section("SERVICE", "Log_Level foo"), 2, "could not configure service property", "known are:", 1),
        (section("SERVICE", "scheduler.cap 2"), 2, "scheduler.cap (2)", "scheduler.base 5", 1),
    ],
)
def test_mistake_names_place_key_and_remedy(
    builder: Builder, text: str, place: int, message: str, remedy: str, exit_code: int
) -> None:
    (problem,) = builder.problems(text)

    assert problem.origin == Origin("c.conf", place)
    assert message in problem.message
    assert remedy in str(problem)
    assert problem.exit_code == exit_code


def test_two_outputs_of_one_name_are_refused_with_both_places(builder: Builder) -> None:
    one = section("OUTPUT", "Name null", "Match *", "Alias null.1")

    (problem,) = builder.problems(one + OUTPUT)

    assert "alias 'null.1' is the name of two outputs, the other is at c.conf:" in str(problem)


@pytest.mark.parametrize("kind", ["INPUT", "OUTPUT"])
def test_an_alias_is_given_once_and_told_for_the_others(builder: Builder, kind: str) -> None:
    lines = {"INPUT": ("Name dummy",), "OUTPUT": ("Name null", "Match *")}
    twice = section(kind, *lines[kind], "Alias out") + section(kind, *lines[kind], "Alias out")
    other = section("OUTPUT", *lines["OUTPUT"]) if kind == "INPUT" else section("INPUT", *lines["INPUT"])

    pipeline = builder.build(twice + other)

    instances = pipeline.inputs if kind == "INPUT" else pipeline.outputs
    assert [instance.alias for instance in instances] == ["out", instances[1].name]
    assert any("alias 'out' is the name of another" in warning for warning in builder.warnings)


def test_two_tails_may_share_a_database(builder: Builder) -> None:
    tail = section("INPUT", "Name tail", "Path /x.log", "DB /x.db")

    assert len(builder.build(tail + tail + OUTPUT).inputs) == 2


def test_storage_type_is_inherited_only_on_request(builder: Builder) -> None:
    service = ("storage.path /tmp/s", "storage.type filesystem")

    without = builder.build(section("SERVICE", *service) + INPUT + OUTPUT).inputs[0]
    inherited = builder.build(section("SERVICE", *service, "storage.inherit on") + INPUT + OUTPUT).inputs[0]

    assert (without.options.storage_type, inherited.options.storage_type) == (None, "filesystem")


def test_mistakes_of_the_loader_are_told_with_the_others(builder: Builder) -> None:
    configuration = builder.configuration(section("INPUT", "Name dumy"))
    earlier = Problem("bad header definition", Origin("c.conf", 1))

    with pytest.raises(ConfigError) as caught:
        build_pipeline(configuration, Environment({}), found=[earlier])

    assert caught.value.problems[0] == earlier
    assert len(caught.value.problems) == 2


@pytest.mark.parametrize(
    ("plugins", "warned"),
    [
        (INPUT + section("OUTPUT", "Name null", "Match zzz*"), ["c.conf:6", "'zzz*'", "null.0", "app.x"]),
        (INPUT + section("OUTPUT", "Name null", "Match_Regex x"), ["c.conf:6", "'x'", "null.0"]),
        (INPUT + section("FILTER", "Name modify", "Match y") + OUTPUT, ["c.conf:6", "'y'", "modify.0"]),
        (section("INPUT", "Name dummy") + section("OUTPUT", "Name null", "Match dummy"), ["c.conf:5", "dummy.0"]),
    ],
)
def test_pattern_that_fits_no_tag_is_a_warning(builder: Builder, plugins: str, warned: list[str]) -> None:
    builder.build(plugins)

    (warning,) = builder.warnings
    assert [word for word in warned if word not in warning] == []


@pytest.mark.parametrize(
    "plugins",
    [
        INPUT + OUTPUT,
        INPUT + section("OUTPUT", "Name null"),
        section("INPUT", "Name tail", "Path /x", "Tag kube.*") + section("OUTPUT", "Name null", "Match kube.var.*"),
        section("INPUT", "Name tail", "Path /x", "Tag k.<pod>", "Tag_Regex (?<pod>.+)")
        + section("OUTPUT", "Name null", "Match k.web"),
        OUTPUT,
    ],
)
def test_pattern_that_may_fit_a_tag_is_no_warning(builder: Builder, plugins: str) -> None:
    builder.build(plugins)

    assert builder.warnings == []


def test_filter_that_makes_tags_silences_the_warning(builder: Builder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ModifyFilter, "makes_tags", True)

    builder.build(INPUT + section("FILTER", "Name modify", "Match *") + section("OUTPUT", "Name null", "Match new"))

    assert builder.warnings == []


def context_of(instance: Instance) -> Context:
    return Context(kind=instance.kind, name=instance.name, alias=instance.alias, log=Log(""))


def test_instance_makes_its_plugin(builder: Builder) -> None:
    (instance,) = builder.build(INPUT + OUTPUT).outputs

    assert isinstance(instance.make(context_of(instance)), NullOutput)


def refuse_format(self: NullOutput, options: object, context: Context) -> None:
    raise OptionError("format", "is out of fashion", "use json")


def test_option_refused_by_the_constructor_is_told_with_its_place(
    builder: Builder, monkeypatch: pytest.MonkeyPatch
) -> None:
    pipeline = builder.build(INPUT + section("OUTPUT", "Name null", "Match *", "Format csv"))
    monkeypatch.setattr(NullOutput, "__init__", refuse_format)

    with pytest.raises(ConfigError) as caught:
        pipeline.outputs[0].make(context_of(pipeline.outputs[0]))
    with pytest.raises(PipelineError) as tried:
        try_instances(pipeline)

    assert str(caught.value) == "c.conf:7: null: option 'format' is out of fashion - use json"
    assert (str(tried.value), tried.value.failed) == (str(caught.value), ("output",))


@pytest.mark.parametrize(
    ("option", "told"),
    [
        ("Parser aply", "c.conf:6: tail: option 'parser': parser 'aply' is not registered - did you mean 'apply'?"),
        ("Parser_1 nope", "c.conf:6: tail: option 'parser_1': parser 'nope' is not registered - known are: apply"),
        ("multiline.parser docker, cr", "c.conf:6: tail: option 'multiline.parser'"),
    ],
)
def test_trying_finds_parsers_that_nobody_defined(builder: Builder, option: str, told: str) -> None:
    builder.write("p.conf", section("PARSER", "Name apply", "Format json"))
    service = section("SERVICE", "Parsers_File p.conf")
    pipeline = builder.build(service + section("INPUT", "Name tail", "Path /x.log", option) + OUTPUT)

    with pytest.raises(PipelineError) as caught:
        try_instances(pipeline)

    assert told in str(caught.value)
    assert len(caught.value.problems) == 1


def test_trying_a_good_pipeline_finds_nothing_and_creates_nothing(builder: Builder, tmp_path: Path) -> None:
    tail = section("INPUT", "Name tail", "Path /x.log", "DB x.db", "multiline.parser cri")

    try_instances(builder.build(tail + OUTPUT))

    assert [path.name for path in tmp_path.iterdir()] == ["c.conf"]


@pytest.mark.parametrize("line", ["Host h", "Port 9200", "tls on", "tls.verify off", "net.keepalive off", "ipv6 on"])
def test_what_every_output_takes_and_this_one_does_not_use_is_told(builder: Builder, line: str) -> None:
    pipeline = builder.build(INPUT + section("OUTPUT", "Name stdout", "Match *", line))

    key = line.split()[0].lower()
    assert [instance.plugin for instance in pipeline.outputs] == ["stdout"]
    assert f"c.conf:7: stdout: '{key}' has no effect: this plugin does not use it" in builder.warnings


@pytest.mark.parametrize(("plugin", "key"), [("stdout", "netting"), ("http", "net.keepaliv"), ("http", "tls.verif")])
def test_keys_that_no_output_takes_are_refused(builder: Builder, plugin: str, key: str) -> None:
    (problem,) = builder.problems(INPUT + section("OUTPUT", f"Name {plugin}", "Match *", f"{key} on"))

    assert f"unknown option '{key}'" in problem.message


@pytest.mark.parametrize("region", ["{{region_name}}", "eu west", "a/b", "eu-west-1."])
def test_a_region_that_cannot_be_one_is_refused(builder: Builder, region: str) -> None:
    lines = ("Match *", f"region {region}", "log_group_name g", "log_stream_name s")
    (problem,) = builder.problems(INPUT + section("OUTPUT", "Name cloudwatch_logs", *lines))

    assert f"'{region}' cannot be the name of a region" in problem.message
    assert "region eu-west-1" in problem.remedy
