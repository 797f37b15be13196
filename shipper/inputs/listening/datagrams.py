"""Listens for datagrams and hands them on, many at once.

A sender of UDP cannot be made to wait: what finds no room is dropped and counted. A sender on a unix socket can: the
socket is left alone until there is room again.
"""

from __future__ import annotations

import asyncio
import socket
from collections import deque
from collections.abc import Awaitable, Callable
from itertools import islice
from typing import NamedTuple

from ...context import Context, Emit
from ...errors import OptionError
from .options import ListenOptions
from .push_input import CUT_OFF, FAILED, NotTaken
from .sockets import Place, UnixPath, bind, check_place, file_of, is_reachable, shown_address, unlink_socket
from .streams import OPEN_TO_ALL

MOST_WAITING = 4 << 20
"""Bytes of datagrams, and of what keeps them, that may wait for room in the buffer."""

OVERHEAD = 150
"""Bytes that it takes to keep a datagram, be it empty."""

OVERFLOW = "udp_overflow"
"""Why datagrams are dropped; each counts as one record."""

_LONGEST = 65_536
_AT_ONCE = 1000
_READS_PER_TURN = 500
_LAST_READS = 10
_REMARK_EVERY_S = 30.0


class Datagram(NamedTuple):
    """What was sent, and the address of the sender."""

    data: bytes
    source: str


Take = Callable[[list[Datagram], Emit], Awaitable[None]]


class DatagramListener:
    """Reads datagrams while `run` runs; `take` is given those that have come since it was called last.

    Options that cannot be used raise `OptionError` at once.
    """

    def __init__(
        self, place: Place, options: ListenOptions, context: Context, take: Take, *, receive_buffer: int = 0
    ) -> None:
        check_place(place)
        if options.tls_verify_client_cert:
            message = "nobody is asked for a certificate who sends datagrams"
            raise OptionError("tls.verify_client_cert", message, "listen for a stream, such as syslog with mode tcp")
        self.place = place
        self._options = options
        self._context = context
        self._take = take
        self._receive_buffer = receive_buffer
        self._can_wait = isinstance(place, UnixPath)
        self._socket: socket.socket | None = None
        self._file: tuple[int, int] | None = None
        self._waiting: deque[Datagram] = deque()
        self._size = 0
        self._is_reading = False
        self._is_stopped = False
        self._changed = asyncio.Event()

    @property
    def port(self) -> int:
        """The port that is listened on, once it is open."""
        return int(self._socket.getsockname()[1]) if self._socket is not None else 0

    async def open(self) -> None:
        """Bind; raises `OptionError`."""
        self._socket = bind(
            self.place, "datagram", share_port=self._options.share_port, receive_buffer=self._receive_buffer
        )
        self._file = file_of(self.place)

    async def run(self, emit: Emit) -> None:
        """Hand on what comes until `stop`; waits for datagrams and for the buffers."""
        log = self._context.log
        log.info(f"listening on {self.place}")
        if self._options.tls:
            log.warning("tls has no effect on datagrams, they come as they are sent", address=self.place)
        if self._socket is not None and is_reachable(self._socket):
            remedy = "listen on 127.0.0.1, or let a firewall choose who gets through"
            log.warning(OPEN_TO_ALL, address=self.place, remedy=remedy)
        self._resume()
        try:
            while self._waiting or not self._is_stopped:
                if self._waiting:
                    await self._hand_on(self._next(), emit)
                else:
                    self._changed.clear()
                    await self._changed.wait()
        finally:
            self._pause()

    def stop(self) -> None:
        """Take what has come already, and no more."""
        for _ in range(_LAST_READS):
            self._read()
        self._is_stopped = True
        self._pause()
        self._changed.set()

    async def close(self) -> None:
        """Give the socket back; what is still waiting is a counted loss."""
        if self._waiting:
            size = self._size - OVERHEAD * len(self._waiting)
            self._context.dropped(len(self._waiting), size, CUT_OFF)
            self._waiting.clear()
            self._size = 0
        if self._socket is not None:
            unlink_socket(self.place, self._file)
            self._socket.close()
            self._socket = None

    async def _hand_on(self, taken: list[Datagram], emit: Emit) -> None:
        try:
            await self._take(taken, emit)
        except Exception as error:
            # A mistake of ours, which somebody may cause on purpose; what comes next is taken all the same.
            if not isinstance(error, NotTaken):
                self._context.dropped(len(taken), sum(len(d.data) for d in taken), FAILED)
            self._context.log.exception("datagrams are dropped because of an unexpected failure", every=_REMARK_EVERY_S)

    def _next(self) -> list[Datagram]:
        waiting = self._waiting
        taken = list(islice(waiting, _AT_ONCE))
        for _ in taken:
            waiting.popleft()
        self._size -= sum(len(d.data) + OVERHEAD for d in taken)
        if not self._is_stopped:
            self._resume()
        return taken

    def _read(self) -> None:
        """Read what there is, but not for too long at a time."""
        if self._socket is None:
            return
        receive, waiting, dropped, dropped_size = self._socket.recvfrom, self._waiting, 0, 0
        for _ in range(_READS_PER_TURN):
            try:
                data, address = receive(_LONGEST)
            except (BlockingIOError, ConnectionError):
                break
            size = len(data) + OVERHEAD
            if self._size + size > MOST_WAITING and waiting:
                dropped += 1
                dropped_size += len(data)
            else:
                waiting.append(Datagram(data, shown_address(address)))
                self._size += size
            if self._can_wait and self._size + _LONGEST + OVERHEAD > MOST_WAITING:
                self._pause()
                break
        if dropped:
            self._context.dropped(dropped, dropped_size, OVERFLOW)
            self._context.log.error(
                "datagrams are dropped because the buffers are full", every=_REMARK_EVERY_S, datagrams=dropped
            )
        self._changed.set()

    def _pause(self) -> None:
        if self._is_reading and self._socket is not None:
            self._is_reading = False
            asyncio.get_running_loop().remove_reader(self._socket)

    def _resume(self) -> None:
        if not self._is_reading and self._socket is not None and not self._is_stopped:
            self._is_reading = True
            asyncio.get_running_loop().add_reader(self._socket, self._read)

    def __repr__(self) -> str:
        return f"DatagramListener({self.place}, {len(self._waiting)} waiting)"
