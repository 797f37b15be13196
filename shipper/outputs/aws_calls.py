"""Counts what is asked of a service of AWS: requests, those that failed by what went wrong, and their bytes.

An output shows it as `output_requests_total`, `output_requests_failed_total` and `output_sent_bytes_total`, each by
operation. The rate of the first is the calls per second that the quotas of an account are about.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Protocol

from ..aws.settings import Answer, AwsError, NoAnswer, NoCredentials
from ..clock import Clock
from ..context import Context
from ..errors import Counts, RetryLater
from ..log import Log

_FORGET_CREDENTIALS_S = 60.0
_TELL_EVERY_S = 60.0
_NO_HEADERS: Mapping[str, str] = {}
_CODE = re.compile(r"[A-Za-z][A-Za-z0-9.]{0,63}")


class HasCredentials(Protocol):
    """What finds credentials and keeps them."""

    def forget_credentials(self) -> None: ...


class AwsApi(HasCredentials, Protocol):
    """What makes the calls; `aws.client.AwsClient` does."""

    async def call(self, operation: str, body: bytes, headers: Mapping[str, str] = ...) -> Answer: ...


class CountedCalls:
    """Makes the calls of another and counts them; what it raises is what that one raises."""

    def __init__(self, api: AwsApi, context: Context) -> None:
        self._api = api
        self._context = context

    async def call(self, operation: str, body: bytes, headers: Mapping[str, str] = _NO_HEADERS) -> Answer:
        """Make one call and wait for its answer."""
        try:
            answer = await self._api.call(operation, body, headers)
        except NoCredentials:
            self._count_failure(operation, "no_credentials")
            raise  # and nothing was sent
        except NoAnswer as error:
            self._count(operation, body)
            self._count_failure(operation, "timed_out" if error.timed_out else "no_answer")
            raise
        except AwsError as error:
            self._count(operation, body)
            self._count_failure(operation, reason_of(error))
            raise
        self._count(operation, body)
        return answer

    def forget_credentials(self) -> None:
        """Look through all sources of credentials again at the next call."""
        self._api.forget_credentials()

    def _count(self, operation: str, body: bytes) -> None:
        self._context.counter("requests_total", operation=operation).add()
        self._context.counter("sent_bytes_total", operation=operation).add(len(body))

    def _count_failure(self, operation: str, reason: str) -> None:
        self._context.counter("requests_failed_total", operation=operation, reason=reason).add()


class CredentialDoubts:
    """Has credentials looked for again where those that were found may be wrong."""

    def __init__(self, api: HasCredentials, clock: Clock, log: Log) -> None:
        self._api = api
        self._clock = clock
        self._log = log
        self._forgotten_at = -_FORGET_CREDENTIALS_S

    def doubt(self) -> None:
        """A call was denied, and others may be allowed it: look for them, but at most each minute."""
        now = self._clock.monotonic()
        if now - self._forgotten_at >= _FORGET_CREDENTIALS_S:
            self._forgotten_at = now
            self._api.forget_credentials()

    def held(self, operation: str, error: NoCredentials) -> RetryLater:
        """What to raise if there are none to sign a call with."""
        self._api.forget_credentials()
        self._log.error(f"no AWS credentials to sign {operation}: {error}; records are held", every=_TELL_EVERY_S)
        return RetryLater(f"no AWS credentials: {error}", counts=Counts.NEVER)


def reason_of(error: AwsError) -> str:
    """The code of the error; its status if that is no code, so that whoever answers cannot make up series."""
    return error.code if _CODE.fullmatch(error.code) else str(error.status)
