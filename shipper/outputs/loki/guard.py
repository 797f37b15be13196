"""Keeps the number of streams bounded, and the shape of labels as the server wants it.

Every set of labels is a stream, and Loki takes only so many. A label that differs with every request makes a stream of
every record. When nine tenths of `most_streams` are there in a minute, new sets of labels lose the label that has the
most values; when all are there, they lose labels until they are those of a stream that exists. What they lose becomes
structured metadata, so that nothing is lost and it can still be searched for.
"""

from __future__ import annotations

from collections.abc import Callable

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
        """The labels within the limits that are known; shortened values, and those that are too many, become metadata.

        Metadata keep what was cut.
        """
        moved: Labels = ()
        if self.longest_name is not None:
            longest = self.longest_name
            labels = tuple((k[:longest], v) for k, v in labels)
        if self.longest_value is not None and any(len(v.encode()) > self.longest_value for _, v in labels):
            longest = self.longest_value
            labels = tuple((k, v.encode()[:longest].decode("utf-8", "ignore")) for k, v in labels)
        if self.most_labels is not None and len(labels) > self.most_labels:
            labels, moved = labels[: self.most_labels], labels[self.most_labels :]
        return labels, moved

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
