"""Options declared once, as types with words attached.

A plugin declares its options as the fields of a class derived from `Options`: the annotation is the type that reads the
text, `opt(...)` beside it holds the words, the default is the default. Validation, errors with file and line, "did you
mean", `--help` and the reference page are all derived from that declaration.
"""

from __future__ import annotations

import difflib
import functools
import types
import typing
from collections.abc import Callable
from typing import Any, ClassVar, Literal, TypeVar, Union, get_args, get_origin

import msgspec

from ..errors import OptionError, Origin, Problem
from .model import Property, Section
from .units import ByteSize, Seconds, parse_bool, parse_float, parse_int


class Option(msgspec.Struct, frozen=True):
    """The words that go with an option.

    `split` says how one text becomes several values of a tuple: "," or " ", or None for one value a line. `family` is a
    prefix: the option collects every key that starts with it, in order. `core` marks the keys every plugin shares: the
    last of several wins, and a bad value ends the start with exit code 1. `secret` values are never shown; of an
    address with a `secret_path` the parts that look like tokens are not. An option `without_effect` is there because
    Fluent Bit has it; whoever sets it to something is told. An empty text means the default; an option that
    `reads_empty` takes it as its value, so that no door stays open behind a variable not set.

    `least` and `most` bound a number. Below `least` the default is used, and that is told, as Fluent Bit starts with
    such a value too; above `most` is a mistake.
    """

    help: str
    example: str = ""
    aliases: tuple[str, ...] = ()
    split: str | None = None
    family: str = ""
    core: bool = False
    secret: bool = False
    secret_path: bool = False
    without_effect: bool = False
    reads_empty: bool = False
    least: int | None = None
    most: int | None = None


def opt(help: str, **words: Any) -> Option:
    """Attach words to an option; see `Option` for what can be said."""
    return Option(help, **words)


class Written(msgspec.Struct, frozen=True):
    """A text as it stands in a section: under which key, and at which place among the section's properties.

    A type with `parse_written(written)` is given this instead of the text alone; a plugin whose options act one after
    the other sorts the values of several options by their places.
    """

    key: str
    text: str
    place: int


class Options(msgspec.Struct, kw_only=True):
    """Base of all option classes; instances are made by `read_options`.

    `ignored` are keys that Fluent Bit takes for every plugin of the kind, whether it uses them or not: whoever sets one
    that this plugin does not have is told. A key stands for those below it too, such as `tls` for `tls.verify`.
    """

    ignored: ClassVar[tuple[str, ...]] = ()


class Declared(msgspec.Struct, frozen=True):
    """One option as declared, ready for reading, help and reference."""

    field: str
    name: str
    words: Option
    type: Any
    default: Any
    is_required: bool

    @property
    def is_list(self) -> bool:
        return get_origin(self.type) is tuple


@functools.cache
def declared_options(options: type[Options]) -> tuple[Declared, ...]:
    """The options of a class, those of its bases last."""
    hints = typing.get_type_hints(options, include_extras=True)
    found: list[Declared] = []
    for field in msgspec.structs.fields(options):
        hint = hints[field.name]
        words = next((m for m in getattr(hint, "__metadata__", ()) if isinstance(m, Option)), Option(""))
        plain = get_args(hint)[0] if hasattr(hint, "__metadata__") else hint
        default = field.default
        if default is msgspec.NODEFAULT and field.default_factory is not msgspec.NODEFAULT:
            default = field.default_factory()
        found.append(
            Declared(field.name, field.encode_name, words, _without_none(plain), default, default is msgspec.NODEFAULT)
        )
    own = set(options.__annotations__)
    return tuple(sorted(found, key=lambda d: d.field not in own))


O = TypeVar("O", bound=Options)  # noqa: E741


def read_options(
    options: type[O], section: Section, plugin: str, problems: list[Problem], warn: Callable[[str], None]
) -> O | None:
    """Read a section into an instance of `options`; None if anything was wrong.

    Every mistake is appended to `problems`; remarks that stop nothing go to `warn`. The keys `name` (and whatever the
    caller took out of the section) are not expected to be declared.
    """
    reader = _Reader(declared_options(options), section, plugin, problems, warn, options.ignored)
    values = reader.values()
    if reader.failed:
        return None
    try:
        return options(**values)
    except OptionError as error:
        problems.append(option_problem(error, section, plugin))
        return None


def option_problem(error: OptionError, section: Section, plugin: str) -> Problem:
    """The problem to report for an option error of a plugin that was configured by `section`."""
    message = f"{plugin}: option '{error.option}' {error.message}"
    return Problem(message, section.origin_of(error.option), error.remedy, exit_code=255)


def did_you_mean(word: str, choices: typing.Iterable[str]) -> str:
    """A remedy that names the most similar choice, or lists the choices if none is similar."""
    known = sorted(set(choices))
    near = difflib.get_close_matches(word.lower(), known, n=1, cutoff=0.6)
    return f"did you mean '{near[0]}'?" if near else f"known are: {', '.join(known)}"


class _Reader:
    """Reads one section; holds what was found so far and whether anything failed."""

    def __init__(
        self,
        declared: tuple[Declared, ...],
        section: Section,
        plugin: str,
        problems: list[Problem],
        warn: Callable[[str], None],
        ignored: tuple[str, ...],
    ) -> None:
        self._ignored = ignored
        self._by_name = {name: d for d in declared for name in (d.name, *d.words.aliases) if not d.words.family}
        self._families = [d for d in declared if d.words.family]
        self._declared = declared
        self._section = section
        self._plugin = plugin
        self._problems = problems
        self._warn = warn
        self.failed = False

    def values(self) -> dict[str, Any]:
        """The values by field name, only for options that were given."""
        given: dict[str, list[Property]] = {}
        for prop in self._section.properties:
            if prop.key == "name":
                continue
            declared = self._by_name.get(prop.key) or self._family_of(prop.key)
            if declared is None:
                self._unknown(prop)
            elif not prop.value.strip() and not declared.words.reads_empty:
                self._empty(declared, prop)
            else:
                given.setdefault(declared.field, []).append(prop)
        values: dict[str, Any] = {}
        for declared in self._declared:
            if props := given.get(declared.field):
                self._read(declared, props, values)
                self._tell_effect(declared, props, values)
            elif declared.is_required:
                self._missing(declared)
        return values

    def _family_of(self, key: str) -> Declared | None:
        return next((d for d in self._families if key.startswith(d.words.family) and key != d.words.family), None)

    def _read(self, declared: Declared, props: list[Property], values: dict[str, Any]) -> None:
        try:
            if declared.is_list:
                values[declared.field] = tuple(v for p in props for v in self._several(declared, p))
                return
            if len(props) > 1:
                if not declared.words.core:
                    self._repeated(declared, props)
                    return
                self._warn(
                    f"{props[-1].origin}: property '{declared.name}' is already specified with value "
                    f"'{props[-2].value}'. Overwriting with '{props[-1].value}'"
                )
            values[declared.field] = self._one(declared, declared.type, props[-1])
        except _Unreadable:
            self.failed = True

    def _tell_effect(self, declared: Declared, props: list[Property], values: dict[str, Any]) -> None:
        """Warn of an option without effect, unless it asks for what is so in any case."""
        if declared.words.without_effect and values.get(declared.field, declared.default) != declared.default:
            reason = declared.words.help.removeprefix("Accepted; ").rstrip(".")
            for prop in props:
                self._warn(f"{prop.origin}: {self._plugin}: '{prop.key}' has no effect: {reason}")

    def _several(self, declared: Declared, prop: Property) -> list[Any]:
        item = get_args(declared.type)[0]
        split = declared.words.split
        if split is None:
            return [self._one(declared, item, prop)]
        parts = (part.strip() for part in (prop.value.split() if split == " " else prop.value.split(split)))
        return [self._one(declared, item, prop, part) for part in parts if part]

    def _one(self, declared: Declared, kind: Any, prop: Property, part: str | None = None) -> Any:
        text = prop.value if part is None else part
        try:
            if hasattr(kind, "parse_written"):
                return kind.parse_written(Written(prop.key, text, self._place_of(prop)))
            value = read_value(kind, text)
            if remark := getattr(value, "remark", ""):
                self._warn(f"{prop.origin}: {self._plugin}: option '{declared.name}': {remark}")
            return self._within_bounds(declared, value, prop)
        except ValueError as error:
            shown = "its value cannot be read" if declared.words.secret and text.strip() else str(error)
            message = f"{self._plugin}: option '{declared.name}': {shown}"
            self._problems.append(Problem(message, prop.origin, _example(declared), 1 if declared.words.core else 255))
            raise _Unreadable from error

    def _within_bounds(self, declared: Declared, value: Any, prop: Property) -> Any:
        least, most = declared.words.least, declared.words.most
        if most is not None and value > most:
            raise ValueError(f"{prop.value!r} is too large; the largest is {most}")
        if least is not None and value < least:
            told = f"{prop.value!r} is below {least}, its default is used"
            self._warn(f"{prop.origin}: {self._plugin}: option '{declared.name}': {told}")
            return declared.default
        return value

    def _place_of(self, prop: Property) -> int:
        return next(place for place, p in enumerate(self._section.properties) if p is prop)

    def _unknown(self, prop: Property) -> None:
        family = prop.key.partition(".")[0]
        if family in self._ignored and not any(d.name.partition(".")[0] == family for d in self._declared):
            self._warn(f"{prop.origin}: {self._plugin}: '{prop.key}' has no effect: this plugin does not use it")
            return
        self.failed = True
        names = [d.name for d in self._declared]
        self._problems.append(
            Problem(f"{self._plugin}: unknown option '{prop.key}'", prop.origin, did_you_mean(prop.key, names), 255)
        )

    def _empty(self, declared: Declared, prop: Property) -> None:
        variables = ", ".join("${" + name + "}" for name in prop.unset)
        why = f" because {variables} is empty or not set" if prop.unset else ""
        if declared.is_required or declared.words.core:
            self.failed = True
            remedy = f"set the variable or write ${{{prop.unset[0]}:-default}}" if prop.unset else _example(declared)
            self._problems.append(
                Problem(f"{self._plugin}: option '{declared.name}' is empty{why}", prop.origin, remedy, 255)
            )
        else:
            self._warn(f"{prop.origin}: {self._plugin}: option '{declared.name}' is empty{why}; its default is used")

    def _repeated(self, declared: Declared, props: list[Property]) -> None:
        self.failed = True
        lines = ", ".join(str(p.origin.line) for p in props)
        self._problems.append(
            Problem(
                f"{self._plugin}: option '{declared.name}' is set {len(props)} times (lines {lines})",
                props[-1].origin,
                "it takes one value: remove the others",
                255,
            )
        )

    def _missing(self, declared: Declared) -> None:
        if any(p.key == declared.name for p in self._section.properties):
            return  # it was given and found empty; that has been told
        self.failed = True
        self._problems.append(
            Problem(
                f"{self._plugin}: option '{declared.name}' is required", self._section.origin, _example(declared), 255
            )
        )


class _Unreadable(Exception):
    """A value could not be read; the problem has been noted."""


def read_value(kind: Any, text: str) -> Any:
    """Read a text as the given type; raises `ValueError` with words for the user."""
    if get_origin(kind) is Literal:
        words = {str(w).lower(): w for w in get_args(kind)}
        if (word := words.get(text.strip().lower())) is None:
            raise ValueError(f"{text!r} is not possible; {did_you_mean(text, words)}")
        return word
    if hasattr(kind, "parse"):
        return kind.parse(text)
    readers: dict[Any, Callable[[str], Any]] = {bool: parse_bool, int: parse_int, float: parse_float, str: str}
    return readers[kind](text)


def shown_type(kind: Any) -> str:
    """A word for the type of an option, for help and reference."""
    if get_origin(kind) is tuple:
        return f"list of {shown_type(get_args(kind)[0])}"
    if get_origin(kind) is Literal:
        return " | ".join(str(w) for w in get_args(kind))
    words = {bool: "boolean", int: "integer", float: "number", str: "text", ByteSize: "size", Seconds: "time"}
    return words.get(kind) or getattr(kind, "shown_as", None) or str(kind.__name__).lower()


def _without_none(kind: Any) -> Any:
    if get_origin(kind) in (Union, types.UnionType):
        rest = [a for a in get_args(kind) if a is not type(None)]
        return rest[0] if len(rest) == 1 else kind
    return kind


def _example(declared: Declared) -> str:
    return f"for example: {declared.name} {declared.words.example}" if declared.words.example else ""


__all__ = [
    "Declared",
    "Option",
    "Options",
    "Origin",
    "Written",
    "declared_options",
    "did_you_mean",
    "opt",
    "option_problem",
    "read_options",
    "read_value",
    "shown_type",
]
