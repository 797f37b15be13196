"""Brings what Fluent Bit has left in the `store_dir` to S3, beside everything else and for as long as that takes."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

from ...clock import Clock
from ...errors import RetryLater
from ...log import Log
from ...retry import Backoff
from .bucket import Bucket
from .left_behind import LEFT, UPLOAD, LeftBehind, Unreadable
from .left_uploads import LeftUploads
from .spool import Sheet, Spool
from .uploads import PROBE_S, may_heal_soon


class TakingOver:
    """What is left, file by file. `claim` comes first, and before any spool is sent."""

    def __init__(self, left: LeftBehind, uploads: LeftUploads, clock: Clock, log: Log, backoff: Backoff) -> None:
        self._left = left
        self._uploads = uploads
        self._clock = clock
        self._log = log
        self._backoff = backoff
        self._files: list[Path] = []
        self._most_pause_s = math.inf

    def claim(self, own: Path) -> None:
        """Take over what is there, into the output's own folder."""
        try:
            self._left.claim(own)
            self._files = [path for suffix in (LEFT, UPLOAD) for path in self._left.waiting(own, suffix)]
        except OSError as error:
            self._log.error("cannot look for what Fluent Bit has left in store_dir", reason=error)

    async def run(
        self, sheet_for: Callable[[str, int], Sheet], date_key: str | None, add: Callable[[Spool], None], bucket: Bucket
    ) -> None:
        """Hand a spool of each file to `add`, and complete the uploads; ends when nothing is left."""
        if self._files:
            self._log.info("what Fluent Bit has left in store_dir is sent", files=len(self._files))
        attempts = 0
        while self._files:
            self._most_pause_s = math.inf
            for path in list(self._files):
                if await self._is_done(path, sheet_for, date_key, add, bucket):
                    self._files.remove(path)
            if self._files:
                attempts += 1
                await self._clock.sleep(min(self._backoff.wait(attempts), self._most_pause_s))

    async def _is_done(
        self,
        path: Path,
        sheet_for: Callable[[str, int], Sheet],
        date_key: str | None,
        add: Callable[[Spool], None],
        bucket: Bucket,
    ) -> bool:
        try:
            if path.suffix == UPLOAD:
                await self._uploads.complete(path, bucket)
            elif (spool := await self._left.adopt(path, sheet_for, date_key)) is not None:
                add(spool)
        except Unreadable as error:
            self._log.error("a file of Fluent Bit cannot be sent and is put aside", file=path, reason=error)
            self._left.put_aside(path, "unreadable")
        except (RetryLater, OSError) as error:
            if isinstance(error, OSError) or may_heal_soon(error):
                self._most_pause_s = PROBE_S
            self._log.warning(
                "what Fluent Bit has left is not sent yet, it is tried again", every=60, file=path, reason=error
            )
            return False
        return True
