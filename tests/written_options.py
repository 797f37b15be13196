"""Options for tests, read from lines as a user writes them."""

from __future__ import annotations

from typing import TypeVar

from shipper.config.model import Kind, Property, Section
from shipper.config.options import Options, read_options
from shipper.errors import ConfigError, Origin, Problem

O = TypeVar("O", bound=Options)  # noqa: E741


def options_from(options: type[O], lines: str, kind: Kind = "filter") -> O:
    """The options that a section with these lines gives; raises `ConfigError` for mistakes."""
    problems: list[Problem] = []
    warnings: list[str] = []
    read = read_options(options, section_of(lines, kind), kind, problems, warnings.append)
    if read is None:
        raise ConfigError(problems)
    return read


def section_of(lines: str, kind: Kind = "filter") -> Section:
    """A section of `test.conf`; its header is line 1."""
    properties = []
    for number, line in enumerate(lines.strip().splitlines(), 2):
        key, _, value = line.strip().partition(" ")
        properties.append(Property(key.lower(), value.strip(), Origin("test.conf", number)))
    return Section(kind, Origin("test.conf", 1), properties)
