"""Take records that Fluent Bit, Fluentd and others forward.

A message with a chunk id is acknowledged when its records are safe: on the disk with `storage.type filesystem`, else
when they are delivered. A sender that loses patience and sends a chunk again while its records are still on their way
is acknowledged with the first one, and they are not taken twice.
"""

from __future__ import annotations

import asyncio
import zlib
from collections import deque
from collections.abc import Sequence
from functools import partial
from typing import Annotated, ClassVar, Self

import msgspec

from ...codecs import msgpack_events
from ...config.options import opt
from ...config.units import ByteSize
from ...context import Context, Emit
from ...errors import OptionError
from ...record import Receipt, Record, RecordBatch, seen_as_tag
from ..depth import count_too_deep
from ..listening import (
    Address,
    Answer,
    Connection,
    FileMode,
    ListenOptions,
    Place,
    PushInput,
    Refused,
    StreamListener,
    TooLarge,
    UnixPath,
    count_cut_off,
    hand_on,
)
from .handshake import Handshake
from .messages import Message, parse_message
from .splitting import BadMessage, Splitter

MOST_OWED = 128
MOST_OWED_BYTES = 16 << 20
"""Chunks of one connection, and bytes of them, that may wait for their acknowledgement before it is read on."""

_REMARK_EVERY_S = 30.0

ChunkKey = tuple[str, int, int]


class Piece(msgspec.Struct):
    """Records that are taken together: those of a chunk, which has a key, or all that follow each other under one tag.

    A chunk that is not acknowledged is sent again; anything else its sender believes to be safe.
    """

    tag: str
    records: list[Record]
    size: int
    key: ChunkKey | None = None


class User(msgspec.Struct, frozen=True):
    """Who may send."""

    shown_as = "user and password"
    name: str
    password: str

    @classmethod
    def parse(cls, text: str) -> Self:
        name, _, password = text.strip().partition(" ")
        if not password.strip():
            raise ValueError("expected a user and a password with a blank between them")
        return cls(name, password.strip())


class ForwardOptions(ListenOptions):
    """Options of the forward input."""

    proofs: ClassVar[str] = "shared_key or tls.verify_client_cert"

    port: Annotated[int, opt("Port to listen on.", core=True)] = 24224
    unix_path: Annotated[str | None, opt("File of a unix socket to listen on instead of a port.")] = None
    unix_perm: Annotated[FileMode | None, opt("Permissions of that file; by default the umask's.", example="0660")] = (
        None
    )
    buffer_chunk_size: Annotated[ByteSize, opt("Accepted; buffers grow as they need.")] = ByteSize(1_024_000)
    buffer_max_size: Annotated[ByteSize, opt("Largest message, also when decompressed.")] = ByteSize(6_144_000)
    tag_prefix: Annotated[str | None, opt("Put before the tags of messages.", example="from.edge.")] = None
    shared_key: Annotated[str | None, opt("Key that senders have to know.", secret=True, reads_empty=True)] = None
    self_hostname: Annotated[str, opt("Our name in the handshake.")] = "localhost"
    security_users: Annotated[
        tuple[User, ...], opt("User and password; with any, senders have to name one.", secret=True, reads_empty=True)
    ] = msgspec.field(default=(), name="security.users")
    empty_shared_key: Annotated[bool, opt("Make the handshake with an empty key.", reads_empty=True)] = False
    workers: Annotated[int, opt("Accepted; inputs share one event loop.")] = 1

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.shared_key is not None and not self.shared_key.strip():
            if not self.empty_shared_key:
                remedy = "write the key, or set the variable that it names; an empty key takes Empty_Shared_Key on"
                raise OptionError("shared_key", "is empty, so nobody would have to know it", remedy)
            self.shared_key = None
        if self.security_users and not self.has_handshake:
            remedy = "add Shared_Key, or Empty_Shared_Key on"
            raise OptionError("security.users", "nobody would be asked for a password without a shared key", remedy)

    @property
    def has_handshake(self) -> bool:
        """Whether senders have to show that they know the key, be it empty."""
        return bool(self.shared_key) or self.empty_shared_key

    @property
    def asks_for_proof(self) -> bool:
        """Whether senders have to prove who they are."""
        return bool(self.shared_key) or bool(self.security_users) or super().asks_for_proof

    @property
    def leaves_tags_to_senders(self) -> bool:
        """Whether senders may give their records any tag."""
        return not self.tag_prefix and not self.tag


class ForwardInput(PushInput):
    """What one read brings under one tag is one batch; a message with a chunk id is one of its own."""

    Options = ForwardOptions
    makes_tags = True

    def __init__(self, options: ForwardOptions, context: Context) -> None:
        self._options = options
        self._context = context
        self._idle_s = float(options.io_timeout) or None
        self._handshake_s = float(options.accept_timeout) or 10.0
        self._has_handshake = options.has_handshake
        self._users = {user.name: user.password for user in options.security_users}
        self._longest = int(options.buffer_max_size)
        # By chunk that is not safe yet, who is to be told when it is.
        self._unsafe: dict[ChunkKey, list[Answer]] = {}
        self.listener = StreamListener(_place(options), options, context, self._serve)

    async def _serve(self, connection: Connection, emit: Emit) -> None:
        splitter = Splitter(self._longest, self._too_long)
        try:
            messages = await self._shake_hands(connection, splitter) if self._has_handshake else []
            await self._take_all(connection, splitter, messages, emit)
        except BadMessage as error:
            raise Refused("malformed", str(error), splitter.unfinished, 1) from error
        except TooLarge as error:
            raise self._too_long(self._longest) from error
        self._count_unfinished(splitter)

    async def _shake_hands(self, connection: Connection, splitter: Splitter) -> list[bytes]:
        """Let the sender prove who it is; gives the messages that came with its proof. Raises `Refused`."""
        handshake = Handshake(self._options.shared_key or "", self._options.self_hostname, self._users)
        connection.write(handshake.helo())
        end = self._context.clock.monotonic() + self._handshake_s
        messages: list[bytes] = []
        while not messages:
            if splitter.error is not None:
                raise splitter.error
            data = await connection.read(max(0.001, end - self._context.clock.monotonic()))
            if not data:
                return []
            messages = splitter.feed(data)
        pong, reason = handshake.answer(messages[0])
        connection.write(pong)
        if reason:
            raise Refused("denied", reason)
        return messages[1:]

    async def _take_all(self, connection: Connection, splitter: Splitter, messages: list[bytes], emit: Emit) -> None:
        """Emit what comes until the sender ends; raises what is wrong with a message behind those that are good."""
        pieces = deque[Piece]()
        try:
            while True:
                error = self._read(messages, pieces, connection.peer) or splitter.error
                while pieces:
                    await self._take(connection, pieces.popleft(), emit)
                await connection.drain()
                if error is not None:
                    raise error
                data = await connection.read(self._idle_s)
                if not data:
                    return
                messages = splitter.feed(data)
        except asyncio.CancelledError:
            self._read(splitter.feed(connection.cut_off()), pieces, connection.peer)
            lost = [piece for piece in pieces if piece.key is None]
            count_cut_off(sum(len(piece.records) for piece in lost), sum(piece.size for piece in lost), self._context)
            self._count_unfinished(splitter)
            raise

    def _read(self, messages: Sequence[bytes], pieces: deque[Piece], peer: str) -> Exception | None:
        """Make pieces of messages up to the first one that is wrong; gives what is wrong with it."""
        for data in messages:
            try:
                message = parse_message(data, self._longest)
            except (BadMessage, TooLarge) as error:
                return error
            self._remark(message, peer)
            tag = self._tag_of(message.tag, peer)
            if message.chunk is not None:
                key = (message.chunk, len(data), zlib.crc32(data))
                pieces.append(Piece(tag, message.records, message.size, key))
            elif pieces and pieces[-1].key is None and pieces[-1].tag == tag:
                pieces[-1].records += message.records
                pieces[-1].size += message.size
            elif message.records:
                pieces.append(Piece(tag, message.records, message.size))
        return None

    async def _take(self, connection: Connection, piece: Piece, emit: Emit) -> None:
        """Emit the records of a piece; a chunk is acknowledged once they are safe, and waits while too much is owed."""
        batch = RecordBatch(piece.tag, piece.records, piece.size)
        if piece.key is None:
            await hand_on(batch, emit, self._context)
            return
        answer = connection.owe(msgpack_events.encode({"ack": piece.key[0]}), piece.size)
        if not piece.records:
            answer.send_now()
            return
        if (waiting := self._unsafe.get(piece.key)) is not None:
            waiting.append(answer)
            self._context.counter("repeated_records_total").add(len(piece.records))
        else:
            self._unsafe[piece.key] = [answer]
            batch.receipt = Receipt(partial(self._are_safe, piece.key))
            try:
                await emit(batch)
            except BaseException:
                # Nothing was taken, so the chunk has to be taken when it comes again.
                self._unsafe.pop(piece.key, None)
                raise
        await connection.until_owed(MOST_OWED - 1, MOST_OWED_BYTES)

    def _are_safe(self, key: ChunkKey) -> None:
        for answer in self._unsafe.pop(key, ()):
            answer.send_now()

    def _tag_of(self, told: str, peer: str) -> str:
        """The tag for what a sender calls so; no part of it can end a line or do anything else but be seen."""
        prefix, own = self._options.tag_prefix, self._options.tag
        if own and not prefix:
            return own
        tag = seen_as_tag(told) or self._context.name
        if tag != told:
            self._context.counter("mended_tags_total").add()
            self._context.log.warning(
                "a tag is empty or has characters that cannot be shown", every=_REMARK_EVERY_S, peer=peer, instead=tag
            )
        return f"{prefix}{tag}" if prefix else tag

    def _remark(self, message: Message, peer: str) -> None:
        """Tell and count what is odd about a message."""
        context = self._context
        if message.contradiction:
            context.log.warning(
                "a sender names a wrong compression", every=_REMARK_EVERY_S, peer=peer, reason=message.contradiction
            )
        if message.rejected:
            context.dropped(message.rejected, 0, "not_a_map")
            context.log.warning("records are dropped that are no maps", every=_REMARK_EVERY_S, peer=peer)
        if message.too_deep:
            count_too_deep(message.too_deep, context, peer)
        if not message.is_logs:
            context.dropped(1, message.size, "not_logs")
            context.log.warning("metrics or traces are dropped, only logs are taken", every=_REMARK_EVERY_S, peer=peer)

    def _count_unfinished(self, splitter: Splitter) -> None:
        if splitter.unfinished:
            self._context.counter("unfinished_messages_total").add()

    def _too_long(self, size: int) -> Refused:
        message = f"a message is longer than buffer_max_size, which is {self._longest} bytes"
        return Refused("too_long", message, size, 1)


def _place(options: ForwardOptions) -> Place:
    if options.unix_path:
        return UnixPath(options.unix_path, options.unix_perm, "unix_path")
    return Address(options.listen, options.port)
