"""Records of objects of an earlier process, known again when they are read once more.

An input reads again whatever was not settled, and nothing is settled before its object is complete. So the records of
a spool that is found at the start may come a second time, and they may not: their source may be gone, or have no
memory. The spool is sent as it is, under the key it has; and each of its records that comes again is recognised and not
stored a second time. Nothing is given up for that: if the source does not repeat itself, nothing is recognised. Until
all of them were met, or nothing is expected any more, the spool stays on disk, though it may be in S3: the process may
die again before its input has come so far.

A record is recognised if it is the same line of the same time and tag, and comes from the stretch of its source
(`Origin`) that the spool's record came from. Equal lines of one second are many, so the line alone would not do: what
was settled is not read again, and a new line that is equal to one of those must be stored. Of a source that tells no
stretches only records whose object was not complete are expected, as those cannot have been settled. When in doubt a
record is stored twice.

Records whose time is the moment in which they were read cannot be known again, and arrive twice.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import chain, islice

from ...clock import Clock
from ...log import Log
from ...record import SOMEWHERE, Origin
from .content import Lines
from .recovery import identities_in, stretches_in
from .spool import Spool, Stretch

_EXPECTED_S = 600.0
"""What is read again comes soon after the start; when this is over no more is expected."""

_MORE_EXPECTED_S = 120.0
"""The same after the last record that was recognised."""

_MOST = 2_000_000
"""Records remembered; thirteen bytes and a microsecond of the start each."""


class Recognised:
    """The records of a spool that was left and of one source, each of which may be met again once.

    Kept in arrays sorted by identity: thirteen bytes a record, where a set would take seventy. Equal ones stay in their
    order, and as a source is read forward, those that lie before what is read now are passed for good.
    """

    def __init__(self, spool: Spool) -> None:
        self.spool = spool
        self._begins = array("q")
        self._ends = array("q")
        self._identities = array("Q")
        self._stretches = array("I")
        """For each identity the place of its stretch in `_begins` and `_ends`."""
        self._taken = bytearray()
        self._next: dict[int, int] = {}
        """Of identities that several records share: the place of the next one that was not met."""

    def __len__(self) -> int:
        return len(self._identities)

    def add(self, stretch: Stretch, identities: Iterable[int]) -> None:
        """Learn the records of a stretch; `sort` comes when all are learned."""
        before = len(self._identities)
        self._identities.extend(identities)
        self._stretches.extend([len(self._begins)] * (len(self._identities) - before))
        self._begins.append(stretch.begin)
        self._ends.append(stretch.end)

    def sort(self) -> None:
        """Make it ready for `take`."""
        order = sorted(range(len(self)), key=self._identities.__getitem__)
        self._identities = array("Q", map(self._identities.__getitem__, order))
        self._stretches = array("I", map(self._stretches.__getitem__, order))
        self._taken = bytearray(len(order))

    def take(self, identity: int, begin: int, end: int) -> bool:
        """Whether it has a record of this identity in this stretch of the source that was not met; it is met now."""
        identities, stretches = self._identities, self._stretches
        first = place = self._next.get(identity, -1)
        if place < 0:
            first = place = bisect_left(identities, identity)
        while place < len(identities) and identities[place] == identity:
            if not self._taken[place] and self._ends[stretches[place]] > begin:
                break
            place += 1
        if place > first:
            self._next[identity] = place
        if place >= len(identities) or identities[place] != identity or self._begins[stretches[place]] >= end:
            return False
        self._taken[place] = 1
        return True


class KnownRecords:
    """All records that may come again, by tag and source."""

    def __init__(self, clock: Clock, log: Log) -> None:
        self._clock = clock
        self._log = log
        self._known: dict[tuple[str, str], list[Recognised]] = {}
        self._left: dict[Spool, int] = {}
        """How many records of each spool were not met."""
        self._until = 0.0

    def learn(self, spools: Iterable[Spool]) -> None:
        """Remember the records of these spools."""
        left = _MOST
        # What is not in S3 comes first, and then the latest: those are the likeliest to come again.
        for spool in sorted(spools, key=lambda spool: (spool.sheet.state != "done", spool.name), reverse=True):
            if left <= 0:
                self._log.warning("so much is left that records may be in the bucket twice", object=spool.sheet.key)
                continue
            found = _recognised_in(spool)
            if count := sum(map(len, found.values())):
                left -= count
                spool.is_expected = True
                self._left[spool] = count
                for source, known in found.items():
                    self._known.setdefault((spool.sheet.tag, source), []).append(known)
        self._until = self._clock.monotonic() + _EXPECTED_S

    def take_out(self, tag: str, made: Lines, origins: Sequence[Origin | None]) -> list[tuple[Spool, int]]:
        """Take the lines that a spool holds already out of what was made; gives the spools and how many each holds.

        `origins` are those of the batches that the lines were made of.
        """
        candidates = [self._candidates(tag, origin) for origin in origins]
        if not any(candidates):
            return []
        rest = iter(made.identities())
        owners: list[Spool | None] = []
        for known, origin, count in zip(candidates, origins, made.counts, strict=True):
            owners += [_owner(known, origin, identity) for identity in islice(rest, count)]
        found = Counter(owner for owner in owners if owner is not None)
        if found:
            self._until = self._clock.monotonic() + _MORE_EXPECTED_S
            made.keep([owner is None for owner in owners])
        for spool, count in found.items():
            self._left[spool] -= count
            if not self._left[spool]:
                self._forget(spool)
        return list(found.items())

    def forget_in(self) -> float | None:
        """Seconds until nothing is expected any more; when that is over all is forgotten, and there is None."""
        left = self._until - self._clock.monotonic()
        if left <= 0:
            for spool in list(self._left):
                self._forget(spool)
        return left if self._left else None

    def _candidates(self, tag: str, origin: Origin | None) -> list[Recognised]:
        if origin is None or not self._left:
            return []
        # What was given up holds nothing any more: its records are stored again.
        return [known for known in self._known.get((tag, origin.source), ()) if not known.spool.is_deleted]

    def _forget(self, spool: Spool) -> None:
        spool.is_expected = False
        del self._left[spool]
        for place, known in list(self._known.items()):
            if kept := [one for one in known if one.spool is not spool]:
                self._known[place] = kept
            else:
                del self._known[place]


def _owner(known: Sequence[Recognised], origin: Origin | None, identity: int) -> Spool | None:
    if origin is None:
        return None
    # What came with an empty stretch was read at one place.
    begin, end = origin.begin, max(origin.end, origin.begin + 1)
    return next((one.spool for one in known if one.take(identity, begin, end)), None)


def _recognised_in(spool: Spool) -> dict[str, Recognised]:
    """The records of a spool that may come again, by source."""
    found: dict[str, Recognised] = {}
    stretches = list(stretches_in(spool))
    if not any(_may_come_again(spool, stretch) for stretch in stretches):
        return found
    rest = chain.from_iterable(identities_in(spool))
    for stretch in stretches:
        identities = [identity for identity in islice(rest, stretch.records) if identity is not None]
        if identities and stretch.source is not None and _may_come_again(spool, stretch):
            found.setdefault(stretch.source, Recognised(spool)).add(stretch, identities)
    for known in found.values():
        known.sort()
    return found


def _may_come_again(spool: Spool, stretch: Stretch) -> bool:
    if stretch.source is None or stretch.begin >= stretch.end:
        return False
    return stretch.source != SOMEWHERE.source or spool.sheet.state != "done"
