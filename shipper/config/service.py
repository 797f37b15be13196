"""The options of the SERVICE section."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import field

from ..errors import ConfigError, OptionError, Problem
from ..log import configure
from .options import Options, opt
from .units import BinaryByteSize, ByteSize, Seconds

LogLevel = Literal["off", "error", "warn", "warning", "info", "debug", "trace"]
StorageType = Literal["memory", "filesystem", "memrb"]

_NO_ADAPTIVE_FLUSH = "Accepted; a full delivery leaves at once, any other after flush."


class LoggingOptions(Options):
    """How the process runs and what it logs."""

    daemon: Annotated[bool, opt("Accepted; run the process under a supervisor instead.", without_effect=True)] = False
    log_level: Annotated[LogLevel, opt("Least important level that is logged.", example="info")] = "info"
    log_file: Annotated[str | None, opt("Append log lines to this file instead of stderr.")] = None
    parsers_file: Annotated[tuple[str, ...], opt("File with [PARSER] and [MULTILINE_PARSER] sections.")] = ()
    plugins_file: Annotated[tuple[str, ...], opt("Accepted; shared objects are not loaded.")] = ()
    streams_file: Annotated[tuple[str, ...], opt("Accepted; there is no stream processor.")] = ()
    coro_stack_size: Annotated[str | None, opt("Accepted; there are no coroutine stacks to size.")] = None
    enable_chunk_trace: Annotated[str | None, opt("Accepted; there is no chunk trace.")] = None
    maxstdio: Annotated[str | None, opt("Accepted; for Windows only.")] = field(default=None, name="windows.maxstdio")
    fips_mode: Annotated[str | None, opt("Accepted; the system's TLS library decides.")] = field(
        default=None, name="security.fips_mode"
    )
    convert_from_str_to_num: Annotated[str | None, opt("Accepted; there is no stream processor.")] = field(
        default=None, name="sp.convert_from_str_to_num"
    )
    telemetry: Annotated[str | None, opt("Accepted; nothing is reported to anybody.")] = None


class FlushOptions(LoggingOptions):
    """When records are handed to the outputs, and how failed deliveries come back."""

    flush: Annotated[float, opt("Longest time in seconds that records wait for a fuller delivery.", example="1")] = 1.0
    grace: Annotated[
        float, opt("Seconds to deliver what is pending at shutdown; -1 waits for ever.", example="5", least=-1)
    ] = 5.0
    flush_adaptive: Annotated[bool, opt(_NO_ADAPTIVE_FLUSH, without_effect=True)] = field(
        default=False, name="flush.adaptive"
    )
    flush_min_interval: Annotated[float, opt(_NO_ADAPTIVE_FLUSH, aliases=("flush.adaptive.min",))] = field(
        default=0.5, name="flush.adaptive.min_interval"
    )
    flush_max_interval: Annotated[float, opt(_NO_ADAPTIVE_FLUSH, aliases=("flush.adaptive.max",))] = field(
        default=2.0, name="flush.adaptive.max_interval"
    )
    flush_low_pressure: Annotated[float, opt(_NO_ADAPTIVE_FLUSH, aliases=("flush.adaptive.low",))] = field(
        default=25.0, name="flush.adaptive.low_pressure"
    )
    flush_medium_pressure: Annotated[float, opt(_NO_ADAPTIVE_FLUSH, aliases=("flush.adaptive.medium",))] = field(
        default=50.0, name="flush.adaptive.medium_pressure"
    )
    flush_high_pressure: Annotated[float, opt(_NO_ADAPTIVE_FLUSH, aliases=("flush.adaptive.high",))] = field(
        default=75.0, name="flush.adaptive.high_pressure"
    )
    flush_up_steps: Annotated[int, opt(_NO_ADAPTIVE_FLUSH)] = field(default=2, name="flush.adaptive.up_steps")
    flush_down_steps: Annotated[int, opt(_NO_ADAPTIVE_FLUSH)] = field(default=3, name="flush.adaptive.down_steps")
    scheduler_base: Annotated[Seconds, opt("First upper bound of the wait before a retry.")] = field(
        default=Seconds(5), name="scheduler.base"
    )
    scheduler_cap: Annotated[Seconds, opt("Longest wait before a retry.")] = field(
        default=Seconds(2000), name="scheduler.cap"
    )


class AdminOptions(FlushOptions):
    """The monitoring API, the health check and hot reload."""

    http_server: Annotated[bool, opt("Serve the monitoring API.")] = False
    http_listen: Annotated[str, opt("Address of the monitoring API; `::` is all of both families.")] = "127.0.0.1"
    http_port: Annotated[int, opt("Port of the monitoring API; 0 for any.", least=0, most=65535)] = 2020
    health_check: Annotated[bool, opt("Serve the health endpoints.")] = False
    hc_errors_count: Annotated[int, opt("Errors within the period above which the health is bad.", least=0)] = 5
    hc_retry_failure_count: Annotated[
        int, opt("Exhausted retries within the period above which health is bad.", least=0)
    ] = 5
    hc_period: Annotated[int, opt("Seconds that the health check looks back.", least=1)] = 60
    hot_reload: Annotated[bool, opt("Load the configuration again on SIGHUP or by the API.")] = False
    watchdog_timeout: Annotated[
        Seconds, opt("The process ends with a stack dump when it stands still for so long; 0 for never.")
    ] = Seconds(45)
    reload_thread_safety: Annotated[
        bool,
        opt(
            "A reload waits until what is in memory alone is delivered, however long an output is away. Off: for "
            "`grace` at most; what is left then is lost, and counted."
        ),
    ] = field(default=True, name="hot_reload.ensure_thread_safety")
    reload_timeout: Annotated[Seconds, opt("Longest time of a reload; 0 is for ever.")] = field(
        default=Seconds(0), name="hot_reload.timeout"
    )
    reload_token: Annotated[
        str | None,
        opt(
            "Who asks the API for a reload has to send this as a bearer token; without it only this machine may ask.",
            example="${RELOAD_TOKEN}",
            secret=True,
            reads_empty=True,
        ),
    ] = field(default=None, name="hot_reload.token")

    def __post_init__(self) -> None:
        if self.reload_token is not None and not self.reload_token.strip():
            remedy = "write the token, or set the variable that it names; without the key only this machine may ask"
            raise OptionError("hot_reload.token", "is empty, so nobody would have to know it", remedy)


class StorageOptions(AdminOptions):
    """The buffers on disk."""

    storage_path: Annotated[str | None, opt("Folder for filesystem buffers.")] = field(
        default=None, name="storage.path"
    )
    storage_sync: Annotated[
        Literal["normal", "full"], opt("What makes a batch durable: that it is written, or that it is on the disk.")
    ] = field(default="normal", name="storage.sync")
    storage_checksum: Annotated[
        bool, opt("Check the checksums of chunk files that Fluent Bit has left; ours are always checked.")
    ] = field(default=False, name="storage.checksum")
    storage_metrics: Annotated[bool, opt("Serve the numbers of the storage.")] = field(
        default=True, name="storage.metrics"
    )
    storage_max_chunks_up: Annotated[
        int, opt("Most pieces of stored data held in memory; 0 is the default.", least=0)
    ] = field(default=128, name="storage.max_chunks_up")
    storage_backlog_mem_limit: Annotated[ByteSize, opt("Most bytes of the backlog held in memory.")] = field(
        default=ByteSize(100_000_000), name="storage.backlog.mem_limit"
    )
    storage_backlog_flush_on_shutdown: Annotated[
        bool, opt("Deliver the backlog at shutdown too.", aliases=("storage.backlog.shutdown_flush",))
    ] = field(default=False, name="storage.backlog.flush_on_shutdown")
    storage_delete_irrecoverable_chunks: Annotated[
        bool, opt("Accepted; what cannot be read is put into quarantine/ below storage.path.", without_effect=True)
    ] = field(default=False, name="storage.delete_irrecoverable_chunks")
    storage_free_space_floor: Annotated[
        ByteSize, opt("Inputs with filesystem storage pause when less than this is free; 0 for no floor.")
    ] = field(default=ByteSize(10_000_000), name="storage.free_space_floor")
    storage_trim_files: Annotated[bool, opt("Accepted; stored files have the length of their data.")] = field(
        default=False, name="storage.trim_files"
    )
    storage_type: Annotated[StorageType | None, opt("Buffer of inputs that name none, with storage.inherit on.")] = (
        field(default=None, name="storage.type")
    )
    storage_inherit: Annotated[bool, opt("Give storage.type to inputs that name none.")] = field(
        default=False, name="storage.inherit"
    )
    storage_keep_rejected: Annotated[bool, opt("Keep what a destination refuses for good.")] = field(
        default=False, name="storage.keep.rejected"
    )
    storage_rejected_path: Annotated[str, opt("Folder below storage.path for what was refused.")] = field(
        default="rejected", name="storage.rejected.path"
    )
    storage_rejected_limit: Annotated[ByteSize, opt("Most bytes of refused records kept; 0 is no limit.")] = field(
        default=ByteSize(0), name="storage.rejected.limit"
    )


class ServiceOptions(StorageOptions):
    """What holds for the whole process."""

    escape_unicode: Annotated[bool, opt("Write non-ASCII characters as \\uXXXX in JSON.")] = field(
        default=True, name="json.escape_unicode"
    )
    convert_nan_to_null: Annotated[bool, opt("Accepted; NaN and infinities are always written as null.")] = field(
        default=False, name="json.convert_nan_to_null"
    )
    multiline_buffer_limit: Annotated[BinaryByteSize, opt("Longest text of a multiline record, 0 for no limit.")] = (
        BinaryByteSize(2_097_152)
    )
    dns_mode: Annotated[str | None, opt("Accepted; the system resolves names.")] = field(default=None, name="dns.mode")
    dns_resolver: Annotated[str | None, opt("Accepted; the system resolves names.")] = field(
        default=None, name="dns.resolver"
    )
    dns_prefer_ipv4: Annotated[bool, opt("Accepted; both address families are tried.")] = field(
        default=False, name="dns.prefer_ipv4"
    )
    dns_prefer_ipv6: Annotated[bool, opt("Accepted; both address families are tried.")] = field(
        default=False, name="dns.prefer_ipv6"
    )


def configure_log(service: ServiceOptions) -> None:
    """Let the log go where the options say, and open its file anew; raises `ConfigError` if that cannot be."""
    try:
        configure(service.log_level, service.log_file)
    except OSError as error:
        message = f"log_file '{service.log_file}' cannot be opened: {error.strerror}"
        raise ConfigError([Problem(message, None, "check the folder and its permissions")]) from error
