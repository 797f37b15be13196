"""Signed calls to S3's REST interface, whose bodies may be parts of files.

aiobotocore's S3 client reads a description of the service that costs ten megabytes for as long as the process lives,
and passes every body through checksums of its own. A few calls are needed here, and their bodies are finished: so
credentials and signatures are aiobotocore's, and the requests go out over our own connections.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Mapping
from urllib.parse import urlsplit

from botocore.exceptions import ClientError

from ..clock import SystemClock
from ..log import Log
from ..net import settings as net
from ..net.http import HttpClient
from ..net.retry_after import retry_after_s
from .endpoint import http_settings
from .messages import FilePart, RestAnswer
from .session import Credentials, new_signing_session
from .settings import AwsError, AwsSettings, NoAnswer, NoCredentials, one_line
from .signature import Signatures

_SLOWEST_BYTES_PER_S = 256_000
"""A body may take the time it needs at this pace, in addition to the usual time of a call."""

_ANSWER_LIMIT = 16_000_000
_NO_HEADERS: Mapping[str, str] = {}


class RestClient:
    """Makes calls to one endpoint; any number may run at the same time."""

    def __init__(self, service: str, base_url: str, settings: AwsSettings) -> None:
        self._signatures = Signatures(service, settings.region)
        self._base_url = base_url
        self._base_path = urlsplit(base_url).path
        self._settings = settings
        self._http = HttpClient(http_settings(base_url, settings, _ANSWER_LIMIT), SystemClock(), Log(""))
        self._credentials: Credentials | None = None

    @property
    def connections(self) -> net.ConnectionCount:
        """The connections to the endpoint."""
        return self._http.connections

    async def open(self) -> None:
        """Get ready without a word to AWS; raises `OptionError` for what the configuration must mend."""
        _, self._credentials = new_signing_session(self._settings)
        await self._http.open()

    async def call(
        self,
        method: str,
        path: str,
        headers: Mapping[str, str] = _NO_HEADERS,
        body: bytes | FilePart = b"",
        timeout_s: float | None = None,
    ) -> RestAnswer:
        """Make one call and wait for its answer; `path` is encoded and may hold a query.

        Raises `AwsError` for an answer that is an error, `NoAnswer` if none came, `NoCredentials` if nothing was sent.
        """
        signed = await self._signed(method, self._base_url + path, headers, _hash_of(body))
        size = body.size if isinstance(body, FilePart) else len(body)
        longest_s = (timeout_s or self._settings.io_timeout) + size / _SLOWEST_BYTES_PER_S
        try:
            found = await self._http.request(method, self._base_path + path, signed, body, longest_s)
        except net.NoAnswer as error:
            raise NoAnswer(error.reason, timed_out=error.timed_out) from error
        answer = RestAnswer(found.status, found.headers, found.body)
        # A call that takes long answers 200 before it knows, and tells an error in the body.
        if answer.status >= 300 or answer.body.lstrip()[:200].find(b"<Error>") >= 0:
            raise self._error_in(answer)
        return answer

    def forget_credentials(self) -> None:
        """Look through all sources of credentials again at the next call."""
        if self._credentials is not None:
            self._credentials.forget()

    async def close(self) -> None:
        """Close the connections."""
        await self._http.close()

    async def _signed(self, method: str, url: str, headers: Mapping[str, str], payload: str) -> dict[str, str]:
        if self._credentials is None:
            raise RuntimeError("the client is not open")
        try:
            keys = await self._credentials.get_frozen_credentials()
        except ClientError as error:
            raise NoCredentials(one_line(str(error))) from error
        named = {**headers, "User-Agent": self._settings.user_agent}
        return self._signatures.headers(keys, method, url, named, payload)

    def _error_in(self, answer: RestAnswer) -> AwsError:
        code = answer.element("Code") or _CODES.get(answer.status, f"Status{answer.status}")
        self._signatures.learn_clock(code, answer.headers.get("date"))
        wish = retry_after_s(answer.headers.get("retry-after"), time.time())
        return AwsError(code, answer.status, one_line(answer.element("Message") or ""), after=wish)


_CODES = {
    304: "NotModified",
    403: "AccessDenied",
    404: "NotFound",
    412: "PreconditionFailed",
    500: "InternalError",
    501: "NotImplemented",
    503: "ServiceUnavailable",
}
"""What an answer without a body means; answers to HEAD have none."""


def _hash_of(body: bytes | FilePart) -> str:
    return body.sha256 if isinstance(body, FilePart) else hashlib.sha256(body).hexdigest()
