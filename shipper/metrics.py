"""Counters, gauges and histograms: one registry per engine, moved per batch, read by the ledger and the endpoints."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import accumulate
from typing import Literal

Labels = tuple[tuple[str, str], ...]
FamilyKind = Literal["counter", "gauge", "histogram"]

LATENCY_BOUNDS_S = (0.5, 1.0, 1.5, 2.5, 5.0, 10.0, 20.0, 30.0)
"""Bounds of histograms of how long something took, in seconds; dashboards know these of Fluent Bit."""


class Counter:
    """A number that only grows."""

    __slots__ = ("value",)

    def __init__(self) -> None:
        self.value = 0

    def add(self, amount: int = 1) -> None:
        self.value += amount

    def __repr__(self) -> str:
        return f"Counter({self.value})"


class Histogram:
    """How many observed numbers lie below each of a few bounds, and their sum."""

    __slots__ = ("_counts", "bounds", "sum")

    def __init__(self, bounds: Sequence[float]) -> None:
        self.bounds = tuple(bounds)
        self.sum = 0.0
        self._counts = [0] * (len(self.bounds) + 1)

    def observe(self, number: float) -> None:
        self._counts[bisect_left(self.bounds, number)] += 1
        self.sum += number

    def cumulative(self) -> list[int]:
        """By bound how many numbers were not above it; the last one is the count of all."""
        return list(accumulate(self._counts))

    def __repr__(self) -> str:
        return f"Histogram({self.cumulative()}, sum={self.sum:g})"


class NamedFamily:
    """Series under a name that the configuration gives; they are exported as they are, in the order they came up."""

    __slots__ = ("help", "histograms", "kind", "name", "numbers")

    def __init__(self, name: str, kind: FamilyKind, help: str) -> None:
        self.name = name
        self.kind: FamilyKind = kind
        self.help = help
        self.numbers: dict[Labels, float] = {}
        self.histograms: dict[Labels, Histogram] = {}

    def __repr__(self) -> str:
        return f"NamedFamily({self.name!r}, {self.kind}, {len(self.numbers) + len(self.histograms)} series)"


class Metrics:
    """All counters, gauges and histograms of one engine, by name and labels.

    Names are `<area>_<what>_<unit>_total` for counters; gauges are functions asked when somebody looks.
    """

    def __init__(self) -> None:
        self._counters: dict[tuple[str, Labels], Counter] = {}
        self._gauges: dict[tuple[str, Labels], Callable[[], float]] = {}
        self._families: dict[tuple[str, Labels], tuple[str, Callable[[], Mapping[str, float]]]] = {}
        self._histograms: dict[tuple[str, Labels], Histogram] = {}
        self._named: dict[str, NamedFamily] = {}

    def counter(self, name: str, /, **labels: str) -> Counter:
        """The counter of this name and these labels; the same object on every call."""
        key = (name, tuple(sorted(labels.items())))
        found = self._counters.get(key)
        if found is None:
            found = self._counters[key] = Counter()
        return found

    def gauge(self, name: str, ask: Callable[[], float], /, **labels: str) -> None:
        """Export `ask()` under this name; a second registration replaces the first."""
        self._gauges[(name, tuple(sorted(labels.items())))] = ask

    def gauges(self, name: str, label: str, ask: Callable[[], Mapping[str, float]], /, **labels: str) -> None:
        """Export one gauge for every key of `ask()`, which becomes the value of one further label."""
        self._families[(name, tuple(sorted(labels.items())))] = (label, ask)

    def histogram(self, name: str, bounds: Sequence[float], /, **labels: str) -> Histogram:
        """The histogram of this name and these labels; the same object on every call."""
        key = (name, tuple(sorted(labels.items())))
        found = self._histograms.get(key)
        if found is None:
            found = self._histograms[key] = Histogram(bounds)
        return found

    def histograms(self) -> Iterator[tuple[str, Labels, Histogram]]:
        """All histograms in the order of names and labels; `iter` gives the counters and gauges."""
        for name, labels in sorted(self._histograms):
            yield name, labels, self._histograms[name, labels]

    def named_family(self, name: str, kind: FamilyKind, help: str) -> NamedFamily:
        """The family of this name, the same object on every call; the first call decides about its kind and help."""
        return self._named.setdefault(name, NamedFamily(name, kind, help))

    def named_families(self) -> list[NamedFamily]:
        """The families that the configuration has named, in the order of their names."""
        return [self._named[name] for name in sorted(self._named)]

    def value(self, name: str, /, **labels: str) -> float:
        """The present value of a counter or gauge, 0 where there is none."""
        key = (name, tuple(sorted(labels.items())))
        if key in self._gauges:
            return self._gauges[key]()
        found = self._counters.get(key)
        return found.value if found else 0

    def total(self, name: str, /, **labels: str) -> int:
        """The sum of all counters of this name whose labels include the given ones."""
        wanted = set(labels.items())
        return sum(c.value for (n, ls), c in self._counters.items() if n == name and wanted <= set(ls))

    def by_label(self, name: str, label: str, /, **labels: str) -> dict[str, int]:
        """The counters of this name whose labels include the given ones, summed by one further label."""
        wanted, sums = set(labels.items()), dict[str, int]()
        for (n, ls), counter in self._counters.items():
            if n == name and wanted <= set(ls):
                key = dict(ls).get(label, "")
                sums[key] = sums.get(key, 0) + counter.value
        return sums

    def __iter__(self) -> Iterator[tuple[str, Labels, float]]:
        for (name, labels), counter in sorted(self._counters.items()):
            yield name, labels, counter.value
        for (name, labels), ask in sorted(self._gauges.items()):
            yield name, labels, ask()
        for (name, labels), (label, ask_all) in sorted(self._families.items()):
            for key, value in ask_all().items():
                yield name, tuple(sorted((*labels, (label, key)))), value
