"""The YAML format: the same model as the classic format, and every mistake with its place."""

from __future__ import annotations

import os
from pathlib import Path

import msgspec
import pytest

from shipper.config.classic import Role
from shipper.config.environment import Environment, Setting
from shipper.config.load import load_file, load_parsers
from shipper.config.model import Configuration, Section
from shipper.config.yaml import read_yaml
from shipper.config.yaml_sections import spelled_key
from shipper.errors import Origin, Problem
from shipper.parsers.rule_machine import Rule

DUMMY = "pipeline:\n  inputs:\n    - name: dummy\n"


class Folder:
    """A folder with configuration files, which is also the working folder."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def write(self, name: str, text: str | bytes) -> None:
        file = self.path / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(text.encode() if isinstance(text, str) else text)

    def read(
        self, text: str | bytes, name: str = "c.yaml", role: Role = "main"
    ) -> tuple[Configuration, list[Setting], list[Problem]]:
        self.write(name, text)
        problems: list[Problem] = []
        configuration, settings = read_yaml(name, role, problems)
        return configuration, settings, problems

    def told(self, text: str | bytes) -> list[str]:
        return [str(problem) for problem in self.read(text)[2]]

    def warnings(self, text: str) -> list[str]:
        found, _, problems = self.read(text)
        assert problems == []
        return found.warnings


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Folder:
    monkeypatch.chdir(tmp_path)
    return Folder(tmp_path)


def pairs(section: Section) -> list[tuple[str, str]]:
    return [(p.key, p.value) for p in section.properties]


def names(sections: list[Section]) -> list[str | None]:
    return [section.get("name") for section in sections]


def shape(configuration: Configuration) -> object:
    """All that a configuration says, without the places where it says it."""
    kinds = ("inputs", "filters", "outputs", "parsers", "multiline_parsers")
    sections = {kind: [(s.kind, pairs(s)) for s in getattr(configuration, kind)] for kind in kinds}
    return sections, pairs(configuration.service)


# -- texts -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("written", "text"),
    [
        ("on", "on"),
        ("1", "1"),
        ("0x10", "0x10"),
        ("~", "~"),
        ("null", "null"),
        ("2024-01-01", "2024-01-01"),
        ("'single ''quoted'''", "single 'quoted'"),
        ('"a\\tb"', "a\tb"),
        ("!!int 5", "5"),
        ("&anchor text", "text"),
        ("two words # and a comment", "two words"),
        ("|\n        first\n        second\n", "first\nsecond\n"),
        (">-\n        one\n        line\n", "one line"),
        ("", ""),
        ("grüße", "grüße"),
        ("${T}.${U:-x}", "${T}.${U:-x}"),
    ],
)
def test_every_scalar_is_its_text(folder: Folder, written: str, text: str) -> None:
    found, _, problems = folder.read(f"{DUMMY}      tag: {written}\n")

    assert problems == []
    assert found.inputs[0].get("tag") == text


def test_a_list_of_texts_repeats_the_key(folder: Folder) -> None:
    found, _, _ = folder.read(
        "pipeline:\n  filters:\n    - name: record_modifier\n      record: [k v, k2 v2]\n      x:\n        - 1\n"
    )

    assert pairs(found.filters[0]) == [
        ("name", "record_modifier"),
        ("record", "k v"),
        ("record", "k2 v2"),
        ("x", "1"),
    ]


@pytest.mark.parametrize(
    ("written", "key"),
    [
        ("flushOnStartup", "flush_on_startup"),
        ("Flush_On_Startup", "flush_on_startup"),
        ("Mem_Buf_Limit", "mem_buf_limit"),
        ("Match", "match"),
        ("FlushOnStartup", "flushonstartup"),
        ("storage.type", "storage.type"),
        ("multiline.parser", "multiline.parser"),
        ("path_Key", "path_key"),
    ],
)
def test_keys_are_spelled_as_options_are_called(written: str, key: str) -> None:
    assert spelled_key(written) == key


def test_properties_and_sections_know_line_and_column(folder: Folder) -> None:
    found, _, _ = folder.read(f"{DUMMY}      tag: x\n      y: [a, b]\n")

    assert found.inputs[0].origin == Origin("c.yaml", 3, 7)
    assert [p.origin for p in found.inputs[0].properties] == [
        Origin("c.yaml", 3, 7),
        Origin("c.yaml", 4, 7),
        Origin("c.yaml", 5, 11),
        Origin("c.yaml", 5, 14),
    ]
    assert str(found.inputs[0].origin) == "c.yaml:3:7"


# -- the same model --------------------------------------------------------------------------------------------------

CLASSIC_PIPELINE = r"""
[SERVICE]
    Flush 0.5
    HTTP_Server on
    Parsers_File parsers.conf
[INPUT]
    Name tail
    Path /var/log/*.log
    Tag ${T}.*
    multiline.parser cri
    Mem_Buf_Limit 5MB
[INPUT]
    Name dummy
[FILTER]
    Name record_modifier
    Match *
    Record a 1
    Record b "two words"
[OUTPUT]
    Name stdout
    Match_Regex ^app\.
"""
CLASSIC_PARSERS = r"""
[PARSER]
    Name p
    Format regex
    Regex ^(?<time>\d+) (?<log>.*)$
[MULTILINE_PARSER]
    Name m
    Type regex
    rule "start_state" "/^\d+ \"x\"/" "cont"
    rule "cont" "/^\s+/" "cont"
"""
YAML_PIPELINE = r"""
service:
  flush: 0.5
  http_server: on
  parsersFile: parsers.yaml
pipeline:
  inputs:
    - name: tail
      path: /var/log/*.log
      tag: ${T}.*
      multiline.parser: cri
      memBufLimit: 5MB
    - name: dummy
  filters:
    - name: record_modifier
      match: '*'
      record:
        - a 1
        - b "two words"
  outputs:
    - name: stdout
      match_regex: ^app\.
"""
YAML_PARSERS = r"""
parsers:
  - name: p
    format: regex
    regex: ^(?<time>\d+) (?<log>.*)$
multiline_parsers:
  - name: m
    type: regex
    rules:
      - {state: start_state, regex: '/^\d+ "x"/', next_state: cont}
      - state: cont
        regex: /^\s+/
        next_state: cont
"""


def loaded(name: str) -> Configuration:
    environment = Environment({"T": "app"}, host_name="node-1")
    problems: list[Problem] = []
    configuration = load_file(name, environment, problems)
    load_parsers(configuration, environment, problems)
    assert problems == []
    return configuration


def test_both_formats_give_the_same_model(folder: Folder) -> None:
    folder.write("c.conf", CLASSIC_PIPELINE)
    folder.write("parsers.conf", CLASSIC_PARSERS)
    folder.write("c.yaml", YAML_PIPELINE.replace("parsers.yaml", "parsers.conf"))

    assert shape(loaded("c.yaml")) == shape(loaded("c.conf"))


def test_parsers_may_stand_in_the_main_file_or_in_a_parsers_file(folder: Folder) -> None:
    folder.write("c.conf", CLASSIC_PIPELINE)
    folder.write("parsers.conf", CLASSIC_PARSERS)
    folder.write("own.yaml", YAML_PIPELINE.replace("  parsersFile: parsers.yaml\n", "") + YAML_PARSERS)
    folder.write("c.yaml", YAML_PIPELINE)
    folder.write("parsers.yaml", YAML_PARSERS)
    parsers = shape(msgspec.structs.replace(loaded("c.conf"), service=Section("service", Origin("x"))))

    assert shape(msgspec.structs.replace(loaded("own.yaml"), service=Section("service", Origin("x")))) == parsers
    assert shape(msgspec.structs.replace(loaded("c.yaml"), service=Section("service", Origin("x")))) == parsers


@pytest.mark.parametrize(
    ("written", "pattern"),
    [
        (r"/^\d+ \s/", r"/^\d+ \s/"),
        ('/"/', '/"/'),
        (r"/\"/", r'/"/'),
        (r"/\\/", r"/\\/"),
        ("plain", "plain"),
    ],
)
def test_the_pattern_of_a_rule_arrives_as_it_was_meant(folder: Folder, written: str, pattern: str) -> None:
    rules = f"[{{state: start_state, regex: '{written}', next_state: x}}]"
    found, _, problems = folder.read(f"multiline_parsers:\n  - name: m\n    type: regex\n    rules: {rules}\n")
    rule = Rule.parse(found.multiline_parsers[0].get("rule") or "")

    assert problems == []
    assert (rule.states, rule.regex.pattern, rule.next_state) == (("start_state",), pattern, "x")


# -- parts of a file -------------------------------------------------------------------------------------------------


def test_documents_and_repeated_pipelines_are_merged(folder: Folder) -> None:
    found, _, problems = folder.read(
        f"{DUMMY}---\nservice: {{flush: 1}}\n---\n{DUMMY}      tag: b\npipeline:\n  outputs: [{{name: stdout}}]\n"
    )

    assert problems == []
    assert (names(found.inputs), names(found.outputs)) == (["dummy", "dummy"], ["stdout"])
    assert pairs(found.service) == [("flush", "1")]


def test_a_second_service_in_one_file_is_refused(folder: Folder) -> None:
    told = folder.told("service:\n  flush: 1\nservice:\n  log_level: error\n")

    assert told == [
        "c.yaml:3:1: duplicated definition of 'service', the first one is at c.yaml:1:1 - "
        "write all keys below one 'service'"
    ]


def test_services_of_several_files_are_one(folder: Folder) -> None:
    folder.write("d/b.yaml", "service: {grace: 3}\n")
    found, _, problems = folder.read("includes: [d/b.yaml]\nservice: {flush: 2}\n")

    assert problems == []
    assert pairs(found.service) == [("grace", "3"), ("flush", "2")]


def test_parts_that_are_empty_are_only_remarked(folder: Folder) -> None:
    assert folder.warnings("env:\nservice:\nincludes:\npipeline:\n  inputs:\n") == [
        "c.yaml:1:1: 'env' is empty",
        "c.yaml:2:1: 'service' is empty",
        "c.yaml:3:1: 'includes' is empty",
    ]


@pytest.mark.parametrize("text", ["", "# nothing\n", "---\n", "\ufeffservice: {}\n"])
def test_a_file_may_say_nothing(folder: Folder, text: str) -> None:
    assert folder.told(text) == []


def test_unknown_flat_maps_are_ignored_with_a_hint(folder: Folder) -> None:
    warnings = folder.warnings("servise: {flush: 1}\nplugins: [a.so]\nstream_processor: [{name: x}]\n")

    assert warnings == [
        "c.yaml:1:1: unknown section 'servise' is ignored with all its keys - did you mean 'service'?",
        "c.yaml:2:1: 'plugins' is not supported and ignored",
        "c.yaml:3:1: 'stream_processor' is not supported and ignored",
    ]


@pytest.mark.parametrize("value", ["text", "[a]", "{a: {b: c}}"])
def test_other_unknown_parts_are_refused(folder: Folder, value: str) -> None:
    assert folder.told(f"pipelines: {value}\n") == [
        "c.yaml:1:1: unknown section 'pipelines' - did you mean 'pipeline'?"
    ]


# -- variables -------------------------------------------------------------------------------------------------------


def test_variables_of_a_file_win_and_are_not_expanded_again(folder: Folder) -> None:
    folder.write("c.yaml", f'env: {{T: tt, U: "${{T}}x"}}\n{DUMMY}      tag: ${{T}}.${{U}}\n')

    found = load_file("c.yaml", Environment({"T": "proc"}, host_name="node-1"))

    assert found.inputs[0].get("tag") == "tt.${T}x"


def test_variables_may_be_a_list(folder: Folder) -> None:
    found, settings, problems = folder.read(
        "env:\n  - {name: A, value: 1}\n  - {name: B, uri: file:///b, refresh_interval: 60}\n  - {name: C, value: ''}\n"
    )

    assert problems == []
    assert [(s.name, s.value) for s in settings] == [("A", "1"), ("B", "file:///b"), ("C", "")]
    assert found.warnings == ["c.yaml:3:5: refresh_interval is ignored: a variable is read when files are loaded"]


def test_variables_may_come_from_files(folder: Folder) -> None:
    folder.write("token", "secret\n")
    folder.write("c.yaml", f"env: [{{name: T, uri: 'file://{folder.path}/token'}}]\n{DUMMY}      tag: ${{T}}\n")

    found = load_file("c.yaml", Environment({}, host_name="node-1"))

    assert found.inputs[0].get("tag") == "secret"


@pytest.mark.parametrize(
    ("item", "told"),
    [
        ("{name: A}", "3: variable 'A' needs either a value or a uri"),
        ("{name: A, value: hunter2, uri: file:///x}", "3: variable 'A' needs either a value or a uri"),
        ("{value: hunter2}", "3: a variable of 'env' has no name"),
        ("{name: A, uri: hunter2}", "3: the uri of variable 'A' does not begin with file://"),
        ("{name: A, value: [hunter2]}", "20: YAML error: unexpected list: 'value' of a variable must be a text"),
        ("hunter2", "3: YAML error: unexpected text: a variable must be a map"),
    ],
)
def test_variables_that_cannot_be_set_are_told_without_their_values(folder: Folder, item: str, told: str) -> None:
    (problem,) = folder.told(f"env:\n- {item}\n")

    assert problem.startswith(f"c.yaml:2:{told} - ")
    assert "hunter2" not in problem


# -- includes --------------------------------------------------------------------------------------------------------


def test_includes_are_looked_up_beside_the_file_that_names_them(folder: Folder) -> None:
    folder.write("d/a.yaml", "includes: [b.yaml]\npipeline: {inputs: [{name: a}]}\n")
    folder.write("d/b.yaml", "pipeline: {inputs: [{name: b}]}\n")

    found, _, problems = folder.read("includes: [d/a.yaml]\npipeline: {inputs: [{name: main}]}\n")

    assert problems == []
    assert names(found.inputs) == ["b", "a", "main"]
    assert found.inputs[0].origin.file == os.path.join("d", "b.yaml")


def test_a_pattern_includes_in_the_order_of_the_names(folder: Folder) -> None:
    for name in ("2", "1", "3"):
        folder.write(f"d/{name}.yaml", f"pipeline: {{inputs: [{{name: i{name}}}]}}\n")
    (folder.path / "d" / "4.yaml").mkdir()

    found, _, problems = folder.read("pipeline: {inputs: [{name: main}]}\nincludes: ['d/*.yaml']\n")

    assert problems == []
    assert names(found.inputs) == ["main", "i1", "i2", "i3"]


def test_a_pattern_without_match_is_only_remarked(folder: Folder) -> None:
    (warning,) = folder.warnings("includes:\n  - n*.yaml\n")

    assert warning.startswith("c.yaml:2:5: [read_glob] glob: [n*.yaml] no match - ")


@pytest.mark.parametrize(
    ("names", "told"),
    [
        ("[nope.yaml]", "c.yaml:1:12: could not open included file 'nope.yaml': No such file or directory"),
        (
            "[c.yaml]",
            "c.yaml:1:12: Read twice. path=c.yaml, which was already read as the main file - include it once",
        ),
        (
            "[a.yaml, link.yaml]",
            "c.yaml:1:20: Read twice. path=link.yaml, which was already read at c.yaml:1:12 - include it once",
        ),
        ("[k.conf]", "c.yaml:1:12: 'k.conf' is a file in the classic format, not YAML - write k.conf in YAML"),
        (
            "{a: b}",
            "c.yaml:1:11: YAML error: unexpected map: includes must be a list - "
            "write its items below it, each behind '- '",
        ),
    ],
)
def test_includes_that_cannot_be_read_are_told(folder: Folder, names: str, told: str) -> None:
    folder.write("a.yaml", "service: {flush: 1}\n")
    folder.write("k.conf", "# classic\n\n[SERVICE]\n    Flush 1\n")
    (folder.path / "link.yaml").symlink_to("a.yaml")

    assert folder.told(f"includes: {names}\n") == [told]


def test_files_that_include_each_other_are_read_once(folder: Folder) -> None:
    folder.write("a.yaml", "includes: [c.yaml]\npipeline: {inputs: [{name: a}]}\n")

    found, _, problems = folder.read("includes: [a.yaml]\n")

    assert [str(p.origin) for p in problems] == ["a.yaml:1:12"]
    assert names(found.inputs) == ["a"]


def test_a_missing_main_file_is_told(folder: Folder) -> None:
    problems: list[Problem] = []
    read_yaml("nope.yaml", "main", problems)

    assert [str(p) for p in problems] == ["could not open configuration file 'nope.yaml': No such file or directory"]


def test_a_parsers_file_is_read_for_its_parsers_only(folder: Folder) -> None:
    found, settings, problems = folder.read(f"env: {{A: b}}\n{DUMMY}parsers: [{{name: p}}]\n", role="parsers")

    assert (problems, settings, found.inputs) == ([], [], [])
    assert names(found.parsers) == ["p"]
    assert found.warnings == [
        "c.yaml:1:1: 'env' is ignored: this file is read for its parsers only",
        "c.yaml:2:1: 'pipeline' is ignored: this file is read for its parsers only",
    ]


# -- mistakes --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "place", "told"),
    [
        ("service:\n  flush: 1\n   log_level: error\n", "3:13", "mapping values are not allowed here - look at line 2"),
        ("service:\n\tflush: 1\n", "2:1", "found character '\\t' that cannot start any token - indent with spaces"),
        ("service:\n  a: %b\n", "2:6", "found character '%' that cannot start any token - quote a text"),
        ("pipeline: [\n", "2:1", "expected the node content, but found '<stream end>' - look at line 1 and 2"),
        ("service:\n  a: b\x01c\n", "2:7", "control character #x01 - look at line 1 and 2"),
    ],
)
def test_a_syntax_error_names_line_and_column(folder: Folder, text: str, place: str, told: str) -> None:
    (problem,) = folder.told(text)
    line, column = place.split(":")

    assert problem.startswith(f"c.yaml:{place}: invalid YAML in file c.yaml at line {line}, column {column}: {told}")


def test_text_that_is_not_utf8_is_told_with_its_line(folder: Folder) -> None:
    told = folder.told(b"service:\n  a: \xff\n")

    assert told == ["c.yaml:2: invalid YAML in file c.yaml at line 2: the text is not UTF-8 - save the file as UTF-8"]


def test_a_syntax_error_leaves_the_documents_before_it(folder: Folder) -> None:
    found, _, problems = folder.read(f"{DUMMY}---\na: [\n")

    assert len(problems) == 1
    assert names(found.inputs) == ["dummy"]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("hello\n", "1:1: YAML error: unexpected text: a document must be a map"),
        ("service: 5\n", "1:10: YAML error: unexpected text: service must be a map"),
        ("service: {? [a] : b}\n", "1:13: a key of service must be a text"),
        ("env: 5\n", "1:6: YAML error: unexpected text: env must be a list"),
        ("parsers: {name: x}\n", "1:10: YAML error: unexpected map: 'parsers' must be a list"),
        ("pipeline: [a]\n", "1:11: YAML error: unexpected list: pipeline must be a map"),
        ("pipeline: {outputz: []}\n", "1:12: 'outputz' is no part of a pipeline - did you mean 'outputs'?"),
        ("pipeline: {inputs: {name: x}}\n", "1:20: YAML error: unexpected map: 'inputs' must be a list"),
        ("pipeline: {inputs: [x]}\n", "1:21: YAML error: unexpected text: an item of the inputs must be a map"),
        ("pipeline:\n  inputs:\n    -\n", "3:6: an item of the inputs is empty"),
        (
            f"{DUMMY}      dummy: {{a: b}}\n",
            "4:14: could not configure property 'dummy' on input plugin with section name 'dummy': "
            "it cannot hold a map",
        ),
        (
            f"{DUMMY}      tag: [[a]]\n",
            "4:13: could not configure property 'tag' on input plugin with section name 'dummy': it cannot hold a list",
        ),
        (
            "service: {parsers_file: [a, b]}\n",
            "1:11: could not configure service property 'parsers_file': it takes one value, not a list",
        ),
        (f"{DUMMY}      tag: *x\n", "4:12: aliases such as '*x' are not supported"),
        ("x: &x {a: b}\nservice: *x\n", "2:10: aliases such as '*x' are not supported"),
        (f"{DUMMY}      <<: {{a: b}}\n", "4:7: merge keys ('<<') are not supported"),
        (f"{DUMMY}      routes: {{logs: []}}\n", "4:7: 'routes' is not available yet"),
        (f"{DUMMY}      processors: [a]\n", "4:19: YAML error: unexpected list: processors must be a map"),
        (f"{DUMMY}      processors: {{logz: []}}\n", "4:20: processors of 'logz' are not known"),
        (f"{DUMMY}      processors: {{logs: {{name: x}}}}\n", "4:26: YAML error: unexpected map: logs must be a list"),
        (f"{DUMMY}      processors: {{logs: [x]}}\n", "4:27: YAML error: unexpected text: a processor must be a map"),
        (
            f"{DUMMY}      processors: {{logs: [{{name: modify, condition: {{rules: {{op: and}}}}}}]}}\n",
            "4:61: YAML error: unexpected map: the rules of a condition must be a list",
        ),
        (
            f"{DUMMY}      processors: {{logs: [{{name: modify, condition: {{rules: [x]}}}}]}}\n",
            "4:62: YAML error: unexpected text: a rule of a condition must be a map",
        ),
        ("multiline_parsers: [{name: m, rules: [{regex: a}]}]\n", "1:39: a rule needs state"),
        ("multiline_parsers: [{name: m, rules: [{state: a, regex: ''}]}]\n", "1:39: a rule needs regex"),
        ("multiline_parsers: [{name: m, rules: [a]}]\n", "1:39: YAML error: unexpected text: a rule must be a map"),
        ("[" * 500, " the file is nested too deeply"),
    ],
)
def test_a_mistake_is_one_problem_with_its_place(folder: Folder, text: str, told: str) -> None:
    (problem,) = folder.told(text)

    assert problem.startswith(f"c.yaml:{told}")


def test_the_telemetry_map_of_the_service_is_no_mistake(folder: Folder) -> None:
    found, _, problems = folder.read("service:\n  telemetry: {a: {b: c}}\n  flush: 1\n")

    assert problems == []
    assert pairs(found.service) == [("flush", "1")]


def test_all_mistakes_of_all_files_are_collected(folder: Folder) -> None:
    folder.write("a.yaml", "service: 1\nenv: *x\n")

    told = folder.told("includes: [a.yaml, b.yaml]\nservice: [a]\npipeline:\n  inputs: [x, {name: a, b: {c: d}}]\n")

    assert [":".join(problem.split(":")[:3]) for problem in told] == [
        "a.yaml:2:6",
        "a.yaml:1:10",
        "c.yaml:1:20",
        "c.yaml:2:10",
        "c.yaml:4:12",
        "c.yaml:4:28",
    ]


# -- processors ------------------------------------------------------------------------------------------------------


def test_processors_belong_to_their_plugin(folder: Folder) -> None:
    found, _, problems = folder.read(
        f"{DUMMY}      processors:\n        logs:\n          - name: modify\n            add: [a b, c d]\n"
        "          - {name: content_modifier, convertedType: int}\n    - name: other\n"
    )

    assert problems == []
    assert pairs(found.inputs[0]) == [("name", "dummy")]
    assert [pairs(unit) for unit in found.inputs[0].processors] == [
        [("name", "modify"), ("add", "a b"), ("add", "c d")],
        [("name", "content_modifier"), ("converted_type", "int")],
    ]
    assert found.inputs[1].processors == []


def test_processors_of_other_signals_are_ignored_with_a_remark(folder: Folder) -> None:
    (warning,) = folder.warnings(f"{DUMMY}      processors: {{metrics: [{{name: labels}}]}}\n")

    assert warning == "c.yaml:4:20: processors of metrics are ignored: there are only logs"


def test_variables_are_expanded_in_processors_too(folder: Folder) -> None:
    folder.write("c.yaml", f"env: {{A: b}}\n{DUMMY}      processors: {{logs: [{{name: modify, add: 'k ${{A}}'}}]}}\n")

    found = load_file("c.yaml", Environment({}, host_name="node-1"))

    assert found.inputs[0].processors[0].get("add") == "k b"
