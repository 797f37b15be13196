"""Families of metrics as text: for Prometheus, version 0.0.4, and one line a series."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import UTC, datetime

from ..metrics import Histogram, Labels
from .names import Family


def render_prometheus(families: Iterable[Family], time_ms: int | None = None) -> bytes:
    """The text that a scraper reads; with `time_ms` every series carries that time."""
    stamp = "" if time_ms is None else f" {time_ms}"
    lines: list[str] = []
    for family in families:
        lines.append(f"# HELP {family.name} {family.help}")
        lines.append(f"# TYPE {family.name} {family.kind}")
        lines += [f"{family.name}{label_text(ls)} {number_text(v)}{stamp}" for ls, v in family.numbers.items()]
        for labels, histogram in family.histograms.items():
            lines += _buckets(family.name, labels, histogram)
    return "".join(f"{line}\n" for line in lines).encode("utf-8", "replace")


def render_lines(families: Iterable[Family], time_ns: int) -> bytes:
    """One line for each series, with its time: `TIME NAME{LABELS} = NUMBER`."""
    seconds, rest = divmod(time_ns, 1_000_000_000)
    stamp = f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%S}.{rest:09d}Z"
    lines: list[str] = []
    for family in families:
        lines += [f"{stamp} {family.name}{label_text(ls)} = {number_text(v)}\n" for ls, v in family.numbers.items()]
        for labels, histogram in family.histograms.items():
            lines.append(f"{stamp} {family.name}{label_text(labels)} = {_histogram_text(histogram)}\n")
    return "".join(lines).encode("utf-8", "replace")


def label_text(labels: Labels) -> str:
    """Labels in braces; nothing if there are none."""
    return "{" + ",".join(f'{name}="{_escaped(text)}"' for name, text in labels) + "}" if labels else ""


def number_text(number: float) -> str:
    """A number without needless digits: `3`, `0.5`."""
    return str(int(number)) if number == int(number) else repr(float(number))


def _buckets(name: str, labels: Labels, histogram: Histogram) -> Iterator[str]:
    counts = histogram.cumulative()
    for bound, count in zip((*map(_bound_text, histogram.bounds), "+Inf"), counts, strict=True):
        yield f"{name}_bucket{label_text((*labels, ('le', bound)))} {count}"
    yield f"{name}_sum{label_text(labels)} {number_text(histogram.sum)}"
    yield f"{name}_count{label_text(labels)} {counts[-1]}"


def _histogram_text(histogram: Histogram) -> str:
    counts = histogram.cumulative()
    bounds = (*map(number_text, histogram.bounds), "+Inf")
    buckets = ", ".join(f"{bound}={count}" for bound, count in zip(bounds, counts, strict=True))
    return f"{{ buckets = {{ {buckets} }}, sum={number_text(histogram.sum)}, count={counts[-1]} }}"


def _bound_text(bound: float) -> str:
    return repr(float(bound))


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace("\n", "\\n").replace('"', '\\"')
