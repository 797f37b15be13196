"""The numbers of the registry as families of metrics, under the names of Fluent Bit where it has them.

What Fluent Bit does not have is named `shipper_*`. So is what it has with fewer labels: there our own family has all.
"""

from __future__ import annotations

import socket
from collections.abc import Iterable, Mapping
from typing import Literal

import msgspec

from .. import COMPATIBLE_VERSION
from ..clock import Clock
from ..metrics import Histogram, Labels, Metrics
from .own_names import OWN_HELP

Kind = Literal["counter", "gauge", "histogram"]


class Family(msgspec.Struct, frozen=True):
    """All series of one name: numbers or histograms, by their labels."""

    name: str
    kind: Kind
    help: str
    numbers: dict[Labels, float] = {}
    histograms: dict[Labels, Histogram] = {}


class Known(msgspec.Struct, frozen=True):
    """A family of Fluent Bit: its name, the name in our registry, and the labels it has if ours has more.

    A sum over the labels that it has not has a series wherever the family `like` has one, if only with zero.
    """

    name: str
    kind: Kind
    help: str
    source: str = ""
    labels: tuple[str, ...] = ()
    like: str = ""


def _input(what: str, help: str) -> Known:
    return Known(f"input_{what}", "counter", help)


def _output(what: str, help: str) -> Known:
    return Known(f"output_{what}", "counter", help)


RETRIES_FAILED = "Number of abandoned batches because the maximum number of re-tries was reached."

KNOWN: tuple[Known, ...] = (
    Known("uptime", "counter", "Number of seconds that Fluent Bit has been running."),
    Known("hot_reloaded_times", "counter", "Collect the count of hot reloaded times."),
    Known("logger_logs_total", "counter", "Total number of logs"),
    Known("logger_queue_enqueued_total", "counter", "Log lines that waited in a queue; there is none."),
    Known("logger_queue_dropped_total", "counter", "Log lines that a queue had no room for; there is none."),
    Known("logger_queue_drained_total", "counter", "Log lines that left a queue; there is none."),
    Known(
        "routing_logs_records_total",
        "counter",
        "Total log records routed from input to output",
        "routing_records_total",
    ),
    Known("routing_logs_bytes_total", "counter", "Total log bytes routed from input to output", "routing_bytes_total"),
    Known(
        "routing_logs_drop_records_total",
        "counter",
        "Total log records dropped on the way from input to output",
        "routing_drop_records_total",
    ),
    Known(
        "routing_logs_drop_bytes_total",
        "counter",
        "Total log bytes dropped on the way from input to output",
        "routing_drop_bytes_total",
    ),
    _input("bytes_total", "Number of input bytes."),
    _input("records_total", "Number of input records."),
    _input("ring_buffer_writes_total", "Writes into a ring buffer; there is none."),
    _input("ring_buffer_retries_total", "Retried writes into a ring buffer; there is none."),
    _input("ring_buffer_retry_failures_total", "Failed writes into a ring buffer; there is none."),
    _input("files_opened_total", "Total number of opened files"),
    _input("files_closed_total", "Total number of closed files"),
    _input("files_rotated_total", "Total number of rotated files"),
    _input("multiline_truncated_total", "Total number of truncated multiline records"),
    _input("long_line_truncated_total", "Total number of truncated long lines"),
    _input("long_line_skipped_total", "Total number of skipped long lines"),
    Known("filter_records_total", "counter", "Total number of new records processed."),
    Known("filter_bytes_total", "counter", "Total number of new bytes processed."),
    Known("filter_add_records_total", "counter", "Total number of new added records."),
    Known(
        "filter_drop_records_total",
        "counter",
        "Total number of dropped records.",
        "filter_dropped_records_total",
        ("name",),
        "filter_records_total",
    ),
    Known(
        "filter_drop_bytes_total",
        "counter",
        "Total number of dropped bytes.",
        "filter_dropped_bytes_total",
        ("name",),
        "filter_records_total",
    ),
    Known("filter_emit_records_total", "counter", "Total number of emitted records."),
    Known("filter_emit_truncated_total", "counter", "Total number of truncated records."),
    _output("proc_records_total", "Number of processed output records."),
    _output("proc_bytes_total", "Number of processed output bytes."),
    _output("errors_total", "Number of output errors."),
    _output("retries_total", "Number of output retries."),
    _output("retries_failed_total", RETRIES_FAILED),
    Known(
        "output_dropped_records_total",
        "counter",
        "Number of dropped records.",
        labels=("name",),
        like="output_proc_records_total",
    ),
    _output("retried_records_total", "Number of retried records."),
    _input("memrb_dropped_chunks", "Number of memrb dropped chunks."),
    _input("memrb_dropped_bytes", "Number of memrb dropped bytes."),
    Known("process_start_time_seconds", "gauge", "Start time of the process since unix epoch in seconds."),
    Known("build_info", "gauge", "Build version information."),
    Known("storage_chunks", "gauge", "Total number of chunks in the storage layer."),
    Known("storage_mem_chunks", "gauge", "Total number of memory chunks."),
    Known("storage_fs_chunks", "gauge", "Total number of filesystem chunks."),
    Known("storage_fs_chunks_up", "gauge", "Total number of filesystem chunks up in memory."),
    Known("storage_fs_chunks_down", "gauge", "Total number of filesystem chunks down."),
    Known("input_rate_bytes", "gauge", "Bytes a second over the input's rate_window."),
    Known("input_rate_records", "gauge", "Records a second over the input's rate_window."),
    Known("input_rate_gate_limited", "gauge", "Is the input held up by its rate gate? There is none."),
    Known("input_rate_gate_busy_chunks", "gauge", "Chunks that lower the limit of a rate gate; there is none."),
    Known("input_rate_gate_retry_attempts", "gauge", "Retries that lower the limit of a rate gate; there is none."),
    Known("input_ingestion_paused", "gauge", "Is the input paused or not?"),
    Known("input_storage_overlimit", "gauge", "Is the input memory usage overlimit?"),
    Known("input_storage_memory_bytes", "gauge", "Memory bytes used by the chunks."),
    Known("input_storage_chunks", "gauge", "Total number of chunks."),
    Known("input_storage_chunks_up", "gauge", "Total number of chunks up in memory."),
    Known("input_storage_chunks_down", "gauge", "Total number of chunks down."),
    Known("input_storage_chunks_busy", "gauge", "Total number of chunks in a busy state."),
    Known("input_storage_chunks_busy_bytes", "gauge", "Total number of bytes of chunks in a busy state."),
    Known("output_upstream_total_connections", "gauge", "Connections that are open to the output's servers."),
    Known("output_upstream_busy_connections", "gauge", "Connections of those with a request under way."),
    Known("output_chunk_available_capacity_percent", "gauge", "Room left below storage.total_limit_size in percent."),
    Known("output_latency_seconds", "histogram", "End-to-end latency in seconds"),
    Known(
        "output_backpressure_wait_seconds",
        "histogram",
        "Seconds that an input waited for room in its buffer, by the output that held the most of it.",
    ),
)


def collect(metrics: Metrics) -> list[Family]:
    """All families: those of Fluent Bit in its order, our own in that of their names, those that a filter makes."""
    found: dict[str, dict[Labels, float]] = {}
    for name, labels, value in metrics:
        found.setdefault(name, {})[labels] = value
    histograms: dict[str, dict[Labels, Histogram]] = {}
    for name, labels, histogram in metrics.histograms():
        histograms.setdefault(name, {})[labels] = histogram
    families, is_told = [], set[str]()
    for known in KNOWN:
        source = known.source or known.name
        numbers = found.get(source, {})
        if known.labels:
            numbers = dict.fromkeys(found.get(known.like, {}), 0.0) | _summed(numbers, known.labels)
        else:
            is_told.add(source)
        shapes = histograms.pop(source, {})
        if numbers or shapes:
            families.append(Family(f"fluentbit_{known.name}", known.kind, known.help, numbers, shapes))
    own = [_own(name, found[name]) for name in sorted(found) if name not in is_told]
    named = [Family(f.name, f.kind, f.help, f.numbers, f.histograms) for f in metrics.named_families()]
    return [*families, *own, *named]


def describe_process(metrics: Metrics, clock: Clock, reloads: int = 0) -> None:
    """Put into the registry what is to be known of the process, which counts as started now."""
    host, started_ns = socket.gethostname(), clock.time_ns()
    started_s = started_ns // 1_000_000_000
    metrics.gauge("uptime", lambda: (clock.time_ns() - started_ns) // 1_000_000_000, hostname=host)
    metrics.gauge("process_start_time_seconds", lambda: started_s, hostname=host)
    metrics.gauge("build_info", lambda: started_s, hostname=host, os="linux", version=COMPATIBLE_VERSION)
    metrics.gauge("hot_reloaded_times", lambda: reloads, hostname=host)


def _summed(numbers: Mapping[Labels, float], labels: Iterable[str]) -> dict[Labels, float]:
    wanted, sums = set(labels), dict[Labels, float]()
    for given, value in numbers.items():
        key = tuple((name, text) for name, text in given if name in wanted)
        sums[key] = sums.get(key, 0) + value
    return sums


def kind_of(name: str) -> Kind:
    """The kind of a metric of our own, which its name tells."""
    return "counter" if name.endswith("_total") else "gauge"


def _own(name: str, numbers: dict[Labels, float]) -> Family:
    help = OWN_HELP.get(name, f"{name.replace('_', ' ').capitalize()}.")
    return Family(f"shipper_{name}", kind_of(name), help, numbers)
