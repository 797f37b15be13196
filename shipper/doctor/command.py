"""The command `shipper doctor`: checks a configuration together with what it runs in, and starts nothing."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Mapping, Sequence

from ..cli import load_pipeline
from ..command_line import CommandLine, UsageError, parse_command_line
from ..errors import ConfigError
from ..log import Log, configure
from ..pipeline import Pipeline, try_instances
from .findings import Finding
from .manifests import KINDS, Manifests, read_manifests
from .needs import needs_of
from .pods import check_pods
from .variables import variables_of

FINE, WARNED, MISUSED, NOT_LOADED = 0, 1, 2, 255
"""The exit statuses: nothing to say, warnings, wrong arguments, a configuration that cannot be loaded."""

_AWS = "aws"
_USAGE = """usage: shipper doctor -c FILE [MANIFEST.yaml ...]
       shipper doctor aws -c FILE

  shipper doctor       check the configuration, and Kubernetes manifests of the pods that it is to run in
  shipper doctor aws   ask AWS who we are, and whether we may do what the outputs need; nothing is written

The flags that make up a configuration (-c, -R, -i, -F, -o, -p ..., see shipper --help) and -w are understood.
Exit status: 0 nothing to say, 1 warnings, 2 wrong arguments, 255 the configuration cannot be loaded."""


def run_doctor(arguments: Sequence[str], process: Mapping[str, str]) -> int:
    """Do what the arguments behind `doctor` ask for; gives the exit status."""
    try:
        command_line = parse_command_line(arguments)
        if command_line.action == "help":
            print(_USAGE)
            return FINE
        manifests, is_aws = _what_to_check(command_line)
    except UsageError as error:
        print(f"shipper doctor: {error}\n\n{_USAGE}", file=sys.stderr)
        return MISUSED
    configure("info")
    if not _enter(command_line.workdir):
        return NOT_LOADED
    warnings: list[str] = []
    findings: list[Finding] = []
    found = _read(manifests, findings)
    pipeline = _load(command_line, variables_of(found, process, findings), warnings)
    if pipeline is not None:
        findings += _check_aws(pipeline) if is_aws else check_pods(found.pods, needs_of(pipeline))
    for finding in findings:
        print(f"warning: {finding}")
    if pipeline is None:
        return NOT_LOADED
    count = len(findings) + len(warnings)
    print("nothing to complain about" if not count else f"{count} warning{'s' if count > 1 else ''}")
    return WARNED if count else FINE


def _what_to_check(command_line: CommandLine) -> tuple[list[str], bool]:
    """The manifests, and whether it is AWS that is asked about. These words are not ignored any more."""
    words, command_line.words = command_line.words, []
    is_aws = words[:1] == [_AWS]
    if is_aws and len(words) > 1:
        raise UsageError(f"'{words[1]}' is too much: manifests are checked without the word aws")
    if command_line.action not in ("run", "check"):
        raise UsageError("it starts nothing and prints nothing else")
    if command_line.config_file is None and not command_line.plugins:
        raise UsageError("name a configuration file with -c")
    return ([] if is_aws else words), is_aws


def _enter(workdir: str | None) -> bool:
    """Whether the folder of -w, if there is one, is the current one now."""
    try:
        if workdir is not None:
            os.chdir(workdir)
    except OSError as error:
        Log("[config] ").error(f"could not change to the folder '{workdir}': {error.strerror}")
        return False
    return True


def _load(command_line: CommandLine, process: Mapping[str, str], warnings: list[str]) -> Pipeline | None:
    """The configuration, checked as --dry-run does; None after telling why it cannot be loaded."""
    log = Log("[config] ")
    problems: list[str] = []
    pipeline = None
    try:
        pipeline = load_pipeline(command_line, process, warnings)
        try_instances(pipeline)
    except ConfigError as error:
        problems = [str(problem) for problem in error.problems]
    for warning in warnings:
        log.warning(warning)
    for problem in problems:
        log.error(problem)
    return None if problems else pipeline


def _read(paths: Sequence[str], findings: list[Finding]) -> Manifests:
    found = read_manifests(paths, findings)
    if paths and not found.pods and not findings:
        findings.append(Finding(", ".join(paths), "no pods are described here", f"name a {', '.join(KINDS)}"))
    return found


def _check_aws(pipeline: Pipeline) -> list[Finding]:
    from .aws_check import check_outputs

    reports = asyncio.run(check_outputs(pipeline))
    for report in reports:
        print("\n".join([report.title, *(f"  {line}" for line in report.lines)]))
    if not reports:
        print("no output goes to AWS")
    return [finding for report in reports for finding in report.findings]
