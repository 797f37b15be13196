"""Reads the ledger that the shipper prints when it ends: what each input read and what became of it.

    [2026/11/20 10:00:00.000] [ info] [engine] ledger input tail.0: read=100 added=0 stored=100 balanced
    [2026/11/20 10:00:00.000] [ info] [engine] ledger output cloudwatch_logs.0: routed=100 delivered=98 held=2 balanced

This is the only place outside the shipper that knows how such a line looks.
"""

from __future__ import annotations

import re
from typing import Literal

import msgspec

_LINE = re.compile(r"\[engine\] ledger (?P<kind>input|output) (?P<name>[^:]+): (?P<numbers>.*)")
_NUMBER = re.compile(r"(?P<word>[a-z_.]+)=(?P<number>\d+)")


class Entry(msgspec.Struct, frozen=True):
    """The counters of one input or output."""

    kind: Literal["input", "output"]
    name: str
    numbers: dict[str, int]
    is_balanced: bool

    def __getitem__(self, word: str) -> int:
        return self.numbers[word]


def read_ledger(log: str) -> dict[str, Entry]:
    """The last entry of each input and output in the text of a log, by instance name."""
    entries: dict[str, Entry] = {}
    for found in _LINE.finditer(log):
        numbers = {n["word"]: int(n["number"]) for n in _NUMBER.finditer(found["numbers"])}
        kind: Literal["input", "output"] = "input" if found["kind"] == "input" else "output"
        entries[found["name"]] = Entry(kind, found["name"], numbers, found["numbers"].endswith(" balanced"))
    return entries


def assert_balanced(ledger: dict[str, Entry]) -> None:
    """Fail unless the shipper closed its books and they balance, by its own word and by our sums."""
    if not ledger:
        raise AssertionError("the shipper printed no ledger")
    for entry in ledger.values():
        came, went = _sums(entry)
        if not entry.is_balanced or came != went:
            raise AssertionError(f"{entry.kind} {entry.name} does not balance, {came} came and {went} went: {entry}")


def _sums(entry: Entry) -> tuple[int, int]:
    """What came into an instance and what became of it."""
    numbers = entry.numbers
    if entry.kind == "input":
        went = sum(numbers.get(word, 0) for word in ("stored", "filtered", "no_route", "held", "dropped"))
        return numbers.get("read", 0) + numbers.get("added", 0), went
    return numbers.get("routed", 0), sum(numbers.get(word, 0) for word in ("delivered", "held", "dropped"))
