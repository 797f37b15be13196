"""Short ways to make what the tests of this output need."""

from __future__ import annotations

from typing import Any

from shipper.clock import Clock, SystemClock
from shipper.codecs.json_lines import JsonEncoder
from shipper.codecs.template import Template
from shipper.context import Context
from shipper.log import Log
from shipper.outputs.aws_options import Region
from shipper.outputs.cloudwatch_logs.emf import MetricFormat, parse_dimensions
from shipper.outputs.cloudwatch_logs.events import EventMaker, Prepared, StreamNames
from shipper.outputs.cloudwatch_logs.output import CloudwatchLogsOptions, CloudwatchLogsOutput
from shipper.outputs.cloudwatch_logs.requests import EVENT_LIMIT, Cut, requests_of
from shipper.record import Record, RecordBatch

T0 = 1_700_000_000_123_000_000
MS = 1_000_000


def batch_of(*bodies: dict[str, Any], tag: str = "app.web", time_ns: int = T0) -> RecordBatch:
    """A batch whose records follow each other at a distance of one millisecond."""
    return RecordBatch(tag, [Record(time_ns + i * MS, body) for i, body in enumerate(bodies)], 100 * len(bodies))


def timed(*records: tuple[float, str], tag: str = "app.web") -> RecordBatch:
    """A batch of records with the given times in seconds."""
    return RecordBatch(tag, [Record(round(t * 1000) * MS, {"log": text}) for t, text in records], 100)


def prepared(
    *batches: RecordBatch, log_key: str | None = None, add_entity: bool = False, dimensions: str = "", **names: Any
) -> Prepared:
    """The events of the batches under some options."""
    names.setdefault("group", "/my/group")
    _parse_templates(names, "group_template", "stream_template")
    if "stream" not in names and "prefix" not in names:
        names["stream"] = "s"
    metrics = MetricFormat("fluent-bit-metrics", parse_dimensions(dimensions))
    return EventMaker(StreamNames(**names), JsonEncoder(), log_key, metrics, add_entity=add_entity).prepare(batches)


def bodies_of(*batches: RecordBatch, **options: Any) -> list[str]:
    """The request bodies of the batches under some options."""
    streams = prepared(*batches, **options).streams
    return [r.body.decode() for s, e in streams.items() for r in requests_of(s, e, EVENT_LIMIT, Cut())]


def output_to(url: str, clock: Clock | None = None, **options: Any) -> CloudwatchLogsOutput:
    """An output that sends to an emulator."""
    options.setdefault("log_group_name", "/my/group")
    if not {"log_stream_name", "log_stream_prefix"} & set(options):
        options["log_stream_name"] = "s"
    _parse_templates(options, "log_group_template", "log_stream_template")
    chosen = CloudwatchLogsOptions(region=Region("us-east-1"), endpoint=url, **options)
    name = "cloudwatch_logs.0"
    log = Log(f"[output:cloudwatch_logs:{name}] ")
    return CloudwatchLogsOutput(
        chosen, Context(kind="output", name=name, alias=name, log=log, clock=clock or SystemClock())
    )


def _parse_templates(options: dict[str, Any], *keys: str) -> None:
    options.update({key: Template.parse(options[key]) for key in keys if key in options})
