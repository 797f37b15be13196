"""The bulk API: batches become requests, and each document of a request gets its own verdict."""

from __future__ import annotations

from collections import deque
from collections.abc import Hashable, Mapping, Sequence
from functools import partial
from typing import ClassVar
from urllib.parse import quote

import msgspec

from ...buffers.base import BatchLimits, Delivery
from ...codecs.compression import compress_gzip
from ...codecs.json_lines import JsonEncoder
from ...context import Context
from ...errors import RetryLater
from ...net.settings import HttpAnswer, http_settings
from ...record import RecordBatch
from ..base import Output
from ..http_options import Requests, Verdict, lane_of, open_requests, verdict_on, words_of
from ..places import RecordsOf, rows_of
from ..upstream import Turns
from .documents import DocumentMaker
from .options import BulkOptions
from .verdicts import Items, Reason, items_of

SEARCHES = 64
"""Requests that may be spent in one attempt on finding the documents that the server does not like."""

_MOST_REASONS = 100
"""Refusals of one answer that are told apart by the server's words; of more only their kind is told."""

_ANSWER_LIMIT = 32_000_000
_DEFAULT_PORT = 9200


class Actions(msgspec.Struct, frozen=True):
    """The actions of one request, and the places of their records in the delivery."""

    texts: Sequence[bytes]
    places: Sequence[int]

    def __len__(self) -> int:
        return len(self.texts)

    def halves(self) -> list[Actions]:
        """The same as two requests."""
        middle = len(self) // 2
        return [Actions(self.texts[part], self.places[part]) for part in (slice(middle), slice(middle, None))]

    def rows(self, picked: Sequence[int]) -> Actions:
        """Some of the actions."""
        return Actions([self.texts[row] for row in picked], [self.places[row] for row in picked])


class BulkOutput(Output):
    """Stores records as documents; those that are refused, or not taken now, are parted from the others."""

    Options: ClassVar[type[BulkOptions]]
    limits = BatchLimits(size=2_000_000, records=10_000)
    concurrency = 4
    fills_in_index: ClassVar[bool] = False
    """Whether the index may depend on the record."""

    def __init__(self, options: BulkOptions, context: Context) -> None:
        self._options = options
        self._context = context
        self._log = context.log
        json = JsonEncoder(context.service.escape_unicode)
        self._documents = DocumentMaker(
            options, json, context.clock, fills_in_index=self.fills_in_index and "$" in options.index
        )
        pipeline = f"?pipeline={quote(options.pipeline, safe='')}" if options.pipeline else ""
        self._target = f"{options.path}/_bulk{pipeline}"
        self._headers = _headers(options)
        self._servers: Turns[Requests] | None = None

    def nodes(self) -> Sequence[BulkOptions]:
        """The options for each server; requests go to them in turns."""
        return [self._options]

    def lane(self, batch: RecordBatch) -> Hashable:
        return lane_of(batch.tag)

    async def open(self) -> None:
        servers = []
        for node in self.nodes():
            host, port = node.host or "127.0.0.1", node.port or _DEFAULT_PORT
            settings = http_settings(node, host, port, answer_limit=_ANSWER_LIMIT)
            servers.append(await open_requests(settings, node, self._context, node.aws_service_name))
        self._servers = Turns(servers)

    async def send(self, delivery: Delivery) -> None:
        """Send and wait for all answers; after a `RetryLater` what was not accepted goes out again, unchanged."""
        if self._servers is None:
            raise RuntimeError("the output is not open")
        if delivery.progress is None:
            delivery.progress = self._requests(delivery)
        requests: deque[Actions] = delivery.progress
        searches = SEARCHES
        while requests:
            actions = requests[0]
            server = self._servers.take()
            answer = await self._post(server, actions)
            verdict = verdict_on(answer.status)
            if verdict is Verdict.ACCEPTED:
                self._settle(delivery, requests, answer)
            elif verdict in (Verdict.DENIED, Verdict.LATER):
                raise server.later(answer)
            elif len(actions) > 1 and (verdict is Verdict.TOO_LARGE or searches > 0):
                searches -= verdict is Verdict.REFUSED
                requests.popleft()
                requests.extendleft(reversed(actions.halves()))
            else:
                requests.popleft()
                reason = Reason(f"status_{answer.status}", str(answer.status), words_of(answer))
                self._refuse(delivery, dict.fromkeys(actions.places, reason))

    def left(self, delivery: Delivery) -> list[list[int]] | None:
        requests: deque[Actions] | None = delivery.progress
        return None if requests is None else rows_of(delivery.batches, [p for r in requests for p in r.places])

    async def close(self) -> None:
        for server in self._servers.members if self._servers else ():
            await server.close()

    def _requests(self, delivery: Delivery) -> deque[Actions]:
        prepared = self._documents.prepare(delivery.batches)
        if prepared.without_id:
            self._refuse(delivery, dict.fromkeys(prepared.without_id, Reason("missing_id", said="a record has no id")))
        if not prepared.actions:
            return deque()
        places: Sequence[int] = range(delivery.records)
        if prepared.without_id:
            left_out = set(prepared.without_id)
            places = [place for place in places if place not in left_out]
        return deque([Actions(prepared.actions, places)])

    async def _post(self, server: Requests, actions: Actions) -> HttpAnswer:
        body = b"".join(actions.texts)
        if self._options.trace_output:
            self._log.info("sending", body=body.decode("utf-8", "replace"))
        if self._options.compress == "gzip":
            body = compress_gzip(body)
        return await server.make("POST", self._target, self._headers, body)

    def _settle(self, delivery: Delivery, requests: deque[Actions], answer: HttpAnswer) -> None:
        """Take out of the first request what needs not be sent again; raises `RetryLater` if anything is left."""
        actions = requests[0]
        found = items_of(answer.body, len(actions))
        if found is None:
            raise RetryLater(f"the answer cannot be understood: {words_of(answer)}")
        if self._options.trace_error and found.accepted < len(actions):
            self._log.error("answer with errors", body=answer.text)
        delivery.accepted += found.accepted
        if found.already:
            self._context.counter("documents_there_already_total").add(found.already)
        if found.refused:
            self._refuse(delivery, {actions.places[row]: reason for row, reason in found.refused.items()})
        if not found.again:
            requests.popleft()
            return
        requests[0] = actions.rows(found.again)
        raise _later(found, len(actions))

    def _refuse(self, delivery: Delivery, reasons: Mapping[int, Reason]) -> None:
        """Note the records at these places of the delivery, and why they are refused."""
        places: dict[Reason, list[int]] = {}
        for place, reason in reasons.items():
            if reason not in places and len(places) >= _MOST_REASONS:
                reason = Reason(reason.word, reason.status, reason.word)
            places.setdefault(reason, []).append(place)
        records_of = RecordsOf(delivery.batches)
        for reason, alike in places.items():
            which = partial(records_of.at, alike)
            delivery.refuse(len(alike), reason.word, which, status=reason.status, message=reason.said)
            self._log.error(f"documents are refused: {reason.word}", every=10, records=len(alike), reason=reason.said)


def _later(found: Items, sent: int) -> RetryLater:
    return RetryLater(f"{len(found.again)} of {sent} documents are not taken now: {found.said}", counts=found.counts)


def _headers(options: BulkOptions) -> dict[str, str]:
    headers = {"Content-Type": "application/x-ndjson"}
    if options.compress == "gzip":
        headers["Content-Encoding"] = "gzip"
    if (authorization := options.authorization()) is not None:
        headers["Authorization"] = authorization
    return {**headers, "User-Agent": "Fluent-Bit"}
