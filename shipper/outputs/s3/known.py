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
from itertools import islice, pairwise

import msgspec

from ...clock import Clock
from ...log import Log
from ...record import SOMEWHERE, Origin
from .content import Lines, identity_of
from .recovery import identities_in, stretches_in
from .spool import Spool, Stretch

_EXPECTED_S = 600.0
"""What is read again comes soon after the start; when this is over no more is expected."""

_MORE_EXPECTED_S = 120.0
"""The same after the last record that was recognised."""

_MOST = 2_000_000
"""Records and stretches remembered: thirteen bytes for each record, twenty for each stretch."""

_SHELVES = 256


class Source(msgspec.Struct):
    """What is known of one source and one tag: by what its records differ from others, and from where to where."""

    mark: int
    begin: int
    end: int

    def may_have(self, origin: Origin) -> bool:
        """Whether anything that comes from there can be known."""
        return self.begin < _end_of(origin) and self.end > origin.begin


class Recognised:
    """Records of spools, each of which may be met again once.

    They are kept by identity, in arrays: thirteen bytes a record, where a set would take seventy. The arrays are many
    small ones, the shelves, because sorting takes ten times as much for a while. Equal records stay in the order of
    their source, and as a source is read forward, those that lie before what is read now are passed for good.

    However many spools there are, a record is looked up once. An identity is that of a line, its time, its tag and its
    source, so that equal lines of others are not in the way.
    """

    def __init__(self) -> None:
        self._spools: list[Spool] = []
        self._begins = array("q")
        self._ends = array("q")
        self._owners = array("I")
        """For each stretch the place of its spool in `_spools`."""
        self._identities = [array("Q") for _ in range(_SHELVES)]
        self._stretches = [array("I") for _ in range(_SHELVES)]
        """For each identity the place of its stretch in `_begins`, `_ends` and `_owners`."""
        self._taken: list[bytearray] = []
        self._next: dict[int, int] = {}
        """Of identities that several records share: the place of the next one that was not met."""

    def add(self, spool: Spool, begin: int, end: int, identities: Iterable[int]) -> None:
        """Learn the records of a stretch; `sort` comes when all are learned."""
        if not self._spools or self._spools[-1] is not spool:
            self._spools.append(spool)
        for identity in identities:
            shelf = identity % _SHELVES
            self._identities[shelf].append(identity)
            self._stretches[shelf].append(len(self._begins))
        self._begins.append(begin)
        self._ends.append(end)
        self._owners.append(len(self._spools) - 1)

    def sort(self) -> None:
        """Make it ready for `take`."""
        for shelf in range(_SHELVES):
            self._sort(shelf)
        self._taken = [bytearray(len(identities)) for identities in self._identities]

    def _sort(self, shelf: int) -> None:
        identities, stretches, begins = self._identities[shelf], self._stretches[shelf], self._begins

        def key(place: int) -> tuple[int, int]:
            return identities[place], begins[stretches[place]]

        # A shelf is large only if most of it is equal, and then it is in order already.
        if all(one <= other for one, other in pairwise(map(key, range(len(identities))))):
            return
        order = sorted(range(len(identities)), key=key)
        self._identities[shelf] = array("Q", map(identities.__getitem__, order))
        self._stretches[shelf] = array("I", map(stretches.__getitem__, order))

    def take(self, identity: int, begin: int, end: int) -> Spool | None:
        """The spool of a record of this identity in this stretch of its source that was not met; it is met now."""
        shelf = identity % _SHELVES
        identities, stretches, taken = self._identities[shelf], self._stretches[shelf], self._taken[shelf]
        first = place = self._next.get(identity, -1)
        if place < 0:
            first = place = bisect_left(identities, identity)
        while place < len(identities) and identities[place] == identity:
            stretch = stretches[place]
            # What was given up holds nothing any more: its records are stored again.
            is_there = not self._spools[self._owners[stretch]].is_deleted
            if is_there and not taken[place] and self._ends[stretch] > begin:
                break
            place += 1
        if place > first:
            self._next[identity] = place
        if place >= len(identities) or identities[place] != identity or self._begins[stretches[place]] >= end:
            return None
        taken[place] = 1
        return self._spools[self._owners[stretches[place]]]


class KnownRecords:
    """All records that may come again."""

    def __init__(self, clock: Clock, log: Log) -> None:
        self._clock = clock
        self._log = log
        self._recognised = Recognised()
        self._sources: dict[tuple[str, str], Source] = {}
        """By tag and name of the source."""
        self._left: dict[Spool, int] = {}
        """How many records of each spool were not met."""
        self._until = 0.0

    def learn(self, spools: Iterable[Spool]) -> None:
        """Remember the records of these spools; reads all of them."""
        left, unknown = _MOST, 0
        # What is not in S3 comes first, and then the latest: those are the likeliest to come again.
        for spool in sorted(spools, key=lambda spool: (spool.sheet.state != "done", spool.name), reverse=True):
            left = self._learn(spool, left)
            unknown += left <= 0
        if unknown:
            self._log.warning("so much is left that records may be in the bucket twice", objects=unknown)
        self._recognised.sort()
        self._until = self._clock.monotonic() + _EXPECTED_S

    def _learn(self, spool: Spool, most: int) -> int:
        """Remember at most so many records and stretches of a spool; gives how many more there may be."""
        if most <= 0 or not any(_may_come_again(spool, stretch) for stretch in stretches_in(spool)):
            return most
        rest, count = identities_in(spool), 0
        for stretch in stretches_in(spool):
            if most <= 0:
                break
            identities = [identity for identity in islice(rest, stretch.records) if identity is not None]
            if identities and stretch.source is not None and _may_come_again(spool, stretch):
                mark = self._mark_of(spool.sheet.tag, stretch.source, stretch)
                self._recognised.add(spool, stretch.begin, stretch.end, [one ^ mark for one in identities])
                count += len(identities)
                most -= len(identities) + 1
        if count:
            spool.is_expected = True
            self._left[spool] = count
        return most

    def _mark_of(self, tag: str, name: str, stretch: Stretch) -> int:
        source = self._sources.get((tag, name))
        if source is None:
            mark = identity_of(f"{tag}\0{name}".encode("utf-8", "surrogatepass"), 0)
            self._sources[tag, name] = Source(mark, stretch.begin, stretch.end)
            return mark
        source.begin, source.end = min(source.begin, stretch.begin), max(source.end, stretch.end)
        return source.mark

    def take_out(self, tag: str, made: Lines, origins: Sequence[Origin | None]) -> list[tuple[Spool, int]]:
        """Take the lines that a spool holds already out of what was made; gives the spools and how many each holds.

        `origins` are those of the batches that the lines were made of. The spools are expected all the same, until
        `met` is told.
        """
        sources = [self._source_of(tag, origin) for origin in origins]
        if not any(sources):
            return []
        rest, take = iter(made.identities()), self._recognised.take
        owners: list[Spool | None] = []
        for source, origin, count in zip(sources, origins, made.counts, strict=True):
            identities = list(islice(rest, count))
            if source is None or origin is None:
                owners += [None] * count
                continue
            mark, begin, end = source.mark, origin.begin, _end_of(origin)
            owners += [take(identity ^ mark, begin, end) for identity in identities]
        found = Counter(owner for owner in owners if owner is not None)
        if found:
            self._until = self._clock.monotonic() + _MORE_EXPECTED_S
            made.keep([owner is None for owner in owners])
        return list(found.items())

    def met(self, spool: Spool, records: int) -> None:
        """So many records of the spool came again, and those that came with them are stored."""
        if spool not in self._left:
            return
        self._left[spool] -= records
        if self._left[spool] <= 0:
            spool.is_expected = False
            del self._left[spool]
            if not self._left:
                self._forget_all()

    def forget_in(self) -> float | None:
        """Seconds until nothing is expected any more; when that is over all is forgotten, and there is None."""
        left = self._until - self._clock.monotonic()
        if left <= 0:
            self._forget_all()
        return left if self._left else None

    def _source_of(self, tag: str, origin: Origin | None) -> Source | None:
        source = None if origin is None else self._sources.get((tag, origin.source))
        return source if source is not None and origin is not None and source.may_have(origin) else None

    def _forget_all(self) -> None:
        for spool in self._left:
            spool.is_expected = False
        self._left.clear()
        self._sources.clear()
        self._recognised = Recognised()


def _end_of(origin: Origin) -> int:
    """What came with an empty stretch was read at one place."""
    return max(origin.end, origin.begin + 1)


def _may_come_again(spool: Spool, stretch: Stretch) -> bool:
    if stretch.source is None or stretch.begin >= stretch.end:
        return False
    return stretch.source != SOMEWHERE.source or spool.sheet.state != "done"
