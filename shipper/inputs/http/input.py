"""Take records that clients post over HTTP.

A success is answered once the records are safe: delivered, or on the disk with `storage.type filesystem`. A client that
is not told so in time is answered 503 and sends again; while records wait for longer than that, nothing more is taken,
so a destination that is away does not fill the buffers with copies.
"""

from __future__ import annotations

import asyncio
import re
from typing import Annotated, Literal, Self

import msgspec

from ...codecs.template import KeyPath
from ...config.options import opt
from ...config.units import ByteSize
from ...context import Context, Emit
from ...record import Body, Receipt, Record, RecordBatch
from ..listening import Address, Answer, Connection, ListenOptions, PushInput, StreamListener
from .bodies import bodies_of
from .requests import IDLE_S, BadRequest, Request, RequestReader, response

ANSWER_WITHIN_S = 30.0
"""Longest time that a client waits until its records are safe."""

_NOT_IN_TAGS = re.compile(r"[^A-Za-z0-9_.]")
_SUCCESSES = (200, 201, 204)
_BUSY = "error: records cannot be stored or delivered at present, send them again later"
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


class HttpOptions(ListenOptions):
    """Options of the http input."""

    port: Annotated[int, opt("Port to listen on.", core=True)] = 9880
    tag_key: Annotated[KeyPath | None, opt("Field whose text is the tag.", example="$kubernetes['app']")] = None
    buffer_max_size: Annotated[ByteSize, opt("Largest body, also when decoded.")] = ByteSize(4_000_000)
    buffer_chunk_size: Annotated[ByteSize, opt("Accepted; buffers grow as they need.")] = ByteSize(512_000)
    successful_response_code: Annotated[int, opt("Status of success: 200, 201 or 204.")] = 201
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


class HttpInput(PushInput):
    """The records of a request are one batch for each of their tags, and are answered for together."""

    Options = HttpOptions
    makes_tags = True

    def __init__(self, options: HttpOptions, context: Context) -> None:
        self._options = options
        self._context = context
        self._own_tag = options.tag or context.name
        self._idle_s = float(options.io_timeout) or IDLE_S
        status = options.successful_response_code
        headers = [(h.name, h.value) for h in options.success_header]
        self._success = response(status if status in _SUCCESSES else 201, headers=headers)
        self.answer_within_s = ANSWER_WITHIN_S
        # Of records that were taken and whose clients have been told to send them again.
        self._overdue: list[Receipt] = []
        self.listener = StreamListener(Address(options.listen, options.port), options, context, self._serve)

    async def _serve(self, connection: Connection, emit: Emit) -> None:
        reader = RequestReader(connection, self._options.buffer_max_size, self._idle_s)
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
        log = self._context.log.warning if error.status != 503 else self._context.log.error
        log("a request is refused", every=_REMARK_EVERY_S, peer=connection.peer, reason=error.message)

    async def _take(self, connection: Connection, request: Request, emit: Emit) -> None:
        if request.method == "GET" and request.path == "/health" and self._options.enable_health_endpoint:
            connection.write(response(200, "ok"))
            return
        bodies, ignored = bodies_of(request, self._options.buffer_max_size)
        batches = self._batches(bodies, request)
        await self._store(connection, batches, emit)
        if ignored:
            self._context.dropped(ignored, 0, "not_an_object")

    def _batches(self, bodies: list[Body], request: Request) -> list[RecordBatch]:
        """The records by tag, with a share of the size of the body each."""
        options = self._options
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
                tag = _NOT_IN_TAGS.sub("_", named) if isinstance(named, str) and named else usual
                by_tag.setdefault(tag, []).append(Record(now, body))
        size = len(request.body) // max(1, len(bodies)) + 1
        return [RecordBatch(tag, records, size * len(records)) for tag, records in by_tag.items() if records]

    def _tag_of(self, request: Request) -> str:
        return _NOT_IN_TAGS.sub("_", request.path.removeprefix("/")) or self._own_tag

    async def _store(self, connection: Connection, batches: list[RecordBatch], emit: Emit) -> None:
        """Emit the batches, and answer once they are safe; raises `BadRequest` if that takes too long."""
        if not batches:
            connection.write(self._success)
            return
        self._overdue = [receipt for receipt in self._overdue if not receipt.is_settled]
        if self._overdue:
            raise BadRequest(503, _BUSY)
        answer, taken = connection.owe(self._success, 0), list[int]()
        answer.receipt.share(len(batches) - 1)
        try:
            async with asyncio.timeout(self.answer_within_s):
                for batch in batches:
                    batch.receipt, records = answer.receipt, len(batch)
                    await emit(batch)
                    taken.append(records)
        except TimeoutError as error:
            self._withdraw(answer, sum(taken), len(batches) - len(taken))
            raise BadRequest(503, _BUSY) from error
        if self._options.answer_after == "buffered":
            answer.send_now()
            return
        try:
            await connection.until_owed(0, 0, self.answer_within_s)
        except TimeoutError as error:
            self._withdraw(answer, sum(taken), 0)
            raise BadRequest(503, _BUSY) from error

    def _withdraw(self, answer: Answer, records: int, not_taken: int) -> None:
        """Let the client send all again, of which so many records were taken and so many batches were not.

        The records may come twice then, so they are counted, and nothing else is taken until they are safe.
        """
        answer.withdraw()
        for _ in range(not_taken):
            answer.receipt.settle()
        if records:
            self._overdue.append(answer.receipt)
            self._context.counter("in_doubt_records_total").add(records)


async def _linger(connection: Connection) -> None:
    """Ignore what a client still sends for a moment; closing at once would take the answer away from it."""
    ignored = 0
    try:
        while ignored < _MOST_IGNORED and (data := await connection.read(_LINGER_S)):
            ignored += len(data)
    except TimeoutError:
        return
