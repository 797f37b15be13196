"""Which way lines become records, as the options of an input say."""

from __future__ import annotations

import msgspec

from ...context import Context
from ...errors import OptionError
from ...parsers.base import Parser
from ...parsers.joiner import Joiner
from ...parsers.multiline import MultilineDefinition, check_flush_timeouts
from ...parsers.sparing import SparingParser
from .assembly import Assembler, Fields, JoinedLines, LineAssembler, Tally
from .docker_mode import DockerLines, DockerRules
from .old_multiline import MultilineRules, OldMultiline
from .options import TailOptions


class LineModes:
    """Makes the assembler of each path; raises `OptionError` at once for parsers that do not exist."""

    def __init__(self, options: TailOptions, context: Context, tally: Tally) -> None:
        self._options = options
        self._context = context
        self._log = context.log
        self._clock = context.clock
        self._tally = tally
        self.definitions = self._multiline_definitions()
        self._multiline_rules = self._old_multiline_rules()
        self.parser = self._line_parser()
        self._docker_rules = self._docker_mode_rules()

    def assembler(self, path: str) -> Assembler:
        options = self._options
        fields = Fields(options.key, options.path_key, options.offset_key, path)
        if self._docker_rules is not None:
            return DockerLines(self._docker_rules, fields, options.skip_empty_lines, self._tally)
        if self._multiline_rules is not None:
            return OldMultiline(self._multiline_rules, fields, options.skip_empty_lines, self._tally)
        if not self.definitions:
            return LineAssembler(fields, self.parser, options.skip_empty_lines, self._tally)
        joiner = Joiner(self.definitions, int(self._context.service.multiline_buffer_limit), self._clock.time_ns)
        flush_s = max(d.flush_timeout_s for d in self.definitions)
        names = [d.name for d in self.definitions]
        is_cri_plain = "cri" in names and set(names[: names.index("cri")]) <= {"docker"}
        return JoinedLines(joiner, flush_s, fields, options.skip_empty_lines, is_cri_plain, self._tally)

    def _multiline_definitions(self) -> list[MultilineDefinition]:
        found = []
        for name in self._options.multiline_parser:
            definition = self._context.parsers.multiline(name)
            if definition is None:
                known = ", ".join(self._context.parsers.multiline_names())
                raise OptionError(
                    "multiline.parser", f"names parser '{name}', which is not registered", f"known are: {known}"
                )
            parser = definition.parser and self._sparing(definition.parser)
            found.append(msgspec.structs.replace(definition, parser=parser))
        if found:
            try:
                check_flush_timeouts(found)
            except ValueError as error:
                raise OptionError("multiline.parser", str(error)) from error
        return found

    def _line_parser(self) -> Parser | None:
        name = self._options.parser
        if name is None or self.definitions:
            return None
        if self._multiline_rules is not None:
            self._log.warning("multiline is on: parser is not used", parser=name)
            return None
        return self._registered_parser(name)

    def _registered_parser(self, name: str) -> Parser | None:
        parser = self._context.parsers.get(name)
        if parser is None:
            self._log.error(f"parser '{name}' is not registered; lines are taken as they are")
            return None
        return self._sparing(parser)

    def _sparing(self, parser: Parser) -> Parser:
        """All lines go to parsers through this: one on which a parser fails is kept as it is, counted and told."""
        return SparingParser(parser, self._tell_failure)

    def _tell_failure(self, parser: str) -> None:
        self._tally.unparsed += 1
        self._log.exception("parser fails on a line, which is kept as it is", parser=parser, every=60)

    def _old_multiline_rules(self) -> MultilineRules | None:
        options = self._options
        if not options.multiline or self.definitions or options.parser_firstline is None:
            return None
        return MultilineRules(
            self._needed_parser("parser_firstline", options.parser_firstline),
            [self._needed_parser("parser_n", name) for name in options.parser_n],
            float(options.multiline_flush),
            float(options.ignore_older),
            int(self._context.service.multiline_buffer_limit),
        )

    def _needed_parser(self, option: str, name: str) -> Parser:
        parser = self._context.parsers.get(name)
        if parser is None:
            known = ", ".join(self._context.parsers.names())
            raise OptionError(option, f"names parser '{name}', which is not registered", f"known are: {known}")
        return self._sparing(parser)

    def _docker_mode_rules(self) -> DockerRules | None:
        options = self._options
        if not options.docker_mode or self.definitions:
            return None
        first = self._registered_parser(options.docker_mode_parser) if options.docker_mode_parser else None
        return DockerRules(first, self.parser, float(options.docker_mode_flush))
