"""What was delivered, and up to which version all of it, though receipts are settled in any order."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence


class Step:
    """Something that was emitted; `version` is reached when it and all before it are settled, None for none.

    `hashes` are those of the keys of its events while it is not settled: the keys themselves are large.
    """

    __slots__ = ("hashes", "is_settled", "version")

    def __init__(self, version: str | None) -> None:
        self.version = version
        self.hashes: Sequence[int] = ()
        self.is_settled = False


class Progress:
    """The steps that are owed, in the order in which they were emitted; `reached` passes over settled ones only."""

    def __init__(self, on_reached: Callable[[], None]) -> None:
        self.reached = ""
        self._on_reached = on_reached
        self._steps: deque[Step] = deque()

    def begin(self, reached: str) -> None:
        """Go on from what somebody else has reached. What is still owed holds up what follows, and reaches nothing."""
        self.reached = reached
        for step in self._steps:
            step.version = None

    def owe(self, version: str | None) -> Step:
        """A step behind all others."""
        step = Step(version)
        self._steps.append(step)
        return step

    def withdraw(self, step: Step) -> None:
        """The step was not emitted after all."""
        self._steps.remove(step)
        self._advance()

    def settle(self, step: Step) -> None:
        """The step is delivered."""
        step.is_settled, step.hashes = True, ()
        self._advance()

    def owed_hashes(self) -> set[int]:
        """The hashes of the keys of the events that were emitted and are not delivered."""
        return {value for step in self._steps for value in step.hashes}

    def _advance(self) -> None:
        before = self.reached
        while self._steps and self._steps[0].is_settled:
            version = self._steps.popleft().version
            if version is not None:
                self.reached = version
        if self.reached != before:
            self._on_reached()
