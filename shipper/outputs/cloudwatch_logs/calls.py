"""One call to CloudWatch Logs, and the troubles that have nothing to do with what the call says."""

from __future__ import annotations

from collections.abc import Mapping

from ...aws.settings import Answer, AwsError, NoAnswer, NoCredentials, denial_in, is_denied
from ...clock import Clock
from ...errors import Counts, RetryLater
from ...log import Log
from ..aws_calls import AwsApi, CredentialDoubts

_DISPENSABLE = ("CreateLogStream", "PutRetentionPolicy")
"""Calls without which delivery may go on; whoever makes them tells what it means that they are denied."""

_NO_HEADERS: Mapping[str, str] = {}


class StreamBlocked(RetryLater):
    """One stream, or one group, cannot be written now; others may."""


class Denied(StreamBlocked):
    """The credentials do not allow a call."""


class Calls:
    """Makes calls; what comes through is an answer, or an `AwsError` that is about the call itself.

    No answer, no credentials and denied calls become `RetryLater` here: nothing is ever dropped for them.
    """

    def __init__(self, api: AwsApi, clock: Clock, log: Log, *, resend_at_once: bool) -> None:
        self._api = api
        self._log = log
        self._resend_at_once = resend_at_once
        self._doubts = CredentialDoubts(api, clock, log)

    async def make(self, operation: str, body: bytes, group: str, headers: Mapping[str, str] = _NO_HEADERS) -> Answer:
        """Make a call about this group and wait for the answer; without one it is made once more, at once."""
        try:
            return await self._once(operation, body, group, headers)
        except NoAnswer as error:
            if error.timed_out or not self._resend_at_once:
                raise RetryLater(f"{operation}: {error.reason}") from error
        try:
            # A connection that was kept may be closed by the other end at the moment it is used again.
            return await self._once(operation, body, group, headers)
        except NoAnswer as error:
            raise RetryLater(f"{operation}: {error.reason}") from error

    async def _once(self, operation: str, body: bytes, group: str, headers: Mapping[str, str]) -> Answer:
        try:
            answer = await self._api.call(operation, body, headers)
        except NoCredentials as error:
            raise self._doubts.held(f"logs:{operation}", error) from error
        except AwsError as error:
            if is_denied(error):
                raise self._denied(error, operation, group) from error
            raise
        if operation == "PutLogEvents" and answer.request_id is None:
            raise NoAnswer("the answer has no request id, so it is not from AWS; is there a proxy between?")
        return answer

    def _denied(self, error: AwsError, operation: str, group: str) -> Denied:
        self._doubts.doubt()
        what = denial_in(error, f"logs:{operation} on log group {group}")
        if operation not in _DISPENSABLE:
            self._log.error(f"{what}; records are held until it is allowed", every=60, reason=error)
        return Denied(f"{what} ({error})", error.after, Counts.NEVER)
