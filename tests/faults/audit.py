"""Holds what a sink accepted against what a generator wrote: the judgement of every fault test.

For each stream (one std stream of one container) four things must be true:

- every message that was written was accepted at least once (nothing lost), but for those that the generator calls
  at risk, because they were in no file any more when they could have been read,
- every accepted text is, to the byte, one that was written (nothing broken or invented),
- first arrivals come in the order of writing; ranges that are sent again may repeat what was there before,
- a message that came twice came first in a put that the shipper could not know to be safe: one that was accepted
  without an answer, or one that a kill followed so closely that its position was not yet saved. Where the shipper
  stores what it reads, the kill may have come between the storing and the put: it is read and stored again then.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import msgspec

from tests.components.generator import Manifest, message
from tests.components.sink import Put

SAVED_WITHIN_S = 1.0
"""A delivered position is on disk at latest so long after the answer to its put."""

SEEN_WITHIN_S = 1.0
"""A sink on a busy machine may see the request of a killed shipper so much later."""

STORED_WITHIN_S = 10.0
"""What was stored just before a kill is sent at latest so long after it."""

_ADDRESS = re.compile(r"(?P<stream>[a-z0-9-]+:(?:stdout|stderr)):(?P<number>\d+) ")

Event = tuple[int, str, str]

TextOf = Callable[[str], str]
"""The text in an accepted message; if that is not as it has to be, a text of what is wrong, which nobody wrote."""


def whole(message: str) -> str:
    """The text of outputs that send the text alone."""
    return message


class Verdict(msgspec.Struct, frozen=True):
    """What the audit found; the lists name the first few culprits, the numbers count all."""

    written: int
    delivered: int
    lost: int
    never_readable: int
    duplicates: int
    unexplained: int
    broken: int
    disordered: int
    invalid_puts: int
    culprits: list[str]

    @property
    def is_clean(self) -> bool:
        """Nothing lost, broken or out of order, and every duplicate has a reason."""
        return not (self.lost or self.unexplained or self.broken or self.disordered or self.invalid_puts)

    def __str__(self) -> str:
        head = (
            f"written {self.written} = delivered {self.delivered} + lost {self.lost}"
            f" + never readable {self.never_readable}; duplicates {self.duplicates}"
            f" ({self.unexplained} unexplained), broken {self.broken}, out of order {self.disordered},"
            f" invalid puts {self.invalid_puts}"
        )
        return "\n  ".join([head, *self.culprits])


class _Stream:
    """What arrived of one stream: the put in which each message came first, and the highest number so far."""

    def __init__(self, written: int, at_risk: Sequence[int]) -> None:
        self.first_put = [0] * written
        self.at_risk = frozenset(at_risk)
        self.highest = -1

    def missing(self) -> tuple[list[int], int]:
        """The numbers that are lost, and how many more are missing because nobody could read them."""
        missing = [number for number, put in enumerate(self.first_put) if not put]
        lost = [number for number in missing if number not in self.at_risk]
        return lost, len(missing) - len(lost)


class Audit:
    """Takes accepted events in order of arrival, then gives its verdict."""

    def __init__(
        self,
        manifest: Manifest,
        puts: Iterable[Put],
        kills: Sequence[float],
        is_stored: bool = False,
        text_of: TextOf = whole,
    ) -> None:
        self._streams = {
            name: _Stream(count, manifest.at_risk.get(name, ())) for name, count in manifest.streams.items()
        }
        self._puts = {put.number: put for put in puts}
        self._kills = kills
        self._text_of = text_of
        self._before_put_s = STORED_WITHIN_S if is_stored else SEEN_WITHIN_S
        self._duplicates = self._unexplained = self._broken = self._disordered = 0
        self._culprits: list[str] = []
        # Numbers that came twice without a reason, by stream and the two puts.
        self._repeated: dict[tuple[str, int, int], list[int]] = {}

    def take(self, event: Event) -> None:
        """Judge one accepted event."""
        put, text = event[0], self._text_of(event[2])
        address = _ADDRESS.match(text)
        stream = self._streams.get(address["stream"]) if address else None
        if address is None or stream is None:
            self._broken += 1
            self._blame(f"broken, put {put}: {text[:120]!r}")
            return
        number = int(address["number"])
        if number >= len(stream.first_put) or text != message(address["stream"], number):
            self._broken += 1
            self._blame(f"broken, put {put}: {text[:120]!r}")
        elif before := stream.first_put[number]:
            self._judge_duplicate(address["stream"], number, before, put)
        else:
            self._judge_order(stream, number, f"{address['stream']}:{number}", put)

    def verdict(self) -> Verdict:
        lost = never_readable = 0
        for name, stream in self._streams.items():
            missing, excused = stream.missing()
            lost += len(missing)
            never_readable += excused
            if missing:
                self._blame(f"lost, {name}: {_ranges(missing)}")
        for (name, before, again), numbers in self._repeated.items():
            self._blame(
                f"twice without a reason, {name}: {_ranges(numbers)} in put {before}, answered, and put {again}"
            )
        invalid = [put for put in self._puts.values() if put.outcome == "invalid"]
        for put in invalid:
            self._blame(f"invalid put {put.number}: {put.detail}")
        written = sum(len(stream.first_put) for stream in self._streams.values())
        return Verdict(
            written=written,
            delivered=written - lost - never_readable,
            lost=lost,
            never_readable=never_readable,
            duplicates=self._duplicates,
            unexplained=self._unexplained,
            broken=self._broken,
            disordered=self._disordered,
            invalid_puts=len(invalid),
            culprits=self._culprits,
        )

    def _judge_duplicate(self, stream: str, number: int, before: int, again: int) -> None:
        self._duplicates += 1
        first, second = self._puts.get(before), self._puts.get(again)
        if first is None or second is None or first.outcome != "answered":
            return  # a put without a line of its own ended with the sink, so it is in doubt too
        earliest, latest = first.begun - self._before_put_s, min(first.ended + SAVED_WITHIN_S, second.ended)
        if any(earliest <= kill <= latest for kill in self._kills):
            return
        self._unexplained += 1
        self._repeated.setdefault((stream, before, again), []).append(number)

    def _judge_order(self, stream: _Stream, number: int, address: str, put: int) -> None:
        stream.first_put[number] = put
        if number < stream.highest:
            self._disordered += 1
            self._blame(f"out of order, put {put}: {address} after {stream.highest}")
        stream.highest = max(stream.highest, number)

    def _blame(self, text: str) -> None:
        if len(self._culprits) < 20:
            self._culprits.append(text)


def audit(
    manifest: Manifest,
    sink_folder: Path,
    kills: Sequence[float] = (),
    is_stored: bool = False,
    text_of: TextOf = whole,
) -> Verdict:
    """Judge what the sink of this folder accepted.

    `kills` are the wall times at which the shipper was killed, `is_stored` says that it stores what it reads.
    """
    court = Audit(manifest, read_puts(sink_folder), kills, is_stored, text_of)
    for event in read_events(sink_folder):
        court.take(event)
    return court.verdict()


def read_puts(sink_folder: Path) -> list[Put]:
    return [msgspec.json.decode(line, type=Put) for line in _lines(sink_folder / "puts.jsonl")]


def read_events(sink_folder: Path) -> Iterable[Event]:
    decode = msgspec.json.Decoder(Event).decode
    return (decode(line) for line in _lines(sink_folder / "events.jsonl"))


def _lines(path: Path) -> Iterable[bytes]:
    if path.exists():
        with path.open("rb") as lines:
            yield from lines


def _ranges(numbers: list[int]) -> str:
    """`0-4, 9` for 0, 1, 2, 3, 4, 9; the first few ranges of a long list."""
    ranges: list[tuple[int, int]] = []
    for number in numbers:
        if ranges and number == ranges[-1][1] + 1:
            ranges[-1] = (ranges[-1][0], number)
        else:
            ranges.append((number, number))
    told = [f"{a}-{b}" if a < b else f"{a}" for a, b in ranges[:8]]
    return ", ".join(told) + (f" and {len(ranges) - 8} ranges more" if len(ranges) > 8 else "")
