"""The command line: flags as in Fluent Bit, and what they add to a configuration."""

from __future__ import annotations

import getopt
from collections.abc import Mapping, Sequence
from typing import Literal

import msgspec

from .config.environment import Environment
from .config.model import Configuration, Property, Section
from .errors import Origin
from .log import LEVELS
from .plugins import KINDS, PluginKind

Action = Literal["run", "check", "help", "help-json", "version", "report"]

ORIGIN = Origin("command line")
LEVEL_VARIABLE = "FLB_LOG_LEVEL"


class UsageError(Exception):
    """The arguments cannot be understood; the text says why."""


class Flag(msgspec.Struct, frozen=True):
    """A flag: `value` names its argument if it takes one, `service` is a SERVICE key that it sets (to `sets`)."""

    short: str
    long: str
    help: str
    value: str = ""
    service: str = ""
    sets: str = "on"


FLAGS = (
    Flag("c", "config", "configuration file", "FILE"),
    Flag("i", "input", "define an input", "NAME"),
    Flag("F", "filter", "define a filter", "NAME"),
    Flag("o", "output", "define an output", "NAME"),
    Flag("p", "prop", "set an option of the plugin defined last", "KEY=VALUE"),
    Flag("t", "tag", "set its tag, as -p tag=TAG", "TAG"),
    Flag("m", "match", "set its pattern, as -p match=PATTERN", "PATTERN"),
    Flag("R", "parser", "file with parsers", "FILE"),
    Flag("D", "dry-run", "check the configuration and exit; with -v also print it"),
    Flag("f", "flush", "seconds that records wait for a fuller delivery", "SECONDS", "flush"),
    Flag("b", "storage_path", "folder for filesystem buffers", "FOLDER", "storage.path"),
    Flag("l", "log_file", "append log lines to a file", "FILE", "log_file"),
    Flag("v", "verbose", "log more; -vv logs everything"),
    Flag("q", "quiet", "no banner, and no log once the configuration is loaded"),
    Flag("w", "workdir", "change to this folder before anything is read", "FOLDER"),
    Flag("H", "http_server", "serve the monitoring API", "", "http_server"),
    Flag("L", "http_listen", "address of the monitoring API", "ADDRESS", "http_listen"),
    Flag("P", "http_port", "port of the monitoring API", "PORT", "http_port"),
    Flag("Y", "enable-hot-reload", "load the configuration again on SIGHUP", "", "hot_reload"),
    Flag(
        "W",
        "disable-thread-safety-on-hot-reload",
        "let a reload wait for what is in memory alone no longer than the grace time",
        "",
        "hot_reload.ensure_thread_safety",
        "off",
    ),
    Flag("S", "sosreport", "print a report for support"),
    Flag("h", "help", "print this help, or that of the plugin defined last"),
    Flag("J", "help-json", "print all plugins and options as JSON"),
    Flag("V", "version", "print the version"),
    Flag("d", "daemon", "accepted; run the process under a supervisor instead", "", "daemon"),
    Flag("s", "coro_stack_size", "accepted; there are no coroutine stacks to size", "BYTES", "coro_stack_size"),
    Flag("C", "custom", "accepted; custom plugins are not loaded", "NAME"),
    Flag("e", "plugin", "accepted; shared objects are not loaded", "FILE"),
    Flag("T", "sp-task", "accepted; there is no stream processor", "SQL"),
    Flag("Z", "enable-chunk-trace", "accepted; there is no chunk trace"),
    Flag("", "supervisor", "accepted; run the process under a supervisor instead"),
    Flag("", "enable-fips", "accepted; the system's TLS library decides"),
)
_ACTIONS: Mapping[str, Action] = {
    "dry-run": "check",
    "help": "help",
    "help-json": "help-json",
    "version": "version",
    "sosreport": "report",
}
_KINDS: Mapping[str, PluginKind] = {kind: kind for kind in KINDS}


class CommandLine(msgspec.Struct):
    """What the arguments ask for.

    `plugins` holds the sections that they define, in order; a custom plugin has None in its place. `service` are
    properties that win over the SERVICE section. `words` are arguments that are no flags, `ignored` remarks about flags
    without effect.
    """

    action: Action = "run"
    config_file: str | None = None
    workdir: str | None = None
    parsers_files: list[str] = []
    plugins: list[Section | None] = []
    service: list[Property] = []
    verbosity: int = 0
    is_quiet: bool = False
    words: list[str] = []
    ignored: list[str] = []

    def last_plugin(self) -> Section | None:
        """The plugin defined last, if it is an input, a filter or an output."""
        return self.plugins[-1] if self.plugins else None

    def sections(self, kind: PluginKind) -> list[Section]:
        """The sections of a kind that the arguments define, in order."""
        return [s for s in self.plugins if s is not None and s.kind == kind]


def parse_command_line(arguments: Sequence[str]) -> CommandLine:
    """Read the arguments (without the program's name); raises `UsageError`.

    Flags that print something and exit end the reading, as in Fluent Bit: what follows them is not looked at.
    """
    short = "".join(f.short + (":" if f.value else "") for f in FLAGS)
    long = [f.long + ("=" if f.value else "") for f in FLAGS]
    try:
        pairs, rest = getopt.gnu_getopt(list(arguments), short, long)
    except getopt.GetoptError as error:
        raise UsageError(error.msg) from error
    by_name = {name: f for f in FLAGS for name in (f"-{f.short}", f"--{f.long}")}
    found = CommandLine(words=rest)
    for name, value in pairs:
        _take(found, by_name[name], value)
        if found.action not in ("run", "check", "report"):
            break
    return found


def apply_command_line(found: CommandLine, configuration: Configuration, environment: Environment) -> None:
    """Put what the arguments say into a configuration: their plugins first, their SERVICE values instead of its own."""
    targets = {"input": configuration.inputs, "filter": configuration.filters, "output": configuration.outputs}
    for kind in KINDS:
        sections = found.sections(kind)
        targets[kind][:0] = [_expanded(section, environment, configuration.warnings) for section in sections]
    properties = [*found.service, *_log_level(found, environment, configuration.warnings)]
    given = Section("service", ORIGIN, list({p.key: p for p in properties}.values()))
    replaced = {p.key for p in properties}
    kept = [p for p in configuration.service.properties if p.key not in replaced]
    configuration.service.properties = kept + _expanded(given, environment, configuration.warnings).properties
    configuration.warnings += [*(f"argument '{word}' is ignored" for word in found.words), *found.ignored]


def usage() -> str:
    """The flags and what they do, for people."""
    lines = ["usage: shipper [-c FILE] [-i NAME [-p KEY=VALUE]...] [-F NAME ...] [-o NAME ...]", ""]
    for flag in FLAGS:
        short = f"-{flag.short}, " if flag.short else "    "
        spelled = f"{short}--{flag.long}" + (f"={flag.value}" if flag.value else "")
        lines += [f"  {spelled:<34}{flag.help}"] if len(spelled) < 34 else [f"  {spelled}", f"{'':36}{flag.help}"]
    plugins = "shipper -o NAME --help prints the options of a plugin, likewise -i and -F."
    doctor = "shipper doctor --help tells how to check Kubernetes manifests and the access to AWS."
    health = "shipper health asks a shipper that runs how it goes; shipper health --help tells how."
    return "\n".join([*lines, "", plugins, doctor, health])


def _take(found: CommandLine, flag: Flag, value: str) -> None:
    """Note one flag."""
    match flag.long:
        case "input" | "filter" | "output" as kind:
            found.plugins.append(Section(_KINDS[kind], ORIGIN, [Property("name", value, ORIGIN)]))
        case "custom":
            found.plugins.append(None)
        case "prop" | "tag" | "match":
            key, equals, text = value.partition("=") if flag.long == "prop" else (flag.long, "=", value)
            _set_property(found, flag, key.strip().lower(), text.strip() if equals else None)
        case "config":
            found.config_file = value
        case "parser":
            found.parsers_files.append(value)
        case "workdir":
            found.workdir = value
        case "verbose":
            found.verbosity += 1
        case "quiet":
            found.is_quiet = True
        case "dry-run" | "sosreport" | "help" | "help-json" | "version" as action:
            found.action = _ACTIONS[action]
        case _ if flag.service:
            found.service.append(Property(flag.service, value or flag.sets, ORIGIN))
        case _:
            found.ignored.append(f"--{flag.long} has no effect: {flag.help}")


def _set_property(found: CommandLine, flag: Flag, key: str, text: str | None) -> None:
    if not found.plugins:
        raise UsageError(f"option -{flag.short} belongs to a plugin: put it behind -i, -F or -o")
    if text is None:
        found.ignored.append(f"-p {key} is ignored: write -p KEY=VALUE")
    elif (section := found.plugins[-1]) is not None:
        section.properties.append(Property(key, text, ORIGIN))


def _expanded(section: Section, environment: Environment, warnings: list[str]) -> Section:
    """The section with the variables of its values replaced."""
    properties = []
    for prop in section.properties:
        expanded = environment.expand(prop.value)
        raw = prop.value if expanded.used else ""
        properties.append(Property(prop.key, expanded.text, prop.origin, expanded.unset, expanded.used, raw))
        warnings += (f"{prop.origin}: {environment.remark(name)}" for name in expanded.unset)
    return Section(section.kind, section.origin, properties)


def _log_level(found: CommandLine, environment: Environment, warnings: list[str]) -> list[Property]:
    """The log level if the environment or a flag sets it; the environment wins over all."""
    level = environment.get(LEVEL_VARIABLE).lower()
    if level in LEVELS:
        return [Property("log_level", level, Origin(f"environment variable {LEVEL_VARIABLE}"))]
    if level:
        warnings.append(f"environment variable {LEVEL_VARIABLE}: no level is called '{level}'; it is ignored")
    if found.is_quiet:
        return [Property("log_level", "off", ORIGIN)]
    if found.verbosity and found.action != "check":
        return [Property("log_level", "debug" if found.verbosity == 1 else "trace", ORIGIN)]
    return []
