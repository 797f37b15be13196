"""Makes batches durable: writes frames in order, waits for the disk where that is wanted, and settles receipts."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Sequence

from ...clock import Clock
from ...disk import Disk
from ...log import Log
from ...metrics import Counter
from ...record import Receipt
from .entry import Entry
from .log import SegmentLog
from .segment import Segment

POLL_S = 1.0
"""Wait between two attempts while the disk refuses."""


class Put:
    """A batch whose receipt is owed; `data` is its frame, `segment` where it was written."""

    __slots__ = ("data", "entry", "is_settled", "receipt", "segment")

    def __init__(self, entry: Entry, data: bytes, receipt: Receipt) -> None:
        self.entry = entry
        self.data = data
        self.receipt = receipt
        self.segment: Segment | None = None
        self.is_settled = False


class Writer:
    """Writes what is put, and with `syncs` waits for `fsync` before a receipt is settled.

    `_unwritten` are puts the disk has refused so far, `_unsynced` those that are written and wait for `fsync`, all of
    them in one segment. One that all outputs have got meanwhile is settled and stays there: the numbers in a segment
    have no gaps. `_owed` are those that are not settled. While `run` runs, `fsync` is called in a thread.
    """

    def __init__(self, log: SegmentLog, disk: Disk, clock: Clock, tell: Log, failures: Counter, *, syncs: bool) -> None:
        self._log = log
        self._disk = disk
        self._clock = clock
        self._tell = tell
        self._failures = failures
        self._syncs = syncs
        self._unwritten: deque[Put] = deque()
        self._unsynced: deque[Put] = deque()
        self._owed: dict[int, Put] = {}
        self.owed_bytes = 0
        """Bytes of frames that are not durable yet."""
        self.failure: OSError | None = None
        """Why the disk refuses now."""
        self.progress = asyncio.Event()
        """Set whenever something has become durable."""
        self._work = asyncio.Event()
        self._is_running = False
        self._is_syncing = False

    async def run(self) -> None:
        """Wait for `fsync` without holding up the loop, and try again what has failed, until cancelled."""
        self._is_running = True
        try:
            while True:
                await self._clock.wait(self._work, POLL_S if self._unwritten else None)
                self._work.clear()
                self.write()
                if self._unsynced:
                    await self._sync_beside()
        finally:
            self._is_running = False

    def put(self, put: Put) -> list[Put]:
        """Write a batch; gives the puts that are durable by that, for `settle`."""
        self._owed[put.entry.sequence] = put
        self.owed_bytes += len(put.data)
        self._unwritten.append(put)
        return self._write_all()

    def write(self) -> None:
        """Try again what could not be written."""
        if self._unwritten:
            self.settle(self._write_all())

    def settle(self, puts: Sequence[Put]) -> None:
        """Settle receipts, each once."""
        for put in puts:
            if put.is_settled:
                continue
            put.is_settled = True
            del self._owed[put.entry.sequence]
            self.owed_bytes -= len(put.data)
            put.receipt.settle()
        if puts:
            self.progress.set()

    def finished(self, sequences: Sequence[int]) -> None:
        """Nobody needs these batches any more, durable or not."""
        if self._owed:
            self.settle([self._owed[n] for n in sequences if n in self._owed])

    def unwritten(self) -> list[Entry]:
        """The entries that are not on the disk, in order."""
        return [put.entry for put in self._unwritten]

    def close(self) -> None:
        """Make durable what can be, and end the segment."""
        self.write()
        self._log.seal()
        if self._unsynced:
            self.settle(self._sync())
        self._log.close()

    def _write_all(self) -> list[Put]:
        unwritten, log, durable = self._unwritten, self._log, list[Put]()
        try:
            while unwritten:
                put = unwritten[0]
                entry = put.entry
                if self._unsynced and log.must_end(entry.stored):
                    durable += self._sync()
                    continue
                put.segment, entry.offset = log.append(
                    put.data, entry.sequence, entry.outputs, entry.records, entry.size
                )
                entry.path = put.segment.path
                unwritten.popleft()
                if put.is_settled:
                    put.segment.finished.put(entry)
                (self._unsynced if self._syncs else durable).append(put)
        except OSError as error:
            self._note_failure(error)
        else:
            self._note_success()
        if self._unsynced:
            if self._is_running:
                self._work.set()
            else:
                durable += self._sync()
        return durable

    def _sync(self) -> list[Put]:
        try:
            self._fsync(self._log.to_sync())
        except OSError as error:
            self._write_again(error)
            return []
        return self._synced(self._unsynced[-1])

    async def _sync_beside(self) -> None:
        """Wait for the disk in a thread; if cancelled, still until that has ended."""
        last = self._unsynced[-1]
        self._is_syncing = True
        try:
            files = self._log.to_sync()
            syncing = asyncio.get_running_loop().run_in_executor(None, self._fsync, files)
            try:
                await asyncio.shield(syncing)
            except asyncio.CancelledError:
                await asyncio.wait([syncing])
                raise
            finally:
                self._is_syncing = False
        except OSError as error:
            self._is_syncing = False
            self._write_again(error)
            return
        self.settle(self._synced(last))

    def _fsync(self, files: list[int]) -> None:
        for fd in files:
            self._disk.fsync(fd)

    def _synced(self, last: Put) -> list[Put]:
        """All puts up to this one are durable."""
        self._close_synced()
        durable = []
        while self._unsynced and self._unsynced[0].entry.sequence <= last.entry.sequence:
            durable.append(self._unsynced.popleft())
        return durable

    def _write_again(self, error: OSError) -> None:
        """After a failed `fsync` nobody knows what is on the disk: the same frames go into a new segment."""
        for put in reversed(self._unsynced):
            entry, segment = put.entry, put.segment
            assert segment is not None
            segment.uncount(entry.sequence, entry.outputs, entry.records, entry.size, entry.stored)
            if put.is_settled:
                segment.finished.take(entry)
            else:
                put.segment = entry.path = None
                self._unwritten.appendleft(put)
        self._unsynced.clear()
        self._log.abandon()
        self._close_synced()
        self._note_failure(error)
        self._work.set()

    def _close_synced(self) -> None:
        if not self._is_syncing:
            self._log.synced()

    def _note_failure(self, error: OSError) -> None:
        self._failures.add()
        if self.failure is None:
            self._tell.error(
                "records cannot be stored; the input waits and nothing is lost, it is tried again every second",
                reason=error,
                waiting=len(self._unwritten),
                remedy="free space, or make the folder writable",
            )
            # Only for the first one: `run` is to look after a while and not at once when it has failed itself.
            self._work.set()
        self.failure = error

    def _note_success(self) -> None:
        if self.failure is not None:
            self.failure = None
            self._tell.info("records can be stored again")

    def __repr__(self) -> str:
        return f"Writer({len(self._unwritten)} unwritten, {len(self._unsynced)} unsynced)"
