"""Deliver to Amazon CloudWatch Logs."""

from __future__ import annotations

from collections import deque
from collections.abc import Hashable
from functools import partial
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from ...buffers.base import BatchLimits, Delivery, Which
from ...codecs.compression import compress_gzip
from ...codecs.json_lines import JsonEncoder, encode_early
from ...codecs.template import Template
from ...config.options import opt
from ...context import Context
from ...errors import OptionError
from ...record import RecordBatch
from ..aws_calls import CountedCalls
from ..aws_options import AwsOutputOptions, SwitchOnUnlessOff
from ..base import Output
from .calls import Calls
from .creation import Creator, GroupOptions, Tag
from .destination import Destination, Progress
from .emf import MetricFormat, parse_dimensions
from .event_times import EventTimes, TimeBounds, WatchedCalls
from .events import EventMaker, Packed, StreamNames, is_group_name, stream_name
from .refused import find_out_of_time, find_refused, find_without_event, rows_left

if TYPE_CHECKING:
    from ...aws.client import AwsClient

_RETENTION_DAYS = (
    1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731, 1096, 1827, 2192, 2557, 2922, 3288,
    3653,
)  # fmt: skip

_TOLD_OF_TIME = {"too_old": "older than 14 days", "too_new": "more than 2 hours ahead"}


class CloudwatchLogsOptions(AwsOutputOptions, kw_only=True):
    """Options of the output `cloudwatch_logs`."""

    usual_connections: ClassVar[int] = 32

    log_group_name: Annotated[
        str, opt("Log group; also used where log_group_template gives no name.", example="/my/group")
    ]
    log_stream_name: Annotated[str | None, opt("Log stream; this or log_stream_prefix is required.")] = None
    log_stream_prefix: Annotated[str | None, opt("The stream is this text and the tag.", example="from-")] = None
    log_group_template: Annotated[
        Template | None, opt("Log group, filled in from record and tag.", example="/app/$kubernetes['namespace_name']")
    ] = None
    log_stream_template: Annotated[
        Template | None, opt("Log stream, filled in from record and tag.", example="$kubernetes['pod_name']")
    ] = None
    log_key: Annotated[str | None, opt("Send the value of this key alone.", example="log")] = None
    log_format: Annotated[str | None, opt("Format that CloudWatch is told of.", example="json/emf")] = None
    on_oversize: Annotated[
        Literal["truncate", "split"],
        opt("Shorten an event that is larger than the service takes, or send it as several, marked [part=1/3 id=...]."),
    ] = "truncate"
    compress: Annotated[
        Literal["none", "gzip"],
        opt("Send the events compressed: a tenth of the bytes, and the same to the service."),
    ] = "none"
    auto_create_group: Annotated[bool, opt("Create log groups that are missing; streams always are.")] = False
    log_group_class: Annotated[
        str | None, opt("Class of created groups: STANDARD or INFREQUENT_ACCESS.", example="STANDARD")
    ] = None
    log_retention_days: Annotated[int, opt("Days after which created groups forget; 0 for never.", example="14")] = 0
    new_log_group_tags: Annotated[
        tuple[Tag, ...], opt("Tags of created groups.", split=",", example="team=a,env=b")
    ] = ()
    clamp_time: Annotated[
        bool,
        opt(
            "Give events that are older than 14 days or more than 2 hours ahead, which the service does not take, the "
            "nearest time that it does."
        ),
    ] = False
    auto_retry_requests: Annotated[SwitchOnUnlessOff, opt("Send once more, at once, when no answer came.")] = (
        SwitchOnUnlessOff(True)
    )
    extra_user_agent: Annotated[str | None, opt("Added to the User-Agent.", example="container-insights")] = None
    metric_namespace: Annotated[str, opt("Namespace of metrics from the cpu and mem inputs.")] = "fluent-bit-metrics"
    metric_dimensions: Annotated[
        str | None, opt("Dimensions of those metrics; sets by ';', names by ','.", example="host,az;host")
    ] = None
    add_entity: Annotated[bool, opt("Tell CloudWatch which service the events are of.")] = False

    def __post_init__(self) -> None:
        if (self.log_stream_name is None) == (self.log_stream_prefix is None):
            raise OptionError(
                "log_stream_name",
                "Either log_stream_name or log_stream_prefix is required, and not both",
                "for example: log_stream_prefix from-",
            )
        if not is_group_name(self.log_group_name):
            raise OptionError(
                "log_group_name",
                f"AWS does not accept the name {self.log_group_name!r}",
                "1 to 512 letters, digits and _ / . # - are possible",
            )
        if self.log_stream_name is not None and stream_name(self.log_stream_name) != self.log_stream_name:
            raise OptionError(
                "log_stream_name",
                f"AWS does not accept the name {self.log_stream_name!r}",
                "it holds no ':', no '*' and no control character, and has at most 512 bytes",
            )
        self.check_endpoints()
        if self.auto_create_group:
            self._check_group_options()

    def _check_group_options(self) -> None:
        # Fluent Bit reads these only when it may create groups, so elsewhere they must not stop the start.
        if self.log_group_class not in (None, "STANDARD", "INFREQUENT_ACCESS"):
            raise OptionError(
                "log_group_class", f"{self.log_group_class!r} is not possible", "write STANDARD or INFREQUENT_ACCESS"
            )
        if self.log_retention_days not in (0, *_RETENTION_DAYS):
            raise OptionError(
                "log_retention_days",
                f"AWS does not accept {self.log_retention_days} days",
                f"possible are {', '.join(map(str, _RETENTION_DAYS))}",
            )

    @property
    def user_agent(self) -> str:
        return f"{super().user_agent}{self.extra_user_agent or ''}"

    def group_options(self) -> GroupOptions:
        """The part of the options that says what may be created."""
        return GroupOptions(
            create=self.auto_create_group,
            storage_class=self.log_group_class,
            retention_days=self.log_retention_days,
            tags={tag.key: tag.value for tag in self.new_log_group_tags},
        )


class CloudwatchLogsOutput(Output):
    """Sends records as log events, each stream in order, many streams at a time.

    What that costs is counted: `output_requests_total` are the calls by operation, whose rate is limited for an
    account, and `output_event_bytes_total` what the service counts as ingested, 26 bytes
    an event included, of the events that it has accepted.
    """

    Options = CloudwatchLogsOptions

    # A line of 200 bytes becomes JSON of about 300, and each event counts 26 more: this much as read fills a request.
    limits = BatchLimits(size=640_000, records=10_000)
    concurrency = 8
    # A call costs the service the same whether it brings one line or ten thousand, and thousands of quiet streams would
    # use up the calls of an account.
    flushes_apart = 5

    def __init__(self, options: CloudwatchLogsOptions, context: Context) -> None:
        self._options = options
        self._context = context
        self._log = context.log
        self._clock = context.clock
        self._names = StreamNames(
            group=options.log_group_name,
            stream=options.log_stream_name,
            prefix=options.log_stream_prefix or "",
            group_template=options.log_group_template,
            stream_template=options.log_stream_template,
            warn=lambda message: self._log.warning(message, every=60),
        )
        dimensions = parse_dimensions(options.metric_dimensions or "")
        self._events = EventMaker(
            self._names,
            JsonEncoder(context.service.escape_unicode),
            options.log_key,
            MetricFormat(options.metric_namespace, dimensions),
            add_entity=options.add_entity,
        )
        self._times = EventTimes(context.clock, clamp=options.clamp_time)
        self._client: AwsClient | None = None
        self._destination: Destination | None = None
        self._creator: Creator | None = None

    def lane(self, batch: RecordBatch) -> Hashable:
        """The stream, where the tag alone decides about it; else the tag."""
        return batch.tag if self._names.use_record else self._names.of(batch.tag, {})

    def expect(self, batch: RecordBatch) -> None:
        if self._events.takes_lines:
            encode_early(batch.content)

    async def open(self) -> None:
        options = self._options
        options.check_files()
        # Only now: aiobotocore is large, and a process without this output must not carry it.
        from ...aws.client import AwsClient

        self._client = client = AwsClient("logs", options.aws_settings(), self._log)
        await client.open()
        self._context.count_connections(lambda: client.connections)
        self._times = EventTimes(self._clock, clamp=options.clamp_time, is_aws=client.is_aws)
        api = WatchedCalls(CountedCalls(client, self._context), self._times)
        calls = Calls(api, self._clock, self._log, resend_at_once=options.auto_retry_requests.is_on)
        groups = options.group_options()
        headers = {"x-amzn-logs-format": options.log_format} if options.log_format else {}
        self._creator = creator = Creator(calls, groups, self._clock, self._log)
        find = partial(find_refused, self._events, is_clamped=options.clamp_time)
        self._destination = Destination(
            calls,
            creator,
            self._log,
            headers,
            find,
            self._context.counter("event_bytes_total").add,
            in_parts=options.on_oversize == "split",
            compress=compress_gzip if options.compress == "gzip" else None,
        )

    async def send(self, delivery: Delivery) -> None:
        """Deliver and wait for all answers; after a `RetryLater` what was not accepted goes out again, unchanged."""
        if self._destination is None:
            raise RuntimeError("the output is not open")
        if delivery.progress is None:
            delivery.progress = self._requests(delivery, self._destination)
        await self._destination.deliver(delivery, delivery.progress)

    async def work(self) -> None:
        """Set the retention of created groups, which no delivery waits for."""
        if self._creator is not None:
            await self._creator.work()

    def left(self, delivery: Delivery) -> list[list[int]] | None:
        progress: Progress | None = delivery.progress
        return None if progress is None else rows_left(self._events, delivery.batches, progress)

    async def close(self) -> None:
        if self._client is not None:
            await self._client.close()

    def _requests(self, delivery: Delivery, destination: Destination) -> Progress:
        cut = destination.new_cut()
        bounds = self._times.bounds()
        packed = self._events.pack(delivery.batches, destination.event_limit, cut, bounds)
        if missing := packed.missing_log_key:
            self._log.error(f"Could not find log_key '{self._options.log_key}' in record", every=60, records=missing)
        # Which of the two it was is not told apart record by record; that matters to nobody who looks at them.
        which: Which | None = partial(find_without_event, self._events, delivery.batches)
        for records, reason in ((packed.missing_log_key, "missing_log_key"), (packed.empty, "empty_message")):
            if records:
                delivery.refuse(records, reason, which)
                which = None
        if bounds is not None:
            self._tell_of_times(delivery, packed, bounds)
        destination.warn_of_cuts(cut)
        return {stream: deque(requests) for stream, requests in packed.requests.items()}

    def _tell_of_times(self, delivery: Delivery, packed: Packed, bounds: TimeBounds) -> None:
        """Count and log the events that are not sent for their time, and those that got another."""
        for (stream, reason), events in packed.refused.items():
            self._log.error("log events rejected", group=stream.group, stream=stream.name, events=events, reason=reason)
        for reason, refused in bounds.refused.items():
            if records := sum(events for (_, why), events in packed.refused.items() if why == reason):
                which = partial(find_out_of_time, self._events, delivery.batches, refused)
                delivery.refuse(records, reason, which, message=f"not sent: {_TOLD_OF_TIME[reason]}")
        if packed.clamped:
            self._context.counter("clamped_records_total").add(packed.clamped)
            self._log.warning("the service takes no such times; events get others", every=60, events=packed.clamped)
