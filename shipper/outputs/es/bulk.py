"""The bulk API: batches become requests, and each document of a request gets its own verdict."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Hashable, Mapping, Sequence
from typing import ClassVar
from urllib.parse import quote

from ...buffers.base import BatchLimits, Delivery
from ...codecs.compression import compress_gzip
from ...codecs.json_lines import JsonEncoder
from ...context import Context
from ...errors import RetryLater
from ...net.settings import HttpAnswer, http_settings
from ...record import RecordBatch
from ..base import Output
from ..http_options import Requests, Verdict, lane_of, open_requests, verdict_on, words_of
from ..upstream import Turns
from .documents import DocumentMaker
from .options import BulkOptions
from .verdicts import Items, items_of

SEARCHES = 64
"""Requests that may be spent in one attempt on finding the documents that the server does not like."""

_ANSWER_LIMIT = 32_000_000
_DEFAULT_PORT = 9200

Actions = list[bytes]


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
                middle = len(actions) // 2
                requests[0] = actions[:middle]
                requests.insert(1, actions[middle:])
            else:
                requests.popleft()
                reasons = dict.fromkeys(range(len(actions)), f"status_{answer.status}")
                self._refuse(delivery, reasons, words_of(answer))

    async def close(self) -> None:
        for server in self._servers.members if self._servers else ():
            await server.close()

    def _requests(self, delivery: Delivery) -> deque[Actions]:
        prepared = self._documents.prepare(delivery.batches)
        if prepared.without_id:
            self._refuse(delivery, dict.fromkeys(range(prepared.without_id), "missing_id"), "a record has no id")
        return deque([prepared.actions] if prepared.actions else [])

    async def _post(self, server: Requests, actions: Actions) -> HttpAnswer:
        body = b"".join(actions)
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
        if found.refused:
            self._refuse(delivery, found.refused, found.said)
        if not found.again:
            requests.popleft()
            return
        requests[0] = [actions[place] for place in found.again]
        raise _later(found, len(actions))

    def _refuse(self, delivery: Delivery, reasons: Mapping[int, str], said: str) -> None:
        for reason, records in Counter(reasons.values()).items():
            delivery.refuse(records, delivery.size * records // delivery.records, reason)
            self._log.error(f"documents are refused: {reason}", every=10, records=records, reason=said)


def _later(found: Items, sent: int) -> RetryLater:
    return RetryLater(f"{len(found.again)} of {sent} documents are not taken now: {found.said}")


def _headers(options: BulkOptions) -> dict[str, str]:
    headers = {"Content-Type": "application/x-ndjson"}
    if options.compress == "gzip":
        headers["Content-Encoding"] = "gzip"
    if (authorization := options.authorization()) is not None:
        headers["Authorization"] = authorization
    return {**headers, "User-Agent": "Fluent-Bit"}
