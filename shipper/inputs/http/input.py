"""Take records that clients post over HTTP.

A success is answered once the records are safe: delivered, or on the disk with `storage.type filesystem`. A client that
is not told so in time is answered 503 and sends again, which is known and not taken twice; while records wait for
longer than that, nothing else is taken, so a destination that is away does not fill the buffers.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Hashable, Mapping, Sequence
from typing import Annotated, Any, Literal, Self

import msgspec

from ...codecs.template import KeyPath
from ...config.options import opt
from ...config.units import ByteSize, parse_int
from ...context import Context, Emit
from ...record import Receipt, Record, RecordBatch
from ..depth import count_too_deep
from ..listening import Address, Connection, ListenOptions, PushInput, StreamListener
from .bodies import Decoded, decoded
from .overdue import Overdue, Taken, key_of
from .requests import IDLE_S, BadRequest, Request, RequestReader, response

ANSWER_WITHIN_S = 30.0
"""Longest time that a client waits until its records are safe."""

_NOT_IN_TAGS = re.compile(r"[^A-Za-z0-9_.]")
_SUCCESSES = (200, 201, 204)
_BUSY = "error: records cannot be stored or delivered at present, send them again later"
_REMEDY = "look at the outputs; for one that collects, such as s3, set storage.type filesystem or answer_after buffered"
_RETRY_AFTER = (("Retry-After", "5"),)
_REMARK_EVERY_S = 30.0
_LINGER_S = 1.0
_MOST_IGNORED = 16 << 20


class Header(msgspec.Struct, frozen=True):
    """A header of answers."""

    name: str
    value: str

    @classmethod
    def parse(cls, text: str) -> Self:
        name, _, value = text.strip().partition(" ")
        if not re.fullmatch(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+", name) or not re.fullmatch(r"[ -~\t]+", value):
            raise ValueError(f"{text!r} is not a header; write its name, a blank and its value")
        return cls(name, value.strip())


class SuccessStatus(int):
    """A status that tells of success; of others Fluent Bit makes 201."""

    shown_as = "integer"
    remark = ""

    @classmethod
    def parse(cls, text: str) -> Self:
        told = parse_int(text)
        status = cls(told if told in _SUCCESSES else 201)
        if status != told:
            status.remark = f"{told} is not one of 200, 201 and 204, so 201 is answered"
        return status


class HttpOptions(ListenOptions):
    """Options of the http input."""

    port: Annotated[int, opt("Port to listen on.", core=True)] = 9880
    tag_key: Annotated[KeyPath | None, opt("Field whose text is the tag.", example="$kubernetes['app']")] = None
    tag_prefix: Annotated[
        str | None, opt("Put before the tags that senders choose, by path or field.", example="from.edge.")
    ] = None
    buffer_max_size: Annotated[ByteSize, opt("Largest body, also when decoded.")] = ByteSize(4_000_000)
    buffer_chunk_size: Annotated[ByteSize, opt("Accepted; buffers grow as they need.")] = ByteSize(512_000)
    successful_response_code: Annotated[SuccessStatus, opt("Status of success: 200, 201 or 204.")] = SuccessStatus(201)
    success_header: Annotated[
        tuple[Header, ...], opt("Header of answers to what was taken.", example="X-Stored yes")
    ] = ()
    add_remote_addr: Annotated[bool, opt("Add the address that X-Forwarded-For begins with.")] = False
    remote_addr_key: Annotated[str, opt("Field for that address.")] = "REMOTE_ADDR"
    http2: Annotated[bool, opt("Accepted; answers are HTTP/1.1.")] = True
    enable_health_endpoint: Annotated[bool, opt("Answer GET /health with 200.")] = False
    answer_after: Annotated[
        Literal["safe", "buffered"],
        opt(
            "Answer once records are delivered or on the disk, or as soon as they are in the buffer. The second suits "
            "outputs that collect for longer than clients wait; a crash then loses what is in memory."
        ),
    ] = "safe"

    @property
    def answers_within_s(self) -> float | None:
        """How long a client waits for delivery until it is told to send again; None if it does not wait for that."""
        return None if self.answer_after == "buffered" or self.storage_type == "filesystem" else ANSWER_WITHIN_S

    @property
    def leaves_tags_to_senders(self) -> bool:
        """Whether senders may give their records any tag."""
        return not self.tag_prefix


class HttpInput(PushInput):
    """The records of a request are one batch for each of their tags, and are answered for together."""

    Options = HttpOptions
    makes_tags = True

    def __init__(self, options: HttpOptions, context: Context) -> None:
        self._options = options
        self._context = context
        self._own_tag = options.tag or context.name
        self._idle_s = float(options.io_timeout) or IDLE_S
        headers = [(h.name, h.value) for h in options.success_header]
        self._success = response(options.successful_response_code, headers=headers)
        self.answer_within_s = ANSWER_WITHIN_S
        self._overdue = Overdue(context.clock)
        # Of records that were taken and whose clients have been told to send them again.
        self._unsafe: list[Receipt] = []
        self._place = Address(options.listen, options.port)
        self.listener = StreamListener(self._place, options, context, self._serve)

    def handed_over(self) -> tuple[Hashable, Any] | None:
        safe = self._overdue.safe()
        return (self.source, safe) if safe else None

    def go_on_from(self, handed_over: Mapping[Hashable, Any]) -> None:
        self._overdue.go_on_from(handed_over.get(self.source, ()))

    @property
    def source(self) -> Hashable:
        return "http", self._place

    async def _serve(self, connection: Connection, emit: Emit) -> None:
        reader = RequestReader(connection, self._context.clock, self._options.buffer_max_size, self._idle_s)
        keeps = True
        while keeps:
            try:
                request = await reader.next()
                if request is None:
                    return
                keeps = request.keeps
                await self._take(connection, request, emit)
            except BadRequest as error:
                self._refuse(connection, error)
                if error.is_last:
                    await _linger(connection)
                    return
            await connection.drain()

    def _refuse(self, connection: Connection, error: BadRequest) -> None:
        headers = _RETRY_AFTER if error.status == 503 else ()
        connection.write(response(error.status, error.message, headers, is_last=error.is_last))
        self._context.counter("refused_requests_total", status=str(error.status)).add()
        log, more = self._context.log.warning, {}
        if error.message == _BUSY:
            log, more = self._context.log.error, {"remedy": _REMEDY}
        log("a request is refused", every=_REMARK_EVERY_S, peer=connection.peer, reason=error.message, **more)

    async def _take(self, connection: Connection, request: Request, emit: Emit) -> None:
        if request.method == "GET" and request.path == "/health" and self._options.enable_health_endpoint:
            connection.write(response(200, "ok"))
            return
        found = decoded(request, self._options.buffer_max_size)
        await self._store(connection, request, self._batches(found, request), emit)
        if found.no_objects:
            self._context.dropped(found.no_objects, 0, "not_an_object")
        if found.too_deep:
            count_too_deep(found.too_deep, self._context, connection.peer)

    def _batches(self, found: Decoded, request: Request) -> list[RecordBatch]:
        """The records by tag, with a share of the size of the decoded body each."""
        options, bodies = self._options, found.bodies
        address = request.headers.get("x-forwarded-for", "").partition(",")[0].strip()
        if options.add_remote_addr and address:
            for body in bodies:
                body.setdefault(options.remote_addr_key, address)
        now, usual = self._context.clock.time_ns(), self._tag_of(request)
        by_tag: dict[str, list[Record]] = {}
        if options.tag_key is None:
            by_tag[usual] = [Record(now, body) for body in bodies]
        else:
            get = options.tag_key.get
            for body in bodies:
                named = get(body)
                tag = self._tag_named(named) if isinstance(named, str) and named else usual
                by_tag.setdefault(tag, []).append(Record(now, body))
        size = found.size // max(1, len(bodies)) + 1
        return [RecordBatch(tag, records, size * len(records)) for tag, records in by_tag.items() if records]

    def _tag_of(self, request: Request) -> str:
        named = request.path.removeprefix("/")
        return self._tag_named(named) if named else self._own_tag

    def _tag_named(self, name: str) -> str:
        """The tag for what a sender calls so."""
        return (self._options.tag_prefix or "") + _NOT_IN_TAGS.sub("_", name)

    async def _store(self, connection: Connection, request: Request, batches: list[RecordBatch], emit: Emit) -> None:
        """Emit the batches, and answer once they are safe; raises `BadRequest` if that takes too long.

        What was taken of the request when it came before is not taken again, but answered for.
        """
        if not batches:
            connection.write(self._success)
            return
        key = key_of(request, connection.peer)
        taken = self._overdue.recall(key)
        before = taken.batches if taken is not None else 0
        if before:
            self._context.counter("repeated_records_total").add(sum(map(len, batches[:before])))
        new = 0
        if taken is None or before < len(batches):
            if self._is_anything_unsafe():
                if taken is not None:
                    self._overdue.remember(key, taken)
                raise BadRequest(503, _BUSY)
            taken = Taken(before, len(batches) - before)
            new = await self._emit(batches[before:], taken, key, emit)
        if self._options.answer_after == "buffered":
            connection.write(self._success)
        else:
            await self._answer(connection, taken, key, new)

    def _is_anything_unsafe(self) -> bool:
        """Whether records still wait whose clients have been told to send them again."""
        self._unsafe = [receipt for receipt in self._unsafe if not receipt.is_settled]
        return bool(self._unsafe)

    async def _emit(self, batches: Sequence[RecordBatch], taken: Taken, key: bytes, emit: Emit) -> int:
        """Emit what was not taken before, and count its records; raises `BadRequest` if there is no room in time."""
        left, new = len(batches), 0
        try:
            async with asyncio.timeout(self.answer_within_s):
                for batch in batches:
                    batch.receipt, records = taken.receipt, len(batch)
                    await emit(batch)
                    taken.batches += 1
                    left -= 1
                    new += records
        except TimeoutError as error:
            for _ in range(left):
                taken.receipt.settle()
            if taken.batches:
                self._expect_again(key, taken, new)
            raise BadRequest(503, _BUSY) from error
        return new

    async def _answer(self, connection: Connection, taken: Taken, key: bytes, new: int) -> None:
        """Answer when all is safe, of which so many records came now; raises `BadRequest` if that is too late."""
        answer = connection.owe(self._success, 0)
        taken.tell(answer)
        try:
            await connection.until_owed(0, 0, self.answer_within_s)
        except TimeoutError as error:
            taken.withdraw(answer)
            self._expect_again(key, taken, new)
            raise BadRequest(503, _BUSY) from error
        if connection.is_lost and not taken.receipt.is_settled:
            self._overdue.remember(key, taken)  # the client has not heard of it, so it will ask again

    def _expect_again(self, key: bytes, taken: Taken, records: int) -> None:
        """Let the client send all again, of which so many records were taken now.

        A client may send them in another way, and then they come twice; so they are counted, and nothing else is taken
        until they are safe.
        """
        self._overdue.remember(key, taken)
        if taken.receipt not in self._unsafe:
            self._unsafe.append(taken.receipt)
        if records:
            self._context.counter("in_doubt_records_total").add(records)


async def _linger(connection: Connection) -> None:
    """Ignore what a client still sends for a moment; closing at once would take the answer away from it."""
    ignored = 0
    try:
        while ignored < _MOST_IGNORED and (data := await connection.read(_LINGER_S)):
            ignored += len(data)
    except TimeoutError:
        return
