"""What an output is, and the options that every output has."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Hashable
from typing import Annotated, Any, ClassVar, Literal, Self

import msgspec
from msgspec import field

from ..buffers.base import BatchLimits, Delivery
from ..config.options import Options, opt
from ..config.service import LogLevel
from ..config.units import ByteSize, Seconds, parse_int
from ..context import Context
from ..parsers.onigmo import Regex
from ..record import RecordBatch


class RetryLimit(msgspec.Struct, frozen=True):
    """How often a delivery is tried again; None is without end. `remark` is what the user should know of the text."""

    shown_as: ClassVar[str] = "integer | no_limits | no_retries"
    retries: int | None = None
    remark: str = ""

    @classmethod
    def parse(cls, text: str) -> Self:
        word = text.strip().lower()
        if word in ("no_limits", "false", "off"):
            return cls(None)
        if word == "no_retries":
            return cls(0)
        try:
            number = parse_int(text)
        except ValueError:
            number = 0
        if number >= 1:
            return cls(number)
        return cls(
            1, f"{text!r} is no number of retries; 1 is used, as in Fluent Bit (or write no_retries or no_limits)"
        )


class OutputOptions(Options):
    """Options of every output."""

    ignored: ClassVar[tuple[str, ...]] = ("host", "port", "ipv6", "net", "tls")

    match: Annotated[str | None, opt("Tags the output takes; * stands for any text.", example="app.*", core=True)] = (
        None
    )
    match_regex: Annotated[
        Regex | None, opt("Tags the output takes, as a regular expression from the tag's start.", core=True)
    ] = None
    alias: Annotated[str | None, opt("Name of this instance in logs and metrics.", core=True)] = None
    log_level: Annotated[LogLevel | None, opt("Log level of this instance.", core=True)] = None
    log_suppress_interval: Annotated[Seconds, opt("Print similar messages once in this time.", core=True)] = Seconds(0)
    active: Annotated[str, opt("Accepted on every plugin.", core=True)] = "true"
    condition: Annotated[str | None, opt("Accepted on every plugin.", core=True)] = None
    retry_limit: Annotated[
        RetryLimit | None,
        opt("Retries of a delivery; without it transient errors are retried until delivered.", example="5", core=True),
    ] = None
    workers: Annotated[
        int, opt("Deliveries in flight at one time; 0 for the output's own number.", core=True, least=0)
    ] = 0
    total_limit_size: Annotated[ByteSize, opt("Most bytes that may wait on disk for this output.", core=True)] = field(
        default=ByteSize(0), name="storage.total_limit_size"
    )
    on_full: Annotated[
        Literal["pause", "drop_oldest", "drop_newest"] | None,
        opt(
            "At storage.total_limit_size: let inputs wait, skip the oldest records, or do not store new ones. "
            "By default inputs that read files wait, as their records stay there; for others the oldest are skipped.",
            core=True,
        ),
    ] = field(default=None, name="storage.on_full")


class NetworkOptions(OutputOptions):
    """Options of every output that talks to a host."""

    host: Annotated[str | None, opt("Host to send to.", core=True)] = None
    port: Annotated[int | None, opt("Port to send to.", core=True, least=1, most=65535)] = None
    ipv6: Annotated[bool, opt("Accepted; both address families are tried.", core=True)] = False
    connect_timeout: Annotated[Seconds, opt("Longest wait for a connection.")] = field(
        default=Seconds(10), name="net.connect_timeout"
    )
    connect_timeout_log_error: Annotated[bool, opt("Log a failed connection as an error.")] = field(
        default=True, name="net.connect_timeout_log_error"
    )
    io_timeout: Annotated[Seconds, opt("Longest time for a whole request; 0 means 60 seconds.")] = field(
        default=Seconds(0), name="net.io_timeout"
    )
    keepalive: Annotated[bool, opt("Keep connections for the next request.")] = field(
        default=True, name="net.keepalive"
    )
    keepalive_idle_timeout: Annotated[Seconds, opt("Close a connection that was idle for so long.")] = field(
        default=Seconds(30), name="net.keepalive_idle_timeout"
    )
    keepalive_max_recycle: Annotated[
        int, opt("Close a connection after so many requests; 0 for no limit.", least=0)
    ] = field(default=2000, name="net.keepalive_max_recycle")
    max_worker_connections: Annotated[int, opt("Most connections at one time; 0 for no limit.", least=0)] = field(
        default=0, name="net.max_worker_connections"
    )
    source_address: Annotated[str | None, opt("Local address of connections.")] = field(
        default=None, name="net.source_address"
    )
    dns_mode: Annotated[str | None, opt("Accepted; the system resolver is used.")] = field(
        default=None, name="net.dns.mode"
    )
    dns_resolver: Annotated[str | None, opt("Accepted; the system resolver is used.")] = field(
        default=None, name="net.dns.resolver"
    )
    dns_prefer_ipv4: Annotated[bool, opt("Accepted; both address families are tried.")] = field(
        default=False, name="net.dns.prefer_ipv4"
    )
    dns_prefer_ipv6: Annotated[bool, opt("Accepted; both address families are tried.")] = field(
        default=False, name="net.dns.prefer_ipv6"
    )
    tcp_keepalive: Annotated[bool, opt("Have the system ask silent peers whether they are still there.")] = field(
        default=False, name="net.tcp_keepalive"
    )
    tcp_keepalive_time: Annotated[int, opt("Seconds of silence before it asks; -1 for the system's.")] = field(
        default=-1, name="net.tcp_keepalive_time"
    )
    tcp_keepalive_interval: Annotated[int, opt("Seconds between two questions; -1 for the system's.")] = field(
        default=-1, name="net.tcp_keepalive_interval"
    )
    tcp_keepalive_probes: Annotated[int, opt("Questions without answer that end it; -1 for the system's.")] = field(
        default=-1, name="net.tcp_keepalive_probes"
    )
    proxy_env_ignore: Annotated[bool, opt("Do not use HTTP_PROXY and NO_PROXY.")] = field(
        default=False, name="net.proxy_env_ignore"
    )
    tls: Annotated[bool, opt("Use TLS.", core=True)] = False
    tls_verify: Annotated[bool, opt("Check the certificate of the server.")] = field(default=True, name="tls.verify")
    tls_verify_hostname: Annotated[bool, opt("Check the name in the certificate.")] = field(
        default=False, name="tls.verify_hostname"
    )
    tls_debug: Annotated[int, opt("Accepted.")] = field(default=-1, name="tls.debug")
    tls_vhost: Annotated[str | None, opt("Name to ask for and to check.")] = field(default=None, name="tls.vhost")
    tls_ca_file: Annotated[str | None, opt("File with trusted certificates.")] = field(default=None, name="tls.ca_file")
    tls_ca_path: Annotated[str | None, opt("Folder with trusted certificates.")] = field(
        default=None, name="tls.ca_path"
    )
    tls_crt_file: Annotated[str | None, opt("Own certificate.")] = field(default=None, name="tls.crt_file")
    tls_key_file: Annotated[str | None, opt("Key of the own certificate.")] = field(default=None, name="tls.key_file")
    tls_key_passwd: Annotated[str | None, opt("Password of the key.", secret=True)] = field(
        default=None, name="tls.key_passwd"
    )
    tls_min_version: Annotated[str | None, opt("Oldest TLS version.", example="1.2")] = field(
        default=None, name="tls.min_version"
    )
    tls_max_version: Annotated[str | None, opt("Newest TLS version.", example="1.3")] = field(
        default=None, name="tls.max_version"
    )
    tls_ciphers: Annotated[str | None, opt("Cipher list in OpenSSL's notation.")] = field(
        default=None, name="tls.ciphers"
    )


class Output(ABC):
    """A destination. Batching, retry, parallelism, deadlines and counting happen around it, in the dispatcher."""

    Options: ClassVar[type[OutputOptions]]
    limits: BatchLimits
    concurrency: int = 1
    """Deliveries that may be in flight at one time when `workers` is not set."""
    flushes_apart: float = 0
    """How many flush intervals lie at least between two deliveries of a lane that are not full."""

    @abstractmethod
    def __init__(self, options: Any, context: Context) -> None: ...

    def lane(self, batch: RecordBatch) -> Hashable:
        """The destination stream of a batch; one delivery of a lane is in flight at a time, lanes run side by side.

        The default is one lane for everything.
        """
        return ""

    def expect(self, batch: RecordBatch) -> None:
        """A batch has come that will be sent: the moment to encode it, as it is still in the processor's cache.

        By default nothing is done. What is made must be kept by the content, which others share; nothing may be raised.
        """

    async def open(self) -> None:
        """Get ready; raise `OptionError` for what the configuration must mend. Do not talk to the destination yet."""

    @abstractmethod
    async def send(self, delivery: Delivery) -> None:
        """Deliver; return when the destination has everything.

        Raises `RetryLater` for "not now" and `Rejected` for "never" (all that is left of the delivery). The same
        delivery is given again after `RetryLater`: what was accepted must not be sent twice, so progress is kept in
        `delivery.progress`, and what is sent again is sent byte for byte. Records that the destination refuses
        alone are noted with `delivery.refuse` and the rest goes through.
        """

    async def work(self) -> None:
        """What the output does beside its deliveries, until cancelled; who keeps them (`Delivery.keep`) needs it.

        It may also return. A failure restarts it together with the delivering.
        """

    def overdue_s(self) -> float:
        """Seconds in which nothing went on of what is kept and due; 0 if all is well.

        Only for outputs that keep deliveries: what is kept because its time has not come is not overdue.
        """
        return 0.0

    def trouble(self) -> str:
        """Why nothing goes on of what is kept and due, in words; empty if all is well or nothing is known."""
        return ""

    def flush(self) -> None:
        """The service stops and nothing more is waiting: complete what is kept, at once; may be called again."""

    def left(self, delivery: Delivery) -> list[list[int]] | None:
        """For each batch of a delivery that was sent in part the rows that are still to be sent; None if unknown.

        Asked at a stop, so that a buffer that can remember it gives no more than these to the next run, and when a
        delivery is given up, so that no more than these are kept as rejected. An attempt may have been cancelled: what
        was on its way then is still to be sent.
        """
        return None

    async def close(self) -> None:
        """Release everything."""
