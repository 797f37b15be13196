"""From a configuration to a pipeline: every section checked, every instance named, nothing started yet."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import msgspec

from .config.classic import main_folder
from .config.environment import Environment
from .config.load import load_parsers, read_service
from .config.model import Configuration, Section
from .config.options import did_you_mean, option_problem, read_options
from .config.service import ServiceOptions
from .config.units import parse_bool
from .context import Context
from .errors import ConfigError, OptionError, Origin, Problem
from .filters.base import Filter, HoldingFilter
from .filters.condition import Condition, ConditionalFilter, read_condition
from .log import Log
from .parsers.base import Parser, ParserLibrary
from .parsers.library import build_parsers
from .parsers.multiline import build_multiline
from .plugins import KINDS, Plugin, PluginKind, find_plugin, plugin_names
from .retry import Backoff
from .router import Route, outputs_without_tags

_REMARK_EVERY_S = 60.0
_TAG_PART_OF_PATH = re.compile("<[^>]+>")
_NAMES_A_PARSER = re.compile("parser(_firstline|_[0-9]+)?")
_PROCESSORS_ELSEWHERE = (
    "cumulative_to_delta",
    "labels",
    "metrics_selector",
    "opentelemetry_envelope",
    "sampling",
    "sql",
)


class Instance(msgspec.Struct, frozen=True, kw_only=True):
    """A plugin as one section configures it, ready to be made.

    `name` is the plugin and its number among the instances of its kind (`tail.0`); `alias` is what logs and metrics
    call it. `options` is an instance of the plugin's option class. `processors` are filters for the batches of this
    input or output alone; they are named after it (`tail.0/modify.0`) and match every tag. With a `condition` a filter
    acts on some of its records only.
    """

    kind: PluginKind
    plugin: str
    name: str
    alias: str
    type: Plugin
    options: Any
    section: Section
    processors: tuple[Instance, ...] = ()
    condition: Condition | None = None

    def make(self, context: Context) -> Any:
        """The plugin's object; raises `ConfigError` if an option cannot be used."""
        try:
            made = self.type(self.options, context)
        except OptionError as error:
            raise ConfigError([self.problem(error)]) from error
        if self.condition is not None and isinstance(made, Filter):
            return ConditionalFilter(made, self.condition)
        return made

    def log(self) -> Log:
        """The log of this instance, at the level and with the intervals that its options ask for."""
        log = Log(f"[{self.kind}:{self.plugin}:{self.alias}] ", f"{self.kind}.{self.name}")
        # What was set under this name before may come from a configuration that is reloaded now.
        log.set_level(self.options.log_level)
        log.suppress(self.options.log_suppress_interval)
        return log

    def problem(self, error: OptionError) -> Problem:
        """What to tell about an option that the plugin found unusable, with the place where it was written."""
        return option_problem(error, self.section, self.plugin)


class Pipeline(msgspec.Struct, frozen=True, kw_only=True):
    """A whole configuration that has been checked; instances are in the order of their sections.

    `folder` is that of the main configuration file, empty if there is none. `files` are the names of all files that
    were read, `sha256` tells their contents apart (see `Configuration`); `service_section` is what `service` was read
    from.
    """

    service: ServiceOptions
    inputs: tuple[Instance, ...] = ()
    filters: tuple[Instance, ...] = ()
    outputs: tuple[Instance, ...] = ()
    parsers: ParserLibrary = msgspec.field(default_factory=ParserLibrary)
    folder: str = ""
    files: tuple[str, ...] = ()
    sha256: str = ""
    service_section: Section = msgspec.field(default_factory=lambda: Configuration().service)

    def processors(self) -> tuple[Instance, ...]:
        """The processors of all inputs, then those of all outputs."""
        return tuple(processor for instance in (*self.inputs, *self.outputs) for processor in instance.processors)

    def instances(self) -> tuple[Instance, ...]:
        """All instances, against the direction of the flow."""
        return (*self.outputs, *self.filters, *self.processors(), *self.inputs)


class PipelineError(ConfigError):
    """The sections of a configuration cannot become a pipeline; `failed` names the kinds of plugin concerned."""

    def __init__(self, problems: Sequence[Problem], failed: Sequence[PluginKind] = ()) -> None:
        super().__init__(_by_place(problems))
        self.failed = tuple(failed)


def build_pipeline(
    configuration: Configuration,
    environment: Environment,
    parsers_files: Sequence[str] = (),
    found: Sequence[Problem] = (),
) -> Pipeline:
    """Check every section and give back what the engine runs; `parsers_files` are read before those of the SERVICE.

    Raises `PipelineError` with every mistake: those `found` while the files were read, and its own. Remarks that stop
    nothing are added to the configuration's warnings, whether it raises or not.
    """
    problems = list(found)
    service = _service(configuration, problems)
    load_parsers(configuration, environment, problems, parsers_files)
    parsers = _parsers(configuration, problems)
    builder = _Builder(configuration, service or ServiceOptions())
    instances = {kind: builder.instances(kind) for kind in KINDS}
    filters = tuple(i for i in instances["filter"] if _is_active(i))
    failed = builder.failed()
    if "input" not in failed and "filter" not in failed:
        configuration.warnings += _unreachable(instances["input"], filters, instances["output"])
    problems += builder.all_problems()
    if problems or service is None:
        raise PipelineError(problems, failed)
    return Pipeline(
        service=service,
        inputs=instances["input"],
        filters=filters,
        outputs=instances["output"],
        parsers=parsers,
        folder=main_folder(configuration.path),
        files=tuple(configuration.contents),
        sha256=configuration.sha256,
        service_section=configuration.service,
    )


def try_instances(pipeline: Pipeline) -> None:
    """Make every instance and throw it away, and look up every parser that options name.

    Raises `PipelineError` with every mistake found. Nothing is opened, so this is all that can be known of a
    configuration on a machine where it is not going to run.
    """
    problems: dict[PluginKind, list[Problem]] = {kind: [] for kind in KINDS}
    for instance in pipeline.instances():
        context = Context(
            kind=instance.kind,
            name=instance.name,
            alias=instance.alias,
            log=instance.log(),
            service=pipeline.service,
            parsers=pipeline.parsers,
            folder=pipeline.folder,
        )
        problems[instance.kind] += _mistakes_of(instance, context)
    if any(problems.values()):
        failed = [kind for kind in KINDS if problems[kind]]
        raise PipelineError([p for kind in KINDS for p in problems[kind]], failed)


def _mistakes_of(instance: Instance, context: Context) -> list[Problem]:
    found: list[Problem] = []
    try:
        instance.make(context)
    except ConfigError as error:
        found += error.problems
    told = {problem.origin for problem in found}
    return found + [p for p in _unknown_parsers(instance, context.parsers) if p.origin not in told]


class _Builder:
    """Turns sections into instances; holds the problems found so far, by kind."""

    def __init__(self, configuration: Configuration, service: ServiceOptions) -> None:
        self._sections: dict[PluginKind, list[Section]] = {
            "input": configuration.inputs,
            "filter": configuration.filters,
            "output": configuration.outputs,
        }
        self._service = service
        self._warn = configuration.warnings.append
        self._problems: dict[PluginKind, list[Problem]] = {kind: [] for kind in KINDS}
        self._names: dict[PluginKind, dict[str, Section]] = {kind: {} for kind in KINDS}
        """What the instances are called."""

    def all_problems(self) -> list[Problem]:
        return [problem for kind in KINDS for problem in self._problems[kind]]

    def failed(self) -> list[PluginKind]:
        return [kind for kind in KINDS if self._problems[kind]]

    def instances(self, kind: PluginKind) -> tuple[Instance, ...]:
        """The instances of a kind without those that have a mistake; numbers are given as if there were none."""
        found = (self._instance(kind, number, section) for number, section in enumerate(self._sections[kind]))
        return tuple(instance for instance in found if instance is not None)

    def _instance(self, kind: PluginKind, number: int, section: Section) -> Instance | None:
        plugin = _name_of(section)
        found = self._plugin(kind, plugin, section)
        name = f"{plugin}.{number}"
        processors = self._processors(kind, name, section)
        if found is None:
            return None
        if kind == "filter":
            self._demand_match(name, section)
        options: Any = read_options(found.Options, section, plugin, self._problems[kind], self._warn)
        if options is None:
            return None
        if kind == "input":
            self._settle_storage(name, options, section)
        condition = self._condition(kind, plugin, section, options, found)
        return Instance(
            kind=kind,
            plugin=plugin,
            name=name,
            alias=self._alias(kind, name, options.alias, section),
            type=found,
            options=options,
            section=section,
            processors=processors,
            condition=condition,
        )

    def _processors(self, kind: PluginKind, owner: str, section: Section) -> tuple[Instance, ...]:
        """The processors of an input or output, in order, without those that are not active or have a mistake."""
        found = (self._processor(kind, owner, number, unit) for number, unit in enumerate(section.processors))
        return tuple(instance for instance in found if instance is not None and _is_active(instance))

    def _processor(self, kind: PluginKind, owner: str, number: int, unit: Section) -> Instance | None:
        plugin = _name_of(unit)
        if plugin in _PROCESSORS_ELSEWHERE:
            message, remedy = f"processor '{plugin}' is not available yet", "use a filter that does what it does"
            self._problems[kind].append(Problem(message, unit.origin_of("name"), remedy))
            return None
        if not plugin:
            remedy = f"add: name with one of {', '.join(plugin_names('filter'))}"
            self._problems[kind].append(Problem("a processor is missing the 'name' property", unit.origin, remedy))
            return None
        found = self._plugin("filter", plugin, unit)
        if found is None:
            return None
        options: Any = read_options(found.Options, unit, plugin, self._problems["filter"], self._warn)
        if options is None:
            return None
        if kind == "output" and _hands_out(found, options):
            message = f"'{plugin}' cannot be a processor of an output: it hands records out at another time or place"
            remedy = "use it as a processor of the input, or as a filter"
            self._problems[kind].append(Problem(message, unit.origin_of("name"), remedy))
            return None
        if ignored := unit.last("match") or unit.last("match_regex"):
            self._warn(
                f"{ignored.origin}: '{ignored.key}' of a processor is ignored: it gets all records of its {kind}"
            )
        name = f"{owner}/{plugin}.{number}"
        return Instance(
            kind="filter",
            plugin=plugin,
            name=name,
            alias=options.alias or name,
            type=found,
            options=options,
            section=unit,
            condition=self._condition("filter", plugin, unit, options, found),
        )

    def _condition(
        self, kind: PluginKind, plugin: str, section: Section, options: Any, type: Plugin
    ) -> Condition | None:
        """The condition of a filter, if it has one that can take effect."""
        if isinstance(options.condition, str):
            remedy = "only filters have one, in YAML: a map with op and rules"
            self._warn(f"{section.origin_of('condition')}: {plugin}: this 'condition' has no effect - {remedy}")
        if section.condition is None:
            return None
        if _hands_out(type, options):
            origin = section.condition.origin
            self._warn(f"{origin}: {plugin}: 'condition' is ignored: what it does to records depends on others")
            return None
        return read_condition(section.condition, plugin, self._problems[kind], self._warn)

    def _plugin(self, kind: PluginKind, name: str, section: Section) -> Plugin | None:
        if not name:
            self._problems[kind].append(_without_name(kind, section))
            return None
        found = find_plugin(kind, name)
        if found is None:
            message = f"section '{name}' tried to instance a plugin name that doesn't exist: no {kind} is called so"
            self._problems[kind].append(Problem(message, section.origin_of("name"), _other_plugin(kind, name)))
        return found

    def _demand_match(self, name: str, section: Section) -> None:
        if section.last("match") is None and section.last("match_regex") is None:
            message = f"NO match rule for {name} filter instance: it has neither Match nor Match_Regex"
            self._problems["filter"].append(Problem(message, section.origin, "add: Match *", 255))

    def _settle_storage(self, name: str, options: Any, section: Section) -> None:
        """Let the input have the service's storage type if it is to inherit it, and refuse files without a folder."""
        if options.storage_type is None and self._service.storage_inherit:
            options.storage_type = self._service.storage_type
        if options.storage_type == "filesystem" and not self._service.storage_path:
            message = f"instance '{name}' requested filesystem storage but no filesystem path was defined"
            remedy = "add storage.path with a folder to the SERVICE section"
            self._problems["input"].append(Problem(message, section.origin_of("storage.type"), remedy, 255))

    def _alias(self, kind: PluginKind, name: str, given: str | None, section: Section) -> str:
        """What the instance is called. Counters, queues and cursors go by that, so two of one kind cannot share it."""
        if kind == "filter":
            return given or name
        names = self._names[kind]
        other = names.get(given or name)
        if other is not None and given is not None and name not in names:
            self._warn(
                f"{section.origin_of('alias')}: alias '{given}' is the name of another {kind} at "
                f"{other.origin_of('alias')}; this one is called {name} - give each an alias of its own"
            )
            given = None
        elif other is not None:
            message = f"alias '{given or name}' is the name of two {kind}s, the other is at {other.origin_of('alias')}"
            remedy = f"give each {kind} an alias of its own"
            self._problems[kind].append(Problem(message, section.origin_of("alias"), remedy, 255))
        names.setdefault(given or name, section)
        return given or name


def _service(configuration: Configuration, problems: list[Problem]) -> ServiceOptions | None:
    service = read_service(configuration, problems)
    if service is not None:
        try:
            Backoff(service.scheduler_base, service.scheduler_cap)
        except ValueError as error:
            section = configuration.service
            origin = (section.last("scheduler.base") or section.last("scheduler.cap") or section).origin
            problems.append(Problem(str(error), origin, "for example: scheduler.base 5, scheduler.cap 2000"))
    return service


def _parsers(configuration: Configuration, problems: list[Problem]) -> ParserLibrary:
    log, warn = Log("[parser] "), configuration.warnings.append

    def remark(message: str, text: str) -> None:
        log.warning(message, every=_REMARK_EVERY_S, text=text)

    parsers: dict[str, Parser] = build_parsers(configuration.parsers, problems, warn, remark=remark)
    return ParserLibrary(parsers, build_multiline(configuration.multiline_parsers, parsers, problems, warn))


def _name_of(section: Section) -> str:
    return (section.get("name") or "").strip().lower()


def _without_name(kind: PluginKind, section: Section) -> Problem:
    given = section.last("name")
    message = f"section '{kind}' is missing the 'name' property"
    if given is not None and given.unset:
        return Problem(f"{message} because ${{{given.unset[0]}}} is empty or not set", given.origin, "set the variable")
    remedy = f"add: Name with one of {', '.join(plugin_names(kind))}"
    return Problem(message, given.origin if given else section.origin, remedy)


def _other_plugin(kind: PluginKind, name: str) -> str:
    """A remedy for a plugin name that does not exist."""
    others = [other for other in KINDS if other != kind and name in plugin_names(other)]
    if others:
        kinds = " and of ".join(f"{'a' if other == 'filter' else 'an'} {other}" for other in others)
        sections = " or ".join(f"[{other.upper()}]" for other in others)
        return f"'{name}' is the name of {kinds}: put it into a section {sections}"
    return did_you_mean(name, plugin_names(kind))


def _by_place(problems: Sequence[Problem]) -> list[Problem]:
    """The problems of each file by line, the files in the order in which they come up."""
    files = {name: n for n, name in enumerate(dict.fromkeys(p.origin.file if p.origin else "" for p in problems))}

    def place(problem: Problem) -> tuple[int, int, int]:
        origin = problem.origin or Origin("")
        return files[origin.file], origin.line, origin.column

    return sorted(problems, key=place)


def _hands_out(plugin: Plugin, options: Any) -> bool:
    return issubclass(plugin, HoldingFilter) and plugin.hands_out(options)


def _is_active(instance: Instance) -> bool:
    try:
        return parse_bool(instance.options.active)
    except ValueError:
        return True


def _unreachable(inputs: Sequence[Instance], filters: Sequence[Instance], outputs: Sequence[Instance]) -> list[str]:
    """Warnings about outputs and filters whose pattern fits no tag that an input has."""
    tags = [_TAG_PART_OF_PATH.sub("*", i.options.tag or i.name) for i in inputs]
    processors = [processor for instance in inputs for processor in instance.processors]
    are_all_known = not any(getattr(i.type, "makes_tags", False) for i in (*inputs, *processors, *filters))
    if not tags or not are_all_known:
        return []
    warnings = []
    for instance in (*filters, *outputs):
        options = instance.options
        if outputs_without_tags([Route(instance.name, options.match, options.match_regex)], tags):
            origin = instance.section.origin_of("match" if options.match is not None else "match_regex")
            pattern = options.match if options.match is not None else options.match_regex.pattern
            warnings.append(
                f"{origin}: {instance.plugin}: match '{pattern}' fits no tag of any input, so {instance.alias} will "
                f"get nothing - the tags are: {', '.join(tags)}"
            )
    return warnings


def _unknown_parsers(instance: Instance, library: ParserLibrary) -> list[Problem]:
    """Problems for options that name a parser nobody has defined; these keys mean the same in every plugin."""
    problems = []
    for prop in instance.section.properties:
        if prop.key == "multiline.parser":
            names = [name.strip() for name in prop.value.split(",")]
            unknown, known = [n for n in names if n and not library.multiline(n)], library.multiline_names()
        elif _NAMES_A_PARSER.fullmatch(prop.key):
            unknown, known = [n for n in [prop.value] if n and not library.get(n)], library.names()
        else:
            continue
        remedy = "name the file that defines it with Parsers_File in the SERVICE section"
        for name in unknown:
            message = f"{instance.plugin}: option '{prop.key}': parser '{name}' is not registered"
            problems.append(Problem(message, prop.origin, did_you_mean(name, known) if known else remedy))
    return problems
