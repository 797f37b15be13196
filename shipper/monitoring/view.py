"""What the engine lets be seen of a running pipeline, and the numbers that the pages make of it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial

import msgspec

from ..buffers.base import Buffer
from ..buffers.memory import MemoryLimit
from ..dispatcher import Dispatcher
from ..inputs.base import Input
from ..ledger import Ledger
from ..metrics import Metrics
from ..outputs.base import Output
from ..pipeline import Pipeline
from ..storage import memory_limit

BACKLOG = "storage_backlog"


class SeenInput(msgspec.Struct, frozen=True):
    """An input with its buffer; `mem_buf_limit` is what the configuration says, `limit` what bounds it.

    Its rates are averaged over `rate_window_s`.
    """

    name: str
    plugin: str
    buffer: Buffer
    limit: MemoryLimit
    mem_buf_limit: int = 0
    is_stored: bool = False
    rate_window_s: float = 1.0


class SeenFilter(msgspec.Struct, frozen=True):
    """A filter."""

    name: str
    plugin: str


class SeenOutput(msgspec.Struct, frozen=True):
    """An output with what delivers to it."""

    name: str
    plugin: str
    output: Output
    dispatcher: Dispatcher
    total_limit_size: int = 0


class View(msgspec.Struct, frozen=True):
    """A pipeline that runs; `left` are buffers of earlier runs that no input puts into.

    `files` and `sha256` tell which configuration it is.
    """

    metrics: Metrics
    ledger: Ledger
    inputs: Sequence[SeenInput] = ()
    filters: Sequence[SeenFilter] = ()
    outputs: Sequence[SeenOutput] = ()
    left: Sequence[Buffer] = ()
    has_storage: bool = False
    files: Sequence[str] = ()
    sha256: str = ""

    @property
    def backlog_name(self) -> str:
        """What stands for everything that earlier runs have left."""
        return f"{BACKLOG}.{len(self.inputs)}"


class Chunks(msgspec.Struct, frozen=True):
    """The batches of one input: all, those in memory, those on disk only, and those that are on their way."""

    total: int
    up: int
    down: int
    busy: int
    busy_size: int


_TAIL_COUNTS = (
    "files_opened",
    "files_closed",
    "files_rotated",
    "multiline_truncated",
    "long_line_truncated",
    "long_line_skipped",
)
_INPUT_COUNTS = ("records", "bytes")
_FILTER_COUNTS = ("drop_records", "add_records", "records", "bytes", "drop_bytes")
_EMITTING_FILTERS: Mapping[str, tuple[str, ...]] = {
    "rewrite_tag": ("emit_records",),
    "multiline": ("emit_records", "emit_truncated"),
}
_OUTPUT_COUNTS = (
    "proc_records",
    "proc_bytes",
    "errors",
    "retries",
    "retries_failed",
    "dropped_records",
    "retried_records",
)
_NAMED_OTHERWISE = {
    ("filter", "drop_records"): "dropped_records",
    ("filter", "drop_bytes"): "dropped_bytes",
}
_NOT_HERE = (
    "logger_queue_enqueued_total",
    "logger_queue_dropped_total",
    "logger_queue_drained_total",
)
"""Queues that Fluent Bit has and we have not; what never was is zero, and dashboards that add it up go on working."""


def view_of(
    pipeline: Pipeline,
    metrics: Metrics,
    ledger: Ledger,
    inputs: Sequence[tuple[Input, Buffer]],
    outputs: Sequence[tuple[Output, Dispatcher]],
    stored: Iterable[tuple[str, Buffer]],
) -> View:
    """The view of what was made of a pipeline, in its order; `stored` are the buffers on disk by name."""
    seen = [
        SeenInput(
            name=instance.alias,
            plugin=instance.plugin,
            buffer=buffer,
            limit=memory_limit(instance.options, keeps_source=one.keeps_source),
            mem_buf_limit=int(instance.options.mem_buf_limit),
            is_stored=instance.options.storage_type == "filesystem",
            rate_window_s=instance.options.rate_window,
        )
        for instance, (one, buffer) in zip(pipeline.inputs, inputs, strict=True)
    ]
    names = {one.name for one in seen}
    return View(
        metrics=metrics,
        ledger=ledger,
        inputs=seen,
        filters=[SeenFilter(i.alias, i.plugin) for i in (*pipeline.processors(), *pipeline.filters)],
        outputs=[
            SeenOutput(i.alias, i.plugin, output, dispatcher, int(i.options.total_limit_size))
            for i, (output, dispatcher) in zip(pipeline.outputs, outputs, strict=True)
        ],
        left=[buffer for name, buffer in stored if name not in names],
        has_storage=pipeline.service.storage_path is not None,
        files=pipeline.files,
        sha256=pipeline.sha256,
    )


def plugin_numbers(view: View) -> dict[str, dict[str, dict[str, int]]]:
    """The counters of all instances by kind, instance and name, in the order in which Fluent Bit gives them."""
    metrics = view.metrics
    inputs = {
        i.name: _counts(metrics, "input", i.name, (*_INPUT_COUNTS, *(_TAIL_COUNTS if i.plugin == "tail" else ())))
        for i in view.inputs
    }
    if view.has_storage:
        inputs[view.backlog_name] = _counts(metrics, "input", view.backlog_name, _INPUT_COUNTS)
    filters = {
        f.name: _counts(metrics, "filter", f.name, (*_FILTER_COUNTS, *_EMITTING_FILTERS.get(f.plugin, ())))
        for f in view.filters
    }
    outputs = {o.name: _counts(metrics, "output", o.name, _OUTPUT_COUNTS) for o in view.outputs}
    return {"input": inputs, "filter": filters, "output": outputs}


def chunks_of(seen: SeenInput, view: View) -> Chunks:
    """What waits or is on its way of the records of an input."""
    state = seen.buffer.statistics()
    # What has bytes on disk is there whatever else is in memory; batches are not told apart further.
    up = 0 if state.stored and not state.memory else state.batches
    busy = [o.dispatcher.statistics().busy.get(seen.name, (0, 0)) for o in view.outputs]
    count, size = max((n for n, _ in busy), default=0), max((size for _, size in busy), default=0)
    return Chunks(state.batches, up, state.batches - up, min(count, state.batches), size)


def storage_numbers(view: View) -> dict[str, int]:
    """The batches of the whole storage."""
    found = [(seen, chunks_of(seen, view)) for seen in view.inputs]
    left = sum(buffer.statistics().batches for buffer in view.left)
    memory = sum(chunks.total for seen, chunks in found if not seen.is_stored)
    up = sum(chunks.up for seen, chunks in found if seen.is_stored)
    down = sum(chunks.down for seen, chunks in found if seen.is_stored) + left
    return {
        "total_chunks": memory + up + down,
        "mem_chunks": memory,
        "fs_chunks": up + down,
        "fs_chunks_up": up,
        "fs_chunks_down": down,
    }


def offer_gauges(view: View, *, with_storage: bool) -> None:
    """Put the numbers of the view into the registry, and begin every counter that dashboards ask for with zero."""
    metrics = view.metrics
    for name in _NOT_HERE:
        metrics.counter(name)
    for seen in view.inputs:
        _offer_input(seen, view, with_storage=with_storage)
    for one in view.filters:
        for what in ("records", "bytes", "add_records", *_EMITTING_FILTERS.get(one.plugin, ())):
            metrics.counter(f"filter_{what}_total", name=one.name)
    for output in view.outputs:
        metrics.gauge("output_chunk_available_capacity_percent", partial(_room_percent, output), name=output.name)
        metrics.gauge("output_lost_records_total", partial(_lost, metrics, "output", output.name), name=output.name)
    if with_storage:
        for name in storage_numbers(view):
            shown = "storage_chunks" if name == "total_chunks" else f"storage_{name}"
            metrics.gauge(shown, partial(_storage_number, view, name))


def _storage_number(view: View, name: str) -> int:
    return storage_numbers(view)[name]


def _offer_input(seen: SeenInput, view: View, *, with_storage: bool) -> None:
    metrics, name = view.metrics, seen.name
    for what in ("writes", "retries", "retry_failures"):
        metrics.counter(f"input_ring_buffer_{what}_total", name=name)
    if seen.plugin == "tail":
        for what in _TAIL_COUNTS[3:]:
            metrics.counter(f"input_{what}_total", name=name)
    metrics.gauge("input_ingestion_paused", lambda: seen.buffer.statistics().is_full, name=name)
    metrics.gauge("input_lost_records_total", partial(_lost, metrics, "input", name), name=name)
    if not with_storage:
        return

    def chunks(ask: Callable[[Chunks], int]) -> Callable[[], int]:
        return lambda: ask(chunks_of(seen, view))

    metrics.gauge("input_storage_overlimit", lambda: seen.buffer.statistics().is_full, name=name)
    metrics.gauge("input_storage_chunks", chunks(lambda c: c.total), name=name)
    metrics.gauge("input_storage_chunks_up", chunks(lambda c: c.up), name=name)
    metrics.gauge("input_storage_chunks_down", chunks(lambda c: c.down), name=name)
    metrics.gauge("input_storage_chunks_busy", chunks(lambda c: c.busy), name=name)
    metrics.gauge("input_storage_chunks_busy_bytes", chunks(lambda c: c.busy_size), name=name)


def _lost(metrics: Metrics, kind: str, name: str) -> int:
    """Losses for all reasons. Each reason has a series from its first loss on only, so that no increase shows it."""
    return metrics.total(f"{kind}_dropped_records_total", name=name, wanted="no")


def _counts(metrics: Metrics, kind: str, name: str, wanted: Sequence[str]) -> dict[str, int]:
    sources = ((what, _NAMED_OTHERWISE.get((kind, what), what)) for what in wanted)
    return {what: metrics.total(f"{kind}_{source}_total", name=name) for what, source in sources}


def _room_percent(output: SeenOutput) -> float:
    if not output.total_limit_size:
        return 100.0
    return max(0.0, 100.0 * (1 - output.dispatcher.held()[1] / output.total_limit_size))
