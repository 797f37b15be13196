"""Plain or TLS connections to one server, for protocols that are not HTTP."""

from __future__ import annotations

import asyncio
import ssl

from ..clock import Clock
from ..log import Log
from .keepalive import watch_peer
from .names import HostNames
from .settings import HttpSettings, NoAnswer
from .tls import TlsContext

Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


class Connector:
    """Makes connections to a host, or to a socket of this machine if it is given the path of one."""

    def __init__(self, settings: HttpSettings, clock: Clock, log: Log, unix_path: str | None = None) -> None:
        self._settings = settings
        self._clock = clock
        self._log = log
        self._unix_path = unix_path
        self._tls: TlsContext | None = None
        self._names: HostNames | None = None

    def open(self) -> None:
        """Get ready without a word to the server; raises `OptionError` for TLS files that cannot be used."""
        settings = self._settings
        if settings.tls is not None:
            self._tls = TlsContext(settings.tls, self._clock, self._log)
        self._names = HostNames(settings.host, settings.port, self._clock, self._log)

    async def connect(self) -> Streams:
        """A new connection; waits at most for the connect timeout and raises `NoAnswer`."""
        limit_s = self._settings.connect_timeout
        try:
            async with asyncio.timeout(limit_s):
                if self._unix_path is not None:
                    return await asyncio.open_unix_connection(self._unix_path)
                streams = await self._connect_to_host()
        except TimeoutError as error:
            self._doubt()
            raise NoAnswer("connect", f"{self}: no connection within {limit_s:g} seconds") from error
        except ssl.SSLError as error:
            raise NoAnswer("tls", f"{self}: TLS handshake failed: {error.reason or error}") from error
        except OSError as error:
            self._doubt()
            raise NoAnswer("connect", f"{self}: {error.strerror or error}") from error
        if self._settings.tcp_keepalive is not None:
            watch_peer(streams[1].transport, self._settings.tcp_keepalive)
        return streams

    async def close(self) -> None:
        """Give up looking up the name."""
        if self._names is not None:
            await self._names.close()

    async def _connect_to_host(self) -> Streams:
        if self._names is None:
            raise RuntimeError("the connector is not open")
        settings = self._settings
        try:
            addresses = await self._names.addresses(settings.connect_timeout / 2)
        except OSError as error:
            raise NoAnswer("dns", f"cannot look up {self}: {error.strerror or error}") from error
        failure: OSError = OSError("there is no address")
        for address in addresses:
            try:
                async with asyncio.timeout(settings.connect_timeout / (len(addresses) + 1)):
                    return await self._connect_to(address)
            except ssl.SSLError:
                raise
            except OSError as error:  # TimeoutError is one of these
                failure = error
        raise failure

    async def _connect_to(self, address: str) -> Streams:
        settings = self._settings
        local = (settings.source_address, 0) if settings.source_address else None
        if self._tls is None or settings.tls is None:
            return await asyncio.open_connection(address, settings.port, local_addr=local)
        name = settings.tls.vhost or settings.host
        context = self._tls.current()
        return await asyncio.open_connection(
            address, settings.port, local_addr=local, ssl=context, server_hostname=name
        )

    def _doubt(self) -> None:
        if self._names is not None:
            self._names.doubt()

    def __str__(self) -> str:
        return self._unix_path or f"{self._settings.host}:{self._settings.port}"
