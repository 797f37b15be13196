"""Streams of lines for tests of the multiline engine."""

from __future__ import annotations

from typing import Any

from shipper.parsers.base import Parsed, Parser
from shipper.parsers.joiner import Joiner
from shipper.parsers.multiline import MultilineDefinition, built_in_definitions
from shipper.parsers.pending import Joined
from shipper.parsers.rule_machine import Rule, RuleMachine

NOW_NS = 1_700_000_000_000_000_000
BUILT_IN = built_in_definitions()
LIMIT = 2_097_152


class PairsParser(Parser):
    """Reads `key=value,key=value`; stands for any sub-parser."""

    name = "pairs"

    def __init__(self, time_ns: int | None = None) -> None:
        self._time_ns = time_ns

    def parse(self, text: str) -> Parsed | None:
        pairs = [pair.partition("=") for pair in text.split(",")]
        return (self._time_ns, {key: value for key, _, value in pairs}) if all(sign for _, sign, _ in pairs) else None


def rules(*texts: str, **more: Any) -> MultilineDefinition:
    return MultilineDefinition(name="my", type="regex", rules=RuleMachine([Rule.parse(text) for text in texts]), **more)


def endswith(match_string: str, **more: Any) -> MultilineDefinition:
    return MultilineDefinition(name="my", type="endswith", match_string=match_string, **more)


def equal(match_string: str, **more: Any) -> MultilineDefinition:
    return MultilineDefinition(name="my", type="equal", match_string=match_string, **more)


DATED_RULES = (r'"start_state" "/^\d{4}-/" "cont"', r'"cont" "/^\s+/" "cont"')
DATED = rules(*DATED_RULES)
LETTERS = rules('"start_state" "/^A/" "b"', '"b" "/^B/" "c"', '"c" "/^C/" "start_state"')


def joiner_of(*definitions: MultilineDefinition | str, limit: int = LIMIT) -> Joiner:
    found = [BUILT_IN[d] if isinstance(d, str) else d for d in definitions]
    return Joiner(found, limit, lambda: NOW_NS)


def feed(joiner: Joiner, lines: list[str], start: int = 0, source: object = 0) -> int:
    """Append lines as if they stood in a file from `start` on; returns where they end."""
    for line in lines:
        end = start + len(line.encode()) + 1
        joiner.append(line, start, end, source)
        start = end
    return start


def finish(joiner: Joiner) -> list[Joined]:
    """What the joiner gives in the end, after a long silence."""
    joiner.touch(0.0)
    joiner.flush_due(3600.0)
    return joiner.take()


def joined(definitions: list[MultilineDefinition | str], lines: list[str], limit: int = LIMIT) -> list[Joined]:
    joiner = joiner_of(*definitions, limit=limit)
    feed(joiner, lines)
    return finish(joiner)


def texts(records: list[Joined], key: str = "log") -> list[str]:
    return [record.body[key] for record in records]


def docker(log: str, stream: str = "stdout", second: int = 0) -> str:
    return f'{{"log":"{log}","stream":"{stream}","time":"2020-01-01T00:00:0{second}.5Z"}}'


def cri(text: str, stream: str = "stdout", second: int = 0) -> str:
    return f"2020-01-01T00:00:0{second}.5Z {stream} {text}"
