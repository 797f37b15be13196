"""Count records, or observe a number that they hold, as metrics that the monitoring server exports."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Annotated, Any, ClassVar, Literal, Self

import msgspec

from ..codecs.template import KeyPath
from ..config.options import Written, opt
from ..config.units import ByteSize, parse_float
from ..config.words import split_words
from ..context import Context
from ..errors import OptionError
from ..metrics import Histogram, Labels, NamedFamily
from ..parsers.onigmo import Regex
from ..record import Body, RecordBatch
from .base import Filter, FilterOptions

MOST_SERIES = 10_000
"""Sets of label values of one filter; they come from the data, and every one stays in memory."""

_REMARK_EVERY_S = 60.0
_USUAL_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
_OF_KUBERNETES = ("namespace_name", "pod_name", "container_name", "docker_id", "pod_id")
_NOT_IN_NAMES = re.compile("[^a-zA-Z0-9_]+")
_NUMBER = re.compile(r"\s*([+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?)")


class Rule(msgspec.Struct, frozen=True):
    """One "FIELD PATTERN" as written; `keeps` says that it is a regex and not an exclude."""

    shown_as: ClassVar[str] = "words"
    keeps: bool
    place: int
    path: KeyPath
    regex: Regex

    @classmethod
    def parse_written(cls, written: Written) -> Self:
        """Read a rule; raises `ValueError` for a missing pattern, or a field or pattern that cannot be read."""
        field, _, pattern = written.text.partition(" ")
        if not pattern:
            raise ValueError(f"expected FIELD PATTERN, got {written.text!r}")
        return cls(written.key == "regex", written.place, KeyPath.parse(field), Regex(pattern))

    def matches(self, body: Body) -> bool:
        """Whether the field is text in which the pattern is found."""
        value = self.path.get(body)
        return isinstance(value, str) and self.regex.search(value) is not None


class Label(msgspec.Struct, frozen=True):
    """A label: its name, and the field with its value."""

    shown_as: ClassVar[str] = "words"
    name: str
    path: KeyPath
    place: int = -1

    @classmethod
    def parse_written(cls, written: Written) -> Self:
        """Read a `label_field`, which is named after its field, or an `add_label` of two words."""
        if written.key == "label_field":
            path = KeyPath.parse(written.text.strip())
            return cls(_name_of("_".join(map(str, (path.key, *path.steps)))), path, written.place)
        words = split_words(written.text)
        if len(words) != 2:
            raise ValueError(f"expected NAME FIELD, got {written.text!r}")
        return cls(_name_of(words[0]), KeyPath.parse(words[1]), written.place)


class Bucket(float):
    """The upper bound of a bucket."""

    shown_as: ClassVar[str] = "number"

    @classmethod
    def parse(cls, text: str) -> Self:
        return cls(parse_float(text))


class LogToMetricsOptions(FilterOptions, kw_only=True):
    """Options of the log_to_metrics filter."""

    tag: Annotated[str, opt("Accepted; metrics are exported by the monitoring server and not routed.", example="m")]
    metric_description: Annotated[str, opt("What the metric tells.", example="Number of errors")]
    metric_mode: Annotated[
        Literal["counter", "gauge", "histogram"],
        opt("Count records, or keep the last number, or count numbers by their size."),
    ] = "counter"
    metric_name: Annotated[str, opt("Last part of the metric's name.")] = "a"
    metric_namespace: Annotated[str, opt("First part of the metric's name.")] = "log_metric"
    metric_subsystem: Annotated[str | None, opt("Middle part of the name; the default is the mode.")] = None
    value_field: Annotated[KeyPath | None, opt("Field with the number; not for counters.", example="duration")] = None
    regex: Annotated[
        tuple[Rule, ...], opt("Count only records in whose FIELD the PATTERN is found.", example="log ^ERROR")
    ] = ()
    exclude: Annotated[
        tuple[Rule, ...], opt("Do not count records in whose FIELD the PATTERN is found.", example="level debug")
    ] = ()
    label_field: Annotated[tuple[Label, ...], opt("Field that is a label, under its name.", example="color")] = ()
    add_label: Annotated[
        tuple[Label, ...], opt("NAME FIELD: a label and its field.", example="app $kubernetes['labels']['app']")
    ] = ()
    kubernetes_mode: Annotated[bool, opt("Add labels that name the pod and the container.")] = False
    bucket: Annotated[tuple[Bucket, ...], opt("Upper bound of a bucket of the histogram.", example="0.5")] = ()
    flush_interval_sec: Annotated[int, opt("Accepted; metrics are up to date whenever they are read.")] = 0
    flush_interval_nsec: Annotated[int, opt("Accepted; metrics are up to date whenever they are read.")] = 0
    discard_logs: Annotated[bool, opt("Drop all records afterwards.")] = False
    emitter_name: Annotated[str | None, opt("Accepted; there is no emitter.")] = None
    emitter_mem_buf_limit: Annotated[ByteSize, opt("Accepted; there is no emitter.")] = ByteSize(10_000_000)

    def __post_init__(self) -> None:
        if self.metric_mode != "counter" and self.value_field is None:
            raise OptionError("value_field", f"is required for {self.metric_mode}", "for example: value_field duration")
        names = [label.name for label in self.labels()]
        if twice := next((name for n, name in enumerate(names) if name in names[:n]), None):
            raise OptionError("add_label", f"gives a second label the name '{twice}'", "give each label its own name")

    def rules(self) -> list[Rule]:
        """The rules in the order in which they were written."""
        return sorted((*self.regex, *self.exclude), key=lambda rule: rule.place)

    def labels(self) -> list[Label]:
        """Those of kubernetes_mode first, then the others in the order in which they were written."""
        pod = [Label(name, KeyPath("kubernetes", [name])) for name in _OF_KUBERNETES] if self.kubernetes_mode else []
        return [*pod, *sorted((*self.label_field, *self.add_label), key=lambda label: label.place)]

    def full_name(self) -> str:
        """The name under which the metric is exported."""
        parts = (self.metric_namespace, self.metric_subsystem or self.metric_mode, self.metric_name)
        return _name_of("_".join(parts))


class LogToMetricsFilter(Filter):
    """Takes every record that its rules keep into account; the records themselves stay as they are.

    `_observe` does that for one record that has these labels; it is given the number of the record's field.
    """

    Options = LogToMetricsOptions

    def __init__(self, options: LogToMetricsOptions, context: Context) -> None:
        self._rules = options.rules()
        self._labels = [(label.name, label.path.get) for label in options.labels()]
        self._value_of = options.value_field.get if options.value_field and options.metric_mode != "counter" else None
        self._discards = options.discard_logs
        self._log = context.log
        self._over_limit = context.counter("series_over_limit_total")
        if not context.service.http_server:
            self._log.warning("the metrics can be read nowhere: http_server is off in the SERVICE section")
        name = options.full_name()
        self._family = context.metrics.named_family(name, options.metric_mode, options.metric_description)
        if self._family.kind != options.metric_mode:
            raise OptionError("metric_name", f"makes '{name}', which is a {self._family.kind} of another filter")
        bounds = tuple(sorted({float(bound) for bound in options.bucket})) or _USUAL_BUCKETS
        self._observe = _observer(self._family, bounds)
        self._series = self._family.histograms if options.metric_mode == "histogram" else self._family.numbers

    def apply(self, batch: RecordBatch) -> RecordBatch | None:
        bodies: Sequence[Any] = batch.content.bodies()
        if not set(map(type, bodies)) <= {dict}:
            bodies = [record.body for record in batch.content.records()]
        value_of, is_kept = self._value_of, self._is_kept
        for body in bodies:
            if not is_kept(body):
                continue
            number = 1.0 if value_of is None else _number(value_of(body))
            if number is None:
                self._log.warning("value_field is missing, or is no number", every=_REMARK_EVERY_S)
            else:
                self._take(body, number)
        return None if self._discards else batch

    def _take(self, body: Body, number: float) -> None:
        labels = tuple([(name, _text(get(body))) for name, get in self._labels])
        if labels not in self._series and len(self._series) >= MOST_SERIES:
            self._over_limit.add()
            self._log.warning(
                f"a metric has no more than {MOST_SERIES} series; records with other labels are not counted",
                every=_REMARK_EVERY_S,
                metric=self._family.name,
            )
            return
        self._observe(labels, number)

    def _is_kept(self, body: Body) -> bool:
        """As the grep filter decides: the first rule that can decides."""
        for rule in self._rules:
            matches = rule.matches(body)
            if rule.keeps:
                return matches
            if matches:
                return False
        return True


def _observer(family: NamedFamily, bounds: Sequence[float]) -> Callable[[Labels, float], None]:
    numbers, histograms = family.numbers, family.histograms

    def count(labels: Labels, number: float) -> None:
        numbers[labels] = numbers.get(labels, 0) + 1

    def keep(labels: Labels, number: float) -> None:
        numbers[labels] = number

    def sort_in(labels: Labels, number: float) -> None:
        found = histograms.get(labels)
        if found is None:
            found = histograms[labels] = Histogram(bounds)
        found.observe(number)

    return {"counter": count, "gauge": keep, "histogram": sort_in}[family.kind]


def _number(value: Any) -> float | None:
    """A number, or the one that a text begins with; None for anything else."""
    if isinstance(value, str):
        found = _NUMBER.match(value)
        return float(found[1]) if found else None
    return value if isinstance(value, int | float) and not isinstance(value, bool) else None


def _text(value: Any) -> str:
    """The value of a label: a text or a number; nothing for anything else."""
    if isinstance(value, str):
        return value
    if isinstance(value, float):
        return f"{value:f}"
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else ""


def _name_of(text: str) -> str:
    """A name as metrics and labels may have it."""
    name = _NOT_IN_NAMES.sub("_", text).rstrip("_") or "_"
    return f"_{name}" if name[0].isdigit() else name
