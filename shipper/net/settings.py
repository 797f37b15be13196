"""What a network client is told and what it answers, for modules that need no connection."""

from __future__ import annotations

from collections.abc import Generator, Mapping
from typing import Literal, Protocol

import msgspec

DEFAULT_IO_TIMEOUT_S = 60.0

Phase = Literal["dns", "connect", "tls", "proxy", "answer"]


class TlsSettings(msgspec.Struct, frozen=True, kw_only=True):
    """How a TLS connection is made; files are read again when they change.

    With `verify` and without `verify_hostname` the chain of the certificate is checked and its name is not.
    """

    verify: bool = True
    verify_hostname: bool = False
    vhost: str | None = None
    ca_file: str | None = None
    ca_path: str | None = None
    crt_file: str | None = None
    key_file: str | None = None
    key_passwd: str | None = None
    min_version: str | None = None
    max_version: str | None = None
    ciphers: str | None = None


class TcpKeepalive(msgspec.Struct, frozen=True, kw_only=True):
    """When the system asks a silent peer whether it is still there; without a value the system's own counts."""

    idle_s: int | None = None
    interval_s: int | None = None
    probes: int | None = None


class ConnectionCount(msgspec.Struct, frozen=True):
    """How many connections a client has open, and how many of those are in use."""

    total: int
    busy: int


class HttpSettings(msgspec.Struct, frozen=True, kw_only=True):
    """Where requests go and how long they may take.

    `io_timeout` bounds a whole request, `idle_timeout` the rest of a kept connection. A connection is closed after
    `requests_each` requests; 0 is without limit. With `tcp_keepalive` silent peers are asked. At most `connections`
    are open at one time; 0 is without limit. `answer_limit` is the most that is kept of the body of an answer. `proxy`
    wins over the proxy of the environment, which `use_proxy` is about.

    With `resend` a request on a kept connection that ends before any answer goes out again at once. The server may have
    acted on it all the same, so a client that prefers to leave that decision to its caller switches it off.
    """

    host: str
    port: int
    tls: TlsSettings | None = None
    connect_timeout: float = 10.0
    io_timeout: float = DEFAULT_IO_TIMEOUT_S
    keepalive: bool = True
    idle_timeout: float = 30.0
    requests_each: int = 0
    tcp_keepalive: TcpKeepalive | None = None
    connections: int = 0
    source_address: str | None = None
    use_proxy: bool = True
    proxy: str | None = None
    resend: bool = True
    answer_limit: int = 512_000


class HttpAnswer(msgspec.Struct, frozen=True):
    """What a server answered; the names of headers are in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def text(self) -> str:
        return self.body.decode("utf-8", "replace")


class NoAnswer(Exception):
    """There is no answer; `phase` says how far the request came, so that failures can be counted by it."""

    def __init__(self, phase: Phase, reason: str, *, timed_out: bool = False) -> None:
        super().__init__(reason)
        self.phase = phase
        self.reason = reason
        self.timed_out = timed_out


class BodyInPieces(Protocol):
    """A body that is read while it is sent, so that memory never holds more than a little of it."""

    @property
    def size(self) -> int: ...

    def pieces(self) -> Generator[bytes, None, None]:
        """The bytes in their order; raises `OSError` if they cannot be had."""
        ...


class HttpApi(Protocol):
    """What makes requests; `net.http.HttpClient` does."""

    async def open(self) -> None: ...

    async def request(self, method: str, target: str, headers: Mapping[str, str], body: bytes = ...) -> HttpAnswer: ...

    async def close(self) -> None: ...


class NetworkChoices(Protocol):
    """The options of an output that concern its connections, as `outputs.base.NetworkOptions` declares them."""

    @property
    def connect_timeout(self) -> float: ...
    @property
    def io_timeout(self) -> float: ...
    @property
    def keepalive(self) -> bool: ...
    @property
    def keepalive_idle_timeout(self) -> float: ...
    @property
    def keepalive_max_recycle(self) -> int: ...
    @property
    def tcp_keepalive(self) -> bool: ...
    @property
    def tcp_keepalive_time(self) -> int: ...
    @property
    def tcp_keepalive_interval(self) -> int: ...
    @property
    def tcp_keepalive_probes(self) -> int: ...
    @property
    def max_worker_connections(self) -> int: ...
    @property
    def source_address(self) -> str | None: ...
    @property
    def proxy_env_ignore(self) -> bool: ...
    @property
    def tls(self) -> bool: ...
    @property
    def tls_verify(self) -> bool: ...
    @property
    def tls_verify_hostname(self) -> bool: ...
    @property
    def tls_vhost(self) -> str | None: ...
    @property
    def tls_ca_file(self) -> str | None: ...
    @property
    def tls_ca_path(self) -> str | None: ...
    @property
    def tls_crt_file(self) -> str | None: ...
    @property
    def tls_key_file(self) -> str | None: ...
    @property
    def tls_key_passwd(self) -> str | None: ...
    @property
    def tls_min_version(self) -> str | None: ...
    @property
    def tls_max_version(self) -> str | None: ...
    @property
    def tls_ciphers(self) -> str | None: ...


def http_settings(
    chosen: NetworkChoices,
    host: str,
    port: int,
    *,
    answer_limit: int = 512_000,
    tls: bool | None = None,
    io_timeout: float | None = None,
    proxy: str | None = None,
) -> HttpSettings:
    """The settings of a client for one host, as the options of an output ask for it.

    What is given beside the options wins over them.
    """
    return HttpSettings(
        host=host.strip().removeprefix("[").removesuffix("]"),
        port=port,
        tls=tls_settings(chosen) if (chosen.tls if tls is None else tls) else None,
        connect_timeout=float(chosen.connect_timeout) or 10.0,
        io_timeout=io_timeout or float(chosen.io_timeout) or DEFAULT_IO_TIMEOUT_S,
        keepalive=chosen.keepalive,
        idle_timeout=float(chosen.keepalive_idle_timeout),
        requests_each=max(0, chosen.keepalive_max_recycle),
        tcp_keepalive=tcp_keepalive(chosen),
        connections=max(0, chosen.max_worker_connections),
        source_address=chosen.source_address,
        use_proxy=not chosen.proxy_env_ignore,
        proxy=proxy,
        answer_limit=answer_limit,
    )


def tcp_keepalive(chosen: NetworkChoices) -> TcpKeepalive | None:
    """The `net.tcp_keepalive*` options of an output; None if they are off."""
    if not chosen.tcp_keepalive:
        return None
    return TcpKeepalive(
        idle_s=_if_positive(chosen.tcp_keepalive_time),
        interval_s=_if_positive(chosen.tcp_keepalive_interval),
        probes=_if_positive(chosen.tcp_keepalive_probes),
    )


def tls_settings(chosen: NetworkChoices) -> TlsSettings:
    """The `tls.*` options of an output."""
    return TlsSettings(
        verify=chosen.tls_verify,
        verify_hostname=chosen.tls_verify_hostname,
        vhost=chosen.tls_vhost,
        ca_file=chosen.tls_ca_file,
        ca_path=chosen.tls_ca_path,
        crt_file=chosen.tls_crt_file,
        key_file=chosen.tls_key_file,
        key_passwd=chosen.tls_key_passwd,
        min_version=chosen.tls_min_version,
        max_version=chosen.tls_max_version,
        ciphers=chosen.tls_ciphers,
    )


def _if_positive(number: int) -> int | None:
    return number if number > 0 else None
