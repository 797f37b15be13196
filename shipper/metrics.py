"""Counters and gauges: one registry per engine, moved per batch, read by the ledger and the endpoints."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

Labels = tuple[tuple[str, str], ...]


class Counter:
    """A number that only grows."""

    __slots__ = ("value",)

    def __init__(self) -> None:
        self.value = 0

    def add(self, amount: int = 1) -> None:
        self.value += amount

    def __repr__(self) -> str:
        return f"Counter({self.value})"


class Metrics:
    """All counters and gauges of one engine, by name and labels.

    Names are `<area>_<what>_<unit>_total` for counters; gauges are functions asked when somebody looks.
    """

    def __init__(self) -> None:
        self._counters: dict[tuple[str, Labels], Counter] = {}
        self._gauges: dict[tuple[str, Labels], Callable[[], float]] = {}
        self._families: dict[tuple[str, Labels], tuple[str, Callable[[], Mapping[str, float]]]] = {}

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
