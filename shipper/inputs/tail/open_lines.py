"""What a line mode remembers of the record it has not finished: which bytes its lines are, and when it is due."""

from __future__ import annotations

from collections.abc import Sequence

from .assembly import Block, OpenSpan


class OpenLines:
    """The lines of one open record; its time begins when the reader has reached the end of the file."""

    def __init__(self, flush_s: float) -> None:
        self._flush_s = flush_s
        self.clear()

    def clear(self) -> None:
        self._spans: list[OpenSpan] = []
        self.size = 0
        """Bytes of the lines."""
        self._deadline: float | None = None

    def add(self, block: Block, start: int, end: int) -> None:
        """Add the line that is these bytes."""
        spans = self._spans
        self.size += end - start
        self._deadline = None
        if spans and spans[-1][0] == block.source and spans[-1][2] == start:
            start = spans.pop()[1]
        spans.append((block.source, start, end))

    @property
    def spans(self) -> Sequence[OpenSpan]:
        return self._spans

    def touch(self, now: float) -> None:
        if self._spans and self._deadline is None:
            self._deadline = now + self._flush_s

    @property
    def deadline(self) -> float | None:
        return self._deadline

    def is_due(self, now: float, idle_s: float | None) -> bool:
        """Whether the record has waited long enough, or for `idle_s` if that is given."""
        if not self._spans:
            return False
        if idle_s == 0:
            return True
        if self._deadline is None:
            return False
        wait_s = self._flush_s if idle_s is None else min(idle_s, self._flush_s)
        return now >= self._deadline - self._flush_s + wait_s
