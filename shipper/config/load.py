"""From files to a `Configuration`: formats by extension, variables expanded, SERVICE merged and read, parsers files."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Sequence
from typing import get_args

import msgspec

from ..errors import ConfigError, Origin, Problem
from .classic import Role, find_file, main_folder, read_classic, searched_folders
from .environment import Environment
from .model import Configuration, Property, Section
from .options import declared_options, did_you_mean, read_options
from .service import ServiceOptions, StorageType
from .units import parse_bool

_PLACEHOLDER = re.compile(r"\{\{[\w-]+\}\}", re.A)
"""What the installation guides of Container Insights have in place of the names of a cluster and its region."""


def load_file(path: str, environment: Environment, problems: list[Problem] | None = None) -> Configuration:
    """Read a configuration file with everything it includes; the variables it sets are set in `environment`.

    Raises `ConfigError` with all mistakes found. A caller who goes on to look for more gives the list that mistakes are
    appended to; then nothing is raised, and what could be understood is returned. Parsers files are not read; see
    `load_parsers`.
    """
    found: list[Problem] = [] if problems is None else problems
    configuration = _read(path, "main", environment, found)
    if problems is None and found:
        raise ConfigError(found)
    return configuration


def load_parsers(
    configuration: Configuration, environment: Environment, problems: list[Problem], extra: Sequence[str] = ()
) -> None:
    """Add the parsers of the `extra` files and then of every `parsers_file` to the configuration.

    Names that are already taken are a problem for parsers; of multiline parsers of one name the first one counts.
    """
    named = [(path, Origin("command line")) for path in extra]
    named += [
        (p.value, p.origin) for p in configuration.service.properties if p.key == "parsers_file" and p.value.strip()
    ]
    folder = main_folder(configuration.path)
    read_at: dict[str, Origin] = {}
    for name, origin in named:
        path = find_file(name, folder)
        if path is None:
            message = f"could not configure service property 'parsers_file': no file '{name}'"
            problems.append(Problem(message, origin, searched_folders(name, folder)))
        elif first := read_at.get(real := os.path.realpath(path)):
            problems.append(Problem(f"parsers file '{name}' was already read at {first}", origin, "name it once"))
        else:
            read_at[real] = origin
            found = _read(path, "parsers", environment, problems)
            configuration.warnings += found.warnings
            configuration.contents |= found.contents
            _add_parsers(configuration, found.parsers, problems)
            _add_multiline_parsers(configuration, found.multiline_parsers)


def read_service(configuration: Configuration, problems: list[Problem]) -> ServiceOptions | None:
    """The options of the SERVICE section; None, with every mistake in `problems`, if any value cannot be used.

    Keys that nobody knows are a warning of the configuration, because Fluent Bit ignores them silently.
    """
    warn = configuration.warnings.append
    declared = declared_options(ServiceOptions)
    known = {name for d in declared for name in (d.name, *d.words.aliases)}
    switches = {name for d in declared if d.type is bool for name in (d.name, *d.words.aliases)}
    section = Section("service", configuration.service.origin, [])
    for prop in configuration.service.properties:
        if prop.key not in known:
            hint = did_you_mean(prop.key, known) if _resembles(prop.key, known) else "check its spelling"
            warn(f"{prop.origin}: unknown key '{prop.key}' of the SERVICE section is ignored - {hint}")
        elif prop.key == "storage.type" and prop.value and prop.value.lower() not in get_args(StorageType):
            warn(f"{prop.origin}: storage.type '{prop.value}' is not known; memory is used")
        elif prop.key in switches and prop.value.strip() and not _is_boolean(prop.value):
            warn(f"{prop.origin}: {prop.key}: '{prop.value}' is not a boolean and counts as off; write on or off")
            section.properties.append(msgspec.structs.replace(prop, value="off"))
        else:
            section.properties.append(prop)
    found: list[Problem] = []
    options = read_options(ServiceOptions, section, "service", found, warn)
    for problem in found:
        message = f"could not configure service property: {problem.message.removeprefix('service: ')}"
        problems.append(msgspec.structs.replace(problem, message=message, exit_code=1))
    if options is not None and options.flush <= 0:
        origin = section.origin_of("flush")
        problems.append(Problem("invalid flush value, aborting.", origin, "write seconds above 0, such as 1 or 0.5"))
        return None
    return options


def _is_boolean(text: str) -> bool:
    try:
        parse_bool(text)
    except ValueError:
        return False
    return True


def _read(path: str, role: Role, environment: Environment, problems: list[Problem]) -> Configuration:
    if path.lower().endswith((".yaml", ".yml")):
        from .yaml import read_yaml  # only who writes YAML pays for its library

        configuration, settings = read_yaml(path, role, problems, environment)
    else:
        configuration, settings = read_classic(path, role, problems, environment)
    for setting in settings:
        try:
            environment.set(setting.name, setting.value)
        except ValueError as error:
            problems.append(Problem(f"variable '{setting.name}' cannot be set: {error}", setting.origin))
    _expand(configuration, environment)
    configuration.service.properties = _last_wins(configuration.service.properties)
    return configuration


def _expand(configuration: Configuration, environment: Environment) -> None:
    """Expand the variables of all values; done last, so that it does not matter where a variable is set."""
    plugins = [*configuration.inputs, *configuration.filters, *configuration.outputs]
    processors = [unit for section in plugins for unit in section.processors]
    conditions = [section.condition for section in (*plugins, *processors) if section.condition is not None]
    rules = [rule for condition in conditions for rule in condition.rules]
    parsers = [*configuration.parsers, *configuration.multiline_parsers]
    for section in (configuration.service, *plugins, *processors, *conditions, *rules, *parsers):
        for i, prop in enumerate(section.properties):
            if "${" in prop.value:
                expanded = environment.expand(prop.value)
                section.properties[i] = Property(
                    prop.key, expanded.text, prop.origin, expanded.unset, expanded.used, prop.value
                )
                configuration.warnings += (f"{prop.origin}: {environment.remark(name)}" for name in expanded.unset)
            elif found := _PLACEHOLDER.search(prop.value):
                remark = f"{found[0]} looks like a placeholder that was to be replaced, and is taken as it stands"
                configuration.warnings.append(f"{prop.origin}: {prop.key}: {remark}")


def _last_wins(properties: list[Property]) -> list[Property]:
    """Of each SERVICE key the last property, under whichever of its names; all of those that may repeat."""
    declared = declared_options(ServiceOptions)
    name_of = {alias: d.name for d in declared for alias in d.words.aliases}
    lists = {d.name for d in declared if d.is_list}
    last: dict[object, Property] = {}
    for position, prop in enumerate(properties):
        name = name_of.get(prop.key, prop.key)
        last[(name, position) if name in lists else name] = prop
    return list(last.values())


def _add_parsers(configuration: Configuration, parsers: list[Section], problems: list[Problem]) -> None:
    places = {section.get("name"): section for section in configuration.parsers}
    for section in parsers:
        name = section.get("name")
        if name is not None and (first := places.get(name)):
            message = f"parser named '{name}' already exists: it is defined at {first.origin_of('name')}"
            problems.append(Problem(message, section.origin_of("name"), "rename or remove one of them"))
            continue
        places[name] = section
        configuration.parsers.append(section)


def _add_multiline_parsers(configuration: Configuration, parsers: list[Section]) -> None:
    places = {section.get("name"): section for section in configuration.multiline_parsers}
    for section in parsers:
        name = section.get("name")
        if name is not None and (first := places.get(name)):
            configuration.warnings.append(
                f"{section.origin_of('name')}: multiline parser '{name}' is not used: "
                f"the one at {first.origin_of('name')} comes first"
            )
            continue
        places[name] = section
        configuration.multiline_parsers.append(section)


def _resembles(word: str, known: Iterable[str]) -> bool:
    return did_you_mean(word, known).startswith("did you mean")
