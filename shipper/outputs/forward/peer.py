"""A connection to a receiver: the handshake with a shared key, messages, and their acknowledgements."""

from __future__ import annotations

import hashlib
import hmac
import secrets
from collections import Counter
from typing import Any

import msgspec

from ...codecs import msgpack_events
from ...codecs.msgpack_stream import BadMessage, ValueReader
from ...net.settings import NoAnswer
from ...net.stream import Streams
from .messages import Parcel

_READ = 65_536


class Credentials(msgspec.Struct, frozen=True):
    """What a receiver that asks is told; `hostname` is the name we give ourselves."""

    hostname: str
    shared_key: str = ""
    username: str = ""
    password: str = ""


class Denied(NoAnswer):
    """The receiver does not let us in, or is not the one that knows the key."""

    def __init__(self, reason: str) -> None:
        super().__init__("answer", reason)


class Peer:
    """One connection, for one parcel at a time.

    `may_stay` is false if the receiver wants a new one each time, `parcels` are those that were sent.
    """

    def __init__(self, streams: Streams) -> None:
        self._reader, self._writer = streams
        # Drained means: handed to the system, not to a buffer of ours.
        self._writer.transport.set_write_buffer_limits(high=0)
        self._values = ValueReader()
        self._unread: list[Any] = []
        self.may_stay = True
        self.last_used = 0.0
        self.parcels = 0

    @property
    def is_open(self) -> bool:
        """Whether the receiver has not hung up, as far as is known."""
        return not self._reader.at_eof() and not self._writer.is_closing()

    async def shake_hands(self, credentials: Credentials) -> None:
        """Prove that we know the shared key, and check that the receiver does; raises `NoAnswer`."""
        nonce, auth = self._read_helo(await self._next_value())
        salt = secrets.token_urlsafe(12)  # 16 characters, and text, which every receiver takes
        key = credentials.shared_key.encode()
        user_digest = ""
        if auth:
            user_digest = _digest(auth, credentials.username.encode(), credentials.password.encode())
        ping = [
            "PING",
            credentials.hostname,
            salt,
            _digest(salt.encode(), credentials.hostname.encode(), nonce, key),
            credentials.username if auth else "",
            user_digest,
        ]
        await self._write(msgpack_events.encode(ping))
        _check_pong(await self._next_value(), salt.encode(), nonce, key)

    async def send(self, parcel: Parcel) -> None:
        """Send a parcel and wait for what is to be acknowledged; raises `NoAnswer`."""
        await self._write(parcel.data)
        missing = Counter(parcel.ids)
        while missing:
            value = await self._next_value()
            told = value.get(b"ack") if isinstance(value, dict) else None
            chunk = told.decode("utf-8", "replace") if isinstance(told, bytes) else ""
            if not missing[chunk]:
                raise NoAnswer("answer", "the receiver acknowledged something else")
            missing[chunk] -= 1
            missing += Counter()  # forgets those that are complete

    async def close(self) -> None:
        """Close the connection behind what was written; waits until it is closed."""
        self._writer.close()
        try:
            await self._writer.wait_closed()
        except OSError:
            self.cut()

    def cut(self) -> None:
        """Close the connection at once, whatever was written."""
        self._writer.transport.abort()

    async def _write(self, data: bytes) -> None:
        try:
            self._writer.write(data)
            await self._writer.drain()
        except OSError as error:
            raise NoAnswer("answer", f"the connection broke: {error.strerror or error}") from error

    async def _next_value(self) -> Any:
        while not self._unread:
            try:
                data = await self._reader.read(_READ)
                self._unread = self._values.feed(data)
            except OSError as error:
                raise NoAnswer("answer", f"the connection broke: {error.strerror or error}") from error
            except BadMessage as error:
                raise NoAnswer("answer", str(error)) from error
            if not data:
                raise NoAnswer("answer", "the receiver hung up before it answered")
        return self._unread.pop(0)

    def _read_helo(self, value: Any) -> tuple[bytes, bytes]:
        """The nonce, and the salt for passwords if the receiver wants one."""
        if not _is_message(value, b"HELO", 2) or not isinstance(value[1], dict):
            raise Denied("the receiver does not begin with HELO; has it a shared key?")
        options = value[1]
        nonce, auth = options.get(b"nonce", b""), options.get(b"auth", b"")
        self.may_stay = options.get(b"keepalive", True) is not False
        if not isinstance(nonce, bytes) or not isinstance(auth, bytes):
            raise Denied("the HELO of the receiver cannot be read")
        return nonce, auth


def _check_pong(value: Any, salt: bytes, nonce: bytes, key: bytes) -> None:
    if not _is_message(value, b"PONG", 5):
        raise Denied("the receiver does not answer with PONG")
    _, is_let_in, reason, hostname, digest = value[:5]
    if is_let_in is not True:
        words = reason.decode("utf-8", "replace")[:200] if isinstance(reason, bytes) else "no reason given"
        raise Denied(f"the receiver does not let us in: {words}")
    if not isinstance(hostname, bytes) or not isinstance(digest, bytes):
        raise Denied("the PONG of the receiver cannot be read")
    if not hmac.compare_digest(_digest(salt, hostname, nonce, key).encode(), digest):
        raise Denied("the receiver does not know the shared key")


def _is_message(value: Any, name: bytes, length: int) -> bool:
    return isinstance(value, list) and len(value) >= length and value[0] == name


def _digest(*parts: bytes) -> str:
    return hashlib.sha512(b"".join(parts)).hexdigest()
