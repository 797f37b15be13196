"""The command: flags, exit codes, and what a person sees of a bad configuration."""

from __future__ import annotations

import logging
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import pytest

import shipper.service
from shipper.cli import main
from shipper.command_line import FLAGS, UsageError, parse_command_line, usage
from shipper.pipeline import Pipeline

DUMMY = "[INPUT]\n    Name dummy\n    Tag app\n"
NULL = "[OUTPUT]\n    Name null\n    Match *\n"
RETAG = "[FILTER]\n    Name rewrite_tag\n    Match *\n    Rule $a ^x y false\n"
LAST_WORDS = "[error] configuration file contains errors, aborting."


class Command:
    """Runs the command in this process; an engine that only notes its pipeline takes the place of the real one."""

    def __init__(self, capsys: pytest.CaptureFixture[str]) -> None:
        self._capsys = capsys
        self.started: list[Pipeline] = []
        self.out = ""
        self.err = ""

    def run(self, *arguments: str) -> int:
        code = main(arguments)
        self.read()
        return code

    def read(self) -> None:
        """Take what was printed since the last time."""
        self.out, self.err = self._capsys.readouterr()

    def run_service(self, pipeline: Pipeline, load: Callable[[list[str]], Pipeline]) -> int:
        self.started.append(pipeline)
        return 0

    @property
    def pipeline(self) -> Pipeline:
        (pipeline,) = self.started
        return pipeline

    def told(self, level: str) -> list[str]:
        """What was logged at this level, without time and level."""
        return re.findall(rf"^\[[^]]+\] \[ *{level}\] (.*)$", self.err, re.M)


@pytest.fixture
def command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Iterator[Command]:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("FLB_LOG_LEVEL", raising=False)
    found = Command(capsys)
    monkeypatch.setattr(shipper.service, "run_service", found.run_service)
    log = logging.getLogger("shipper")
    before = (log.handlers[:], log.level, log.propagate)
    yield found
    for handler in log.handlers:
        handler.close()
    log.handlers[:], log.level, log.propagate = before
    log.manager.loggerDict.pop("shipper.input.dummy.0", None)


def write(text: str, name: str = "c.conf") -> None:
    Path(name).write_text(text)


# -- the ten mistakes that people make ---------------------------------------------------------------------------------

SEEDED = {
    "unknown key": (
        DUMMY + "    Sample 1\n" + NULL,
        "c.conf:4: dummy: unknown option 'sample' - did you mean 'samples'?",
    ),
    "unknown plugin": (
        DUMMY + "[OUTPUT]\n    Name  cloudwatch_log\n    Match *\n",
        "c.conf:5: section 'cloudwatch_log' tried to instance a plugin name that doesn't exist: "
        "no output is called so - did you mean 'cloudwatch_logs'?",
    ),
    "bad size": (
        DUMMY + "    Mem_Buf_Limit 5 MiB\n" + NULL,
        "c.conf:4: dummy: option 'mem_buf_limit': '5 MiB' is not a size; write a number with K, M or G, "
        "such as 512k or 5M - for example: mem_buf_limit 50M",
    ),
    "missing include": (
        DUMMY + NULL + "@INCLUDE parts/nope.conf\n",
        "c.conf:7: could not open included file 'parts/nope.conf': no such file - it was looked for in ",
    ),
    "include cycle": (
        DUMMY + NULL + "@INCLUDE c.conf\n",
        "c.conf:7: Read twice. path=c.conf, ",
    ),
    "bad regex": (
        DUMMY + "[OUTPUT]\n    Name null\n    Match_Regex app(\n",
        "c.conf:6: null: option 'match_regex': ",
    ),
    "unset variable": (
        DUMMY + "[OUTPUT]\n    Name cloudwatch_logs\n    Match *\n    region ${REGION}\n    log_group_name g\n"
        "    log_stream_name s\n",
        "c.conf:7: cloudwatch_logs: option 'region' is empty because ${REGION} is empty or not set - "
        "set the variable or write ${REGION:-default}",
    ),
    "an alias that is the name of another": (
        DUMMY + NULL + "    Alias null.1\n" + NULL,
        "c.conf:8: alias 'null.1' is the name of two outputs, the other is at c.conf:7 - "
        "give each output an alias of its own",
    ),
    "key twice": (
        DUMMY + "    Samples 1\n    Samples 2\n" + NULL,
        "c.conf:5: dummy: option 'samples' is set 2 times (lines 4, 5) - it takes one value: remove the others",
    ),
}


SEEDED |= {
    "emitter with the name of an input": (
        DUMMY + "    Alias in\n" + RETAG + "    Emitter_Name in\n" + NULL,
        "c.conf:9: rewrite_tag: emitter_name 'in' is taken by the input at c.conf:1 - "
        "give the emitter a name of its own",
    ),
    "two emitters of one name": (
        DUMMY + RETAG + "    Emitter_Name e\n" + RETAG + "    Emitter_Name e\n" + NULL,
        "c.conf:13: rewrite_tag: emitter_name 'e' is taken by the filter at c.conf:4 - "
        "give the emitter a name of its own",
    ),
}


@pytest.mark.parametrize("mistake", SEEDED)
def test_mistake_is_told_in_one_line_and_starts_nothing(command: Command, mistake: str) -> None:
    text, told = SEEDED[mistake]
    write(text)

    code = command.run("-c", "c.conf")

    (line, last) = command.told("error")
    assert line.startswith(f"[config] {told}")
    assert command.err.endswith(f"{LAST_WORDS}\n") and last in LAST_WORDS
    assert code in (1, 255)
    assert command.started == []


def test_an_emitter_may_have_the_name_of_an_output_or_of_the_input_behind_another_alias(command: Command) -> None:
    write(DUMMY + RETAG + "    Emitter_Name out\n" + RETAG + "    Emitter_Name dummy\n" + NULL + "    Alias out\n")

    assert command.run("-c", "c.conf") == 0
    assert command.told("error") == []


def test_an_interval_of_throttle_that_is_no_time_is_a_warning(command: Command) -> None:
    write(DUMMY + "[FILTER]\n    Name throttle\n    Match *\n    Interval 5x\n" + NULL)

    code = command.run("-c", "c.conf")

    assert command.told("warn") == [
        "[config] c.conf:7: throttle: option 'interval': '5x' is not a duration; 1s is used, as in Fluent Bit "
        "(write one such as 30s or 5m)"
    ]
    assert (code, command.pipeline.filters[0].options.interval) == (0, 1)


def test_lines_of_an_instance_that_begin_alike_are_printed_once_in_its_suppress_interval(command: Command) -> None:
    write(DUMMY + "    Log_Suppress_Interval 10m\n" + NULL)
    code = command.run("-c", "c.conf")
    (one,), (other,) = command.pipeline.inputs, command.pipeline.outputs
    for retry in (1, 2):
        one.log().warning("away", retry=retry)
        other.log().warning("away", retry=retry)
    command.read()

    assert code == 0
    assert command.told("warn") == [
        "[input:dummy:dummy.0] away, retry=1",
        "[output:null:null.0] away, retry=1",
        "[output:null:null.0] away, retry=2",
    ]


def test_match_that_fits_nothing_is_a_warning_with_the_tags(command: Command) -> None:
    write(DUMMY + "[OUTPUT]\n    Name null\n    Match kube.*\n")

    code = command.run("-c", "c.conf")

    assert command.told("warn") == [
        "[config] c.conf:6: null: match 'kube.*' fits no tag of any input, "
        "so null.0 will get nothing - the tags are: app"
    ]
    assert (code, len(command.started)) == (0, 1)


def test_all_mistakes_of_a_file_are_told_at_once(command: Command) -> None:
    write("@INCLUDE nope.conf\n[INPUT]\n    Name dumy\n[FILTER]\n    Name modify\n[OUTPUT\n")

    code = command.run("-c", "c.conf")

    places = [line.split(": ")[0] for line in command.told("error")[:-1]]
    assert places == [f"[config] c.conf:{line}" for line in (1, 3, 4, 6)]
    assert code == 1


def test_real_process_reports_and_exits(tmp_path: Path) -> None:
    (tmp_path / "c.conf").write_text(SEEDED["unknown key"][0])

    ran = subprocess.run(
        [sys.executable, "-m", "shipper", "-c", "c.conf"], cwd=tmp_path, capture_output=True, text=True, timeout=60
    )

    assert (ran.returncode, ran.stdout) == (255, "")
    assert SEEDED["unknown key"][1] in ran.stderr
    assert ran.stderr.endswith(f"{LAST_WORDS}\n")


# -- exit codes --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "run", "check"),
    [
        (DUMMY + NULL, 0, 0),
        (DUMMY + NULL + "[FOO]\n    Name a\n", 0, 0),
        (DUMMY + "    Tag b\n" + NULL, 0, 0),
        (DUMMY + "    Foo bar\n" + NULL, 255, 1),
        (DUMMY + "    Tag ${NOPE}\n" + NULL, 255, 1),
        (DUMMY + "[FILTER]\n    Name modify\n" + NULL, 255, 1),
        (DUMMY + "    storage.type filesystem\n" + NULL, 255, 1),
        (DUMMY + "    storage.type foo\n" + NULL, 1, 1),
        (DUMMY + "    Mem_Buf_Limit 10X\n" + NULL, 1, 1),
        (DUMMY + NULL + "    Retry_Limit abc\n", 0, 0),
        ("[INPUT]\n    Tag dummy\n" + NULL, 1, 1),
        (DUMMY + NULL + "[SERVICE]\n    Flush 0\n", 1, 1),
        (DUMMY + NULL + "[SERVICE]\n    Log_Level foo\n", 1, 1),
        (DUMMY + NULL + "[SERVICE]\n    Parsers_File nope.conf\n", 1, 1),
        ("[INPUT]\n    Name tail\n    Path /x.log\n    Skip_Long_Lines maybe\n" + NULL, 255, 1),
        ("[INPUT]\n    Name tail\n    Path /x.log\n    Parser nope\n" + NULL, 0, 1),
        ("[SERVICE]\n    Flush 1\n", 0, 0),
    ],
)
def test_exit_code_of_a_run_and_of_a_check(command: Command, text: str, run: int, check: int) -> None:
    write(text)

    codes = (command.run("-c", "c.conf"), command.run("-c", "c.conf", "--dry-run"))

    assert codes == (run, check)
    assert len(command.started) == (1 if run == 0 else 0)


def test_check_says_so_when_all_is_well(command: Command) -> None:
    write(DUMMY + NULL)

    code = command.run("-q", "-D", "-c", "c.conf")

    assert (code, command.out, command.err) == (0, "", "configuration test is successful\n")
    assert command.started == []


def test_check_names_the_kinds_that_failed(command: Command) -> None:
    write(DUMMY + "    Foo 1\n[FILTER]\n    Name modify\n" + NULL)

    command.run("-D", "-c", "c.conf")

    assert command.told("error")[-3:] == [
        "[reload] check properties for input plugins is failed",
        "[reload] check properties for filter plugins is failed",
        "configuration file contains errors, aborting.",
    ]


def test_missing_configuration_file_is_told(command: Command) -> None:
    code = command.run("-c", "nope.conf")

    assert code == 1
    assert "could not open configuration file" in command.told("error")[0]


def test_exit_code_of_the_engine_is_that_of_the_command(command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shipper.service, "run_service", lambda pipeline, load: 7)

    assert command.run("-i", "dummy", "-o", "null") == 7


# -- flags -------------------------------------------------------------------------------------------------------------


def test_quick_pipeline_is_made_of_flags(command: Command) -> None:
    code = command.run(
        "-i", "tail", "-p", "path=/var/log/x=1.log", "-t", "t", "-F", "modify", "-m", "*", "-o", "stdout"
    )

    (tail,), (modify,), (stdout,) = command.pipeline.inputs, command.pipeline.filters, command.pipeline.outputs
    assert (code, tail.options.path, tail.options.tag) == (0, ("/var/log/x=1.log",), "t")
    assert (modify.plugin, modify.options.match, stdout.plugin) == ("modify", "*", "stdout")


def test_plugins_of_flags_come_before_those_of_the_file(command: Command) -> None:
    write(DUMMY + NULL)

    command.run("-i", "tail", "-p", "path=/x", "-c", "c.conf", "-o", "stdout", "-m", "*")

    assert [i.name for i in command.pipeline.inputs] == ["tail.0", "dummy.1"]
    assert [o.name for o in command.pipeline.outputs] == ["stdout.0", "null.1"]


def test_mistake_of_a_flag_is_told_with_its_place(command: Command) -> None:
    code = command.run("-i", "dummy", "-p", "foo=1", "-o", "null")

    assert code == 255
    assert command.told("error")[0].startswith("[config] command line: dummy: unknown option 'foo'")


def test_variables_in_properties_are_expanded(command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("T", "from-env")

    command.run("-i", "dummy", "-t", "${T}", "-o", "null")

    assert command.pipeline.inputs[0].options.tag == "from-env"


def test_service_flags_win_over_the_file(command: Command) -> None:
    write("[SERVICE]\n    Flush 9\n    HTTP_Port 1\n    Grace 3\n" + DUMMY + NULL)

    command.run("-c", "c.conf", "-f", "2", "-H", "-P", "2021", "-L", "::1", "-b", "/s", "-Y", "-W", "-s", "1000")

    service = command.pipeline.service
    assert (service.flush, service.grace, service.storage_path) == (2.0, 3.0, "/s")
    assert (service.http_server, service.http_port, service.http_listen) == (True, 2021, "::1")
    assert (service.hot_reload, service.reload_thread_safety) == (True, False)


def test_parsers_file_of_a_flag_is_read(command: Command) -> None:
    write("[PARSER]\n    Name mine\n    Format json\n", "p.conf")

    command.run("-R", "p.conf", "-i", "dummy", "-o", "null")

    assert command.pipeline.parsers.names() == ["mine"]


@pytest.mark.parametrize(
    ("flags", "variable", "level"),
    [
        ((), "", "warn"),
        (("-v",), "", "debug"),
        (("-vv",), "", "trace"),
        (("-v", "-q"), "", "off"),
        (("-v",), "error", "error"),
        (("-q",), "info", "info"),
        ((), "loud", "warn"),
    ],
)
def test_log_level_comes_from_the_environment_then_flags_then_the_file(
    command: Command, monkeypatch: pytest.MonkeyPatch, flags: tuple[str, ...], variable: str, level: str
) -> None:
    monkeypatch.setenv("FLB_LOG_LEVEL", variable)
    write("[SERVICE]\n    Log_Level warn\n" + DUMMY + NULL)

    command.run("-c", "c.conf", *flags)

    assert command.pipeline.service.log_level == level


def test_log_file_takes_the_warnings(command: Command) -> None:
    write(DUMMY + "    Tag x\n" + NULL)

    command.run("-q", "-c", "c.conf", "-l", "log.txt")
    quiet = Path("log.txt").read_text()
    command.run("-c", "c.conf", "-l", "log.txt")

    assert quiet == ""
    assert "property 'tag' is already specified" in Path("log.txt").read_text()


def test_log_file_that_cannot_be_opened_is_a_mistake(command: Command) -> None:
    code = command.run("-i", "dummy", "-o", "null", "-l", "no/such/folder.log")

    assert (code, command.started) == (1, [])
    assert "log_file 'no/such/folder.log' cannot be opened" in command.told("error")[0]


def test_working_folder_is_entered_before_anything_is_read(command: Command) -> None:
    Path("sub").mkdir()
    write(DUMMY + NULL, "sub/c.conf")

    assert command.run("-c", "c.conf", "-w", "sub") == 0


def test_working_folder_that_does_not_exist_is_fatal(command: Command) -> None:
    assert command.run("-w", "nope", "-i", "dummy", "-o", "null") == 255
    assert "could not change to the folder 'nope'" in command.told("error")[0]


def test_version_names_the_compatible_version_first(command: Command) -> None:
    code = command.run("--version")

    assert (code, command.out) == (0, f"Fluent Bit v5.1.1\nGit commit: \nshipper {shipper.__version__}\n")


@pytest.mark.parametrize("arguments", [["--bogus"], ["-x"], ["-c"], ["-p", "a=b"], []])
def test_arguments_that_make_no_sense_print_the_usage(command: Command, arguments: list[str]) -> None:
    code = command.run(*arguments)

    assert code == 1
    assert "usage: shipper" in command.out


def test_usage_names_every_flag() -> None:
    text = usage()

    assert [flag.long for flag in FLAGS if f"--{flag.long}" not in text] == []


def test_help_behind_a_plugin_prints_its_options(command: Command) -> None:
    codes = [command.run("-i", "dummy", "-o", "CloudWatch_Logs", "--help")]

    assert codes == [0]
    assert command.out.startswith("cloudwatch_logs (output): ")
    assert "log_group_name" in command.out


def test_help_of_an_unknown_plugin_suggests_one(command: Command) -> None:
    assert command.run("-o", "stdot", "-h") == 1
    assert "did you mean 'stdout'?" in command.out


def test_help_as_json_lists_the_plugins(command: Command) -> None:
    assert command.run("-J") == 0
    assert "dummy" in [plugin["name"] for plugin in msgspec.json.decode(command.out)["inputs"]]


def test_support_report_shows_instances_without_secrets(command: Command) -> None:
    arguments = "-S -i dummy -t app -o cloudwatch_logs -m * -p region=r -p log_group_name=g -p log_stream_name=s"

    code = command.run(*arguments.split(), "-p", "tls.key_passwd=hush")

    assert code == 1
    assert command.started == []
    assert re.search(r"Routes +cloudwatch_logs\.0", command.out)
    assert "log_group_name      g" in command.out
    assert "hush" not in command.out


def test_arguments_without_effect_are_a_warning(command: Command) -> None:
    code = command.run("-C", "calyptia", "-p", "a=b", "-i", "dummy", "-p", "rate", "-o", "null", "-e", "x.so", "stray")

    assert code == 0
    assert len(command.told("warn")) == 3


def test_long_and_short_flags_mean_the_same() -> None:
    short = parse_command_line(["-i", "dummy", "-t", "a", "-o", "null", "-m", "*", "-D"])
    long = parse_command_line(["--input=dummy", "--tag=a", "--output", "null", "--match=*", "--dry-run"])

    assert short == long


def test_property_before_any_plugin_is_refused() -> None:
    with pytest.raises(UsageError, match="put it behind -i, -F or -o"):
        parse_command_line(["-t", "x", "-i", "dummy"])
