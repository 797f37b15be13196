"""What was asked for, remembered: found values for long, failures shortly, and nobody waits for long.

A value is asked for when it is first needed, and that one time it is waited for, as long as the patience lasts that all
share. While nobody answers, or answers come slowly, nothing is waited for at all: lines go on without the value, and
questions go on, and are repeated, in the background.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Hashable
from typing import Any, Generic, TypeVar

import msgspec

from ...clock import Clock
from ...log import Log
from ..patience import Patience
from .server import NoMetadata

PATIENCE_S = 5.0
"""How long records wait for a value that is asked for the first time, or that is too old."""
REPEAT_PATIENCE_S = 1.0
"""How long they wait for one that could not be had before, if others can be had; not at all if there is an old one."""

_LONG_WAIT_S = 1.0
"""Answers that take longer are slow."""

_MOST_VALUES = 10_000
_MOST_QUESTIONS = 500
_AWAY_FOR_S = 30.0
_AGAIN_AFTER_S = (0.5, 1.0, 2.0)
"""When a question is repeated that nothing but a stand-in has answered; altogether within the patience."""
_FIRST_REPEAT_S = 0.5
_LAST_REPEAT_S = 4.0
_FIRST_DOUBT_S = 5.0
_LAST_DOUBT_S = 600.0
_REMARK_EVERY_S = 60.0
_NEVER = float("inf")

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class Answer(msgspec.Struct, Generic[V]):
    """A value, and whether it will stay so; one that may not is asked for again soon.

    One that only stands in for the value, because what was found may be of another key, never takes the place of one
    that was found before. When there is none the question is repeated while somebody may still wait for it.
    """

    value: V
    is_certain: bool = True
    stands_in: bool = False


class _Entry(msgspec.Struct, Generic[V]):
    """What is remembered: the last value, when to ask again, and how often that was without a certain answer.

    `is_passing` says that the last failure should not last, `stands_in` that the value only stands in for one.
    """

    value: V | None = None
    stands_in: bool = False
    due: float = 0.0
    failures: int = 0
    doubts: int = 0
    is_passing: bool = False


class _Question:
    """A question on its way; `is_repeated` says that it was answered before, but not for good."""

    __slots__ = ("done", "is_repeated", "task")

    def __init__(self) -> None:
        self.done = asyncio.Event()
        self.is_repeated = False
        self.task: asyncio.Task[None] | None = None


class Lookups(Generic[K, V]):
    """The values of one kind. `ask` raises `NoMetadata`; a value is asked for again after `ttl` seconds, 0 is never."""

    def __init__(
        self,
        what: str,
        ask: Callable[[K], Awaitable[Answer[V]]],
        ttl: float,
        patience: Patience,
        clock: Clock,
        log: Log,
    ) -> None:
        self._what = what
        self._ask = ask
        self._ttl = ttl or _NEVER
        self._patience = patience
        self._clock = clock
        self._log = log
        self._entries: OrderedDict[K, _Entry[V]] = OrderedDict()
        self._questions: dict[K, _Question] = {}
        self._away_until = float("-inf")

    def get(self, key: K) -> V | None:
        """The last value that was found, None if there is none; what nobody gets for long is forgotten first."""
        entry = self._entries.get(key)
        if entry is None:
            return None
        self._entries.move_to_end(key)
        return entry.value

    def is_expected(self, key: K) -> bool:
        """Whether there should be a value: nobody has answered yet, or has said that there is none."""
        entry = self._entries.get(key)
        return entry is None or entry.is_passing

    def is_due(self, key: K) -> bool:
        """Whether it is time to ask for the value, so that `ready` may wait."""
        entry = self._entries.get(key)
        return entry is None or entry.due <= self._clock.monotonic()

    async def ready(self, key: K) -> None:
        """Have the value asked for if that is due; waits for it a few seconds at most, while patience lasts."""
        if not self.is_due(key):
            return
        question = self._questions.get(key) or self._begin(key)
        longest_s = _longest_wait_s(self._entries.get(key))
        if question is None or not longest_s or self._clock.monotonic() < self._away_until:
            return
        began = self._clock.monotonic()
        if await self._patience.wait(question.done, longest_s) or question.is_repeated:
            return
        # A wait that was cut short because patience is used up tells nothing of the server.
        if self._clock.monotonic() - began >= _LONG_WAIT_S:
            self._away_until = self._clock.monotonic() + _AWAY_FOR_S
            self._log.warning(
                f"metadata of a {self._what} comes slowly; lines go on without it until it is there",
                every=_REMARK_EVERY_S,
                of=key,
            )

    async def close(self) -> None:
        """End the questions that are on their way."""
        tasks = [q.task for q in self._questions.values() if q.task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _begin(self, key: K) -> _Question | None:
        """Ask in a task of its own, which `close` ends; None if too many are asking."""
        if len(self._questions) >= _MOST_QUESTIONS:
            return None
        question = self._questions[key] = _Question()
        question.task = asyncio.create_task(self._answered(key, question))
        return question

    async def _answered(self, key: K, question: _Question) -> None:
        try:
            answer = await self._ask_repeatedly(key, question)
        except NoMetadata as error:
            self._failed(key, error)
        else:
            self._found(key, answer)
        finally:
            del self._questions[key]
            question.done.set()

    async def _ask_repeatedly(self, key: K, question: _Question) -> Answer[V]:
        """The first answer that is not a stand-in; if nothing is known it is waited for a little."""
        answer = await self._ask(key)
        for pause_s in _AGAIN_AFTER_S if self.get(key) is None else ():
            if not answer.stands_in:
                break
            question.is_repeated = True
            await self._clock.sleep(pause_s)
            answer = await self._ask(key)
        return answer

    def _found(self, key: K, answer: Answer[V]) -> None:
        entry, now = self._entry(key), self._clock.monotonic()
        entry.failures = 0
        if not answer.stands_in or entry.value is None or entry.stands_in:
            entry.value, entry.stands_in = answer.value, answer.stands_in
        entry.doubts = 0 if answer.is_certain else entry.doubts + 1
        doubt_s = min(_FIRST_DOUBT_S * 2.0 ** (min(entry.doubts, 20) - 1), _LAST_DOUBT_S) if entry.doubts else _NEVER
        entry.due = now + min(self._ttl, doubt_s)
        self._away_until = float("-inf")

    def _failed(self, key: K, error: NoMetadata) -> None:
        entry, now = self._entry(key), self._clock.monotonic()
        entry.due = now + min(_FIRST_REPEAT_S * 2.0 ** min(entry.failures, 10), _LAST_REPEAT_S)
        entry.failures += 1
        entry.is_passing = error.is_passing
        if error.is_away:
            self._away_until = now + _AWAY_FOR_S
        self._log.warning(f"no metadata of a {self._what}", every=_REMARK_EVERY_S, of=key, reason=error)

    def _entry(self, key: K) -> _Entry[V]:
        """The entry of this key, which is now the youngest; the oldest makes room for a new one."""
        entry = self._entries.get(key)
        if entry is None:
            if len(self._entries) >= _MOST_VALUES:
                self._entries.popitem(last=False)
            entry = self._entries[key] = _Entry()
        self._entries.move_to_end(key)
        return entry


def _longest_wait_s(entry: _Entry[Any] | None) -> float:
    """How long one may wait for a value of which this is remembered."""
    if entry is None:
        return PATIENCE_S
    if entry.value is None:
        return REPEAT_PATIENCE_S
    return 0.0 if entry.doubts or entry.failures else PATIENCE_S
