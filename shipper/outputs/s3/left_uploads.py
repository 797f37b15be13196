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
from .bucket import Bucket, Refused
from .left_behind import Unreadable, content_of, read_chunk

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
        """Complete the upload of a file, which goes then; raises `RetryLater` or `OSError`."""
        try:
            upload = read_upload(self._disk, path)
        except Unreadable as error:
            self._log.error("a multipart upload of Fluent Bit cannot be completed", file=path, reason=error)
            self._put_aside(path, "unreadable")
            return
        if not upload.etags:
            await bucket.abort_upload(upload.key, upload.upload_id)
        elif not await self._is_completed(upload, bucket):
            self._log.error("a multipart upload of Fluent Bit is gone, and its parts with it", key=upload.key)
            self._put_aside(path, "gone")
            return
        self._disk.unlink(str(path))

    async def _is_completed(self, upload: LeftUpload, bucket: Bucket) -> bool:
        """Complete it; false if there is no such upload and no object of its key."""
        try:
            await bucket.complete_upload(upload.key, upload.upload_id, upload.etags, _NO_HEADERS)
        except AwsError as error:
            if error.code != "NoSuchUpload":
                raise Refused(str(error)) from error
            # It may have been completed by an attempt whose answer was lost.
            return await bucket.head(upload.key) is not None
        self._log.info("completed a multipart upload of Fluent Bit", key=upload.key, parts=len(upload.etags))
        return True
