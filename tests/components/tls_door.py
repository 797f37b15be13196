"""A server that speaks TLS in front of one that does not, and that can be shut."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from urllib.parse import urlsplit

from .kubernetes import certificate_and_key


class TlsDoor:
    """Passes bytes on in both directions; while `is_shut` every connection is cut, and `refused` counts them."""

    def __init__(self, url: str) -> None:
        self._behind = urlsplit(url)
        self.ca_file, self.key_file = certificate_and_key()
        self.is_shut = False
        self.refused = 0
        self.port = 0

    @property
    def url(self) -> str:
        return f"https://127.0.0.1:{self.port}"

    def trusted(self, folder: Path) -> Path:
        """Certificates as many as a system has, and that of the door."""
        from botocore.httpsession import where

        file = folder / "trusted.pem"
        file.write_text(Path(where()).read_text() + self.ca_file.read_text())
        return file

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection, until either end closes it."""
        if self.is_shut:
            self.refused += 1
            writer.transport.abort()
            return
        back, to = await asyncio.open_connection(self._behind.hostname, self._behind.port)
        await asyncio.gather(self._pass(reader, to), self._pass(back, writer))

    async def _pass(self, source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError, ssl.SSLError):
            while (data := await source.read(65536)) and not self.is_shut:
                target.write(data)
                await target.drain()
        target.close()


@asynccontextmanager
async def tls_door(url: str) -> AsyncIterator[TlsDoor]:
    """A door that is there as long as the block."""
    door = TlsDoor(url)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(door.ca_file, door.key_file)
    running = await asyncio.start_server(door.serve, "127.0.0.1", 0, ssl=context)
    door.port = running.sockets[0].getsockname()[1]
    try:
        yield door
    finally:
        running.close()
