"""A receiver of the forward protocol: it does its side of the handshake, decodes messages, and acknowledges them."""

from __future__ import annotations

import asyncio
import gzip
import hashlib
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import msgspec

from shipper.codecs.msgpack_stream import ValueReader

NONCE, AUTH = b"nonce\xff\xfe-16-bytes", b"auth-salt"


class Secure(msgspec.Struct, frozen=True):
    """What the handshake checks; without a user no password is asked for. `liar` sends a wrong digest."""

    shared_key: str
    user: str = ""
    password: str = ""
    keepalive: bool = True
    liar: bool = False


class ForwardServer:
    """Keeps messages as `(tag, entries, options)`; `script` says what to do with the next ones: None is the usual."""

    def __init__(self, secure: Secure | None = None) -> None:
        self.messages: list[tuple[str, list[Any], dict[str, Any]]] = []
        self.raw = b""
        self.script: list[str | None] = []
        self.connections = 0
        self.port = 0
        self.arrived = asyncio.Condition()
        self._secure = secure

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection, until either end closes it."""
        self.connections += 1
        values = ValueReader()
        with suppress(ConnectionError):
            if self._secure is None or await self._shake_hands(reader, writer, values, self._secure):
                await self._receive(reader, writer, values)
        writer.close()

    async def wait_for(self, count: int) -> None:
        """Wait until so many messages have come."""
        async with asyncio.timeout(5), self.arrived:
            await self.arrived.wait_for(lambda: len(self.messages) >= count)

    @property
    def records(self) -> list[tuple[str, Any]]:
        """Tag and body of each record."""
        return [(tag, entry[1]) for tag, entries, _ in self.messages for entry in entries]

    async def _receive(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, values: ValueReader) -> None:
        while data := await reader.read(1 << 20):
            self.raw += data
            for value in values.feed(data):
                step = self.script.pop(0) if self.script else None
                if step == "cut":
                    return
                message = _message(value)
                async with self.arrived:
                    self.messages.append(message)
                    self.arrived.notify_all()
                if "chunk" in message[2] and step != "silent":
                    chunk = "something else" if step == "wrong" else message[2]["chunk"]
                    writer.write(msgspec.msgpack.encode({"ack": chunk}))
            if self._secure is not None and not self._secure.keepalive:
                await writer.drain()
                return

    async def _shake_hands(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, values: ValueReader, secure: Secure
    ) -> bool:
        auth = AUTH if secure.user else b""
        helo = {"nonce": NONCE, "auth": auth, "keepalive": secure.keepalive}
        writer.write(msgspec.msgpack.encode(["HELO", helo]))
        found: list[Any] = []
        while not found:
            if not (data := await reader.read(65_536)):
                return False
            found = values.feed(data)
        name, hostname, salt, digest, user, password_digest = found[0]
        key = secure.shared_key.encode()
        good = name == b"PING" and digest == _digest(salt, hostname, NONCE, key)
        if secure.user:
            wanted = _digest(auth, secure.user.encode(), secure.password.encode())
            good = good and user == secure.user.encode() and password_digest == wanted
        answer = _digest(salt, b"server", NONCE, b"other" if secure.liar else key).decode()
        writer.write(msgspec.msgpack.encode(["PONG", good, "" if good else "wrong key", "server", answer]))
        return bool(good)


def _digest(*parts: bytes) -> bytes:
    return hashlib.sha512(b"".join(parts)).hexdigest().encode()


def _message(value: list[Any]) -> tuple[str, list[Any], dict[str, Any]]:
    tag = value[0].decode()
    if len(value) == 4:
        return tag, [_entry(value[1:3])], _plain(value[3])
    options = _plain(value[2]) if len(value) > 2 else {}
    entries = value[1]
    if isinstance(entries, bytes):
        packed = gzip.decompress(entries) if options.get("compressed") == "gzip" else entries
        entries = ValueReader().feed(packed)
    return tag, [_entry(entry) for entry in entries], options


def _entry(entry: list[Any]) -> list[Any]:
    """Time and body; the time has its metadata beside it if it came so."""
    when, body = entry
    return [[_time_ns(when[0]), _plain(when[1])] if isinstance(when, list) else _time_ns(when), _plain(body)]


def _time_ns(value: bytes | int) -> int:
    if isinstance(value, int):
        return value
    return int.from_bytes(value[:4], "big") * 10**9 + int.from_bytes(value[4:], "big")


def _plain(value: Any) -> Any:
    """Texts instead of bytes."""
    if isinstance(value, bytes):
        return value.decode()
    if isinstance(value, list):
        return [_plain(v) for v in value]
    if isinstance(value, dict):
        return {_plain(k): _plain(v) for k, v in value.items()}
    return value


@asynccontextmanager
async def forward_server(
    secure: Secure | None = None, *, unix_path: Path | None = None, tls: ssl.SSLContext | None = None
) -> AsyncIterator[ForwardServer]:
    """A receiver that runs as long as the block."""
    server = ForwardServer(secure)
    if unix_path is not None:
        running = await asyncio.start_unix_server(server.serve, unix_path)
    else:
        running = await asyncio.start_server(server.serve, "127.0.0.1", 0, ssl=tls)
        server.port = running.sockets[0].getsockname()[1]
    try:
        yield server
    finally:
        running.close()
        await running.wait_closed()
