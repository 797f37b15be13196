"""A reader over something stored: takes deliveries from lanes and fills the lanes from the disk as it is needed."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from typing import Protocol

from ...record import RecordBatch
from ..base import Delivery, Reader
from ..lanes import Lanes
from .entry import Entry
from .segment import Sums

FILL_BYTES = 8 << 20
"""Bytes as read that a reader lets wait, and that it reads at a time."""

LOOK_FURTHER_S = 1.0
"""Wait between looks beyond that, for other lanes, while all lanes with something waiting are out."""

READ_RETRY_S = 1.0
"""Wait after the disk refused to read."""


class Source(Protocol):
    """Where the entries of one output come from."""

    lanes: Lanes[Entry]
    held: Sums
    has_failed: bool
    """Whether the last attempt to read failed."""

    @property
    def is_level(self) -> bool:
        """Whether everything there is was looked at."""

    def can_read(self) -> bool:
        """Whether there is something on the disk that may be looked at now."""

    def read_on(self) -> int:
        """Look at what comes next on the disk, and let it wait if it is for this output; gives the bytes it has."""

    def load(self, entry: Entry) -> RecordBatch | None:
        """The batch of an entry; None if it cannot be read any more, which is counted then.

        Raises `OSError` if it cannot be read now, and is to be tried again.
        """

    def is_replayed(self, entry: Entry) -> bool:
        """Whether an earlier run has stored it."""

    def name_of(self, entry: Entry) -> str:
        """What a delivery is called that begins with this entry; empty if there is no name for it."""

    def release(self, entries: list[Entry]) -> None:
        """Take note that the batches of these entries are not needed any more."""

    def finish(self, entries: list[Entry], *, are_released: bool = False) -> None:
        """Take note that these entries are committed, and released if they were not before."""


class StoredReader(Reader):
    """The cursor of one output; see `Reader`. `keep_rows` remembers that of an entry only some rows are left."""

    def __init__(
        self,
        source: Source,
        notify: Callable[[], None],
        keep_rows: Callable[[Entry, Sequence[int]], None] | None = None,
    ) -> None:
        self.source = source
        self._keep_rows = keep_rows
        self._lanes = source.lanes
        self._notify = notify
        self._out: dict[Delivery, list[Entry]] = {}
        self._kept: dict[Delivery, list[Entry]] = {}
        self._read_at = 0.0
        """When the disk may be read again after it failed, or after a look further than usual."""
        self._load_at = 0.0
        """When something may be taken again after a batch that waits could not be read."""

    def take(self, now: float, *, flush: bool = False) -> Delivery | None:
        if now < self._load_at:
            return None
        self._fill(now)
        while now >= self._load_at:
            taken = self._lanes.take(now, flush=flush or self._is_behind)
            if taken is None:
                return None
            lane, entries = taken
            loaded = self._load(lane, entries, now)
            if loaded:
                return self._sent_out(lane, loaded, now)
            self._lanes.back(lane)
        return None

    def adopt(self, delivery: Delivery) -> None:
        """Take a delivery for one of ours whose batches were just put, and are all that waits in its lane."""
        self._out[delivery] = self._lanes.take_all(delivery.lane)

    def due_in(self, now: float) -> float | None:
        if now < self._load_at:
            return self._load_at - now
        due = self._lanes.due_in(now)
        if due is not None and self._is_behind:
            due = 0.0
        if due == 0.0 or not self.source.can_read():
            return due
        wait_s = max(0.0, self._read_at - now) if self._may_only_look_later() else 0.0
        return wait_s if due is None else min(due, wait_s)

    def commit(self, delivery: Delivery) -> None:
        entries = self._kept.pop(delivery, None)
        if entries is not None:
            self.source.finish(entries, are_released=True)
            return
        entries = self._out.pop(delivery)
        self._lanes.back(delivery.lane)
        self.source.finish(entries)
        self._notify()

    def keep(self, delivery: Delivery) -> None:
        entries = self._kept[delivery] = self._out.pop(delivery)
        delivery.batches = ()
        self._lanes.back(delivery.lane)
        self.source.release(entries)
        self._notify()

    def give_back(self, delivery: Delivery) -> None:
        self._lanes.back(delivery.lane, self._out.pop(delivery))
        self._notify()

    def give_back_rest(self, delivery: Delivery, left: Sequence[Sequence[int]]) -> bool:
        if self._keep_rows is None:
            return False
        rest = [(entry, rows) for entry, rows in zip(self._out[delivery], left, strict=True) if rows]
        done = [entry for entry, rows in zip(self._out.pop(delivery), left, strict=True) if not rows]
        self._lanes.back(delivery.lane, [entry for entry, _ in rest])
        for entry, rows in rest:
            if len(rows) < entry.records:
                self._keep_rows(entry, rows)
        self.source.finish(done)
        return True

    def held(self) -> tuple[int, int]:
        return self.source.held.records, self.source.held.size

    @property
    def is_idle(self) -> bool:
        """Whether nothing waits, here or on the disk, and nothing is on its way."""
        return not self._out and self._lanes.is_empty and self.source.is_level

    @property
    def _is_behind(self) -> bool:
        """Whether more waits on the disk, so that nothing should wait here for a fuller delivery."""
        return not self.source.is_level

    def _may_only_look_later(self) -> bool:
        return self.source.has_failed or self._lanes.waiting >= FILL_BYTES

    def _load(self, lane: Hashable, entries: list[Entry], now: float) -> list[tuple[Entry, RecordBatch]]:
        """The entries of a delivery with their batches; one that cannot be read now waits again, and all behind it."""
        loaded = []
        for place, entry in enumerate(entries):
            try:
                batch = self.source.load(entry)
            except OSError:
                self._load_at = now + READ_RETRY_S
                self._lanes.leave_out(lane, entries[place:])
                break
            if batch is not None:
                loaded.append((entry, batch))
        return loaded

    def _sent_out(self, lane: Hashable, loaded: list[tuple[Entry, RecordBatch]], now: float) -> Delivery:
        delivery = Delivery(lane, [batch for _, batch in loaded], now)
        delivery.name = self.source.name_of(loaded[0][0])
        delivery.is_replayed = self.source.is_replayed(loaded[0][0])
        self._out[delivery] = [entry for entry, _ in loaded]
        return delivery

    def _fill(self, now: float) -> None:
        """Read until a full delivery can be taken, but not without end."""
        source, lanes, budget = self.source, self._lanes, FILL_BYTES
        if self._may_only_look_later():
            if now < self._read_at or lanes.due_in(now) is not None:
                return
            self._read_at = now + LOOK_FURTHER_S
        while budget > 0 and source.can_read() and not lanes.has_full():
            budget -= source.read_on()
            if source.has_failed:
                self._read_at = now + READ_RETRY_S
                return

    def __repr__(self) -> str:
        return f"StoredReader({self.source!r}, {len(self._out)} out)"
