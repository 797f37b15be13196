"""From files to a configuration: variables, SERVICE values, parsers files."""

from __future__ import annotations

from pathlib import Path

import pytest

from shipper.config.environment import Environment
from shipper.config.load import load_file, load_parsers, read_service
from shipper.config.model import Configuration
from shipper.config.service import ServiceOptions
from shipper.errors import ConfigError, Problem

INPUT = "[INPUT]\n    Name dummy\n"


class Loader:
    """Loads texts as files of a folder, which is also the working folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.environment = Environment({"A": "one", "EMPTY": ""}, host_name="node-1")
        self.problems: list[Problem] = []

    def load(self, text: str, name: str = "c.conf") -> Configuration:
        self.write(name, text)
        return load_file(name, self.environment)

    def service(self, *lines: str) -> tuple[ServiceOptions | None, list[str]]:
        configuration = self.load("\n".join(["[SERVICE]", *(f"    {line}" for line in lines)]))
        return read_service(configuration, self.problems), configuration.warnings

    def parsers(self, *lines: str, extra: tuple[str, ...] = ()) -> Configuration:
        configuration = self.load("\n".join(["[SERVICE]", *(f"    {line}" for line in lines)]))
        load_parsers(configuration, self.environment, self.problems, extra)
        return configuration

    def write(self, name: str, text: str) -> None:
        file = self.folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)

    def told(self) -> list[str]:
        return [str(problem) for problem in self.problems]


@pytest.fixture
def loader(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Loader:
    monkeypatch.chdir(tmp_path)
    return Loader(tmp_path)


def names(configuration: Configuration) -> tuple[list[str | None], list[str | None]]:
    return [p.get("name") for p in configuration.parsers], [p.get("name") for p in configuration.multiline_parsers]


def test_variables_are_expanded_wherever_they_are_set(loader: Loader) -> None:
    found = loader.load(
        f"{INPUT}    Tag ${{T}}.${{A}}.${{HOSTNAME}}\n[SERVICE]\n    Flush ${{F}}\n@SET T=late tag\n@SET F=2\n"
    )

    assert found.inputs[0].get("tag") == "late tag.one.node-1"
    assert found.service.get("flush") == "2"


def test_a_variable_without_value_is_a_warning_and_the_property_names_it(loader: Loader) -> None:
    found = loader.load(INPUT + "    Tag a.${NOPE}.b.${X:-def}\n    Key ${EMPTY}\n")
    tag, key = found.inputs[0].properties[1:]

    assert (tag.value, tag.unset) == ("a..b.def", ("NOPE",))
    assert (key.value, key.unset) == ("", ("EMPTY",))
    assert found.warnings == [
        "c.conf:3: [env] variable ${NOPE} is used but not set",
        "c.conf:4: [env] variable ${EMPTY} is empty",
    ]


def test_a_variable_from_a_file_that_is_missing_is_a_problem(loader: Loader) -> None:
    with pytest.raises(ConfigError) as caught:
        loader.load("@SET S=file:///nope/secret\n")

    assert str(caught.value).startswith("c.conf:1: variable 'S' cannot be set: 'file:///nope/secret' cannot be read")
    assert caught.value.exit_code == 1


def test_one_error_carries_all_mistakes(loader: Loader) -> None:
    with pytest.raises(ConfigError) as caught:
        loader.load("[INPUT]\n    Name\n[OUTPUT\n    Name stdout\n")

    assert [p.origin.line for p in caught.value.problems if p.origin] == [2, 3]
    assert caught.value.exit_code == 1


@pytest.mark.parametrize("name", ["c.yaml", "c.YML"])
def test_the_name_of_a_file_says_that_it_is_yaml(loader: Loader, name: str) -> None:
    found = loader.load("service: {flush: 2}\npipeline: {inputs: [{name: dummy}]}\n", name=name)

    assert (found.service.get("flush"), found.inputs[0].get("name")) == ("2", "dummy")


def test_of_a_repeated_service_key_the_last_one_counts_silently(loader: Loader) -> None:
    options, warnings = loader.service(
        "Flush 1", "Grace 3", "flush 2.5", "storage.backlog.flush_on_shutdown off", "storage.backlog.shutdown_flush on"
    )

    assert options is not None
    assert (options.flush, options.grace, options.storage_backlog_flush_on_shutdown) == (2.5, 3.0, True)
    assert (warnings, loader.problems) == ([], [])


def test_the_defaults_hold_without_a_service_section(loader: Loader) -> None:
    assert read_service(loader.load(INPUT), loader.problems) == ServiceOptions()


@pytest.mark.parametrize("value", ["0", "-1", "0.0", "-0.5"])
def test_a_flush_that_is_not_positive_is_refused(loader: Loader, value: str) -> None:
    options, _ = loader.service("Grace 1", f"Flush {value}")

    assert options is None
    assert loader.told()[0].startswith("c.conf:3: invalid flush value, aborting.")
    assert loader.problems[0].exit_code == 1


@pytest.mark.parametrize("line", ["HTTP_Server 1", "Hot_Reload maybe", "storage.metrics onn"])
def test_a_switch_of_the_service_that_is_no_boolean_is_off_and_told(loader: Loader, line: str) -> None:
    options, warnings = loader.service("HTTP_Server on", "Hot_Reload on", "storage.metrics on", line)
    key, value = line.lower().split()

    assert options is not None
    assert [options.http_server, options.hot_reload, options.storage_metrics].count(False) == 1
    assert f"c.conf:5: {key}: '{value}' is not a boolean and counts as off; write on or off" in warnings


def test_a_placeholder_that_was_left_in_place_is_told(loader: Loader) -> None:
    configuration = loader.load("[SERVICE]\n    Flush 1\n[INPUT]\n    Name tail\n    Tag {{cluster-name}}.x")

    assert configuration.warnings == [
        "c.conf:5: tag: {{cluster-name}} looks like a placeholder that was to be replaced, and is taken as it stands"
    ]


@pytest.mark.parametrize(
    "line",
    [
        "Log_Level loud",
        "Flush never",
        "storage.sync half",
        "storage.backlog.mem_limit 5MiB",
        "multiline_buffer_limit 10X",
        "HC_Period x",
    ],
)
def test_a_service_value_that_cannot_be_read_is_refused_as_a_load_error(loader: Loader, line: str) -> None:
    options, _ = loader.service(line)
    key = line.split()[0].lower()

    assert options is None
    assert [p.exit_code for p in loader.problems] == [1]
    assert loader.problems[0].message.startswith(f"could not configure service property: option '{key}'")


def test_all_service_values_that_cannot_be_read_are_told(loader: Loader) -> None:
    loader.service("Log_Level loud", "Flush never", "Grace 5")

    assert {str(p.origin) for p in loader.problems} == {"c.conf:2", "c.conf:3"}


@pytest.mark.parametrize(
    ("line", "warning"),
    [
        (
            "Log_Levl debug",
            "c.conf:2: unknown key 'log_levl' of the SERVICE section is ignored - did you mean 'log_level'?",
        ),
        ("Zzzzzzzzzz 1", "c.conf:2: unknown key 'zzzzzzzzzz' of the SERVICE section is ignored - check its spelling"),
        ("storage.type disk", "c.conf:2: storage.type 'disk' is not known; memory is used"),
    ],
)
def test_a_service_key_that_nobody_knows_is_a_warning(loader: Loader, line: str, warning: str) -> None:
    options, warnings = loader.service(line)

    assert options == ServiceOptions()
    assert warnings == [warning]


SERVICE_KEYS = """
    Flush 1;flush.adaptive on;flush.adaptive.min_interval 0.5;flush.adaptive.max_interval 2;flush.adaptive.up_steps 2
    flush.adaptive.low_pressure 25;flush.adaptive.medium_pressure 50;flush.adaptive.high_pressure 75
    flush.adaptive.down_steps 3
    Grace -1;Daemon off;Log_File x;Log_Level warning;Parsers_File p;Parsers_File q;Plugins_File p;Streams_File s
    HTTP_Server on;HTTP_Listen 0.0.0.0;HTTP_Port 2020;Health_Check on;HC_Errors_Count 5;HC_Retry_Failure_Count 5
    HC_Period 60;Hot_Reload on;Hot_Reload.Ensure_Thread_Safety on;Hot_Reload.Timeout 0;storage.path /x
    storage.sync full;storage.checksum on;storage.metrics on;storage.max_chunks_up 128;storage.backlog.mem_limit 5M
    storage.backlog.flush_on_shutdown off;storage.delete_irrecoverable_chunks off;storage.trim_files off
    storage.type filesystem;storage.inherit off;storage.keep.rejected on;storage.rejected.path r
    storage.rejected.limit 1M;scheduler.base 5;scheduler.cap 2000;json.convert_nan_to_null off;json.escape_unicode on
    multiline_buffer_limit 2MB;Coro_Stack_Size 24576;dns.mode TCP;dns.resolver legacy;dns.prefer_ipv4 off
    dns.prefer_ipv6 off;sp.convert_from_str_to_num true;security.fips_mode off;Enable_Chunk_Trace off
    windows.maxstdio 512
"""


def test_every_service_key_of_fluent_bit_is_known(loader: Loader) -> None:
    lines = [line.strip() for line in SERVICE_KEYS.replace("\n", ";").split(";") if line.strip()]
    options, warnings = loader.service(*lines)

    assert loader.problems == []
    assert warnings == [
        "c.conf:3: service: 'flush.adaptive' has no effect: a full delivery leaves at once, any other after flush"
    ]
    assert options is not None
    assert options.parsers_file == ("p", "q")
    assert options.multiline_buffer_limit == 2_097_152
    assert options.storage_backlog_mem_limit == 5_000_000


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("flush.adaptive on", "a full delivery leaves at once, any other after flush"),
        ("storage.delete_irrecoverable_chunks on", "what cannot be read is put into quarantine/ below storage.path"),
    ],
)
def test_who_sets_a_key_without_effect_is_told(loader: Loader, line: str, told: str) -> None:
    options, warnings = loader.service(line)

    assert (options is not None, loader.problems) == (True, [])
    assert warnings == [f"c.conf:2: service: '{line.split()[0]}' has no effect: {told}"]


def test_a_key_without_effect_that_asks_for_nothing_is_not_told(loader: Loader) -> None:
    options, warnings = loader.service("flush.adaptive off", "storage.delete_irrecoverable_chunks off")

    assert options == ServiceOptions()
    assert warnings == []


def test_an_empty_service_value_leaves_the_default(loader: Loader) -> None:
    options, warnings = loader.service("HTTP_Server ${EMPTY}", "HTTP_Port ${NOPE}", "Flush 1", "Flush ${NOPE}")

    assert options == ServiceOptions()
    assert "c.conf:3: service: option 'http_port' is empty" in "\n".join(warnings)


def test_parsers_files_are_read_in_order_with_variables_expanded(loader: Loader) -> None:
    loader.write("p1.conf", "[MULTILINE_PARSER]\n    Name m\n[PARSER]\n    Name b\n    Format ${A}\n")
    loader.write("p2.conf", "[PARSER]\n    Name a\n")
    loader.write("p0.conf", "[PARSER]\n    Name first\n")
    found = loader.parsers("Parsers_File p1.conf", "Parsers_File ./${P:-p2}.conf", extra=("p0.conf",))

    assert loader.told() == []
    assert names(found) == (["first", "b", "a"], ["m"])
    assert found.parsers[1].get("format") == "one"


def test_a_parsers_file_is_looked_up_in_the_working_folder_and_then_beside_the_main_file(loader: Loader) -> None:
    loader.write("etc/p.conf", "[PARSER]\n    Name there\n")
    loader.write("etc/q.conf", "[PARSER]\n    Name beside\n")
    loader.write("p.conf", "[PARSER]\n    Name here\n")
    found = loader.load("[SERVICE]\n    Parsers_File p.conf\n    Parsers_File q.conf\n", name="etc/c.conf")
    load_parsers(found, loader.environment, loader.problems)

    assert names(found)[0] == ["here", "beside"]


def test_a_missing_parsers_file_is_a_problem(loader: Loader) -> None:
    loader.parsers("Flush 1", "Parsers_File nope.conf", extra=("gone.conf",))

    assert [str(p.origin) for p in loader.problems] == ["command line", "c.conf:3"]
    assert loader.problems[1].message == "could not configure service property 'parsers_file': no file 'nope.conf'"
    assert {p.exit_code for p in loader.problems} == {1}


def test_mistakes_and_warnings_of_a_parsers_file_are_passed_on(loader: Loader) -> None:
    loader.write("p.conf", "[PARSER]\n    Name a\n    Format ${NOPE}\n    Regex\n")
    found = loader.parsers("Parsers_File p.conf")

    assert [str(p.origin) for p in loader.problems] == ["p.conf:4"]
    assert found.warnings == ["p.conf:3: [env] variable ${NOPE} is used but not set"]


def test_a_parser_name_may_be_taken_once_in_all_files(loader: Loader) -> None:
    loader.write("p.conf", "[PARSER]\n    Name a\n[PARSER]\n    Name a\n[PARSER]\n    Name A\n")
    loader.write("q.conf", "[PARSER]\n    Format json\n    Name a\n")
    found = loader.parsers("Parsers_File p.conf", "Parsers_File q.conf")

    assert names(found)[0] == ["a", "A"]
    assert [p.message for p in loader.problems] == ["parser named 'a' already exists: it is defined at p.conf:2"] * 2
    assert [str(p.origin) for p in loader.problems] == ["p.conf:4", "q.conf:3"]


def test_a_parsers_file_named_twice_is_one_problem(loader: Loader) -> None:
    loader.write("p.conf", "[PARSER]\n    Name a\n[PARSER]\n    Name b\n")
    loader.parsers("Parsers_File p.conf", "Parsers_File ./p.conf")

    assert loader.told() == ["c.conf:3: parsers file './p.conf' was already read at c.conf:2 - name it once"]


def test_of_multiline_parsers_of_one_name_the_first_counts(loader: Loader) -> None:
    loader.write("p.conf", "[MULTILINE_PARSER]\n    Name m\n[MULTILINE_PARSER]\n    Name m\n    Type regex\n")
    found = loader.parsers("Parsers_File p.conf")

    assert loader.told() == []
    assert [p.origin.line for p in found.multiline_parsers] == [1]
    assert found.warnings == ["p.conf:4: multiline parser 'm' is not used: the one at p.conf:2 comes first"]
