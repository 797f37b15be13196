"""Whatever a service answers ends in a delivery, a refusal or a retry, and every record is counted once."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
import pytest

from shipper.clock import SystemClock
from shipper.errors import Rejected, RetryLater
from shipper.outputs.base import Output
from shipper.record import Record, RecordBatch
from shipper.testing import context_of

from ..components.http_server import Got, Says, http_server
from ..written_options import options_from
from .answers import LINES, answer_of, carries_records
from .samples import delivery_of

pytestmark = pytest.mark.usefixtures("aws_keys")

DEEP = b'{"a":' * 5000
ODD: list[Any] = [None, 0, -1, 2.5, True, "", "x", [], [None], [1, 2], {}, {"": None}, [{"a": 1}, {"a": 1}], 2**63]
"""Values where others are expected."""

MEMBERS = (
    "__type", "message", "expectedSequenceToken", "nextSequenceToken", "rejectedLogEventsInfo",
    "Records", "RequestResponses", "FailedRecordCount", "errors", "items", "error", "status",
)  # fmt: skip
CODES = (
    "InvalidSequenceTokenException", "DataAlreadyAcceptedException", "ResourceNotFoundException",
    "InvalidParameterException", "ThrottlingException", "AccessDeniedException", "RequestExpired",
)  # fmt: skip
INDICES = ("expiredLogEventEndIndex", "tooOldLogEventEndIndex", "tooNewLogEventStartIndex")
HEADERS: Sequence[Mapping[str, str]] = (
    {},
    {"Retry-After": "soon", "Date": "yesterday"},
    {"Retry-After": "Mon, 99 Foo 99999 99:99:99 GMT", "Date": "Mon, 99 Foo 99999 99:99:99 GMT"},
    {"Retry-After": "-1", "Date": ","},
    {"Retry-After": "9" * 400, "Date": "0"},
    {"Retry-After": "Fri, 31 Dec 9999 23:59:59 -2359", "Date": "Mon, 01 Jan 0001 00:00:00 +2359"},
)


def bodies() -> list[bytes]:
    """JSON of unexpected shapes, and what is no JSON at all."""
    encode = msgspec.json.encode
    found = [b"", b" ", b"\xff\xfe", b"<html>", b"{", b'{"\xff":1}', b'"\\ud800"', b'{"a":1e999}', DEEP, b"[" * 5000]
    found += [encode(value) for value in ODD]
    found += [encode({member: value}) for member in MEMBERS for value in ODD]
    found += [encode({"errors": True, "items": [value, value]}) for value in ODD]
    found += [encode({"errors": True, "items": [{"create": value}] * 2}) for value in ODD]
    found += [encode({"errors": True, "items": [{"create": {"status": 400, "error": value}}] * 2}) for value in ODD]
    found += [encode({"errors": True, "items": [{"create": {"status": 400, "error": {"type": v}}}] * 2}) for v in ODD]
    found += [encode({"rejectedLogEventsInfo": {index: value}}) for index in INDICES for value in ODD]
    found += [encode({"__type": code, "message": value}) for code in CODES for value in ODD]
    found += [encode({"__type": code, "expectedSequenceToken": value}) for code in CODES for value in ODD]
    found += [encode({"__type": CODES[3], "message": f"Log event too large: limit of {'9' * 5000}"})]
    for member in ("Records", "RequestResponses"):
        found += [encode({member: [value, value]}) for value in ODD]
        found += [encode({member: [{"ErrorCode": value, "ErrorMessage": value}] * 2}) for value in ODD]
    return list(dict.fromkeys(found))


@pytest.mark.parametrize("status", [200, 302, 400, 403, 413, 500])
@pytest.mark.parametrize("kind", list(LINES))
async def test_every_answer_ends_in_something(kind: type[Output], status: int) -> None:
    says = Says()
    is_odd = True

    def judge(got: Got) -> Says:
        return says if is_odd and carries_records(got) else answer_of(kind, got)

    async with http_server(judge) as server:
        lines = LINES[kind].replace("{port}", str(server.port))
        output = kind(options_from(kind.Options, lines, "output"), context_of("output", "out.0", SystemClock()))
        await output.open()
        for number, body in enumerate(bodies()):
            headers = {"x-amzn-RequestId": "1", **HEADERS[number % len(HEADERS)]}
            says = Says(status, body, headers)
            delivery = delivery_of(RecordBatch("t", [Record(1, {"log": "a"}), Record(2, {"log": "b"})], 20))
            is_odd = True
            async with asyncio.timeout(20):
                try:
                    await output.send(delivery)
                except (RetryLater, Rejected):
                    is_odd = False
                    await output.send(delivery)

            assert delivery.accepted + delivery.refused_records == 2, (status, body[:200], headers)
        await output.close()
