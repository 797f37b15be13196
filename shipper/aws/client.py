"""Calls to AWS services that speak JSON, with bodies that are already made.

aiobotocore finds the credentials and botocore makes the signatures. The requests themselves are small and always alike,
and go out over our own connections: aiobotocore's client takes a millisecond for each, and ten megabytes.
"""

from __future__ import annotations

import hashlib
import os
import ssl
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

import msgspec
from botocore.exceptions import BotoCoreError, ClientError
from botocore.httpsession import where as shipped_certificates

from .. import __version__
from ..clock import SystemClock
from ..log import Log
from ..net import settings as net
from ..net.http import HttpClient
from .session import Credentials, new_signing_session
from .settings import Answer, AwsError, AwsSettings, NoAnswer, NoCredentials, service_url
from .signature import Signatures

_TARGETS: Mapping[str, str] = {
    "logs": "Logs_20140328",
    "kinesis": "Kinesis_20131202",
    "firehose": "Firehose_20150804",
}
_ANSWER_LIMIT = 4_000_000
_NO_HEADERS: Mapping[str, str] = {}
_decode = msgspec.json.Decoder(dict[str, Any]).decode


class AwsClient:
    """One client of one service; any number of calls may run at the same time."""

    def __init__(self, service: str, settings: AwsSettings) -> None:
        self._settings = settings
        self._target = _TARGETS[service]
        self._url = settings.endpoint_url or service_url(service, settings.region)
        self._path = urlsplit(self._url).path or "/"
        self._signatures = Signatures(service, settings.region)
        self._http = HttpClient(_http_settings(self._url, settings), SystemClock(), Log(""))
        self._credentials: Credentials | None = None
        self._user_agent = f"shipper/{__version__} {settings.user_agent}".rstrip()

    async def open(self) -> None:
        """Get ready without a word to AWS; raises `OptionError` for a profile that does not exist."""
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
        except BotoCoreError as error:
            raise NoCredentials(str(error)) from error
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
        message = str(parsed.get("message") or parsed.get("Message") or "")
        self._signatures.learn_clock(f"{code} {message}", answer.headers.get("date"))
        after = answer.headers.get("retry-after", "")
        wish = float(after) if after.isdecimal() else None
        return AwsError(code, answer.status, message, after=wish, fields=parsed)


def _parsed(body: bytes) -> dict[str, Any]:
    """The body as JSON object; that of a proxy need not be one, and is taken for a message then."""
    if not body:
        return {}
    try:
        return _decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return {"message": body[:500].decode("utf-8", "replace")}


def _sts_error(error: ClientError) -> AwsError:
    """What STS answered when the credentials were to be had there."""
    response: dict[str, Any] = error.response
    told = response.get("Error", {})
    status = response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
    return AwsError(str(told.get("Code") or ""), status, f"{error.operation_name}: {told.get('Message') or ''}")


def _http_settings(url: str, settings: AwsSettings) -> net.HttpSettings:
    parts = urlsplit(url)
    tls = None
    if parts.scheme == "https":
        tls = net.TlsSettings(
            verify=settings.verify is not False, verify_hostname=True, ca_file=_trusted(settings.verify)
        )
    return net.HttpSettings(
        host=parts.hostname or "",
        port=parts.port or (443 if tls else 80),
        tls=tls,
        connect_timeout=settings.connect_timeout,
        io_timeout=settings.io_timeout,
        keepalive=settings.keepalive,
        idle_timeout=settings.idle_timeout,
        requests_each=settings.requests_each,
        tcp_keepalive=settings.tcp_keepalive,
        connections=settings.connections,
        use_proxy=settings.use_proxy,
        resend=False,  # whoever calls must know that the service may have acted on it
        answer_limit=_ANSWER_LIMIT,
    )


def _trusted(verify: bool | str) -> str | None:
    """The file of trusted certificates: the one asked for, else those of the system, else those botocore brings."""
    if isinstance(verify, str):
        return verify
    if bundle := os.environ.get("AWS_CA_BUNDLE"):
        return bundle
    paths = ssl.get_default_verify_paths()
    has_some = paths.cafile is not None or (paths.capath is not None and bool(os.listdir(paths.capath)))
    return None if has_some else str(shipped_certificates())
