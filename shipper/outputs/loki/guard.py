"""Keeps the number of streams bounded, and the shape of labels as the server wants it.

Every set of labels is a stream, and Loki takes only so many. A label that differs with every request makes a stream of
every record. When nine tenths of `most_streams` are there in a minute, new sets of labels lose the label that has the
most values; when all are there, they lose labels until they are those of a stream that exists. What they lose becomes
structured metadata, so that nothing is lost and it can still be searched for.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

from ...clock import Clock
from ...log import Log

Labels = tuple[tuple[str, str], ...]
Admitted = tuple[Labels, Labels]
"""The labels that stay labels, and those that become structured metadata."""

WINDOW_S = 60.0
_VALUES_COUNTED = 100_000


class Shape:
    """What labels may look like. Limits that the server tells are learned and kept from then on.

    `_current` and `_previous` are the streams of this minute and of the one before; a stream of either exists.
    `_values` counts the values of each label among the streams of this minute.
    """

    def __init__(
        self, most_streams: int, clock: Clock, log: Log, count_overflow: Callable[[int], None] = lambda n: None
    ) -> None:
        self._most_streams = most_streams
        self._clock = clock
        self._log = log
        self._count_overflow = count_overflow
        self._current: set[tuple[str | None, Labels]] = set()
        self._previous: set[tuple[str | None, Labels]] = set()
        self._values: dict[str, set[str]] = {}
        self._began = clock.monotonic()
        self.most_labels: int | None = None
        self.longest_value: int | None = None
        self.longest_name: int | None = None

    @property
    def streams(self) -> int:
        """How many streams exist."""
        return len(self._current | self._previous)

    def admit(self, tenant: str | None, labels: Labels) -> Admitted:
        """The labels that may be used, and those that become structured metadata."""
        labels, moved = self.fitted(labels)
        now = self._clock.monotonic()
        if now - self._began >= WINDOW_S:
            is_next = now - self._began < 2 * WINDOW_S
            self._previous = self._current if is_next else set()
            self._current, self._values, self._began = set(), {}, now
        if self._is_known(tenant, labels) or self._has_room(self._most_streams * 9 // 10):
            self._note(tenant, labels)
            return labels, moved
        lost: Labels = ()
        while len(labels) > 1 and not (lost and self._may_be(tenant, labels)):
            labels, label = self._without_widest(labels)
            lost += (label,)
            self._log.warning(
                f"more than {self._most_streams} streams in a minute: label {label[0]} has too many values and becomes "
                "structured metadata in new streams",
                every=60,
                remedy="take it out of labels, or raise max_streams",
            )
        if not self._may_be(tenant, labels):
            # One label is left, and it is a new one; a stream without labels there cannot be.
            lost += labels
            labels = (("job", "fluent-bit"),)
        self._note(tenant, labels)
        self._count_overflow(1)
        return labels, (*moved, *lost)

    def tighten(self) -> None:
        """The server takes no more streams: from now on no more than there are."""
        fewer = max(1, min(self._most_streams, self.streams - 1))
        if fewer < self._most_streams:
            self._most_streams = fewer
            self._log.warning("the server takes no more streams", every=60, streams=fewer)

    def forget(self, tenant: str | None, labels: Labels) -> None:
        """This stream was refused, so it does not exist."""
        self._current.discard((tenant, labels))
        self._previous.discard((tenant, labels))

    def fitted(self, labels: Labels) -> Admitted:
        """The labels within the limits that are known, and those that become metadata.

        That are the labels that are too many, and what was shortened, as it was before.
        """
        if self.longest_name is None and self.longest_value is None and self.most_labels is None:
            return labels, ()
        short = tuple(dict([(self._short_name(k), self._short_value(v)) for k, v in labels]).items())
        kept = frozenset(short)
        moved = tuple([label for label in labels if label not in kept])
        if self.most_labels is not None and len(short) > self.most_labels:
            short, too_many = short[: self.most_labels], frozenset(short[self.most_labels :])
            moved = (*moved, *[label for label in labels if label in too_many])
        return short, moved

    def learn_most_labels(self, limit: int) -> None:
        """The server takes no more labels than so many in a stream."""
        self.most_labels = max(1, limit)

    def learn_longest(self, kind: Literal["name", "value"], refused: int) -> None:
        """The server has refused the names, or the values, of labels of which the longest has so many bytes.

        It does not say what it takes. If that is less than usual, half of what was refused is tried.
        """
        usual, least = (1024, 64) if kind == "name" else (2048, 128)
        limit = usual if refused > usual else max(least, refused // 2)
        if kind == "name":
            self.longest_name = min(limit, self.longest_name or usual)
        else:
            self.longest_value = min(limit, self.longest_value or usual)

    def _short_name(self, name: str) -> str:
        return name if self.longest_name is None else name[: self.longest_name]

    def _short_value(self, value: str) -> str:
        longest = self.longest_value
        if longest is None or len(value.encode()) <= longest:
            return value
        return value.encode()[:longest].decode("utf-8", "ignore")

    def _is_known(self, tenant: str | None, labels: Labels) -> bool:
        return (tenant, labels) in self._current or (tenant, labels) in self._previous

    def _may_be(self, tenant: str | None, labels: Labels) -> bool:
        return self._is_known(tenant, labels) or self._has_room(self._most_streams)

    def _has_room(self, most: int) -> bool:
        # The sum counts a stream of both minutes twice, so the exact number is only asked for when it matters.
        return len(self._current) + len(self._previous) < most or self.streams < most

    def _note(self, tenant: str | None, labels: Labels) -> None:
        if (tenant, labels) in self._current:
            return
        self._current.add((tenant, labels))
        for name, value in labels:
            self._count_value(name, value)

    def _count_value(self, name: str, value: str) -> None:
        values = self._values.setdefault(name, set())
        if len(values) < _VALUES_COUNTED:
            values.add(value)

    def _without_widest(self, labels: Labels) -> tuple[Labels, tuple[str, str]]:
        widths = [len(self._values.get(name, ())) for name, _ in labels]
        widest = widths.index(max(widths))
        return labels[:widest] + labels[widest + 1 :], labels[widest]
