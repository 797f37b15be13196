"""One sender on a stream: its bytes as they come, and the answers it is owed."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
from collections.abc import Callable
from typing import Any, Protocol, cast

from ...clock import Clock
from ...record import Receipt
from .sockets import shown_address

READ_AHEAD = 64 * 1024
"""Bytes of one connection that may wait for its reader before the socket is not read any more."""

MOST_AT_STOP = 1 << 20
"""Bytes that had arrived and are still read when no more is to be taken; a sender may send without end."""

WRITE_PATIENCE_S = 60.0
"""Longest wait for a sender that does not take its answers."""

_TURNS = 5
"""Turns of the loop in which something that has arrived over TLS is read, if there is anything."""

_PROBE_AFTER_S, _PROBE_EVERY_S, _PROBES = 60, 20, 4


class Refused(Exception):
    """What a sender sent cannot be taken, and its connection ends; `size` bytes are dropped as so many records."""

    def __init__(self, reason: str, message: str, size: int = 0, records: int = 0) -> None:
        super().__init__(message)
        self.reason = reason
        self.message = message
        self.size = size
        self.records = records


class Door(Protocol):
    """Who decides about new connections, and is told of their end."""

    def admit(self, connection: Connection) -> bool: ...

    def forget(self, connection: Connection) -> None: ...


class Answer:
    """What a sender is told once its records are safe; `receipt` is for the batches with those records."""

    __slots__ = ("_connection", "_data", "receipt", "size")

    def __init__(self, connection: Connection, data: bytes, size: int) -> None:
        self._connection = connection
        self._data: bytes | None = data
        self.size = size
        self.receipt = Receipt(self._send)

    def withdraw(self) -> None:
        """Never send it."""
        if self._data is not None:
            self._data = None
            self._connection.paid(self)

    def send_now(self) -> None:
        """Send it whether the records are safe or not."""
        self._send()

    def _send(self) -> None:
        data, self._data = self._data, None
        if data is not None:
            self._connection.write(data)
            self._connection.paid(self)


class Connection(asyncio.Protocol):
    """Keeps what came until somebody reads it; while nobody does, the socket is left alone and the sender waits.

    One task reads it. `owed` counts answers that wait for the records they are about, `owed_bytes` the size of those.
    """

    def __init__(self, door: Door, clock: Clock, keepalive: bool, is_tls: bool) -> None:
        self._door = door
        self._clock = clock
        self._keepalive = keepalive
        self._is_tls = is_tls
        self._transport: asyncio.Transport | None = None
        self._chunks: list[bytes] = []
        self._waiting = 0
        self._is_paused = False
        self._is_congested = False
        self._has_ended = False
        self._left_at_stop = 0
        self._changed = asyncio.Event()
        self.is_lost = False
        self.is_stopped = False
        self.peer = ""
        self.owed = 0
        self.owed_bytes = 0

    # -- what the loop calls -----------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # those of uvloop are of no common class
        self.peer = shown_address(transport.get_extra_info("peername"))
        if self._keepalive and self.peer:
            _probe(transport.get_extra_info("socket"))
        if not self._door.admit(self):
            self.is_lost = True
            self._transport.abort()

    def data_received(self, data: bytes) -> None:
        self._chunks.append(data)
        self._waiting += len(data)
        if self.is_stopped:
            self._left_at_stop -= len(data)
        is_enough = self._left_at_stop <= 0 if self.is_stopped else self._waiting >= READ_AHEAD
        if is_enough:
            self._pause()
        self._changed.set()

    def eof_received(self) -> bool:
        self._has_ended = True
        self._changed.set()
        return not self._is_tls  # TLS has no half-closed connections

    def connection_lost(self, error: Exception | None) -> None:
        self._has_ended = self.is_lost = True
        self._changed.set()
        self._door.forget(self)

    def pause_writing(self) -> None:
        self._is_congested = True

    def resume_writing(self) -> None:
        self._is_congested = False
        self._changed.set()

    # -- reading -----------------------------------------------------------------------------------------------------

    async def read(self, seconds: float | None = None) -> bytes:
        """Wait for data and return all there is; nothing at the end. Raises `TimeoutError` after so many seconds."""
        await self._until(lambda: bool(self._chunks) or self._has_ended or self.is_stopped, seconds)
        if self.is_stopped and not self._chunks:
            await self._let_what_has_arrived_come()
        data = self._taken()
        if not self.is_stopped:
            self._resume()
        return data

    def stop_reading(self) -> None:
        """Take no more from the sender; what has come is still given to the reader.

        So is what has arrived at this machine: its sender takes it for delivered, and the end of a connection with
        something unread would even take back what was sent before.
        """
        if self.is_stopped:
            return
        self.is_stopped = True
        self._left_at_stop = MOST_AT_STOP
        if self._is_tls:
            self._resume()  # only the transport can decrypt, so it goes on until it has read so much
        else:
            self._pause()
        self._changed.set()

    def cut_off(self) -> bytes:
        """Everything that has come and was not read, at once; nothing will be read any more."""
        self.stop_reading()
        self._pause()
        while self._take_what_has_arrived():
            pass
        return self._taken()

    # -- answering ---------------------------------------------------------------------------------------------------

    def owe(self, data: bytes, size: int) -> Answer:
        """An answer for records of so many bytes, sent when its receipt is settled."""
        self.owed += 1
        self.owed_bytes += size
        return Answer(self, data, size)

    def paid(self, answer: Answer) -> None:
        """An answer was sent or withdrawn."""
        self.owed -= 1
        self.owed_bytes -= answer.size
        self._changed.set()

    async def until_owed(self, most: int, most_bytes: int, seconds: float | None = None) -> None:
        """Wait until no more is owed, the sender is gone, or we stop. Raises `TimeoutError` after so many seconds."""
        await self._until(
            lambda: (self.owed <= most and self.owed_bytes <= most_bytes) or self.is_lost or self.is_stopped, seconds
        )

    def write(self, data: bytes) -> None:
        """Send this; does nothing if the connection is gone."""
        if self._transport is not None and not self.is_lost and not self._transport.is_closing():
            self._transport.write(data)

    async def drain(self) -> None:
        """Wait until the sender has taken most of what was written; raises `TimeoutError` if it does not."""
        await self._until(lambda: not self._is_congested or self.is_lost, WRITE_PATIENCE_S)

    def close(self) -> None:
        """End the connection behind what was written."""
        if self._transport is not None:
            self._transport.close()

    def abort(self) -> None:
        """End the connection at once."""
        if self._transport is not None:
            self._transport.abort()

    async def _until(self, condition: Callable[[], bool], seconds: float | None) -> None:
        clock = self._clock
        end = None if seconds is None else clock.monotonic() + seconds
        while not condition():
            self._changed.clear()
            left = None if end is None else end - clock.monotonic()
            if left is not None and left <= 0:
                raise TimeoutError(f"nothing happened for {seconds:g} s")
            await clock.wait(self._changed, left)

    def _taken(self) -> bytes:
        """What came and was not read."""
        chunks, self._chunks, self._waiting = self._chunks, [], 0
        return chunks[0] if len(chunks) == 1 else b"".join(chunks)

    async def _let_what_has_arrived_come(self) -> None:
        """Have some of what the system has read; waits for the transport to decrypt it, if there is anything."""
        if not self._is_tls:
            self._take_what_has_arrived()
            return
        for _ in range(_TURNS):
            await asyncio.sleep(0)
            if self._chunks or self._has_ended:
                return
        self._pause()

    def _take_what_has_arrived(self) -> bool:
        """Read some of what the system has, without waiting; false if there is nothing, or it cannot be read so."""
        if self._transport is None or self._is_tls or self._left_at_stop <= 0:
            return False
        if self.is_lost or self._transport.is_closing():
            return False
        data = b""
        # There may be nothing, or the sender is gone.
        with contextlib.suppress(OSError):
            data = os.read(self._transport.get_extra_info("socket").fileno(), READ_AHEAD)
        if data:
            self._left_at_stop -= len(data)
            self._chunks.append(data)
        return bool(data)

    def _resume(self) -> None:
        if self._transport is None or self._has_ended or self._transport.is_closing():
            return
        if self._is_paused:
            self._is_paused = False
            self._transport.resume_reading()

    def _pause(self) -> None:
        if not self._is_paused and not self.is_lost and self._transport is not None:
            self._is_paused = True
            self._transport.pause_reading()

    def __repr__(self) -> str:
        return f"Connection({self.peer!r}, {self._waiting} bytes waiting, {self.owed} answers owed)"


def _probe(found: Any) -> None:
    """Let the system notice a peer that vanished."""
    found.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    found.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, _PROBE_AFTER_S)
    found.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, _PROBE_EVERY_S)
    found.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT, _PROBES)
