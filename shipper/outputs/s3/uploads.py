"""Sends spools as they become ready, a few at a time, and tries again what failed.

Spools of one tag go in the order in which they were begun, unless the configuration prefers the newest. Each has a
back-off of its own, so a spool that is refused holds up nothing but, if order is wanted, its own tag.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from functools import partial

import msgspec

from ...clock import Clock
from ...errors import Counts, RetryLater
from ...log import Log
from ...metrics import Counter
from ...retry import Backoff
from ...supervisor import outcome
from .bucket import BucketBlocked
from .debts import Debts
from .sending import Sender
from .spool import Spool

AT_ONCE = 4
"""Spools on their way at one time."""

GIVE_UP_REFUSED_S = 24 * 3600.0
"""What the bucket does not take is tried for so long; access may be given, a bucket may be made."""

LINGER_S = 1.0
"""A spool that is in S3 stays on disk for so long, so that its records are known again if the process dies before its
inputs have saved their positions."""

_MOST_LINGERING, _MOST_LINGERING_BYTES = 1000, 500_000_000
"""Spools that may stay although they are in S3; more would not be worth the disk."""

PROBE_S = 60.0
"""The longest wait for what heals without the data, or may be allowed at any time."""

_DRAIN_RETRY_S = 1.0
_UNEXPECTED = "an upload failed unexpectedly; it is tried again"


class Upload(msgspec.Struct, eq=False):
    """A spool and how it goes with it.

    `attempts` are those that failed since the last one that went well, `counted` those of them that count against
    `retry_limit`, and `reached` is how far all uploads had come when the last one failed or the first one began.
    `refused_since` is when it was first refused, if that lasts; `due_since` when there were records to send, or when
    the last step of it went well. `last_error` is what the last attempt ended with, empty if that went well.
    """

    spool: Spool
    attempts: int = 0
    counted: int = 0
    reached: tuple[int, int] | None = None
    last_error: str = ""
    retry_at: float = 0.0
    refused_since: float | None = None
    due_since: float | None = None
    is_busy: bool = False

    @property
    def has_work(self) -> bool:
        sheet = self.spool.sheet
        if sheet.state == "closed":
            return True
        return not sheet.columnar and any(not piece.etag for piece in sheet.pieces)


class _Lingering(msgspec.Struct):
    """A spool that is in S3: how long it stays at least, and which deliveries must have ended before it may go."""

    until: float
    mark: int


class Uploads:
    """All spools that are not in S3.

    `failures` counts the attempts that failed, `unexpected` those of them that no one foresaw. `give_up` is called with
    a spool whose attempts are used up, and the reason.
    """

    def __init__(
        self,
        sender: Sender,
        clock: Clock,
        log: Log,
        backoff: Backoff,
        retries: int | None,
        give_up: Callable[[Spool, str], None],
        failures: Counter,
        unexpected: Counter,
        debts: Debts,
        *,
        in_order: bool,
    ) -> None:
        self._sender = sender
        self._clock = clock
        self._log = log
        self._backoff = backoff
        self._retries = retries
        self._give_up = give_up
        self._failures = failures
        self._unexpected = unexpected
        self._in_order = in_order
        self._waiting: list[Upload] = []
        self._busy = 0
        self._succeeded = 0
        self._succeeded_at = float("-inf")
        self._debts = debts
        self._lingering: dict[Spool, _Lingering] = {}
        self.is_draining = False
        self.wake = asyncio.Event()

    def add(self, spool: Spool) -> None:
        """Send this spool as it becomes ready; those of one tag are added in their order."""
        if spool.sheet.state == "done":
            self._linger(spool)
        else:
            self._waiting.append(Upload(spool))
        self.wake.set()

    @property
    def weight(self) -> int:
        """Bytes on disk."""
        return sum(u.spool.weight for u in self._waiting) + sum(spool.weight for spool in self._lingering)

    def overdue_s(self) -> float:
        """Seconds in which no upload went well although there was something to send."""
        due = [u.due_since for u in self._waiting if u.due_since is not None]
        return max(0.0, self._clock.monotonic() - max(min(due), self._succeeded_at)) if due else 0.0

    def trouble(self) -> str:
        """What keeps the upload from S3 that has waited longest of those that failed; empty if none has."""
        failed = [u for u in self._waiting if u.last_error and u.due_since is not None]
        return min(failed, key=lambda u: u.due_since or 0.0).last_error if failed else ""

    def recognised(self, spool: Spool) -> None:
        """Records of the spool came again, in the last delivery; their input may forget that until it has ended."""
        if spool in self._lingering:
            self._linger(spool)
            self.wake.set()

    def make_room(self) -> None:
        """Remove all that is in S3, even if its records may come again."""
        for spool in list(self._lingering):
            self._remove(spool)

    def try_all_now(self) -> None:
        """The service stops: no back-off, and nothing is given up."""
        if not self.is_draining:
            self.is_draining = True
            for upload in self._waiting:
                upload.retry_at = 0.0
        self.wake.set()

    def start_ready(self, tasks: asyncio.TaskGroup) -> float | None:
        """Start what can go now; gives the seconds until there is something to do without a `wake`."""
        now = self._clock.monotonic()
        self._remove_lingering(now)
        for upload in self._waiting:
            if upload.due_since is None and upload.has_work and not upload.spool.is_empty:
                upload.due_since = now
        for upload in self._ready(now):
            if self._busy >= AT_ONCE:
                break
            self._busy += 1
            upload.is_busy = True
            # A task that is cancelled before its first step gets to no `finally` of its own.
            tasks.create_task(self._attempt(upload)).add_done_callback(partial(self._ended, upload))
        times = [u.retry_at for u in self._waiting if u.retry_at > now and not u.is_busy and u.has_work]
        times += [one.until for spool, one in self._lingering.items() if self._may_go(spool, one)]
        return max(0.0, min(times) - now) if times else None

    def close(self) -> None:
        """Remove what is in S3 and will not come again; the rest stays on disk for the next process."""
        self._remove_lingering(float("inf"))

    def _ready(self, now: float) -> Iterable[Upload]:
        if not self._in_order:
            return [u for u in reversed(self._waiting) if not u.is_busy and u.has_work and u.retry_at <= now]
        first: dict[object, Upload] = {}
        for upload in self._waiting:
            spool = upload.spool
            first.setdefault(spool if spool.is_empty else spool.sheet.tag, upload)
        return [u for u in first.values() if not u.is_busy and u.has_work and u.retry_at <= now]

    def _ended(self, upload: Upload, _: asyncio.Task[None]) -> None:
        self._busy -= 1
        upload.is_busy = False
        self.wake.set()

    async def _attempt(self, upload: Upload) -> None:
        if upload.reached is None:
            upload.reached = self._reached(upload)
        error = await outcome(self._advance(upload), self._log, self._unexpected, _UNEXPECTED, every=60)
        upload.last_error = "" if error is None else str(error) or type(error).__name__
        if error is not None:
            self._failed(upload, error)

    async def _advance(self, upload: Upload) -> None:
        """Make one step and note it; raises `RetryLater`."""
        try:
            is_done = await self._sender.advance(upload.spool)
        except OSError as error:
            told = f"the store cannot be read or written: {error}"
            raise RetryLater(told, counts=Counts.NEVER) from error
        upload.attempts, upload.counted, upload.reached = 0, 0, None
        upload.refused_since, upload.due_since = None, None
        self._succeeded += 1
        self._succeeded_at = self._clock.monotonic()
        if is_done:
            self._done(upload)

    def _reached(self, upload: Upload) -> tuple[int, int]:
        return self._succeeded, sum(bool(piece.etag) for piece in upload.spool.sheet.pieces)

    def _done(self, upload: Upload) -> None:
        spool = upload.spool
        spool.sheet.state = "done"
        try:
            spool.save()
        except OSError as error:
            # Should the process die before the files are gone, S3 will say that the object is there.
            self._log.warning("cannot note that an object is in S3", reason=error)
        self._waiting.remove(upload)
        if spool.sheet.pieces:
            self._log.info(f"Successfully uploaded object /{spool.sheet.key}")
        for owed, _ in spool.owed:
            owed.paid()
        spool.owed.clear()
        self._linger(spool)

    def _failed(self, upload: Upload, error: Exception) -> None:
        now = self._clock.monotonic()
        self._failures.add()
        upload.attempts += 1
        upload.counted += self._counts(upload, error)
        if isinstance(error, BucketBlocked):
            upload.refused_since = now if upload.refused_since is None else upload.refused_since
        else:
            upload.refused_since = None
        if self.is_draining:
            upload.retry_at = now + _DRAIN_RETRY_S
        elif self._retries is not None and upload.counted > self._retries:
            self._end(upload, "no_retries" if self._retries == 0 else "retries_exhausted", error)
            return
        elif upload.refused_since is not None and now - upload.refused_since >= GIVE_UP_REFUSED_S:
            self._end(upload, "refused", error)
            return
        else:
            upload.retry_at = now + self._pause(upload, error)
        pause = upload.retry_at - now
        self._log.warning(
            f"failed to upload, retry in {pause:g} seconds", every=10, key=upload.spool.sheet.key, reason=error
        )

    def _counts(self, upload: Upload, error: Exception) -> bool:
        """Whether the failure counts against `retry_limit`, which is about records."""
        before, upload.reached = upload.reached, self._reached(upload)
        if upload.spool.is_empty:
            return False
        if not isinstance(error, RetryLater) or error.counts is Counts.ALWAYS:
            return True
        return error.counts is Counts.WITHOUT_PROGRESS and upload.reached == before

    def _pause(self, upload: Upload, error: Exception) -> float:
        if not isinstance(error, RetryLater):
            return self._backoff.wait(upload.attempts)
        wish = error.after or 0.0
        pause = self._backoff.wait(upload.attempts, wish)
        return min(pause, max(PROBE_S, wish)) if may_heal_soon(error) else pause

    def _end(self, upload: Upload, reason: str, error: Exception) -> None:
        spool = upload.spool
        self._waiting.remove(upload)
        if spool.is_empty:
            told = "a multipart upload is given up; it stays open until it is aborted by hand or by the bucket's rules"
            self._log.error(told, key=spool.sheet.key, id=spool.sheet.lost_upload, reason=error)
            self._unlink(spool)
            return
        self._log.error("an object is given up", key=spool.sheet.key, why=reason, reason=error)
        self._give_up(spool, reason)
        if spool.is_deleted and spool.sheet.lost_upload is not None:
            self.add(spool)

    def _linger(self, spool: Spool) -> None:
        self._lingering[spool] = _Lingering(self._clock.monotonic() + LINGER_S, self._debts.mark())

    def _may_go(self, spool: Spool, one: _Lingering) -> bool:
        return not spool.is_expected and self._debts.have_ended(one.mark)

    def _remove_lingering(self, now: float) -> None:
        weight, count = sum(spool.weight for spool in self._lingering), len(self._lingering)
        for spool, one in list(self._lingering.items()):
            is_too_much = count > _MOST_LINGERING or weight > _MOST_LINGERING_BYTES
            if not is_too_much and not self._may_go(spool, one):
                one.until = now + LINGER_S
            elif is_too_much or one.until <= now:
                count, weight = count - 1, weight - spool.weight
                self._remove(spool)

    def _remove(self, spool: Spool) -> None:
        del self._lingering[spool]
        self._unlink(spool)

    def _unlink(self, spool: Spool) -> None:
        try:
            spool.remove()
        except OSError as error:
            self._log.warning("cannot remove a file of the store", every=60, reason=error)

    def __repr__(self) -> str:
        return f"Uploads({len(self._waiting)} waiting, {self._busy} on their way)"


def may_heal_soon(error: RetryLater) -> bool:
    """Whether it is worth a look each minute at least."""
    return isinstance(error, BucketBlocked) or error.counts is Counts.NEVER
