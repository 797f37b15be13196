"""Calls to AWS services that speak JSON, with bodies that are already made.

aiobotocore finds the credentials and botocore makes the signatures. The requests themselves are small and always alike,
and go out over our own connections: aiobotocore's client takes a millisecond for each, and ten megabytes.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

import msgspec
from botocore.exceptions import ClientError

from .. import __version__
from ..clock import SystemClock
from ..log import Log
from ..net import settings as net
from ..net.http import HttpClient
from ..net.retry_after import retry_after_s
from .endpoint import http_settings
from .session import Credentials, new_signing_session
from .settings import Answer, AwsError, AwsSettings, NoAnswer, is_aws_host, one_line, service_url
from .signature import Signatures

_TARGETS: Mapping[str, str] = {
    "logs": "Logs_20140328",
    "kinesis": "Kinesis_20131202",
    "firehose": "Firehose_20150804",
}
_ANSWER_LIMIT = 4_000_000
_LONGEST_MESSAGE = 10_000
_NO_HEADERS: Mapping[str, str] = {}
_decode = msgspec.json.Decoder(dict[str, Any]).decode


class AwsClient:
    """One client of one service; any number of calls may run at the same time."""

    def __init__(self, service: str, settings: AwsSettings, log: Log | None = None) -> None:
        self._settings = settings
        self._target = _TARGETS[service]
        self._url = settings.endpoint_url or service_url(service, settings.region)
        self._path = urlsplit(self._url).path or "/"
        self._signatures = Signatures(service, settings.region)
        self._http = HttpClient(http_settings(self._url, settings, _ANSWER_LIMIT), SystemClock(), log or Log(""))
        self._credentials: Credentials | None = None
        self._user_agent = f"shipper/{__version__} {settings.user_agent}".rstrip()

    @property
    def is_aws(self) -> bool:
        """Whether the calls go to AWS itself, not to something that speaks its protocol."""
        return is_aws_host(urlsplit(self._url).hostname or "")

    @property
    def connections(self) -> net.ConnectionCount:
        """The connections to the endpoint."""
        return self._http.connections

    async def open(self) -> None:
        """Get ready without a word to AWS; raises `OptionError` for what the configuration must mend."""
        _, self._credentials = new_signing_session(self._settings)
        await self._http.open()

    async def call(self, operation: str, body: bytes, headers: Mapping[str, str] = _NO_HEADERS) -> Answer:
        """Make one call and wait for its answer, at most for the time the settings allow.

        Raises `AwsError` for an answer that is an error, `NoAnswer` if none came, `NoCredentials` if nothing was sent.
        """
        signed = await self._signed(operation, body, headers)
        try:
            answer = await self._http.request("POST", self._path, signed, body)
        except net.NoAnswer as error:
            raise NoAnswer(error.reason, timed_out=error.timed_out) from error
        parsed = _parsed(answer.body)
        if answer.status >= 300:
            raise self._error_in(answer, parsed)
        return Answer(parsed, answer.headers.get("x-amzn-requestid"))

    def forget_credentials(self) -> None:
        """Look through all sources of credentials again at the next call."""
        if self._credentials is not None:
            self._credentials.forget()

    async def close(self) -> None:
        """Close the connections."""
        await self._http.close()

    async def _signed(self, operation: str, body: bytes, headers: Mapping[str, str]) -> dict[str, str]:
        if self._credentials is None:
            raise RuntimeError("the client is not open")
        try:
            keys = await self._credentials.get_frozen_credentials()
        except ClientError as error:
            raise _sts_error(error) from error
        named = {
            "X-Amz-Target": f"{self._target}.{operation}",
            "Content-Type": "application/x-amz-json-1.1",
            "User-Agent": self._user_agent,
            **headers,
        }
        return self._signatures.headers(keys, "POST", self._url, named, hashlib.sha256(body).hexdigest())

    def _error_in(self, answer: net.HttpAnswer, parsed: dict[str, Any]) -> AwsError:
        """The error as the service tells it: code and words in the body, or the code in a header."""
        told = str(parsed.get("__type") or answer.headers.get("x-amzn-errortype") or parsed.get("code") or "")
        code = told.rpartition("#")[2].partition(":")[0] or str(answer.status)
        message = str(parsed.get("message") or parsed.get("Message") or "")[:_LONGEST_MESSAGE]
        self._signatures.learn_clock(f"{code} {message}", answer.headers.get("date"))
        wish = retry_after_s(answer.headers.get("retry-after"), time.time())
        return AwsError(code, answer.status, message, after=wish, fields=parsed)


def _parsed(body: bytes) -> dict[str, Any]:
    """The body as JSON object; that of a proxy need not be one, and is taken for a message then."""
    if not body:
        return {}
    try:
        return _decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return {"message": one_line(body[:2000].decode("utf-8", "replace"))}


def _sts_error(error: ClientError) -> AwsError:
    """What STS answered when the credentials were to be had there."""
    response: dict[str, Any] = error.response
    told = response.get("Error", {})
    status = response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
    return AwsError(str(told.get("Code") or ""), status, f"{error.operation_name}: {told.get('Message') or ''}")
