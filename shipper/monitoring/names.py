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

Kind = Literal["counter", "gauge", "histogram"]


class Family(msgspec.Struct, frozen=True):
    """All series of one name: numbers or histograms, by their labels."""

    name: str
    kind: Kind
    help: str
    numbers: dict[Labels, float] = {}
    histograms: dict[Labels, Histogram] = {}


class _Known(msgspec.Struct, frozen=True):
    """A family of Fluent Bit: its name, the name in our registry, and the labels it has if ours has more.

    A sum over the labels that it has not has a series wherever the family `like` has one, if only with zero.
    """

    name: str
    kind: Kind
    help: str
    source: str = ""
    labels: tuple[str, ...] = ()
    like: str = ""


def _input(what: str, help: str) -> _Known:
    return _Known(f"input_{what}", "counter", help)


def _output(what: str, help: str) -> _Known:
    return _Known(f"output_{what}", "counter", help)


RETRIES_FAILED = "Number of abandoned batches because the maximum number of re-tries was reached."

_KNOWN: tuple[_Known, ...] = (
    _Known("uptime", "counter", "Number of seconds that Fluent Bit has been running."),
    _Known("hot_reloaded_times", "counter", "Collect the count of hot reloaded times."),
    _Known("logger_logs_total", "counter", "Total number of logs"),
    _Known("logger_queue_enqueued_total", "counter", "Log lines that waited in a queue; there is none."),
    _Known("logger_queue_dropped_total", "counter", "Log lines that a queue had no room for; there is none."),
    _Known("logger_queue_drained_total", "counter", "Log lines that left a queue; there is none."),
    _Known(
        "routing_logs_records_total",
        "counter",
        "Total log records routed from input to output",
        "routing_records_total",
    ),
    _Known("routing_logs_bytes_total", "counter", "Total log bytes routed from input to output", "routing_bytes_total"),
    _Known(
        "routing_logs_drop_records_total",
        "counter",
        "Total log records dropped on the way from input to output",
        "routing_drop_records_total",
    ),
    _Known(
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
    _Known("filter_records_total", "counter", "Total number of new records processed."),
    _Known("filter_bytes_total", "counter", "Total number of new bytes processed."),
    _Known("filter_add_records_total", "counter", "Total number of new added records."),
    _Known(
        "filter_drop_records_total",
        "counter",
        "Total number of dropped records.",
        "filter_dropped_records_total",
        ("name",),
        "filter_records_total",
    ),
    _Known(
        "filter_drop_bytes_total",
        "counter",
        "Total number of dropped bytes.",
        "filter_dropped_bytes_total",
        ("name",),
        "filter_records_total",
    ),
    _Known("filter_emit_records_total", "counter", "Total number of emitted records."),
    _Known("filter_emit_truncated_total", "counter", "Total number of truncated records."),
    _output("proc_records_total", "Number of processed output records."),
    _output("proc_bytes_total", "Number of processed output bytes."),
    _output("errors_total", "Number of output errors."),
    _output("retries_total", "Number of output retries."),
    _output("retries_failed_total", RETRIES_FAILED),
    _Known(
        "output_dropped_records_total",
        "counter",
        "Number of dropped records.",
        labels=("name",),
        like="output_proc_records_total",
    ),
    _output("retried_records_total", "Number of retried records."),
    _input("memrb_dropped_chunks", "Number of memrb dropped chunks."),
    _input("memrb_dropped_bytes", "Number of memrb dropped bytes."),
    _Known("process_start_time_seconds", "gauge", "Start time of the process since unix epoch in seconds."),
    _Known("build_info", "gauge", "Build version information."),
    _Known("storage_chunks", "gauge", "Total number of chunks in the storage layer."),
    _Known("storage_mem_chunks", "gauge", "Total number of memory chunks."),
    _Known("storage_fs_chunks", "gauge", "Total number of filesystem chunks."),
    _Known("storage_fs_chunks_up", "gauge", "Total number of filesystem chunks up in memory."),
    _Known("storage_fs_chunks_down", "gauge", "Total number of filesystem chunks down."),
    _Known("input_rate_bytes", "gauge", "Bytes a second over the input's rate_window."),
    _Known("input_rate_records", "gauge", "Records a second over the input's rate_window."),
    _Known("input_rate_gate_limited", "gauge", "Is the input held up by its rate gate? There is none."),
    _Known("input_rate_gate_busy_chunks", "gauge", "Chunks that lower the limit of a rate gate; there is none."),
    _Known("input_rate_gate_retry_attempts", "gauge", "Retries that lower the limit of a rate gate; there is none."),
    _Known("input_ingestion_paused", "gauge", "Is the input paused or not?"),
    _Known("input_storage_overlimit", "gauge", "Is the input memory usage overlimit?"),
    _Known("input_storage_memory_bytes", "gauge", "Memory bytes used by the chunks."),
    _Known("input_storage_chunks", "gauge", "Total number of chunks."),
    _Known("input_storage_chunks_up", "gauge", "Total number of chunks up in memory."),
    _Known("input_storage_chunks_down", "gauge", "Total number of chunks down."),
    _Known("input_storage_chunks_busy", "gauge", "Total number of chunks in a busy state."),
    _Known("input_storage_chunks_busy_bytes", "gauge", "Total number of bytes of chunks in a busy state."),
    _Known("output_upstream_total_connections", "gauge", "Connections that are open to the output's servers."),
    _Known("output_upstream_busy_connections", "gauge", "Connections of those with a request under way."),
    _Known("output_chunk_available_capacity_percent", "gauge", "Room left below storage.total_limit_size in percent."),
    _Known("output_latency_seconds", "histogram", "End-to-end latency in seconds"),
    _Known(
        "output_backpressure_wait_seconds",
        "histogram",
        "Seconds that an input waited for room in its buffer, by the output that held the most of it.",
    ),
)

_OWN_HELP: Mapping[str, str] = {
    "input_stored_records_total": "Records stored for at least one output.",
    "input_filtered_records_total": "Records taken out by filters.",
    "input_added_records_total": "Records that filters made.",
    "input_held_records": "Records that filters keep back for now.",
    "input_dropped_records_total": "Records that ended at the input, by reason, and whether that was wanted.",
    "output_dropped_records_total": "Records that were not delivered, by reason, and whether that was wanted.",
    "output_held_records": "Records that wait for the output or are on their way.",
    "output_held_bytes": "Bytes as read that wait for the output or are on their way.",
    "output_requests_total": "Calls to a service of AWS by operation; quotas are about their rate.",
    "output_requests_failed_total": "Calls to a service of AWS that failed, by operation and what went wrong.",
    "output_sent_bytes_total": "Bytes of the bodies of calls to a service of AWS, as sent.",
    "output_entries_failed_total": "Entries of accepted Kinesis and Firehose calls that were not taken, by code.",
    "output_event_bytes_total": "Bytes of log events as CloudWatch counts and charges them.",
    "output_late_records_total": "Records that went to streams of their own in Loki, see late_label.",
    "output_stalled_seconds": "Time in which the output owed records and its destination accepted none.",
    "input_lag_bytes": "Bytes of followed files that were not read.",
    "input_lag_seconds": "Age of the oldest unread byte.",
    "input_file_lag_bytes": "Bytes of a followed file that were not read; of the 100 that are farthest behind.",
    "input_file_lag_seconds": "Age of the oldest unread byte of a followed file; of the 100 that are farthest behind.",
    "input_files_behind": "Followed files whose oldest unread byte is older than so many seconds.",
    "input_abandoned_bytes_total": "Bytes of files that will never be read: deleted or truncated before they were.",
    "input_parser_failures_total": "Lines that a parser failed on, which were kept as they are.",
    "input_files_unopened": "Files that wait to be opened because too many are open.",
    "input_oldest_unsettled_seconds": "Age of the oldest record that was read and is not delivered.",
    "input_offset_persist_age_seconds": "Time since which positions cannot be saved.",
    "hot_reload_failed_total": "Hot reloads after which the configuration from before went on.",
    "engine_restarts_total": "Components that failed unexpectedly and were started again.",
}


def collect(metrics: Metrics) -> list[Family]:
    """All families: those of Fluent Bit in its order, our own in that of their names, those that a filter makes."""
    found: dict[str, dict[Labels, float]] = {}
    for name, labels, value in metrics:
        found.setdefault(name, {})[labels] = value
    histograms: dict[str, dict[Labels, Histogram]] = {}
    for name, labels, histogram in metrics.histograms():
        histograms.setdefault(name, {})[labels] = histogram
    families, is_told = [], set[str]()
    for known in _KNOWN:
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


def _own(name: str, numbers: dict[Labels, float]) -> Family:
    kind: Kind = "counter" if name.endswith("_total") else "gauge"
    return Family(f"shipper_{name}", kind, _OWN_HELP.get(name, f"{name.replace('_', ' ').capitalize()}."), numbers)
