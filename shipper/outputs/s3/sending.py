"""Brings a spool to S3: which call comes next, and what to make of an answer that nobody got.

    one piece, closed        PutObject
    more, or not closed      CreateMultipartUpload once, UploadPart for each piece, CompleteMultipartUpload when closed

What is about to be done is on the sheet before it is done, so that after a kill the same is done again and nothing
else: the same bytes under the same key. No object of others is ever written over. A key with random characters has
none there; for any other S3 is asked to write only where nothing is (If-None-Match), and if something is there, it is
either ours, from an attempt whose answer was lost, or the object gets random characters behind its key.
"""

from __future__ import annotations

import asyncio
import hashlib
import re
from collections.abc import Callable, Sequence

from ...aws.messages import FilePart
from ...aws.settings import AwsError
from ...errors import RetryLater
from ...log import Log
from .bucket import Bucket, BucketBlocked, NoReply, file_digest
from .keys import random_name, with_ending
from .spool import Sheet, Spool

ObjectMaker = Callable[[Spool], FilePart]
"""Makes the object of a spool whose data are not the object itself; takes long."""

ONLY_IF_NEW = {"If-None-Match": "*"}

_MD5 = re.compile("[0-9a-f]{32}")
_TELL_EVERY_S = 60.0


class Sender:
    """Sends spools to a bucket. `count_doubt` is called for an object whose fate cannot be found out."""

    def __init__(
        self,
        bucket: Bucket,
        log: Log,
        make_object: ObjectMaker,
        count_doubt: Callable[[], None],
        *,
        resend_at_once: bool,
    ) -> None:
        self._bucket = bucket
        self._log = log
        self._make_object = make_object
        self._count_doubt = count_doubt
        self._resend_at_once = resend_at_once
        self._is_conditional = True

    async def advance(self, spool: Spool) -> bool:
        """Send what there is to send; true when S3 has the whole object. Raises `RetryLater`.

        A call without an answer is made once more, at once: a connection that was kept may be closed by the other end
        at the moment it is used again.
        """
        try:
            return await self._advance(spool)
        except NoReply as error:
            if error.timed_out or not self._resend_at_once:
                raise
        return await self._advance(spool)

    async def _advance(self, spool: Spool) -> bool:
        sheet = spool.sheet
        is_closed = sheet.state != "open"
        if sheet.upload_id == "" or (is_closed and not sheet.pieces):
            sheet.lose_upload()
        if not sheet.pieces:
            if is_closed:
                await self._abort_lost(spool)
            return is_closed
        try:
            await self._abort_lost(spool)
        except BucketBlocked as error:
            # The object does not need that, and it is asked for again at the next step.
            told = "a multipart upload that cannot be resumed stays open as long as it cannot be aborted"
            self._log.warning(told, every=_TELL_EVERY_S, key=sheet.key, id=sheet.lost_upload, reason=error)
        if sheet.columnar or (is_closed and len(sheet.pieces) == 1 and sheet.upload_id is None):
            return is_closed and await self._put(spool)
        await self._put_parts(spool)
        return is_closed and await self._complete(spool)

    async def _put(self, spool: Spool) -> bool:
        sheet = spool.sheet
        body = spool.part(sheet.pieces[0])
        if sheet.columnar:
            body = await asyncio.to_thread(self._make_object, spool)
        while True:
            was_sent = await self._announce(spool)
            try:
                if await self._may_write(spool):
                    await self._bucket.put(sheet.key, body, {**_headers(spool), **self._condition(spool)})
                    return True
            except AwsError as error:
                if self._learn_unconditional(error):
                    sheet.was_sent = was_sent
                    continue
                if error.code != "PreconditionFailed":
                    raise BucketBlocked(str(error)) from error
            if was_sent and await self._is_ours(spool, body.size, lambda: _md5_of(body)):
                return True
            self._choose_other_key(spool)

    async def _put_parts(self, spool: Spool) -> None:
        sheet = spool.sheet
        if not sheet.upload_id:
            spool.note_upload("")
            try:
                upload_id = await self._bucket.create_upload(sheet.key, _headers(spool))
            except AwsError as error:
                raise BucketBlocked(str(error)) from error
            spool.note_upload(upload_id)
        for number, piece in enumerate(sheet.pieces, 1):
            if piece.etag:
                continue
            try:
                piece.etag = await self._bucket.put_part(sheet.key, sheet.upload_id or "", number, spool.part(piece))
            except AwsError as error:
                raise self._without_upload(spool, error) from error
            spool.save()

    async def _complete(self, spool: Spool) -> bool:
        sheet = spool.sheet
        etags = [piece.etag for piece in sheet.pieces]
        was_sent = await self._announce(spool)
        try:
            if await self._may_write(spool):
                await self._bucket.complete_upload(sheet.key, sheet.upload_id or "", etags, self._condition(spool))
                return True
        except AwsError as error:
            if self._learn_unconditional(error):
                sheet.was_sent = was_sent
                return await self._complete(spool)
            if error.code not in ("PreconditionFailed", "NoSuchUpload"):
                raise BucketBlocked(str(error)) from error
            if error.code == "NoSuchUpload" and not was_sent:
                raise self._without_upload(spool, error) from error
            size = sheet.pieces[-1].end
            if was_sent and await self._is_ours(spool, size, lambda: etag_of_parts(etags)):
                return True
            if error.code == "NoSuchUpload":
                raise self._without_upload(spool, error) from error
        await self._bucket.abort_upload(sheet.key, sheet.upload_id or "")
        self._choose_other_key(spool)
        return await self._advance(spool)

    async def _announce(self, spool: Spool) -> bool:
        """Note that the object may be in S3 from now on; gives whether that could have been before."""
        was_sent = spool.sheet.was_sent
        if not was_sent:
            spool.sheet.was_sent = True
            spool.save()
        return was_sent

    async def _is_ours(self, spool: Spool, size: int, expected: Callable[[], str]) -> bool:
        """Whether the object that is there is the one we sent before."""
        sheet = spool.sheet
        try:
            found = await self._bucket.head(sheet.key)
        except BucketBlocked as error:
            return self._is_ours_unseen(sheet, error)
        if found is None:
            return False
        found_size, etag = found
        if found_size < 0:
            return self._is_ours_unseen(sheet, "its size is not told")
        if found_size != size:
            return False
        if sheet.is_unique or not _MD5.fullmatch(etag.partition("-")[0]):
            return True
        # Objects encrypted with keys of KMS have tags that are no MD5; then same key and same size have to do.
        wanted = await asyncio.to_thread(expected)
        return wanted in ("", etag) or ("-" in etag) != ("-" in wanted)

    def _is_ours_unseen(self, sheet: Sheet, reason: object) -> bool:
        if not sheet.is_unique:
            self._count_doubt()
            self._log.warning("an object may have been sent twice, it cannot be read", key=sheet.key, reason=reason)
        return sheet.is_unique

    def _choose_other_key(self, spool: Spool) -> None:
        sheet = spool.sheet
        taken, sheet.key = sheet.key, with_ending(sheet.key, f"-object{random_name()}")
        sheet.is_unique, sheet.was_sent, sheet.lost_upload = True, False, None
        spool.forget_upload()
        self._log.warning("an object of this key exists and stays as it is", key=taken, sent_as=sheet.key)

    def _without_upload(self, spool: Spool, error: AwsError) -> RetryLater:
        """What to raise when an upload is gone: everything is sent again, from the data on disk."""
        if error.code == "NoSuchUpload":
            self._log.warning("the multipart upload is gone and is begun anew", key=spool.sheet.key)
            spool.forget_upload()
            return RetryLater(str(error), 0.0)
        return BucketBlocked(str(error))

    async def _abort_lost(self, spool: Spool) -> None:
        """Abort the upload that cannot be gone on with; if its id is not known, all that are open for the key."""
        sheet = spool.sheet
        if sheet.lost_upload is None:
            return
        try:
            lost = [sheet.lost_upload] if sheet.lost_upload else await self._bucket.uploads_of(sheet.key)
        except AwsError as error:
            raise BucketBlocked(str(error)) from error
        for upload_id in lost:
            if upload_id != sheet.upload_id:
                await self._bucket.abort_upload(sheet.key, upload_id)
                self._log.info("aborted a multipart upload that cannot be resumed", key=sheet.key)
        sheet.lost_upload = None
        spool.save()

    async def _may_write(self, spool: Spool) -> bool:
        """Look whether the key is free, where S3 cannot be asked to write only if it is."""
        if self._is_conditional or spool.sheet.is_unique:
            return True
        return await self._bucket.head(spool.sheet.key) is None

    def _condition(self, spool: Spool) -> dict[str, str]:
        return ONLY_IF_NEW if self._is_conditional and not spool.sheet.is_unique else {}

    def _learn_unconditional(self, error: AwsError) -> bool:
        """Whether the service does not know If-None-Match, so that it has to be asked in another way."""
        if not self._is_conditional or not knows_no_conditions(error):
            return False
        self._is_conditional = False
        return True


def _headers(spool: Spool) -> dict[str, str]:
    compression = spool.sheet.compression
    return {"Content-Encoding": compression} if compression != "none" and not spool.sheet.columnar else {}


def knows_no_conditions(error: AwsError) -> bool:
    """Whether it says that the service does not know If-None-Match for what it is to write.

    Some web servers answer "not modified" to it, which is an answer for reading.
    """
    return error.code == "NotImplemented" or error.status == 304


def _md5_of(body: FilePart) -> str:
    return file_digest(body, hashlib.md5).hex()


def etag_of_parts(etags: Sequence[str]) -> str:
    """The tag that S3 gives an object made of these parts; empty if that cannot be known."""
    if not all(_MD5.fullmatch(etag) for etag in etags):
        return ""
    return f"{hashlib.md5(bytes.fromhex(''.join(etags))).hexdigest()}-{len(etags)}"
