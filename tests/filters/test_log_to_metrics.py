"""log_to_metrics: options as a table, and the series they make of records."""

from __future__ import annotations

import logging

import pytest

from shipper.config.service import ServiceOptions
from shipper.context import Context
from shipper.errors import ConfigError, OptionError
from shipper.filters import log_to_metrics
from shipper.filters.log_to_metrics import LogToMetricsFilter, LogToMetricsOptions
from shipper.metrics import Labels
from shipper.monitoring.exposition import render_prometheus
from shipper.monitoring.names import collect
from shipper.record import Body, Record, RecordBatch
from shipper.testing import BlockContent, context_of

from ..written_options import options_from

NEEDED = "tag m\nmetric_description Records\n"
POD = {
    "namespace_name": "ns",
    "pod_name": "web-1",
    "container_name": "app",
    "docker_id": "d0",
    "pod_id": "u-1",
    "host": "node-1",
}
NO_LABELS: Labels = ()


def filter_of(lines: str, context: Context | None = None) -> tuple[LogToMetricsFilter, Context]:
    context = context or context_of("filter", "log_to_metrics.0")
    return LogToMetricsFilter(options_from(LogToMetricsOptions, NEEDED + lines), context), context


def counted(lines: str, *bodies: Body) -> dict[Labels, float]:
    one, context = filter_of(lines)
    batch = RecordBatch("t", [Record(0, body) for body in bodies], 10)
    assert one.apply(batch) is batch
    (family,) = context.metrics.named_families()
    return family.numbers


@pytest.mark.parametrize(
    ("lines", "name"),
    [
        ("", "log_metric_counter_a"),
        ("metric_name dur", "log_metric_counter_dur"),
        ("metric_mode gauge\nvalue_field v", "log_metric_gauge_a"),
        ("metric_mode HISTOGRAM\nvalue_field v\nmetric_name d", "log_metric_histogram_d"),
        ("metric_namespace app\nmetric_subsystem http\nmetric_name hits", "app_http_hits"),
        ("metric_name hits-per.path", "log_metric_counter_hits_per_path"),
    ],
)
def test_the_name_of_the_metric(lines: str, name: str) -> None:
    _, context = filter_of(lines)

    assert [(f.name, f.help) for f in context.metrics.named_families()] == [(name, "Records")]


@pytest.mark.parametrize(
    ("lines", "labels"),
    [
        ("label_field color", (("color", "red"),)),
        ("label_field nope", (("nope", ""),)),
        ("label_field n\nlabel_field f", (("n", "5"), ("f", "0.500000"))),
        ("label_field b\nlabel_field null\nlabel_field m", (("b", ""), ("null", ""), ("m", ""))),
        ("label_field $m['x']", (("m_x", "deep"),)),
        ("add_label shade color", (("shade", "red"),)),
        ("add_label x $m['x']\nlabel_field color", (("x", "deep"), ("color", "red"))),
        ("add_label 1st-x color", (("_1st_x", "red"),)),
        (
            "label_field color\nkubernetes_mode on",
            (
                ("namespace_name", "ns"),
                ("pod_name", "web-1"),
                ("container_name", "app"),
                ("docker_id", "d0"),
                ("pod_id", "u-1"),
                ("color", "red"),
            ),
        ),
    ],
)
def test_labels(lines: str, labels: Labels) -> None:
    body = {"color": "red", "n": 5, "f": 0.5, "b": True, "null": None, "m": {"x": "deep"}, "kubernetes": POD}

    assert counted(lines, body) == {labels: 1}


@pytest.mark.parametrize(
    ("lines", "count"),
    [
        ("", 4),
        ("regex log a", 2),
        ("regex $log a", 2),
        ("exclude log a", 2),
        ("regex $k['s'] ^v$", 1),
        ("regex log a\nregex log b", 2),
        ("exclude log b\nregex log a", 1),
        ("regex n 5", 0),
    ],
)
def test_the_first_rule_that_can_decides_which_records_count(lines: str, count: int) -> None:
    bodies: list[Body] = [{"log": "a"}, {"log": "ab"}, {"k": {"s": "v"}}, {"n": 5}]

    assert counted(lines, *bodies).get(NO_LABELS, 0) == count


def test_a_counter_counts_whatever_the_value_field_holds() -> None:
    assert counted("value_field nope\nlabel_field c", {"c": "x"}, {"c": "y"}, {"c": "x"}) == {
        (("c", "x"),): 2,
        (("c", "y"),): 1,
    }


@pytest.mark.parametrize(
    ("value", "expected"),
    [(5, 5), (-2.5, -2.5), ("12", 12), (" 1.5e3ms", 1500), ("abc", None), (True, None), (None, None), ([1], None)],
)
def test_a_gauge_keeps_the_last_number(value: object, expected: float | None) -> None:
    numbers = counted("metric_mode gauge\nvalue_field $m['v']", {"m": {"v": 7}}, {"m": {"v": value}}, {"m": {}})

    assert numbers == {NO_LABELS: 7 if expected is None else expected}


@pytest.mark.parametrize(
    ("lines", "bounds", "counts"),
    [
        ("bucket 10\nbucket 1", (1, 10), [2, 3, 4]),
        ("bucket 1\nbucket 1", (1,), [2, 4]),
        ("", (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10), [0, 0, 0, 0, 0, 0, 1, 2, 3, 3, 3, 4]),
    ],
)
def test_a_histogram_sorts_numbers_in(lines: str, bounds: tuple[float, ...], counts: list[int]) -> None:
    one, context = filter_of(f"metric_mode histogram\nvalue_field v\n{lines}".strip())

    one.apply(RecordBatch("t", [Record(0, {"v": v}) for v in (0.5, 1, "2.5", 11)], 10))

    (family,) = context.metrics.named_families()
    (histogram,) = family.histograms.values()
    assert (histogram.bounds, histogram.cumulative(), histogram.sum) == (bounds, counts, 15)


def test_records_are_not_made_objects_of_to_be_counted() -> None:
    content = BlockContent([{"log": "a"}, {"log": "b"}])
    batch = RecordBatch("t", content, 10)
    one, context = filter_of("regex log a")

    assert one.apply(batch) is batch
    assert batch.content is content
    assert context.metrics.named_families()[0].numbers == {NO_LABELS: 1}


def test_logs_may_be_discarded() -> None:
    one, context = filter_of("discard_logs on\nregex log a")

    assert one.apply(RecordBatch("t", [Record(0, {"log": "a"}), Record(0, {"log": "b"})], 10)) is None
    assert context.metrics.named_families()[0].numbers == {NO_LABELS: 1}


def test_series_have_a_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(log_to_metrics, "MOST_SERIES", 2)
    one, context = filter_of("label_field id")

    one.apply(RecordBatch("t", [Record(0, {"id": id}) for id in ("a", "b", "c", "a", "d")], 10))

    assert context.metrics.named_families()[0].numbers == {(("id", "a"),): 2, (("id", "b"),): 1}
    assert context.metrics.total("filter_series_over_limit_total") == 2


@pytest.mark.parametrize(
    ("lines", "told"),
    [
        (
            "metric_name dur\nlabel_field color",
            "# HELP log_metric_counter_dur Records\n# TYPE log_metric_counter_dur counter\n"
            'log_metric_counter_dur{color="red"} 1\n',
        ),
        (
            "metric_mode gauge\nvalue_field v",
            "# HELP log_metric_gauge_a Records\n# TYPE log_metric_gauge_a gauge\nlog_metric_gauge_a 0.5\n",
        ),
        (
            "metric_mode histogram\nvalue_field v\nbucket 1",
            "# HELP log_metric_histogram_a Records\n# TYPE log_metric_histogram_a histogram\n"
            'log_metric_histogram_a_bucket{le="1.0"} 1\nlog_metric_histogram_a_bucket{le="+Inf"} 1\n'
            "log_metric_histogram_a_sum 0.5\nlog_metric_histogram_a_count 1\n",
        ),
    ],
)
def test_the_metric_is_exported_under_its_own_name(lines: str, told: str) -> None:
    one, context = filter_of(lines)
    one.apply(RecordBatch("t", [Record(0, {"color": "red", "v": 0.5})], 10))

    text = render_prometheus(collect(context.metrics)).decode()

    assert text.endswith(told)


def test_filters_may_share_a_metric_of_one_kind() -> None:
    first, context = filter_of("metric_name n\nmetric_subsystem s")
    second, _ = filter_of("metric_name n\nmetric_subsystem s", context)

    for one in (first, second):
        one.apply(RecordBatch("t", [Record(0, {})], 1))

    assert [f.numbers for f in context.metrics.named_families()] == [{NO_LABELS: 2}]
    with pytest.raises(OptionError, match="is a counter of another filter"):
        filter_of("metric_mode gauge\nvalue_field v\nmetric_name n\nmetric_subsystem s", context)


@pytest.mark.parametrize("is_on", [True, False])
def test_metrics_that_nobody_can_read_are_remarked(caplog: pytest.LogCaptureFixture, is_on: bool) -> None:
    with caplog.at_level(logging.WARNING, "shipper"):
        filter_of("", context_of("filter", service=ServiceOptions(http_server=is_on)))

    assert ("http_server is off" in caplog.text) is not is_on


def test_what_is_about_flushing_and_emitting_is_accepted() -> None:
    lines = "flush_interval_sec 5\nflush_interval_nsec 1\nemitter_name e\nemitter_mem_buf_limit 5M"

    assert counted(lines, {}) == {NO_LABELS: 1}


@pytest.mark.parametrize(
    "lines",
    [
        "metric_description d",
        "tag t",
        f"{NEEDED}metric_mode gauge",
        f"{NEEDED}metric_mode histogram",
        f"{NEEDED}metric_mode summary",
        f"{NEEDED}regex log",
        f"{NEEDED}exclude log [",
        f"{NEEDED}add_label name",
        f"{NEEDED}label_field color\nadd_label color x",
        f"{NEEDED}bucket wide",
    ],
)
def test_mistakes_are_told(lines: str) -> None:
    with pytest.raises(ConfigError):
        options_from(LogToMetricsOptions, lines)
