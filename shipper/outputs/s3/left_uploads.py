"""Multipart uploads that Fluent Bit has begun: they are completed with the parts that it noted.

Their parts are in S3 and nowhere else, because Fluent Bit deletes the lines of a part when it is uploaded. A file says
`KEY⏎UPLOAD_ID` in its metadata and has a line for each part: `part_number=N⇥etag=TAG`.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import msgspec

from ...aws.settings import AwsError
from ...disk import Disk
from ...log import Log
from .bucket import Bucket, BucketBlocked
from .left_behind import Unreadable, content_of, read_chunk
from .sending import ONLY_IF_NEW, etag_of_parts, knows_no_conditions

_PART = re.compile(rb"part_number=([0-9]{1,5})\tetag=\"?([^\s\"]+)\"?")
_MOST = 4_000_000
_NO_HEADERS: dict[str, str] = {}


class LeftUpload(msgspec.Struct, frozen=True):
    """An upload and the tags of its parts, in their order."""

    key: str
    upload_id: str
    etags: tuple[str, ...]


def read_upload(disk: Disk, path: Path) -> LeftUpload:
    """What a file says; raises `Unreadable` or `OSError`."""
    chunk = read_chunk(disk, path)
    key, _, upload_id = chunk.metadata.decode("utf-8", "replace").partition("\n")
    key = key.removeprefix("/")
    if not key or not upload_id or "\n" in upload_id:
        raise Unreadable("it names no upload")
    if chunk.end - chunk.start > _MOST:
        raise Unreadable("it is too large")
    lines = [line for line in content_of(disk, path, chunk).split(b"\n") if line.strip(b"\0")]
    found = [_PART.fullmatch(line) for line in lines]
    parts = {int(part[1]): part[2].decode("ascii", "replace") for part in found if part is not None}
    # With a part left out the object would look whole and not be.
    if None in found or chunk.missing or sorted(parts) != list(range(1, len(parts) + 1)):
        raise Unreadable("it does not name all parts")
    return LeftUpload(key, upload_id, tuple(parts[number] for number in sorted(parts)))


class LeftUploads:
    """Completes uploads. `put_aside` is called with a file that is of no use, and why."""

    def __init__(self, disk: Disk, log: Log, put_aside: Callable[[Path, str], None]) -> None:
        self._disk = disk
        self._log = log
        self._put_aside = put_aside

    async def complete(self, path: Path, bucket: Bucket) -> None:
        """Complete the upload of a file, which goes then; raises `RetryLater` or `OSError`.

        No object is written over: if there is one of that key, the upload stays open and the file is put aside.
        """
        try:
            upload = read_upload(self._disk, path)
        except Unreadable as error:
            self._log.error("a multipart upload of Fluent Bit cannot be completed", file=path, reason=error)
            self._put_aside(path, "unreadable")
            return
        if not upload.etags:
            await bucket.abort_upload(upload.key, upload.upload_id)
        elif why_not := await self._why_not_completed(upload, bucket):
            told = {
                "gone": "a multipart upload of Fluent Bit is gone, and its parts with it",
                "taken": "an object of this key exists and stays as it is; a multipart upload of Fluent Bit stays open",
            }
            self._log.error(told[why_not], key=upload.key, id=upload.upload_id)
            self._put_aside(path, why_not)
            return
        self._disk.unlink(str(path))

    async def _why_not_completed(self, upload: LeftUpload, bucket: Bucket) -> str:
        """Complete it; gives nothing, or `gone` for one that does not exist, or `taken` if its key is another's."""
        key, headers = upload.key, ONLY_IF_NEW
        while True:
            try:
                await bucket.complete_upload(key, upload.upload_id, upload.etags, headers)
            except AwsError as error:
                is_unconditional = knows_no_conditions(error) and bool(headers)
                if not is_unconditional and error.code not in ("PreconditionFailed", "NoSuchUpload"):
                    raise BucketBlocked(str(error)) from error
                # It may have been completed by an attempt whose answer was lost.
                found = await bucket.head(key)
                if _is_made_of(upload, found):
                    return ""
                if error.code == "NoSuchUpload":
                    return "gone"
                if found is not None or not is_unconditional:
                    return "taken"
                headers = _NO_HEADERS
            else:
                self._log.info("completed a multipart upload of Fluent Bit", key=key, parts=len(upload.etags))
                return ""


def _is_made_of(upload: LeftUpload, found: tuple[int, str] | None) -> bool:
    """Whether an object that was found is made of the parts of the upload, as far as its tag tells."""
    if found is None:
        return False
    etag, parts = found[1], len(upload.etags)
    return etag == (etag_of_parts(upload.etags) or etag) and etag.endswith(f"-{parts}")
