"""Puts entries into a stream; of a request that was taken in part only the rest is sent again."""

from __future__ import annotations

import re
import secrets
import string
from abc import abstractmethod
from collections import Counter, deque
from collections.abc import Hashable
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar

import msgspec

from ...aws.settings import Answer, AwsError, NoAnswer, NoCredentials, denial_in, is_denied, is_throttled
from ...buffers.base import BatchLimits, Delivery
from ...codecs.json_lines import JsonEncoder
from ...context import Context
from ...errors import Counts, RetryLater
from ...record import RecordBatch
from ..aws_calls import CountedCalls, CredentialDoubts, reason_of
from ..base import Output
from ..http_options import lane_of
from ..places import RecordsOf, rows_of
from .options import PutOptions
from .records import Entry, EntryMaker, Limits, Request

if TYPE_CHECKING:
    from ...aws.client import AwsClient

ROUNDS = 6
"""How often a request that is taken in part is sent again in one attempt, for as long as some of it is taken."""

_FIRST_PAUSE_S = 0.1
_REFUSALS = ("ValidationException", "SerializationException", "InvalidArgumentException")
_BUSY = "ServiceUnavailableException"
"""How Firehose says that a stream is over its limits."""

_UNPROVEN = "NoReceipt"
"""Our word for an entry of which an answer says neither that it was taken nor that it was not."""

_NAMES = re.compile(r"streamName|deliveryStreamName|StreamARN", re.IGNORECASE)


class Service(msgspec.Struct, frozen=True):
    """What is different between the services: names, limits, and where an answer says what failed and how much.

    `receipt_member` is in the answer for an entry that was taken.
    """

    name: str
    operation: str
    stream_member: str
    answers_member: str
    failures_member: str
    receipt_member: str
    limits: Limits
    has_partition_keys: bool = False


class PutOutput(Output):
    """Sends records as entries, those of one tag in order as far as the service keeps it."""

    Options: ClassVar[type[PutOptions]]
    service: ClassVar[Service]
    limits = BatchLimits(size=2_000_000, records=10_000)
    concurrency = 4

    def __init__(self, options: PutOptions, context: Context) -> None:
        self._options = options
        self._context = context
        self._log = context.log
        self._clock = context.clock
        json = JsonEncoder(context.service.escape_unicode)
        # Of its own for each instance, as Fluent Bit has it; the bytes of an entry stay the same over its retries.
        letters = string.ascii_letters + string.digits
        prefix = "".join(secrets.choice(letters) for _ in range(10)) if self.service.has_partition_keys else None
        self._entries = EntryMaker(options, json, self.service.limits, prefix)
        self._head = json.encode(self.service.stream_member) + b":" + json.encode(self.stream_of(options))
        self._client: AwsClient | None = None
        self._calls: CountedCalls | None = None
        self._doubts: CredentialDoubts | None = None

    @abstractmethod
    def stream_of(self, options: Any) -> str:
        """The name of the stream."""

    def lane(self, batch: RecordBatch) -> Hashable:
        return lane_of(batch.tag)

    async def open(self) -> None:
        self._options.check_files()
        # Only now: aiobotocore is large, and a process without this output must not carry it.
        from ...aws.client import AwsClient

        self._client = client = AwsClient(self.service.name, self._options.aws_settings(), self._log)
        await client.open()
        self._context.count_connections(lambda: client.connections)
        self._calls = CountedCalls(self._client, self._context)
        self._doubts = CredentialDoubts(self._calls, self._clock, self._log)

    async def send(self, delivery: Delivery) -> None:
        """Put everything; waits for all answers, and between rounds if the stream is too slow."""
        if delivery.progress is None:
            delivery.progress = self._entries.requests(delivery)
            if delivery.refused:
                self._log.error("records make no entry", every=60, reasons=" ".join(delivery.refused))
        requests: deque[Request] = delivery.progress
        rounds = ROUNDS
        while requests:
            request = requests[0]
            try:
                answer = await self._call(request)
            except AwsError as error:
                self._correct(error, delivery, requests)
                continue
            failed = self._failed(answer, request)
            delivery.accepted += request.records - sum(request.entries[place].records for place in failed)
            for place in [place for place, why in failed.items() if why.code in _REFUSALS]:
                self._refuse(delivery, request.entries[place], failed.pop(place))
            if not failed:
                requests.popleft()
                rounds = ROUNDS
                continue
            requests[0] = Request([request.entries[place] for place in failed])
            rounds -= 1
            if len(failed) == len(request.entries) or not rounds:
                said = next(iter(failed.values()))
                # The service answers for each entry, so it is not away.
                words = f"{self.service.operation}: {len(failed)} entries were not taken: {said}"
                raise RetryLater(words, counts=Counts.WITHOUT_PROGRESS)
            await self._clock.sleep(_FIRST_PAUSE_S * 2 ** (ROUNDS - rounds - 1))

    def left(self, delivery: Delivery) -> list[list[int]] | None:
        requests: deque[Request] | None = delivery.progress
        if requests is None:
            return None
        return rows_of(delivery.batches, [p for r in requests for entry in r.entries for p in entry.places])

    async def close(self) -> None:
        if self._client is not None:
            await self._client.close()

    async def _call(self, request: Request) -> Answer:
        body = request.body(self._head)
        try:
            return await self._call_once(body)
        except NoAnswer as error:
            if error.timed_out or not self._options.auto_retry_requests.is_on:
                raise RetryLater(f"{self.service.operation}: {error.reason}") from error
        try:
            return await self._call_once(body)
        except NoAnswer as error:
            raise RetryLater(f"{self.service.operation}: {error.reason}") from error

    async def _call_once(self, body: bytes) -> Answer:
        if self._calls is None or self._doubts is None:
            raise RuntimeError("the output is not open")
        operation = self.service.operation
        try:
            return await self._calls.call(operation, body)
        except NoCredentials as error:
            raise self._doubts.held(operation, error) from error

    def _failed(self, answer: Answer, request: Request) -> dict[int, AwsError]:
        """The places of the entries that were not taken, and why; raises `RetryLater` if the answer proves nothing."""
        service = self.service
        told = answer.body.get(service.answers_member)
        results: list[Any] = told if isinstance(told, list) else []
        if len(results) != len(request.entries) or not all([isinstance(result, dict) for result in results]):
            raise RetryLater(f"{service.operation}: the answer does not tell about all entries")
        failed = {
            place: AwsError(str(result.get("ErrorCode") or _UNPROVEN), 200, str(result.get("ErrorMessage") or ""))
            for place, result in enumerate(results)
            if result.get("ErrorCode") or not result.get(service.receipt_member)
        }
        failures = answer.body.get(service.failures_member)
        if failures is not None and failures != len(failed):
            words = f"{service.failures_member} is {failures}, but {len(failed)} entries were not taken"
            raise RetryLater(f"{service.operation}: the answer contradicts itself: {words}")
        for reason, entries in Counter(map(reason_of, failed.values())).items():
            self._context.counter("entries_failed_total", reason=reason).add(entries)
        return failed

    def _correct(self, error: AwsError, delivery: Delivery, requests: deque[Request]) -> None:
        """Part the first request, or refuse it if it is a single entry; raises `RetryLater` if only time helps."""
        is_refusal = error.code in _REFUSALS and not _NAMES.search(error.message)
        if not is_refusal and error.status != 413:
            raise self._later(error)
        entries = requests.popleft().entries
        if len(entries) > 1:
            middle = len(entries) // 2
            requests.extendleft([Request(entries[middle:]), Request(entries[:middle])])
            return
        self._refuse(delivery, entries[0], error)

    def _refuse(self, delivery: Delivery, entry: Entry, error: AwsError) -> None:
        delivery.refuse(
            entry.records,
            "refused_by_destination",
            partial(RecordsOf(delivery.batches).at, entry.places),
            status=str(error.status),
            message=str(error),
        )
        self._log.error("an entry is refused", every=10, records=entry.records, reason=error)

    def _later(self, error: AwsError) -> RetryLater:
        service = self.service
        if is_denied(error) and self._doubts is not None:
            self._doubts.doubt()
            what = denial_in(error, f"{service.name}:{service.operation} on {self.stream_of(self._options)}")
            self._log.error(f"{what}; records are held until it is allowed", every=60, reason=error)
            return RetryLater(f"{what} ({error})", error.after, Counts.NEVER)
        counts = Counts.WITHOUT_PROGRESS if is_throttled(error) or error.code == _BUSY else Counts.ALWAYS
        return RetryLater(f"{service.operation}: {error}", error.after, counts)
