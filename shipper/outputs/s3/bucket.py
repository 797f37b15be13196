"""The calls to one bucket, and the troubles that have nothing to do with what a call says."""

from __future__ import annotations

import asyncio
import base64
import hashlib
from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

from ...aws.messages import FilePart, RestAnswer, escaped
from ...aws.settings import AwsError, NoAnswer, NoCredentials, denial_in, is_denied, is_throttled
from ...clock import Clock
from ...errors import Counts, RetryLater
from ...log import Log
from ..aws_calls import CredentialDoubts
from .keys import encoded_path

COMPLETE_TIMEOUT_S = 300.0
"""S3 may put the parts together for minutes before it answers."""

_TELL_EVERY_S = 60.0
_READ = 1 << 20
_PASSING = frozenset(
    {
        "RequestTimeout",
        "RequestTimeTooSkewed",
        "RequestExpired",
        "ExpiredToken",
        "OperationAborted",
        "ConditionalRequestConflict",
    }
)
_DENIED = frozenset({"AllAccessDisabled", "AccountProblem"})
_EXPECTED = frozenset({"PreconditionFailed", "NotModified", "NoSuchUpload", "NotImplemented", "NotFound", "NoSuchKey"})
"""Errors that whoever calls can do something about; they are given to it as they are."""

_ACTIONS = {
    "UploadPart": "s3:PutObject",
    "CreateMultipartUpload": "s3:PutObject",
    "CompleteMultipartUpload": "s3:PutObject",
    "AbortMultipartUpload": "s3:AbortMultipartUpload",
    "ListMultipartUploads": "s3:ListBucketMultipartUploads",
    "HeadObject": "s3:GetObject",
}
_NO_HEADERS: Mapping[str, str] = {}


class RestApi(Protocol):
    """What makes the calls; `aws.rest.RestClient` does."""

    async def call(
        self,
        method: str,
        path: str,
        headers: Mapping[str, str] = ...,
        body: bytes | FilePart = ...,
        timeout_s: float | None = ...,
    ) -> RestAnswer: ...

    def forget_credentials(self) -> None: ...


class BucketBlocked(RetryLater):
    """The bucket does not take it as things stand: not allowed, no such bucket, an invalid request."""


class NoReply(RetryLater):
    """No answer came, so the call may have taken effect; `timed_out` if that took the whole time allowed."""

    def __init__(self, reason: str, *, timed_out: bool) -> None:
        super().__init__(reason)
        self.timed_out = timed_out


class Bucket:
    """One bucket; what comes through is an answer, an error of `_EXPECTED`, or a `RetryLater`."""

    def __init__(
        self, name: str, api: RestApi, clock: Clock, log: Log, object_headers: Mapping[str, str], *, send_md5: bool
    ) -> None:
        self.name = name
        self._api = api
        self._log = log
        self._object_headers = object_headers
        self._send_md5 = send_md5
        self._doubts = CredentialDoubts(api, clock, log)

    async def put(self, key: str, body: FilePart, headers: Mapping[str, str]) -> RestAnswer:
        """PutObject."""
        wanted = {**self._object_headers, **headers, **await self._md5(body)}
        return await self._call("PutObject", "PUT", key, "", wanted, body)

    async def create_upload(self, key: str, headers: Mapping[str, str]) -> str:
        """CreateMultipartUpload; gives the id of the upload."""
        wanted = {**self._object_headers, **headers}
        answer = await self._call("CreateMultipartUpload", "POST", key, "?uploads=", wanted)
        upload_id = answer.element("UploadId")
        if not upload_id:
            raise RetryLater("the answer to CreateMultipartUpload has no UploadId")
        return upload_id

    async def put_part(self, key: str, upload_id: str, number: int, body: FilePart) -> str:
        """UploadPart; gives the ETag of the part."""
        query = f"?partNumber={number}&uploadId={_encoded(upload_id)}"
        answer = await self._call("UploadPart", "PUT", key, query, await self._md5(body), body)
        etag = answer.headers.get("etag", "").strip('"')
        if not etag:
            raise RetryLater("the answer to UploadPart has no ETag")
        return etag

    async def complete_upload(self, key: str, upload_id: str, etags: Sequence[str], headers: Mapping[str, str]) -> None:
        """CompleteMultipartUpload."""
        query = f"?uploadId={_encoded(upload_id)}"
        body = complete_body(etags)
        answer = await self._call("CompleteMultipartUpload", "POST", key, query, headers, body, COMPLETE_TIMEOUT_S)
        if b"CompleteMultipartUploadResult" not in answer.body:
            raise RetryLater("the answer to CompleteMultipartUpload does not say that it was done")

    async def abort_upload(self, key: str, upload_id: str) -> None:
        """AbortMultipartUpload; an upload that does not exist is as good as aborted."""
        try:
            await self._call("AbortMultipartUpload", "DELETE", key, f"?uploadId={_encoded(upload_id)}")
        except AwsError as error:
            if error.code not in ("NoSuchUpload", "NotFound"):
                raise RetryLater(str(error)) from error

    async def uploads_of(self, key: str) -> list[str]:
        """The ids of the open uploads of this key (ListMultipartUploads)."""
        query = f"?prefix={_encoded(key)}&uploads="
        answer = await self._call("ListMultipartUploads", "GET", "", query)
        pairs = zip(answer.elements("Key"), answer.elements("UploadId"), strict=False)
        return [upload_id for found, upload_id in pairs if found == key]

    async def head(self, key: str) -> tuple[int, str] | None:
        """Size and ETag of an object, None if there is none; a size that the answer does not tell is -1."""
        try:
            answer = await self._call("HeadObject", "HEAD", key, "")
        except AwsError as error:
            if error.status == 404:
                return None
            raise self._later("HeadObject", error) from error
        size = answer.headers.get("content-length", "")
        return int(size) if size.isdecimal() else -1, answer.headers.get("etag", "").strip('"')

    async def _call(
        self,
        operation: str,
        method: str,
        key: str,
        query: str,
        headers: Mapping[str, str] = _NO_HEADERS,
        body: bytes | FilePart = b"",
        timeout_s: float | None = None,
    ) -> RestAnswer:
        try:
            return await self._api.call(method, f"/{encoded_path(key)}{query}", headers, body, timeout_s)
        except NoAnswer as error:
            raise NoReply(f"{operation}: {error.reason}", timed_out=error.timed_out) from error
        except NoCredentials as error:
            raise self._doubts.held(operation, error) from error
        except AwsError as error:
            if error.code in _EXPECTED and not (error.code == "NotFound" and method != "HEAD"):
                raise
            raise self._later(operation, error) from error

    def _later(self, operation: str, error: AwsError) -> RetryLater:
        told = f"{operation}: {error}"
        counts = Counts.ALWAYS
        if error.status == 403 or error.code in _DENIED or is_denied(error):
            self._doubts.doubt()
            counts = Counts.NEVER
        elif is_throttled(error):
            counts = Counts.WITHOUT_PROGRESS
        if error.status >= 500 or counts is Counts.WITHOUT_PROGRESS or error.code in _PASSING:
            return RetryLater(told, error.after, counts)
        where = f"bucket {self.name}"
        action = _ACTIONS.get(operation, f"s3:{operation}")
        what = denial_in(error, f"{action} on {where}") if counts is Counts.NEVER else f"not accepted by {where}"
        self._log.error(f"{what}; records are held", every=_TELL_EVERY_S, reason=told)
        return BucketBlocked(f"{what} ({told})", error.after, counts)

    async def _md5(self, body: FilePart) -> Mapping[str, str]:
        if not self._send_md5:
            return _NO_HEADERS
        digest = await asyncio.to_thread(file_digest, body, hashlib.md5)
        return {"Content-MD5": base64.b64encode(digest).decode()}


def complete_body(etags: Sequence[str]) -> bytes:
    """The body that completes an upload of these parts."""
    parts = "".join(
        f"<Part><ETag>{escaped(etag)}</ETag><PartNumber>{number}</PartNumber></Part>"
        for number, etag in enumerate(etags, 1)
    )
    space = "http://s3.amazonaws.com/doc/2006-03-01/"
    return f'<CompleteMultipartUpload xmlns="{space}">{parts}</CompleteMultipartUpload>'.encode()


def file_digest(body: FilePart, algorithm: Callable[[], hashlib._Hash]) -> bytes:
    """The hash of a part of a file."""
    digest, left = algorithm(), body.size
    with open(body.path, "rb") as file:
        file.seek(body.start)
        while left and (data := file.read(min(_READ, left))):
            digest.update(data)
            left -= len(data)
    return digest.digest()


def _encoded(text: str) -> str:
    return encoded_path(text).replace("/", "%2F")
