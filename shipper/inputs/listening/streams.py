"""Listens for streams and serves each sender in a task of its own."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable

from ...context import Context, Emit
from .connection import Connection, Refused
from .options import ListenOptions
from .push_input import FAILED
from .server_tls import ServerTls, check_tls
from .sockets import Place, UnixPath, bind, check_place, file_of, is_reachable, unlink_socket

MOST_CONNECTIONS = 1024
"""Senders that are served at one time; each may hold a message of the largest size in memory."""

OPEN_TO_ALL = "whoever reaches the address can send records, nobody is asked who they are"
"""Told at the start of a listener that other machines reach; it runs, because Fluent Bit's configurations have such."""

TAGS_OF_SENDERS = "senders choose the tags of their records, and can choose those of other inputs"

ANSWER_PATIENCE_S = 300.0
"""Longest time for which a sender that has said everything is kept for the answers it is owed."""

_REMARK_EVERY_S = 30.0

Serve = Callable[[Connection, Emit], Awaitable[None]]


class StreamListener:
    """Takes connections while `run` runs, and closes each when `serve` has returned for it.

    Options that cannot be used raise `OptionError` at once. `serve` may raise `Refused`, which is counted and told;
    whatever else it raises ends its connection, too, and no other one.
    Asked to stop, it takes nothing more from senders, and `run` returns when all that had come was served; connections
    stay open for answers that are owed until `close`.
    """

    def __init__(self, place: Place, options: ListenOptions, context: Context, serve: Serve) -> None:
        check_place(place)
        if options.tls:
            check_tls(options)
        self.place = place
        self._options = options
        self._context = context
        self._serve = serve
        self._tls: ServerTls | None = None
        self._socket: socket.socket | None = None
        self._file: tuple[int, int] | None = None
        self._connections: set[Connection] = set()
        self._stop_wanted = asyncio.Event()
        # Starts the task of a connection while `run` runs; nobody is let in at other times.
        self._start: Callable[[Connection], object] | None = None

    @property
    def port(self) -> int:
        """The port that is listened on, once it is open."""
        return int(self._socket.getsockname()[1]) if self._socket is not None else 0

    async def open(self) -> None:
        """Read certificates and bind; raises `OptionError`."""
        if self._options.tls:
            self._tls = ServerTls(self._options, self._context.clock, self._context.log)
        self._bind()

    async def run(self, emit: Emit) -> None:
        """Serve until `stop`; waits for senders."""
        self._bind()
        async with asyncio.TaskGroup() as tasks:
            self._start = lambda connection: tasks.create_task(self._serve_one(connection, emit))
            server = await self._listen()
            try:
                await self._stop_wanted.wait()
            finally:
                self._start = None
                server.close()
                self._unbind()

    def stop(self) -> None:
        """Take no more from anybody."""
        self._stop_wanted.set()
        for connection in self._connections:
            connection.stop_reading()

    async def close(self) -> None:
        """End all connections; waits until the loop has let go of them."""
        self._unbind()
        for connection in list(self._connections):
            connection.close()
        await asyncio.sleep(0)

    def admit(self, connection: Connection) -> bool:
        """Whether this connection is served; see `Door`."""
        if self._start is None:
            return False
        if len(self._connections) >= MOST_CONNECTIONS:
            self._count_refused("too_many_connections")
            self._context.log.warning(
                "a connection is refused because there are too many",
                every=_REMARK_EVERY_S,
                connections=MOST_CONNECTIONS,
                peer=connection.peer,
            )
            return False
        self._connections.add(connection)
        self._start(connection)
        return True

    def forget(self, connection: Connection) -> None:
        """The connection is gone; see `Door`."""
        self._connections.discard(connection)

    def _bind(self) -> None:
        if self._socket is None:
            options = self._options
            self._socket = bind(self.place, "stream", backlog=options.backlog, share_port=options.share_port)
            self._file = file_of(self.place)

    def _unbind(self) -> None:
        if self._socket is not None:
            unlink_socket(self.place, self._file)
            self._socket.close()
            self._socket = None

    async def _listen(self) -> asyncio.Server:
        loop, context, options = asyncio.get_running_loop(), self._context, self._options
        tls = self._tls.context() if self._tls is not None else None
        patience = max(1.0, float(options.accept_timeout)) if tls is not None else None

        def new_connection() -> Connection:
            return Connection(self, context.clock, options.keepalive, tls is not None)

        assert self._socket is not None
        context.log.info(f"listening on {self.place}", tls="on" if tls is not None else "off")
        if is_reachable(self._socket) and not options.asks_for_proof:
            remedy = f"listen on 127.0.0.1, or set {options.proofs}"
            context.log.warning(OPEN_TO_ALL, address=self.place, remedy=remedy)
        if is_reachable(self._socket) and options.leaves_tags_to_senders:
            context.log.warning(TAGS_OF_SENDERS, address=self.place, remedy="set tag_prefix, which is put before them")
        # The server closes the socket that it is given, and the name of the socket is needed after that.
        given = self._socket.dup()
        if isinstance(self.place, UnixPath):
            return await loop.create_unix_server(new_connection, sock=given, ssl=tls, ssl_handshake_timeout=patience)
        return await loop.create_server(new_connection, sock=given, ssl=tls, ssl_handshake_timeout=patience)

    async def _serve_one(self, connection: Connection, emit: Emit) -> None:
        try:
            await self._serve(connection, emit)
            await connection.until_owed(0, 0, ANSWER_PATIENCE_S)
        except Refused as error:
            self._tell(connection, error)
        except TimeoutError as error:
            self._count_refused("too_slow")
            self._context.log.debug("a connection is closed", peer=connection.peer, reason=error)
        except Exception:
            # A mistake of ours, which somebody may cause on purpose; the others have nothing to do with it.
            self._count_refused(FAILED)
            self._context.log.exception(
                "a connection is closed because of an unexpected failure",
                every=_REMARK_EVERY_S,
                peer=connection.peer or str(self.place),
            )
        finally:
            if not connection.is_stopped or not connection.owed:
                connection.close()

    def _tell(self, connection: Connection, error: Refused) -> None:
        self._count_refused(error.reason)
        if error.records:
            self._context.dropped(error.records, error.size, error.reason)
        self._context.log.warning(
            "a connection is closed because what it sent cannot be taken",
            every=_REMARK_EVERY_S,
            peer=connection.peer or str(self.place),
            reason=error.message,
        )

    def _count_refused(self, reason: str) -> None:
        self._context.counter("refused_connections_total", reason=reason).add()

    def __repr__(self) -> str:
        return f"StreamListener({self.place}, {len(self._connections)} connections)"
