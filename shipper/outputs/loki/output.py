"""Deliver to Grafana Loki."""

from __future__ import annotations

import base64
from collections.abc import Callable, Hashable
from typing import Annotated, ClassVar, Literal, Self

import msgspec
from msgspec import field

from ...buffers.base import BatchLimits, Delivery
from ...codecs.compression import compress_gzip
from ...codecs.json_lines import JsonEncoder, encode_early
from ...codecs.template import KeyPath
from ...config.options import opt
from ...config.units import ByteSize, parse_bool
from ...context import Context
from ...errors import OptionError
from ...net.settings import HttpApi, http_settings
from ...record import RecordBatch
from ..base import NetworkOptions, Output
from ..http_options import lane_of
from ..places import rows_of
from . import json_push
from .destination import Destination, Push
from .guard import Shape
from .lines import LineFormat, LineMaker
from .lines import SingleKey as SingleKeyWord
from .mending import Lines
from .requests import Progress, Request, requests_of
from .rules import KeyRule, MapPath, RemovedPath, Rule, label_name, read_label_map
from .streams import LabelRules, StreamMaker

LANES = 64
_ANSWER_LIMIT = 16_000_000


class SingleKey:
    """A boolean, or `raw`."""

    shown_as: ClassVar[str] = "boolean | raw"

    def __init__(self, word: SingleKeyWord) -> None:
        self.word = word

    @classmethod
    def parse(cls, text: str) -> Self:
        if text.strip().lower() == "raw":
            return cls("raw")
        return cls("on" if parse_bool(text) else "off")


class Header(msgspec.Struct, frozen=True):
    """A header of requests, written as `Name Value`."""

    shown_as: ClassVar[str] = "name and value"
    name: str
    value: str

    @classmethod
    def parse(cls, text: str) -> Self:
        name, _, value = text.strip().partition(" ")
        if not value or not name.isascii() or any(c in name for c in ':\r\n\t"'):
            raise ValueError("a header is written as: Name Value")
        return cls(name, value.strip())


class LokiOptions(NetworkOptions, kw_only=True):
    """Options of the output `loki`."""

    uri: Annotated[str, opt("Path that records are pushed to.", example="/loki/api/v1/push", secret_path=True)] = (
        "/loki/api/v1/push"
    )
    tenant_id: Annotated[str | None, opt("Tenant, sent as X-Scope-OrgID.")] = None
    tenant_id_key: Annotated[
        KeyPath | None, opt("Where a record names its tenant; tenant_id is for those that do not.", example="$tenant")
    ] = None
    tenant_id_key_error_handling: Annotated[
        Literal["partial_success", "partial_error"],
        opt("Accepted; of several tenants, those that failed are tried again in any case."),
    ] = "partial_success"
    labels: Annotated[
        tuple[Rule, ...], opt("Labels of the stream.", split=",", example="job=app, pod=$kubernetes['pod_name']")
    ] = ()
    label_keys: Annotated[
        tuple[KeyRule, ...], opt("Values that become labels named after their place.", split=",", example="$stream")
    ] = ()
    label_map_path: Annotated[str | None, opt("JSON file of the record's shape whose leaves are names of labels.")] = (
        None
    )
    auto_kubernetes_labels: Annotated[bool, opt("Let all labels of the pod be labels of the stream.")] = False
    structured_metadata: Annotated[
        tuple[Rule, ...], opt("Structured metadata of each entry, written as labels are.", split=",")
    ] = ()
    structured_metadata_map_keys: Annotated[
        tuple[MapPath, ...],
        opt("Maps whose entries become structured metadata.", split=",", example="$kubernetes['labels']"),
    ] = ()
    remove_keys: Annotated[tuple[RemovedPath, ...], opt("Keys that are left out of the line.", split=",")] = ()
    drop_single_key: Annotated[
        SingleKey, opt("If one key is left, its value alone is the line; raw for text without quotes.")
    ] = SingleKey("off")
    line_format: Annotated[LineFormat, opt("Form of the line.")] = "json"
    line_too_long: Annotated[
        Literal["cut", "drop"], opt("What becomes of a line that is longer than Loki's limit.")
    ] = "cut"
    late_label: Annotated[
        str,
        opt("Label, of the tag, for records too far behind others of their stream; with off they are dropped."),
    ] = "late"
    max_streams: Annotated[
        int, opt("Most streams in a minute; above it the label with the most values becomes structured metadata.")
    ] = 1000
    push_format: Annotated[
        Literal["json", "protobuf"], opt("Form of requests; protobuf is smaller.", aliases=("push_format",))
    ] = field(default="json", name="format")
    compress: Annotated[str | None, opt("gzip for compressed requests; other words change nothing.")] = None
    http_user: Annotated[str | None, opt("User for basic authentication.")] = None
    http_passwd: Annotated[str, opt("Password for basic authentication.", secret=True)] = ""
    bearer_token: Annotated[str | None, opt("Token for bearer authentication; http_user wins.", secret=True)] = None
    header: Annotated[tuple[Header, ...], opt("A header to add; may be repeated.", secret=True)] = ()
    buffer_size: Annotated[ByteSize, opt("Most bytes of an answer that are read.")] = ByteSize(512_000)

    def __post_init__(self) -> None:
        if not self.uri.startswith("/"):
            self.uri = f"/{self.uri}"
        if any(c.isspace() or not c.isprintable() for c in self.uri):
            raise OptionError("uri", f"{self.uri!r} is not a path")
        if self.late_label.lower() == "off":
            self.late_label = ""
        if self.late_label and label_name(self.late_label) != self.late_label:
            raise OptionError(
                "late_label", f"Loki takes no label named {self.late_label!r}", "for example: late_label late"
            )
        if self.max_streams < 1:
            raise OptionError("max_streams", "must be at least 1", "for example: max_streams 1000")

    def headers(self) -> dict[str, str]:
        """The headers that are the same for all requests."""
        headers = {"User-Agent": "Fluent-Bit"}
        if self.http_user:
            pair = f"{self.http_user}:{self.http_passwd}"
            headers["Authorization"] = f"Basic {base64.b64encode(pair.encode()).decode()}"
        elif self.bearer_token:
            headers["Authorization"] = f"Bearer {self.bearer_token}"
        headers.update({h.name: h.value for h in self.header})
        return headers


class LokiOutput(Output):
    """Sends records as entries of streams, each stream in order, many at a time."""

    Options = LokiOptions

    # Two blocks of tail fill a delivery, and are encoded while they are in the cache.
    limits = BatchLimits(size=500_000, records=20_000)
    concurrency = 16

    def __init__(self, options: LokiOptions, context: Context) -> None:
        self._options = options
        self._context = context
        self._log = context.log
        rules = self._label_rules()
        self._json = JsonEncoder(context.service.escape_unicode)
        removed = [*options.remove_keys, *rules.removed()]
        lines = LineMaker(self._json, removed, options.line_format, options.drop_single_key.word)
        self._shape = Shape(
            options.max_streams, context.clock, context.log, context.counter("streams_over_limit_total").add
        )
        self._push = self._new_push()
        self._streams = StreamMaker(rules, lines, self._json, self._shape, self._push.lines.encode, self._log)
        self._lanes: dict[str, str] = {}
        self._http: HttpApi | None = None
        self._destination: Destination | None = None

    def lane(self, batch: RecordBatch) -> Hashable:
        """The tag for the first tags that come, one of as many shared lanes for all others.

        A stream does not hold up those of other tags, and thousands of tags do not make thousands of requests.
        """
        tag = batch.tag
        lane = self._lanes.get(tag)
        if lane is None:
            if len(self._lanes) >= LANES:
                return lane_of(tag, LANES)
            lane = self._lanes[tag] = tag
        return lane

    def expect(self, batch: RecordBatch) -> None:
        if self._streams.takes_lines:
            encode_early(batch.content)

    async def open(self) -> None:
        # Only now, so that a dry run needs none of it.
        from ...net.http import HttpClient

        options = self._options
        settings = http_settings(
            options,
            options.host or "127.0.0.1",
            options.port or 3100,
            answer_limit=min(int(options.buffer_size) or _ANSWER_LIMIT, _ANSWER_LIMIT),
        )
        self._http = http = HttpClient(settings, self._context.clock, self._log)
        await http.open()
        self._context.count_connections(lambda: http.connections)
        self._destination = Destination(self._http, self._push, self._shape, self._context, options.late_label)

    async def send(self, delivery: Delivery) -> None:
        """Deliver and wait for all answers; after a `RetryLater` what was not accepted goes out again, unchanged."""
        if self._destination is None:
            raise RuntimeError("the output is not open")
        if delivery.progress is None:
            delivery.progress = requests_of(self._streams.prepare(delivery.batches), self._destination.limit)
        await self._destination.deliver(delivery, delivery.progress)

    def left(self, delivery: Delivery) -> list[list[int]] | None:
        progress: Progress | None = delivery.progress
        if progress is None:
            return None
        requests = [request for queue in progress.values() for request in queue]
        return rows_of(delivery.batches, [p for r in requests for part in r.parts for p in part.entries.places])

    async def close(self) -> None:
        if self._http is not None:
            await self._http.close()

    def _label_rules(self) -> LabelRules:
        options = self._options
        rules: list[Rule] = [*options.labels, *options.label_keys]
        if options.label_map_path:
            try:
                rules += read_label_map(options.label_map_path)
            except (OSError, ValueError) as error:
                self._log.error(f"label_map_path {options.label_map_path} cannot be used", reason=error)
        self._warn_of_names(rules)
        return LabelRules(
            labels=tuple(rules),
            kubernetes_labels=options.auto_kubernetes_labels,
            metadata=options.structured_metadata,
            metadata_maps=options.structured_metadata_map_keys,
            tenant=options.tenant_id,
            tenant_path=options.tenant_id_key,
        )

    def _warn_of_names(self, rules: list[Rule]) -> None:
        for rule in (*rules, *self._options.structured_metadata):
            if rule.has_been_renamed:
                self._log.warning(f"Loki refuses the label name {rule.written!r}; {rule.name} is used")
        names = [rule.name for rule in rules]
        for name in sorted({n for n in names if names.count(n) > 1}):
            self._log.warning(f"label {name} is set more than once; the last one is used")

    def _new_push(self) -> Push:
        options = self._options
        headers = options.headers()
        may_cut = options.line_too_long == "cut"
        if options.push_format == "protobuf":
            # Only now: the compression library is not needed for JSON.
            from . import protobuf_push

            lines = Lines(protobuf_push.plain_text, protobuf_push.LINE_ENCODER, may_cut)
            headers |= {"Content-Type": "application/x-protobuf"}
            return Push(options.uri, headers, protobuf_push.protobuf_push, lines)
        lines = Lines(json_push.plain_text, json_push.LINE_ENCODER, may_cut)
        headers["Content-Type"] = "application/json"
        body = _json_body(escape_unicode=self._context.service.escape_unicode)
        if (options.compress or "").strip().lower() == "gzip":
            headers["Content-Encoding"] = "gzip"
            body = _gzipped(body)
        return Push(options.uri, headers, body, lines)


def _json_body(*, escape_unicode: bool) -> Callable[[Request], bytes]:
    return lambda request: json_push.json_push(request, escape_unicode=escape_unicode)


def _gzipped(body: Callable[[Request], bytes]) -> Callable[[Request], bytes]:
    return lambda request: compress_gzip(body(request))
