"""The errors that components exchange; everything else that is raised is a bug."""

from __future__ import annotations

from collections.abc import Sequence
from enum import Enum, auto
from typing import Literal

import msgspec


class Origin(msgspec.Struct, frozen=True):
    """Where a configuration value was written: a file, a line and maybe a column, or the command line."""

    file: str
    line: int = 0
    column: int = 0

    def __str__(self) -> str:
        return ":".join(str(part) for part in (self.file, self.line, self.column) if part)


class Problem(msgspec.Struct, frozen=True):
    """One mistake in the configuration, told so that a stranger can mend it.

    `exit_code` is what the process ends with when this is the only problem: 1 for a file that cannot
    be loaded, 255 for a valid file whose plugins cannot be set up.
    """

    message: str
    origin: Origin | None = None
    remedy: str = ""
    exit_code: Literal[1, 255] = 1

    def __str__(self) -> str:
        where = f"{self.origin}: " if self.origin else ""
        remedy = f" - {self.remedy}" if self.remedy else ""
        return f"{where}{self.message}{remedy}"


class ConfigError(Exception):
    """The configuration cannot be used; carries every problem found."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        super().__init__("\n".join(str(p) for p in problems))
        self.problems = tuple(problems)

    @property
    def exit_code(self) -> int:
        """1 if any file could not be loaded, else 255."""
        return 1 if any(p.exit_code == 1 for p in self.problems) else 255


class Counts(Enum):
    """Whether a failed attempt counts against `retry_limit`."""

    ALWAYS = auto()

    WITHOUT_PROGRESS = auto()
    """Only if the output has delivered nothing at all since the attempt before: the destination is slow, not away."""

    NEVER = auto()
    """What is wrong heals without the data, such as credentials; it is tried again each minute at least."""


class RetryLater(Exception):
    """The destination cannot take the delivery now; `after` is its own wish in seconds, if it had one."""

    def __init__(self, reason: str, after: float | None = None, counts: Counts = Counts.ALWAYS) -> None:
        super().__init__(reason)
        self.reason = reason
        self.after = after
        self.counts = counts


def worst_of(failures: Sequence[RetryLater]) -> RetryLater:
    """The failure to tell of several of one delivery: one that holds the records, if there is any, else the first."""
    return min(failures, key=lambda failure: failure.counts is not Counts.NEVER)


class Rejected(Exception):
    """The destination will never take what is left of the delivery."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class OptionError(ValueError):
    """An option whose value cannot be used; raised by option types and plugin constructors."""

    def __init__(self, option: str, message: str, remedy: str = "") -> None:
        super().__init__(f"{option}: {message}")
        self.option = option
        self.message = message
        self.remedy = remedy
