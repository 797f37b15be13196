"""The rules of a multiline definition of type regex, and the machine that decides which line continues a message.

A rule leads from some states to another one when its pattern is found in a line. The state of a message is the rule
that took its last line. Rules that lead on from there are tried first; the rules of the start state begin a new message
and never continue one.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any, Self

import msgspec

from .onigmo import Regex

START = "start_state"
_WORD = re.compile(r'"((?:[^"\\]|\\.)*)"|(\S+)', re.DOTALL)

Search = Callable[[str], Any]


class Rule(msgspec.Struct, frozen=True):
    """Lines in which `regex` is found lead from one of `states` to `next_state`, if there is a next one."""

    states: tuple[str, ...]
    regex: Regex
    next_state: str | None = None

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read `"state, state" "/regex/" "next_state"`; quotes are optional, a quote inside is written `\\"`."""
        words = [found[2] or found[1].replace('\\"', '"') for found in _WORD.finditer(text)]
        states = tuple(state.strip() for state in words[0].split(",") if state.strip()) if words else ()
        if len(words) < 2 or not states:
            raise ValueError(f'expected "STATE" "/REGEX/" "NEXT_STATE", got {text!r}')
        return cls(states, Regex.parse(words[1]), words[2] if len(words) > 2 else None)

    @property
    def is_start(self) -> bool:
        """Whether the rule begins messages."""
        return START in self.states


class RuleState:
    """Where a message stands after a line.

    `completes` says that the message is known to end with this line; `following` are the rules that may continue it.
    """

    __slots__ = ("completes", "following")

    def __init__(self, completes: bool) -> None:
        self.completes = completes
        self.following: tuple[tuple[Search, RuleState], ...] = ()


class RuleMachine:
    """Ordered rules, made ready for use; it holds no state of its own and may serve many streams."""

    def __init__(self, rules: Sequence[Rule]) -> None:
        self.rules = tuple(rules)
        successors = [[i for i, after in enumerate(rules) if rule.next_state in after.states] for rule in rules]
        states = [RuleState(any(rules[i].is_start for i in found)) for found in successors]
        steps = [(rule.regex.search, state) for rule, state in zip(rules, states, strict=True)]
        for state, found in zip(states, successors, strict=True):
            state.following = tuple(steps[i] for i in found if not rules[i].is_start)
        self._starts = tuple(step for rule, step in zip(rules, steps, strict=True) if rule.is_start)
        starts = [rule.regex.needles for rule in rules if rule.is_start]
        self.needles = tuple(text for needles in starts for text in needles) if all(starts) else None
        """Texts one of which is in every text that begins a message; None if that is not known."""

    def start(self, text: str) -> RuleState | None:
        """The state of a message that begins with this text, or None if none can."""
        for search, state in self._starts:
            if search(text):
                return state
        return None

    def go_on(self, state: RuleState, text: str) -> RuleState | None:
        """The state of a message in `state` that goes on with this text, or None if it does not."""
        for search, following in state.following:
            if search(text):
                return following
        return None

    def __repr__(self) -> str:
        return f"RuleMachine({len(self.rules)} rules)"
