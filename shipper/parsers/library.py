"""The parsers of a configuration, made from its [PARSER] sections."""

from __future__ import annotations

import time
import zoneinfo
from collections.abc import Callable
from typing import Annotated, Literal, Self

import msgspec

from ..config.model import Section
from ..config.options import Options, declared_options, did_you_mean, opt, read_options
from ..errors import Problem
from .base import Parser
from .decoders import Decoders, DecodeRule
from .json import JsonParser
from .logfmt import LogfmtParser
from .ltsv import LtsvParser
from .onigmo import Regex
from .record_time import RecordTime
from .regex import RegexParser
from .remarks import Remark, ignore
from .time_format import Now, TimeFormat
from .time_zones import TimeOffset
from .types import Types

Warn = Callable[[str], None]


class TimeZone:
    """A zone by its IANA name."""

    shown_as = "time zone"

    def __init__(self, name: str) -> None:
        try:
            self.zone = zoneinfo.ZoneInfo(name)
        except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError) as error:
            raise ValueError(f"{name!r} is not a time zone of this machine; write a name like Europe/Berlin") from error

    @classmethod
    def parse(cls, text: str) -> Self:
        return cls(text.strip())


class ParserOptions(Options):
    """How one parser reads its lines."""

    format: Annotated[Literal["regex", "json", "ltsv", "logfmt"], opt("Form of the lines.", example="json", core=True)]
    regex: Annotated[
        str | None,
        opt(
            "Pattern in Ruby syntax; its named groups are the fields.",
            example="^(?<key>[^ ]+) (?<value>.*)$",
            core=True,
        ),
    ] = None
    time_key: Annotated[str, opt("Field with the time of the record; used if Time_Format is set.", core=True)] = "time"
    time_format: Annotated[str | None, opt("Form of the time.", example="%Y-%m-%dT%H:%M:%S.%L%z", core=True)] = None
    time_keep: Annotated[bool, opt("Keep the field with the time.", core=True)] = False
    time_strict: Annotated[
        bool, opt("Refuse times that do not fit; otherwise what could be read of them is used.", core=True)
    ] = True
    time_offset: Annotated[
        TimeOffset | None, opt("Offset from UTC of times that do not tell theirs.", example="+0100", core=True)
    ] = None
    time_system_timezone: Annotated[
        bool, opt("Times that do not tell their zone are in that of the host.", core=True)
    ] = False
    time_zone: Annotated[
        TimeZone | None, opt("Zone of times that do not tell theirs.", example="Europe/Berlin", core=True)
    ] = None
    types: Annotated[
        Types | None,
        opt("Fields that are no texts, separated by blanks.", example="code:integer size:integer", core=True),
    ] = None
    skip_empty_values: Annotated[bool, opt("Leave out groups that captured nothing (regex).", core=True)] = True
    logfmt_no_bare_keys: Annotated[bool, opt("Refuse lines with a key that has no value (logfmt).", core=True)] = False
    decode_field: Annotated[
        tuple[str, ...], opt("Decoder and field; the entries of the decoded map are added.", example="json log")
    ] = ()
    decode_field_as: Annotated[
        tuple[str, ...],
        opt("Decoder and field; the decoded value replaces the field.", example="escaped_utf8 log do_next"),
    ] = ()


def build_parsers(
    sections: list[Section],
    problems: list[Problem],
    warn: Warn,
    now: Now = time.time_ns,
    remark: Remark = ignore,
) -> dict[str, Parser]:
    """The parsers by name.

    Mistakes are appended to `problems`, remarks on the configuration go to `warn`. `remark` is told, while parsing, of
    times and values that cannot be read; that may be once per record. `now` tells the time in nanoseconds.
    """
    found: dict[str, Parser] = {}
    places: dict[str, Section] = {}
    for section in sections:
        name = section.get("name")
        if not name:
            problems.append(Problem("a parser has no name", section.origin, "add: Name my_parser"))
        elif name in places:
            problems.append(_duplicate(name, section, places[name]))
        else:
            places[name] = section
            parser = _SectionReader(name, section, problems, warn).parser(now, remark)
            if parser is not None:
                found[name] = parser
    return found


def _duplicate(name: str, section: Section, first: Section) -> Problem:
    return Problem(
        f"parser named '{name}' already exists, it is defined at {first.origin_of('name')}",
        section.origin_of("name"),
        "rename or remove one of the two",
    )


def _named(parser: str, remark: Remark) -> Remark:
    return lambda message, text: remark(f"{parser}: {message}", text)


class _SectionReader:
    """Makes the parser of one section; whatever stops it is in `problems`."""

    def __init__(self, name: str, section: Section, problems: list[Problem], warn: Warn) -> None:
        self._name = name
        self._section = section
        self._problems = problems
        self._warn = warn

    def parser(self, now: Now, remark: Remark) -> Parser | None:
        """The parser, None if anything is wrong with the section."""
        options = self._options()
        if options is None:
            return None
        remark = _named(self._name, remark)
        time_field = self._time(options, now, remark)
        self._doubt_types(options)
        rules = self._decode_rules()
        decoders = Decoders(rules) if rules else None
        name, types = self._name, options.types
        match options.format:
            case "json":
                return JsonParser(name, time=time_field, decoders=decoders)
            case "ltsv":
                return LtsvParser(name, time=time_field, types=types, decoders=decoders, remark=remark)
            case "logfmt":
                bare = options.logfmt_no_bare_keys
                return LogfmtParser(
                    name, time=time_field, types=types, decoders=decoders, no_bare_keys=bare, remark=remark
                )
        regex = self._regex(options.regex)
        if regex is None:
            return None
        skip = options.skip_empty_values
        return RegexParser(name, regex, time=time_field, types=types, decoders=decoders, skip_empty=skip, remark=remark)

    def _options(self) -> ParserOptions | None:
        """The options; unknown keys are only doubted, as Fluent Bit does not look at them."""
        known = {d.name for d in declared_options(ParserOptions)} | {"name"}
        for prop in self._section.properties:
            if prop.key not in known:
                self._doubt(prop.key, f"unknown key '{prop.key}' is ignored", did_you_mean(prop.key, known))
        kept = [p for p in self._section.properties if p.key in known]
        section = msgspec.structs.replace(self._section, properties=kept)
        found: list[Problem] = []
        options = read_options(ParserOptions, section, f"parser '{self._name}'", found, self._warn)
        self._problems += (msgspec.structs.replace(p, exit_code=1) for p in found)
        if options is not None and not self._zones_agree(options):
            return None
        return options

    def _zones_agree(self, options: ParserOptions) -> bool:
        if options.time_zone is None:
            return True
        if options.time_format is None:
            self._fail("time_zone", "Time_Zone needs a Time_Format", "add one, or remove Time_Zone")
            return False
        if options.time_offset is not None or options.time_system_timezone:
            remedy = "keep Time_Zone, or the others"
            self._fail("time_zone", "Time_Zone excludes Time_Offset and Time_System_Timezone", remedy)
            return False
        return True

    def _time(self, options: ParserOptions, now: Now, remark: Remark) -> RecordTime | None:
        if options.time_format is None:
            if self._section.get("time_key"):
                self._doubt("time_key", "Time_Key has no effect without Time_Format", "")
            return None
        format = TimeFormat(
            options.time_format,
            offset_s=options.time_offset or 0,
            zone=options.time_zone.zone if options.time_zone else None,
            system_zone=options.time_system_timezone,
            strict=options.time_strict,
            now=now,
        )
        if format.unsupported:
            remedy = "a fraction of a second is %L, once" if format.unsupported in ("%f", "%N", "%L") else ""
            self._doubt("time_format", f"no time will ever fit: {format.unsupported} is not known here", remedy)
        return RecordTime(format, options.time_key, keep=options.time_keep, remark=remark)

    def _doubt_types(self, options: ParserOptions) -> None:
        if options.types is None:
            return
        if options.format == "json":
            self._doubt("types", "Types has no effect with json", "")
        for doubt in options.types.doubts:
            self._doubt("types", doubt, "")

    def _decode_rules(self) -> list[DecodeRule]:
        """The decoders in the order of the file; one that cannot be read is left out, as in Fluent Bit."""
        rules = []
        for prop in self._section.properties:
            if prop.key in ("decode_field", "decode_field_as"):
                try:
                    rules.append(DecodeRule.parse(prop.value, replaces=prop.key == "decode_field_as"))
                except ValueError as error:
                    self._warn(f"{prop.origin}: parser '{self._name}': {prop.key} is ignored: {error}")
        return rules

    def _regex(self, pattern: str | None) -> Regex | None:
        if pattern is None:
            self._fail("format", "format regex needs a Regex", r"for example: Regex ^(?<key>\w+) (?<value>.*)$")
            return None
        try:
            regex = Regex.parse(pattern)
        except ValueError as error:
            self._fail("regex", f"Invalid regex pattern: {error}", "mend the pattern at <here>")
            return None
        if not regex.names:
            self._doubt("regex", "it has no named group, so no line will ever match", "write (?<name>…)")
        return regex

    def _fail(self, key: str, message: str, remedy: str) -> None:
        where = self._section.origin_of(key)
        self._problems.append(Problem(f"parser '{self._name}': {message}", where, remedy))

    def _doubt(self, key: str, message: str, remedy: str) -> None:
        where = self._section.origin_of(key)
        self._warn(f"{where}: parser '{self._name}': {message}{' - ' + remedy if remedy else ''}")
