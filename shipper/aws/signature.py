"""Signatures of requests (AWS Signature Version 4), made by botocore, over bodies whose hash is known already."""

from __future__ import annotations

import re
import time
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Any

from botocore.auth import S3SigV4Auth, SigV4Auth
from botocore.awsrequest import AWSRequest

_SIGNED_AT = "%Y%m%dT%H%M%SZ"
_WRONG_CLOCK = re.compile(
    "RequestTimeTooSkewed|RequestExpired|Signature expired|Signature not yet current", re.IGNORECASE
)
_MOST_WRONG_S = 100 * 365 * 24 * 3600
"""No clock is so far away; a date that says so is a mistake of whoever wrote it."""


class Signatures:
    """Signs requests to one service in one region, by the clock of the service once that has refused ours."""

    def __init__(self, service: str, region: str) -> None:
        self._service = service
        self._region = region
        self._signer = _S3Signer if service == "s3" else _Signer
        self._clock_offset_s = 0
        """How far the service's clock is ahead of ours, where that kept it from believing a signature."""

    def headers(self, keys: Any, method: str, url: str, headers: Mapping[str, str], payload: str) -> dict[str, str]:
        """The headers with those of the signature; `payload` is the SHA-256 of the body in hexadecimal digits."""
        request = AWSRequest(method=method, url=url, headers=headers)
        request.context = _SigningContext(self._clock_offset_s, payload)
        self._signer(keys, self._service, self._region).add_auth(request)
        return dict(request.headers.items())

    def learn_clock(self, complaint: str, date: str | None) -> None:
        """Note the service's clock if what it complains about is ours; `date` is the header of its answer."""
        service_s = _seconds_of(date) if date and _WRONG_CLOCK.search(complaint) else None
        if service_s is not None and abs(service_s - time.time()) < _MOST_WRONG_S:
            self._clock_offset_s = round(service_s - time.time())


def _seconds_of(date: str) -> float | None:
    """The date of a header as seconds since the epoch; None if it cannot be read."""
    try:
        moment = parsedate_to_datetime(date)
        return (moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)).timestamp()
    except (ValueError, TypeError, OverflowError, IndexError):
        return None


class _KnownHash:
    """Takes the hash from the context instead of making it from the body."""

    def payload(self, request: Any) -> str:
        return str(request.context.payload)


class _Signer(_KnownHash, SigV4Auth):  # type: ignore[misc]  # botocore has no types
    """For all services but S3."""


class _S3Signer(_KnownHash, S3SigV4Auth):  # type: ignore[misc]
    """For S3, which wants the hash in a header, too, and paths as they are."""


class _SigningContext(dict[str, Any]):
    """The context of a request; the signer, which knows only this machine's clock, notes the time of signing in it."""

    def __init__(self, offset_s: int, payload: str) -> None:
        super().__init__()
        self._offset = timedelta(seconds=offset_s)
        self.payload = payload

    def __setitem__(self, key: str, value: Any) -> None:
        if key == "timestamp" and self._offset:
            value = (datetime.strptime(value, _SIGNED_AT) + self._offset).strftime(_SIGNED_AT)
        super().__setitem__(key, value)
