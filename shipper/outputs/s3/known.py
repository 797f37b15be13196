"""Records of objects of an earlier process, known again when they are read once more.

An input reads again whatever was not settled, and nothing is settled before its object is complete. So the records of a
spool that is found at the start may come a second time, and they may not: their source may be gone, or have no memory.
The spool is sent as it is, under the key it has; and each of its records that comes again, the same line of the same
time and tag, is recognised by its identity and not stored a second time. Nothing is given up for that: if the source
does not repeat itself, nothing is recognised. Until all of them were met, or nothing is expected any more, the spool
stays on disk, though it may be in S3: the process may die again before its input has come so far.

Records whose time is the moment in which they were read cannot be known again, and arrive twice.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections.abc import Iterable

from ...clock import Clock
from ...log import Log
from .content import Lines
from .recovery import identities_in
from .spool import Spool

_EXPECTED_S = 600.0
"""What is read again comes soon after the start; when this is over no more is expected."""

_MORE_EXPECTED_S = 120.0
"""The same after the last record that was recognised."""

_MOST = 2_000_000
"""Records remembered; nine bytes and half a microsecond of the start each."""


class Recognised:
    """The records of a spool that was left, each of which may be met again once.

    Kept in a sorted array: nine bytes a record, where a set would take seventy.
    """

    def __init__(self, spool: Spool) -> None:
        self.spool = spool
        found = array("Q")
        for some in identities_in(spool):
            found.extend(some)
        self._identities = array("Q", sorted(found))
        self._taken = bytearray(len(found))
        self._next: dict[int, int] = {}
        """Of identities that several records share: the place of the next one that was not met."""
        self.left = len(found)

    def take(self, identity: int) -> bool:
        """Whether the spool holds a record of this identity that was not met before; it is met now."""
        place = self._next.get(identity)
        if place is None:
            place = bisect_left(self._identities, identity)
        if place >= len(self._identities) or self._identities[place] != identity or self._taken[place]:
            return False
        self._taken[place] = 1
        if place + 1 < len(self._identities) and self._identities[place + 1] == identity:
            self._next[identity] = place + 1
        self.left -= 1
        return True


class KnownRecords:
    """All records that may come again, by tag."""

    def __init__(self, clock: Clock, log: Log) -> None:
        self._clock = clock
        self._log = log
        self._by_tag: dict[str, list[Recognised]] = {}
        self._until = 0.0

    def learn(self, spools: Iterable[Spool]) -> None:
        """Remember the records of these spools."""
        left = _MOST
        # What is not in S3 comes first, and then the latest: those are the likeliest to come again.
        for spool in sorted(spools, key=lambda spool: (spool.sheet.state != "done", spool.name), reverse=True):
            if left <= 0:
                self._log.warning("so much is left that records may be in the bucket twice", object=spool.sheet.key)
                continue
            found = Recognised(spool)
            left -= found.left
            if found.left:
                spool.is_expected = True
                self._by_tag.setdefault(spool.sheet.tag, []).append(found)
        self._until = self._clock.monotonic() + _EXPECTED_S

    def take_out(self, tag: str, made: Lines) -> list[tuple[Spool, int]]:
        """Take the lines that a spool holds already out of what was made; gives the spools and how many each holds."""
        # What was given up holds nothing any more: its records are stored again.
        known = [r for r in self._by_tag.get(tag, ()) if not r.spool.is_deleted]
        if not known:
            self._by_tag.pop(tag, None)
            return []
        owners = [next((r for r in known if r.take(one)), None) for one in made.identities()]
        if any(owners):
            self._until = self._clock.monotonic() + _MORE_EXPECTED_S
            made.keep([owner is None for owner in owners])
        found = [(r.spool, count) for r in known if (count := owners.count(r))]
        self._by_tag[tag] = [r for r in known if r.left]
        for spool in {r.spool for r in known} - {r.spool for r in self._by_tag[tag]}:
            spool.is_expected = False
        if not self._by_tag[tag]:
            del self._by_tag[tag]
        return found

    def forget_in(self) -> float | None:
        """Seconds until nothing is expected any more; when that is over all is forgotten, and there is None."""
        left = self._until - self._clock.monotonic()
        if left <= 0:
            for known in self._by_tag.values():
                for one in known:
                    one.spool.is_expected = False
            self._by_tag.clear()
        return left if self._by_tag else None
