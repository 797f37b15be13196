"""Finding files, and finding out what happens to them.

File events are hints that save waiting; a regular look at every path and file is the truth. All of this goes on beside
the reader, also while that waits for room: a rotated file has to be open before it is deleted.
"""

from __future__ import annotations

import asyncio
import os
import time

from ...context import Context
from .catalogue import Catalogue
from .counting import Counting
from .deleted import DeletedFiles
from .discovery import Discovery
from .follower import Follower
from .generation import Generation, Identity
from .matching import Matching
from .notify import Notifier
from .opening import Opening
from .options import TailOptions
from .positions import PositionStore
from .saving import PacedSaving
from .stalled import Watchdog
from .turns import Turns

SCAN_S = 1.0
"""Time between looks at the folders for new files; a folder whose time did not change is not listed."""

SUCCESSOR_S = 5.0
"""How long after a rotation the path is looked at often, because its new file is not there at once."""

STALLED_S = 10.0
"""A file with unread bytes from which nothing could be read for so long is opened anew."""

LOOK_S = 2.0
"""Time between looks at every file, if what the options say makes no sense."""

PACE_S = 0.05
"""Rest between rounds, so that a busy writer does not wake us for every line."""

STAT_POLL_S = 0.25
"""Time between looks at every file when there are no file events."""


class Looking:
    """Keeps the catalogue true to the disk and gives the reader files with something to read."""

    def __init__(
        self,
        options: TailOptions,
        context: Context,
        catalogue: Catalogue,
        opening: Opening,
        matching: Matching,
        store: PositionStore,
        saving: PacedSaving,
        turns: Turns,
        counting: Counting,
    ) -> None:
        self._options = options
        self._context = context
        self._log = context.log
        self._clock = context.clock
        self._catalogue = catalogue
        self._opening = opening
        self._matching = matching
        self._store = store
        self._saving = saving
        self._turns = turns
        self._counting = counting
        self._discovery = Discovery(options.path, options.exclude_path, context.disk, self._log)
        self._notifier = Notifier(self._file_event, self._folder_event, self._log)
        self._deleted = DeletedFiles(
            context.disk, int(options.deleted_files_limit), float(options.deleted_files_max_age)
        )
        self._watchdog = Watchdog()
        self._handles: dict[Identity, int | None] = {}
        self._is_scan_due = False
        self._is_due = asyncio.Event()
        self._noticed: set[str] = set()
        """Paths with events that the reader has not come to."""
        self._successors: dict[str, float] = {}
        """Paths whose file was renamed and that name no new one yet; until when they are looked at often."""
        self.has_scanned = False
        self.is_held_up = False
        """Whether the reader waits for room; events of files are then looked into beside it."""

    def open(self) -> None:
        """Listen for file events, if they are wanted."""
        if self._options.inotify_watcher:
            self._notifier.open()

    def close(self) -> None:
        self._notifier.close()

    async def run(self) -> None:
        """Scan and look regularly, and scan at once after an event in a folder; until cancelled."""
        next_scan = next_look = next_full_scan = self._clock.monotonic()
        look_s = self._look_interval_s() if self._options.inotify_watcher else STAT_POLL_S
        while True:
            now = self._clock.monotonic()
            self._look_at_noticed(now)
            if now >= next_scan or self._is_scan_due:
                is_full = now >= next_full_scan
                self._scan(is_full)
                next_scan = now + SCAN_S
                if is_full:
                    next_full_scan = now + float(self._options.refresh_interval)
                    next_scan = min(next_scan, next_full_scan)
            if now >= next_look:
                self.look_at_all()
                next_look = now + look_s
            if self._turns:
                self._turns.is_filled.set()
            rest = min(next_scan, next_look) - self._clock.monotonic()
            if any(until > now for until in self._successors.values()):
                rest = min(rest, PACE_S)
            if await self._clock.wait(self._is_due, max(0.0, rest)):
                await self._clock.sleep(PACE_S)
                self._is_due.clear()

    def _look_interval_s(self) -> float:
        """Time between two looks at every file; nothing but a rest above zero makes sense."""
        options = self._options
        interval_s = float(options.progress_check_interval) + options.progress_check_interval_nsec / 1e9
        if interval_s > 0:
            return max(PACE_S, interval_s)
        self._log.warning("progress_check_interval is not above 0 and left out", taken=f"{LOOK_S:g}s")
        return LOOK_S

    # -- new files ---------------------------------------------------------------------------------------------------

    def _scan(self, is_full: bool) -> None:
        """Find new files. A folder that was not touched is passed over unless this is a full scan."""
        self._is_scan_due = False
        began_ns = time.time_ns()
        is_undecided = self._catalogue.takes_undecided()
        oldest_s = self._oldest_wanted_s()
        if self._options.ignore_active_older_files:
            self._let_go_of_old(oldest_s)
        if not (self._discovery.has_changed() or is_full or is_undecided):
            return
        found = self._discovery.scan()
        self._opening.forget_passed_over({(state.st_dev, state.st_ino) for _, state in found})
        for path, state in found:
            if state.st_mtime < oldest_s and self._catalogue.get(path) is None:
                self._opening.pass_over(path, state)
                continue
            follower = self._found(path, state)
            if follower is not None:
                self._watch(follower)
                self._turns.add(follower)
                follower.note_lag(self._clock.monotonic())
        if self._options.inotify_watcher:
            self._notifier.watch_folders(self._discovery.folders())
        if not self.has_scanned:
            self._first_scan_is_over(began_ns)
        elif is_full:
            self._catalogue.forget_vanished()
        self._saving.schedule()

    def _oldest_wanted_s(self) -> float:
        age_s = float(self._options.ignore_older)
        return self._clock.time_ns() / 1e9 - age_s if age_s else 0.0

    def _found(self, path: str, state: os.stat_result) -> Follower | None:
        try:
            return self._catalogue.found(path, state)
        except OSError as error:
            self._opening.tell_unreadable(path, error)
            return None

    def _first_scan_is_over(self, began_ns: int) -> None:
        self._opening.first_scan_is_over()
        self._catalogue.resume_without_path()
        self._catalogue.first_scan_is_over(began_ns)
        self.has_scanned = True
        if count := self._matching.forget_stale_rows():
            self._log.info(f"db: delete unmonitored stale inodes from the database: count={count}")

    def _let_go_of_old(self, oldest_s: float) -> None:
        """Close files that were not changed for too long; one that is changed later goes on where it was left."""
        for follower in self._catalogue:
            one = follower.newest
            if one is None or len(follower.generations) > 1 or one.mtime_ns / 1e9 >= oldest_s:
                continue
            follower.look_at(one)
            if one.mtime_ns / 1e9 < oldest_s and not one.has_unread and follower.is_settled:
                self._log.info("file is let go because it was not changed for ignore_older", file=follower.path)
                self._close_file(follower, one)
                self._catalogue.forget(follower)

    # -- known files -------------------------------------------------------------------------------------------------

    def look_at_all(self) -> None:
        """The regular look at every path and file, which makes good whatever events did not tell."""
        for follower in self._catalogue:
            try:
                self.look_at(follower)
            except OSError as error:
                self._opening.tell_unreadable(follower.path, error)
        if self._store.failing_for_s():
            self._saving.schedule()
        self._let_go_of_deleted()
        self._reopen_stalled()

    def has_read(self, path: str) -> None:
        """The reader has come to the file, so that its events are dealt with."""
        self._noticed.discard(path)

    def _look_at_noticed(self, now: float) -> None:
        """Look where files were renamed or, while the reader is held up, where anything happened."""
        awaited = {path for path, until in self._successors.items() if until > now}
        for path in awaited | (self._noticed if self.is_held_up else set()):
            self._noticed.discard(path)
            follower = self._catalogue.get(path)
            if follower is None:
                self._successors.pop(path, None)
                continue
            try:
                for generation in follower.generations[:]:
                    follower.look_at(generation)
                self.look_at(follower)
            except OSError as error:
                self._opening.tell_unreadable(path, error)
        if self.is_held_up:
            self._let_go_of_deleted()

    def look_at(self, follower: Follower) -> None:
        """See whether the path names another file now, whether there is more to read, and which files are finished."""
        newest = follower.newest
        state = self._catalogue.check(follower)
        if state is not None and follower.is_unchanged(state):
            return
        if follower.newest is not newest:
            self._watch(follower)
        self._await_successor(follower)
        now = self._clock.monotonic()
        if follower.has_data():
            self._turns.add(follower)
            follower.note_lag(now)
            return
        for generation in follower.generations[:]:
            self._let_go(follower, generation, now)

    def _await_successor(self, follower: Follower) -> None:
        """Look often for a while whether a path whose file was renamed names a new one."""
        newest = follower.newest
        if newest is None or not newest.is_rotated:
            self._successors.pop(follower.path, None)
        elif follower.path not in self._successors:
            self._successors[follower.path] = self._clock.monotonic() + SUCCESSOR_S
            self._is_due.set()

    def _let_go(self, follower: Follower, generation: Generation, now: float) -> None:
        """Close a rotated file that was read to its end, is delivered, and stayed quiet for rotate_wait."""
        if not generation.is_rotated:
            return
        # Behind an older file whose last line has no end yet, nobody has looked at this one.
        follower.look_at(generation)
        if generation.has_unread:
            return
        if generation.quiet_since is None:
            generation.quiet_since = now
        elif now - generation.quiet_since >= float(self._options.rotate_wait):
            if follower.can_end_line(generation):
                self._turns.add(follower)  # its last line has no newline: the next round ends it
            elif generation.is_safe_to_its_end and not generation.has_unfinished_line:
                self._count_unread(generation)
                self._close_file(follower, generation)

    def _count_unread(self, generation: Generation) -> None:
        """Count and tell what a file has, or should have, that cannot be read."""
        if generation.is_blocked:
            self._counting.abandoned(generation.size - generation.offset, "line_too_long")
        source = generation.source
        if source is not None and (lost := source.unfinished_bytes):
            self._counting.abandoned(lost, "incomplete_file")
            why = source.failure or "its end is missing"
            self._log.error(
                "file is closed though not all of it could be read",
                file=generation.saved.name,
                because=why,
                lost_bytes=lost,
            )

    def _let_go_of_deleted(self) -> None:
        """Close deleted files unread where they are beyond the bounds that the user has set."""
        if not self._deleted.is_bounded:
            return
        for follower, one in self._deleted.beyond_bounds(self._catalogue, self._clock.monotonic()):
            lost = follower.abandon(one)
            self._counting.abandoned(lost, "deleted_file_limit")
            self._log.error(
                "deleted file is closed unread, because deleted files are beyond their limit",
                file=one.saved.name,
                inode=one.inode,
                offset=one.offset,
                size=one.size,
                lost_bytes=lost,
            )
            self._close_file(follower, one)

    def _reopen_stalled(self) -> None:
        """Open files anew that grow while nothing is read from them."""
        if self.is_held_up:
            self._watchdog.rest()
            return
        for one in self._watchdog.stalled(self._catalogue, self._clock.monotonic(), STALLED_S):
            self._context.counter("tail_stalled_total").add()
            self._log.warning(
                "nothing could be read from a file that grows; it is opened anew",
                file=one.saved.name,
                offset=one.offset,
                size=one.size,
            )
            self._catalogue.reopen(one)

    def _close_file(self, follower: Follower, generation: Generation) -> None:
        self._notifier.forget(self._handles.pop(generation.identity, None))
        self._catalogue.finish(follower, generation)
        self._saving.schedule()

    # -- events ------------------------------------------------------------------------------------------------------

    def _watch(self, follower: Follower) -> None:
        newest = follower.newest
        if newest is not None and self._options.inotify_watcher and newest.identity not in self._handles:
            self._handles[newest.identity] = self._notifier.watch_file(follower.path, newest.fd)

    def _file_event(self, path: str) -> None:
        follower = self._catalogue.get(path)
        if follower is not None:
            self._turns.add(follower)
            self._noticed.add(path)
            self._turns.is_filled.set()
            if self.is_held_up:
                self._is_due.set()

    def _folder_event(self) -> None:
        self._is_scan_due = True
        self._is_due.set()
