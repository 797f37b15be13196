"""Multiline definitions: the built-in ones and those of [MULTILINE_PARSER] sections."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Annotated, Literal, Self

import msgspec

from ..config.model import Property, Section
from ..config.options import Options, did_you_mean, opt, read_options
from ..config.units import parse_int
from ..errors import Problem
from .base import Parser
from .cri import CriParser
from .docker import DockerParser
from .rule_machine import START, Rule, RuleMachine

_DEFAULT_FLUSH_MS = 4000
_SHORTEST_FLUSH_S = 0.5

MultilineType = Literal["regex", "endswith", "equal"]


class MultilineDefinition(msgspec.Struct, frozen=True, kw_only=True):
    """How lines are joined to messages.

    endswith and equal end a message with a line that ends with, or is, `match_string` (`negate`: with any other line).
    regex follows `rules`. With a sub-parser the text to join is the field `key_content` of its result, the text to
    compare is `key_pattern` if that is there, and lines with different texts in `key_group` are joined apart.
    """

    name: str
    type: MultilineType
    match_string: str = ""
    negate: bool = False
    key_content: str | None = None
    key_pattern: str | None = None
    key_group: str | None = None
    parser: Parser | None = None
    flush_timeout_s: float = _DEFAULT_FLUSH_MS / 1000
    rules: RuleMachine = RuleMachine(())


class FlushTimeout(int):
    """A number of milliseconds without a unit; anything not positive is the default."""

    shown_as = "milliseconds"

    @classmethod
    def parse(cls, text: str) -> Self:
        try:
            milliseconds = parse_int(text)
        except ValueError:
            milliseconds = 0
        return cls(milliseconds if milliseconds > 0 else _DEFAULT_FLUSH_MS)


class MultilineOptions(Options):
    """What a [MULTILINE_PARSER] section may say besides its name."""

    type: Annotated[
        Literal["regex", "endswith", "equal", "eq"],
        opt("How the end of a message is recognised.", example="regex", core=True),
    ]
    match_string: Annotated[str | None, opt("endswith, equal: the text to compare with.", core=True)] = None
    negate: Annotated[bool, opt("endswith, equal: the lines that do not match end a message.", core=True)] = False
    key_content: Annotated[str | None, opt("Field with the text to join.", example="log", core=True)] = None
    key_pattern: Annotated[str | None, opt("Field with the text to compare, if it is another one.", core=True)] = None
    key_group: Annotated[str | None, opt("Field whose values are joined apart.", example="stream", core=True)] = None
    parser: Annotated[str | None, opt("Name of the [PARSER] that every line goes through first.", core=True)] = None
    flush_timeout: Annotated[
        FlushTimeout, opt("Milliseconds of silence after which a message is complete.", example="1000", core=True)
    ] = FlushTimeout(_DEFAULT_FLUSH_MS)
    rule: Annotated[
        tuple[Rule, ...],
        opt("regex: states, pattern and next state.", example='"start_state" "/^\\d{4}-/" "cont"', core=True),
    ] = ()


def build_multiline(
    sections: list[Section], parsers: dict[str, Parser], problems: list[Problem], warn: Callable[[str], None]
) -> dict[str, MultilineDefinition]:
    """All multiline definitions by name in lower case: the built-in ones and those of the sections.

    Mistakes are appended to `problems`; definitions that will not be used are told to `warn`.
    """
    definitions = built_in_definitions()
    built_in = set(definitions)
    for section in sections:
        definition = _Reading(section, parsers, problems, warn).definition()
        if definition is None:
            continue
        name = definition.name.lower()
        if name in definitions:
            first = "the built-in one" if name in built_in else "the first one"
            warn(
                f"{section.origin}: the multiline parser '{definition.name}' exists already; "
                f"{first} is used and this one never - give it another name"
            )
        else:
            definitions[name] = definition
    return definitions


def check_flush_timeouts(definitions: Iterable[MultilineDefinition]) -> None:
    """Raise `ValueError` if the definitions that one input uses together flush too often."""
    longest = max(definition.flush_timeout_s for definition in definitions)
    if longest < _SHORTEST_FLUSH_S:
        raise ValueError(
            f"flush timeout '{longest * 1000:g}' is too low: flush_timeout is in milliseconds, at least 500"
        )


class _Reading:
    """One section being read; `failed` once anything was wrong with it."""

    def __init__(
        self, section: Section, parsers: dict[str, Parser], problems: list[Problem], warn: Callable[[str], None]
    ) -> None:
        self._section = section
        self._parsers = parsers
        self._problems = problems
        self._warn = warn
        self._failed = False

    def definition(self) -> MultilineDefinition | None:
        """The definition, or None after telling what is wrong."""
        name = (self._section.get("name") or "").strip()
        if not name:
            self._fail("'name' is required", "name", "for example: name my_format")
        options = self._options(name)
        if options is None:
            return None
        self._check_match_string(options)
        self._check_rules(options)
        parser = self._sub_parser(options.parser)
        if self._failed:
            return None
        return MultilineDefinition(
            name=name,
            type="equal" if options.type == "eq" else options.type,
            match_string=options.match_string or "",
            negate=options.negate,
            key_content=options.key_content,
            key_pattern=options.key_pattern,
            key_group=options.key_group,
            parser=parser,
            flush_timeout_s=options.flush_timeout / 1000,
            rules=RuleMachine(options.rule),
        )

    def _options(self, name: str) -> MultilineOptions | None:
        known = {"name", *MultilineOptions.__struct_fields__}
        for unknown in [p for p in self._section.properties if p.key not in known]:
            remedy = did_you_mean(unknown.key, known)
            self._warn(f"{unknown.origin}: multiline_parser: unknown option '{unknown.key}' is ignored - {remedy}")
        section = Section(
            self._section.kind, self._section.origin, [p for p in self._section.properties if p.key in known]
        )
        found: list[Problem] = []
        options = read_options(MultilineOptions, section, f"multiline_parser '{name}'", found, self._warn)
        self._problems += [msgspec.structs.replace(problem, exit_code=1) for problem in found]
        return options

    def _check_match_string(self, options: MultilineOptions) -> None:
        if options.type != "regex" and options.match_string is None:
            self._fail(f"type {options.type} needs a 'match_string'", "type", "for example: match_string ;")

    def _check_rules(self, options: MultilineOptions) -> None:
        rules = options.rule
        if options.type == "regex" and not rules:
            self._warn(f"{self._section.origin}: multiline_parser: type regex without a 'rule' joins nothing")
        written = [p for p in self._section.properties if p.key == "rule" and p.value.strip()]
        if rules and not rules[0].is_start:
            self._fail(f"the first rule doesn't contain a '{START}'", written[0], f"its states must include {START}")
        states = {state for rule in rules for state in rule.states}
        for rule, prop in zip(rules, written, strict=True):
            if rule.next_state is not None and rule.next_state not in states:
                remedy = did_you_mean(rule.next_state, states)
                self._fail(f"next state '{rule.next_state}' is no state of any rule", prop, remedy)

    def _sub_parser(self, name: str | None) -> Parser | None:
        if name is None:
            return None
        parser = self._parsers.get(name)
        if parser is None:
            self._fail(f"parser '{name}' is not defined", "parser", did_you_mean(name, self._parsers))
        return parser

    def _fail(self, message: str, where: str | Property, remedy: str) -> None:
        self._failed = True
        origin = self._section.origin_of(where) if isinstance(where, str) else where.origin
        self._problems.append(Problem(f"multiline_parser: {message}", origin, remedy, 1))


def built_in_definitions() -> dict[str, MultilineDefinition]:
    """docker, cri, java, go, python and ruby, by name."""
    containers = [
        MultilineDefinition(
            name="docker",
            type="endswith",
            match_string="\n",
            key_content="log",
            key_group="stream",
            parser=DockerParser(),
        ),
        MultilineDefinition(
            name="cri",
            type="equal",
            match_string="F",
            key_content="log",
            key_pattern="_p",
            key_group="stream",
            parser=CriParser(),
        ),
    ]
    languages = [
        MultilineDefinition(name=name, type="regex", rules=RuleMachine([Rule.parse(text) for text in rules]))
        for name, rules in _LANGUAGES.items()
    ]
    return {definition.name: definition for definition in (*containers, *languages)}


_LANGUAGES = {
    "java": (
        r'"start_state, java_start_exception" "/(.)(?:Exception|Error|Throwable|V8 errors stack trace)[:\r\n]/"'
        ' "java_after_exception"',
        r'"java_after_exception" "/^[\t ]*nested exception is:[\t ]*/" "java_start_exception"',
        r'"java_after_exception" "/^[\r\n]*$/" "java_after_exception"',
        r'"java_after_exception, java" "/^[\t ]+(?:eval )?at /" "java"',
        r'"java_after_exception, java" "/^[\t ]+--- End of inner exception stack trace ---$/" "java"',
        '"java_after_exception, java"'
        ' "/^--- End of stack trace from previous (?x:)location where exception was thrown ---$/" "java"',
        r'"java_after_exception, java" "/^[\t ]*(?:Caused by|Suppressed):/" "java_after_exception"',
        r'"java_after_exception, java" "/^[\t ]*... \d+ (?:more|common frames omitted)/" "java"',
    ),
    "go": (
        r'"start_state" "/\bpanic: /" "go_after_panic"',
        '"start_state" "/http: panic serving/" "go_goroutine"',
        '"go_after_panic" "/^$/" "go_goroutine"',
        '"go_after_panic, go_after_signal, go_frame_1" "/^$/" "go_goroutine"',
        r'"go_after_panic" "/^\[signal /" "go_after_signal"',
        r'"go_goroutine" "/^goroutine \d+ \[[^\]]+\]:$/" "go_frame_1"',
        r'"go_frame_1" "/^(?:[^\s.:]+\.)*[^\s.():]+\(|^created by /" "go_frame_2"',
        r'"go_frame_2" "/^\s/" "go_frame_1"',
    ),
    "python": (
        r'"start_state" "/^Traceback \(most recent call last\):$/" "python"',
        r'"python" "/^[\t ]+File /" "python_code"',
        r'"python_code" "/[^\t ]/" "python"',
        r'"python" "/^(?:[^\s.():]+\.)*[^\s.():]+:/" "start_state"',
    ),
    "ruby": (
        r'"start_state, ruby_start_exception" "/^.+:\d+:in\s+.*/" "ruby_after_exception"',
        r'"ruby_after_exception, ruby" "/^\s+from\s+.*:\d+:in\s+.*/" "ruby"',
    ),
}
