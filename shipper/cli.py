"""The command `shipper`: reads flags and configuration, reports every mistake, and hands the pipeline to the engine."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from functools import partial

from . import COMPATIBLE_VERSION, __version__
from .command_line import CommandLine, UsageError, apply_command_line, parse_command_line, usage
from .config.environment import Environment
from .config.load import load_file
from .config.model import Configuration
from .config.options import did_you_mean
from .config.service import configure_log
from .early_signals import leave_signals_alone
from .errors import ConfigError, Problem
from .late_answers import late_answers
from .log import Log, configure, tell
from .pipeline import Pipeline, PipelineError, build_pipeline, try_instances
from .plugins import KINDS, find_plugin, plugin_names
from .rewriting import circles_of_tags, taken_emitter_names

_BANNER = f"""shipper v{__version__}
* reads the configuration of Fluent Bit v{COMPATIBLE_VERSION}
* loses nothing and proves it
"""
_LAST_WORDS = "configuration file contains errors, aborting."


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command with these arguments (default: those of the process); gives the exit code."""
    words = sys.argv[1:] if arguments is None else arguments
    if words[:1] and words[0] in ("doctor", "health"):
        leave_signals_alone()
    if list(words[:1]) == ["doctor"]:
        from .doctor.command import run_doctor

        return run_doctor(words[1:], os.environ)
    if list(words[:1]) == ["health"]:
        from .monitoring.health_command import run_health

        return run_health(words[1:])
    try:
        command_line = parse_command_line(words)
    except UsageError as error:
        _print(f"shipper: {error}\n\n{usage()}")
        return 1
    if command_line.action != "run":
        leave_signals_alone()
    match command_line.action:
        case "version":
            # Scripts take the version of Fluent Bit from the first line; it has two.
            _print(f"Fluent Bit v{COMPATIBLE_VERSION}\nGit commit: \nshipper {__version__}")
            return 0
        case "help":
            return _print_help(command_line)
        case "help-json":
            from .config.reference import plugins_json

            _print(plugins_json())
            return 0
    return _start(command_line, os.environ)


def load_pipeline(command_line: CommandLine, process: Mapping[str, str], warnings: list[str]) -> Pipeline:
    """The pipeline that the arguments and the configuration file ask for, checked but not started.

    Raises `ConfigError` with every mistake found; remarks are added to `warnings`, whether it raises or not.
    """
    environment = Environment(process)
    file = command_line.config_file
    problems: list[Problem] = []
    configuration = load_file(file, environment, problems) if file is not None else Configuration()
    try:
        apply_command_line(command_line, configuration, environment)
        pipeline = build_pipeline(configuration, environment, command_line.parsers_files, problems)
    finally:
        warnings += configuration.warnings
    if taken := taken_emitter_names(pipeline):
        raise PipelineError(taken, ["filter"])
    warnings += circles_of_tags(pipeline) + late_answers(pipeline)
    return pipeline


def _start(command_line: CommandLine, process: Mapping[str, str]) -> int:
    """Check the configuration, then do what is asked with it."""
    configure("info")
    if command_line.workdir is not None:
        try:
            os.chdir(command_line.workdir)
        except OSError as error:
            Log("").error(f"could not change to the folder '{command_line.workdir}': {error.strerror}")
            return 255
    if not command_line.is_quiet:
        tell(_BANNER)
    if command_line.config_file is None and not command_line.plugins:
        _print(f"shipper: nothing to do: name a configuration file with -c, or plugins with -i and -o\n\n{usage()}")
        return 1
    warnings: list[str] = []
    try:
        pipeline = load_pipeline(command_line, process, warnings)
        if command_line.action == "check":
            try_instances(pipeline)
        elif command_line.action == "run":
            configure_log(pipeline.service)
    except ConfigError as error:
        _report(warnings, error, is_check=command_line.action == "check")
        return 1 if command_line.action != "run" else error.exit_code
    _warn(warnings)
    return _go_on(command_line, pipeline, process)


def _go_on(command_line: CommandLine, pipeline: Pipeline, process: Mapping[str, str]) -> int:
    match command_line.action:
        case "check":
            if command_line.verbosity:
                from .in_force import render_in_force

                _print(render_in_force(pipeline))
            tell("configuration test is successful")
            return 0
        case "report":
            from .support_report import render_report

            _print(render_report(pipeline))
            return 1  # as in Fluent Bit
    # The engine brings the event loop with it, which a check does not need.
    from .service import run_service

    return run_service(pipeline, partial(load_pipeline, command_line, process))


def _report(warnings: Sequence[str], error: ConfigError, *, is_check: bool) -> None:
    _warn(warnings)
    config_log = Log("[config] ")
    for problem in error.problems:
        config_log.error(str(problem))
    if is_check and isinstance(error, PipelineError):
        for kind in error.failed:
            Log("[reload] ").error(f"check properties for {kind} plugins is failed")
    Log("").error(_LAST_WORDS)


def _warn(warnings: Sequence[str]) -> None:
    log = Log("[config] ")
    for warning in warnings:
        log.warning(warning)


def _print_help(command_line: CommandLine) -> int:
    """Print the options of the plugin that was named last, or the usage."""
    section = command_line.last_plugin()
    if section is None:
        _print(usage())
        return 0
    from .config.reference import plugin_help

    kind = next(kind for kind in KINDS if kind == section.kind)
    name = (section.get("name") or "").lower()
    plugin = find_plugin(kind, name)
    if plugin is None:
        _print(f"shipper: there is no {kind} '{name}' - {did_you_mean(name, plugin_names(kind))}")
        return 1
    _print(plugin_help(kind, name, plugin))
    return 0


def _print(text: str) -> None:
    """Print on standard output; a reader who has seen enough, such as `head`, is no reason to complain."""
    try:
        print(text, flush=True)
    except BrokenPipeError:
        # The interpreter flushes once more at exit, which must not fail again.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
