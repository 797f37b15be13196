"""Take records that Fluent Bit, Fluentd and others forward.

A message with a chunk id is acknowledged when its records are safe: on the disk with `storage.type filesystem`, else
when they are delivered. A sender that loses patience and sends a chunk again while its records are still on their way
is acknowledged with the first one, and they are not taken twice.
"""

from __future__ import annotations

import zlib
from functools import partial
from typing import Annotated, ClassVar, Self

import msgspec

from ...codecs import msgpack_events
from ...config.options import opt
from ...config.units import ByteSize
from ...context import Context, Emit
from ...errors import OptionError
from ...record import Receipt, Record, RecordBatch
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
            while True:
                await self._take(connection, messages, emit)
                if splitter.error is not None:
                    raise splitter.error
                data = await connection.read(self._idle_s)
                if not data:
                    break
                messages = splitter.feed(data)
        except BadMessage as error:
            raise Refused("malformed", str(error), splitter.unfinished, 1) from error
        except TooLarge as error:
            raise self._too_long(self._longest) from error
        if splitter.unfinished:
            self._context.counter("unfinished_messages_total").add()

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

    async def _take(self, connection: Connection, messages: list[bytes], emit: Emit) -> None:
        """Emit the records of messages; those under one tag that nobody waits for go together."""
        tag, records, size = "", list[Record](), 0
        for data in messages:
            try:
                message = parse_message(data, self._longest)
            except (BadMessage, TooLarge):
                if records:  # what came before it is good
                    await hand_on(RecordBatch(tag, records, size), emit, self._context)
                raise
            self._remark(message, connection.peer)
            own = self._tag_of(message.tag, connection.peer)
            if records and (message.chunk is not None or own != tag):
                await hand_on(RecordBatch(tag, records, size), emit, self._context)
                records, size = [], 0
            if message.chunk is not None:
                await self._take_chunk(connection, message, own, data, emit)
            else:
                tag = own
                records += message.records
                size += message.size
        if records:
            await hand_on(RecordBatch(tag, records, size), emit, self._context)
        await connection.drain()

    async def _take_chunk(self, connection: Connection, message: Message, tag: str, data: bytes, emit: Emit) -> None:
        """Emit the records of a chunk and acknowledge it once they are safe; waits while too much is owed."""
        assert message.chunk is not None
        answer = connection.owe(msgpack_events.encode({"ack": message.chunk}), message.size)
        if not message.records:
            answer.send_now()
            return
        key = (message.chunk, len(data), zlib.crc32(data))
        if (waiting := self._unsafe.get(key)) is not None:
            waiting.append(answer)
            self._context.counter("repeated_records_total").add(len(message.records))
        else:
            self._unsafe[key] = [answer]
            try:
                await emit(RecordBatch(tag, message.records, message.size, Receipt(partial(self._are_safe, key))))
            except BaseException:
                # Nothing was taken, so the chunk has to be taken when it comes again.
                self._unsafe.pop(key, None)
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
        tag = told if told.isprintable() else "".join([c if c.isprintable() else "_" for c in told])
        tag = tag or self._context.name
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
        if not message.is_logs:
            context.dropped(1, message.size, "not_logs")
            context.log.warning("metrics or traces are dropped, only logs are taken", every=_REMARK_EVERY_S, peer=peer)

    def _too_long(self, size: int) -> Refused:
        message = f"a message is longer than buffer_max_size, which is {self._longest} bytes"
        return Refused("too_long", message, size, 1)


def _place(options: ForwardOptions) -> Place:
    if options.unix_path:
        return UnixPath(options.unix_path, options.unix_perm, "unix_path")
    return Address(options.listen, options.port)
