"""All paths that a tail input follows, and the files they name.

Every file is known by device and inode, whatever its name. A file that is followed under one path is not followed again
under another; a file that was finished stays known while it exists, so that a glob which matches rotated names does not
read it twice.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterator

from ...disk import Disk
from ...log import Log
from ...metrics import Counter
from .access import open_regular
from .copies import Copies
from .follower import Follower
from .generation import Generation
from .history import History
from .known import KnownFiles, name_of
from .opening import Opening
from .positions import PositionStore
from .siblings import Siblings


class Catalogue:
    """The followers of an input."""

    def __init__(
        self,
        store: PositionStore,
        disk: Disk,
        opening: Opening,
        make_follower: Callable[[str], Follower | None],
        log: Log,
        closed: Counter,
        rotated: Counter,
        truncated: Counter,
        abandoned: Callable[[int, str], None],
        is_wanted: Callable[[str], bool],
    ) -> None:
        self._store = store
        self._disk = disk
        self._opening = opening
        self._make_follower = make_follower
        self._log = log
        self._closed, self._rotated, self._truncated = closed, rotated, truncated
        self._abandoned = abandoned
        self._followers: dict[str, Follower] = {}
        self._known = KnownFiles(store, disk)
        self._is_wanted = is_wanted
        beside = Siblings(disk, is_wanted)
        self._history = History(store, disk, opening, self._known, beside, log)
        self._copies = Copies(store, disk, opening, self._known, beside, log)

    def __iter__(self) -> Iterator[Follower]:
        return iter(list(self._followers.values()))

    def __len__(self) -> int:
        return len(self._followers)

    def get(self, path: str) -> Follower | None:
        return self._followers.get(path)

    def takes_undecided(self) -> bool:
        """Whether a file has to be looked at again that was too short to tell what it is; asked once."""
        was, self._copies.is_undecided = self._copies.is_undecided, False
        return was

    def found(self, path: str, state: os.stat_result) -> Follower | None:
        """Follow what the path names now; the follower if it has a new file to read."""
        if self._is_known(path, state):
            return None
        follower = self._followers.get(path)
        if follower is None and self._copies.is_copy(path, state, self.get):
            return None
        if self._is_known(path, state):
            return None  # by the look at the file that it may be a copy of
        return self._found_first(path) if follower is None else self._found_next(follower)

    def _is_known(self, path: str, state: os.stat_result) -> bool:
        return (state.st_dev, state.st_ino) in self._known or self._known.is_finished(path, state)

    def _found_first(self, path: str) -> Follower | None:
        follower = self._make_follower(path)
        if follower is None:
            return None
        past = self._history.past(path)
        generation = self._opening.open(path, path)
        if generation is None:
            return None
        self._followers[path] = follower
        follower.generations += self._history.before_the_first(follower, generation, past)
        self._append(follower, generation)
        return follower

    def _found_next(self, follower: Follower) -> Follower | None:
        generation = self._opening.open(follower.path, follower.path)
        if generation is None:
            return None
        self._mark_newest_rotated(follower)
        follower.generations += self._history.between(follower, generation)
        self._append(follower, generation)
        return follower

    def first_scan_is_over(self, began_ns: int) -> None:
        """From now on a path that is found for the first time was not there when the scan began."""
        self._history.first_scan_ns = began_ns

    def resume_without_path(self) -> None:
        """Read on in rotated files whose path names no file at present, as after a rotation that was just done."""
        for path in sorted({saved.path for saved in self._store.files() if not saved.is_taken}):
            if path in self._followers or os.path.isfile(path) or not self._is_wanted(path):
                continue
            follower = self._make_follower(path)
            if follower is not None:
                follower.generations += self._history.before_the_first(follower, None, self._history.past(path))
                if follower.generations:
                    self._followers[path] = follower

    def check(self, follower: Follower) -> os.stat_result | None:
        """Look whether the path names another file than before, and open that; the file's state if it does not."""
        newest = follower.newest
        try:
            state = self._disk.stat(follower.path)
        except (FileNotFoundError, NotADirectoryError):
            self._names_no_file(follower)
            return None
        except OSError as error:
            self._log.error(f"read error, check permissions: {follower.path}", reason=error.strerror, every=60)
            return None
        if not stat.S_ISREG(state.st_mode):
            self._names_no_file(follower)
            return None
        if newest is None or (state.st_dev, state.st_ino) != newest.identity:
            self._mark_newest_rotated(follower)
            self.found(follower.path, state)
            return None
        if newest.is_rotated:
            self._mark_back(newest, follower.path)
        return state

    def _names_no_file(self, follower: Follower) -> None:
        self._mark_newest_rotated(follower)
        # What was put there since the last look may have been renamed already.
        follower.generations += self._history.between(follower, None)
        self._forget_if_gone(follower)

    def truncated(self, follower: Follower, generation: Generation, unread: int) -> bool:
        """A file is about to be begun again; true if what it held goes on in a copy, see `Copies.truncated`."""
        has_begun = bool(generation.first_bytes)
        if has_begun:
            self._truncated.add()
        if self._copies.truncated(follower, generation):
            return True
        if has_begun and unread:
            self._log.error("file was truncated before it was read to its end", file=follower.path, lost_bytes=unread)
            self._abandoned(unread, "truncated_unread")
        return False

    def reopen(self, generation: Generation) -> None:
        """Open the file of a plain generation by its name again; without effect if the name leads elsewhere."""
        if generation.source is not None:
            return
        try:
            fd = open_regular(self._disk, name_of(generation))
        except OSError:
            return
        state = self._disk.fstat(fd)
        if (state.st_dev, state.st_ino) == generation.identity:
            fd, generation.fd = generation.fd, fd
        self._disk.close(fd)

    def finish(self, follower: Follower, generation: Generation) -> None:
        """Let go of a generation that was read to its end; it stays known while the file exists."""
        follower.generations.remove(generation)
        self._known.finish(generation)
        self._closed.add()
        self._forget_if_gone(follower)

    def forget(self, follower: Follower) -> None:
        """No longer follow a path all of whose files were finished."""
        if not follower.generations:
            self._followers.pop(follower.path, None)

    def forget_vanished(self) -> None:
        """Drop what is known of finished files that are gone."""
        self._known.forget_vanished()

    def _forget_if_gone(self, follower: Follower) -> None:
        if not follower.generations and not os.path.lexists(follower.path):
            self._followers.pop(follower.path, None)

    def close(self) -> None:
        for follower in self:
            while follower.generations:
                self._known.close(follower.generations.pop())
                self._closed.add()

    def _append(self, follower: Follower, generation: Generation) -> None:
        self._mark_newest_rotated(follower)
        follower.generations.append(generation)
        self._known.add(generation)

    def _mark_newest_rotated(self, follower: Follower) -> None:
        if follower.newest is not None and not follower.newest.is_rotated:
            self._mark_rotated(follower.newest)

    def _mark_rotated(self, generation: Generation) -> None:
        generation.is_rotated = True
        self._rotated.add()
        saved = generation.saved
        new_name = name_of(generation)
        self._log.info(f"inode={generation.inode} handle rotation(): {saved.name} => {new_name}")
        saved.name, saved.rotated = new_name, True
        self._store.changed(saved)

    def _mark_back(self, generation: Generation, path: str) -> None:
        """The path names a file again that it did not name for a while."""
        generation.is_rotated, generation.quiet_since = False, None
        generation.saved.name, generation.saved.rotated = path, False
        self._store.changed(generation.saved)
