"""The folder in which an output keeps what is not in S3 yet, and the counters of its keys.

    STORE_DIR/BUCKET/NAME-DESTINATION/            one for each output; DESTINATION is a number made of where it sends
        lock                                      held by the process that uses the folder
        ID.data ID.json …                         spools
        quarantine/                               spools that were given up; sent again after the next start
        counters.json                             the next $INDEX for each prefix
        ID.left, ID.upload                        what Fluent Bit has left in STORE_DIR/BUCKET (`left_behind`)

A folder whose process has died, and which no output uses any more because it has another name now, is taken over by an
output with the same destination.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import re
from collections.abc import Iterator
from pathlib import Path

import msgspec

from ...disk import Disk
from ...log import Log
from .keys import COUNTER_LIMIT
from .ownership import NotOurs, Ownership
from .recovery import Damaged, adopt, rest_without_sheet
from .spool import SUFFIXES, Spool, opened, write_all

QUARANTINE = "quarantine"

_NAME = re.compile(r"([0-9a-f]{24})\.json")
_TAKEN = re.compile(r"[0-9a-f]{24}\.(?:left|upload)")
_UNSAFE = re.compile(r"[^A-Za-z0-9_-]")
_TRIES = 64
_COUNTERS = 10_000
"""Prefixes remembered; the oldest is forgotten first. If it comes again, no object is written over all the same."""

_decode_counters = msgspec.json.Decoder(dict[str, int]).decode


class StoreInUse(Exception):
    """No folder of this name can be had."""


class Store:
    """The folder of one output. `open` comes first."""

    def __init__(self, root: Path, bucket: str, name: str, destination: str, disk: Disk, log: Log) -> None:
        digest = hashlib.sha256(destination.encode()).hexdigest()[:8]
        self._root = root
        self._bucket_folder = root / bucket
        self._ownership = Ownership(disk)
        self._name = f"{_UNSAFE.sub('_', name)[:100]}-{digest}"
        self._end = f"-{digest}"
        self._legacy_counter = root / bucket / "sequence" / "index_metadata" / f"seq_index_{name.rpartition('.')[2]}"
        self._disk = disk
        self._log = log
        self._lock: int | None = None
        self._counters: dict[str, int] = {}
        self.folder = self._bucket_folder / self._name

    def open(self) -> list[Spool]:
        """Take the folder and give what is left in it, oldest first. Raises `OSError`, `StoreInUse` or `NotOurs`."""
        self._disk.mkdirs(str(self._root))
        self._ownership.check_way(self._root)
        self._make(self._bucket_folder)
        for number in range(1, _TRIES):
            self.folder = self._bucket_folder / (f"{number}-{self._name}" if number > 1 else self._name)
            self._make(self.folder)
            self._lock = _locked(self.folder)
            if self._lock is not None:
                break
        else:
            raise StoreInUse(f"all folders like {self.folder} are in use by other processes")
        self._make(self.folder / QUARANTINE)
        for folder in (self.folder, self.folder / QUARANTINE):
            self._ownership.check_files(folder)
        self._read_counters()
        self._move(self.folder / QUARANTINE, self.folder)
        return list(self._adopted())

    def take_over(self) -> list[Spool]:
        """What is left in folders of the same destination that nobody uses."""
        before = {name for name, _ in self._sheets(self.folder)}
        for folder in sorted(self._bucket_folder.glob(f"*{self._end}")):
            if folder == self.folder or not folder.is_dir() or not self._is_ours(folder):
                continue
            lock = _locked(folder)
            if lock is None:
                continue
            try:
                for left in (folder / QUARANTINE, folder):
                    self._move(left, self.folder)
            finally:
                os.close(lock)
        return list(self._adopted(before))

    def _make(self, folder: Path) -> None:
        self._disk.mkdirs(str(folder))
        self._ownership.check_own(folder)

    def _is_ours(self, folder: Path) -> bool:
        try:
            for place in (folder, folder / QUARANTINE):
                if place.is_dir():
                    self._ownership.check_own(place)
                    self._ownership.check_files(place)
        except (NotOurs, OSError) as error:
            self._log.error("what is left in a folder of the store is not sent", folder=folder, reason=error)
            return False
        return True

    def close(self) -> None:
        """Let others have the folder."""
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def quarantine(self, spool: Spool, limit: int) -> bool:
        """Put the spool aside; false if that would weigh more than the limit, and then it stays where it is."""
        folder = self.folder / QUARANTINE
        weight = sum(path.stat().st_size for path in folder.iterdir())
        if limit and weight + spool.weight > limit:
            return False
        for suffix in SUFFIXES:
            with contextlib.suppress(FileNotFoundError):
                self._disk.rename(str(spool.path(suffix)), str(folder / f"{spool.name}{suffix}"))
        return True

    def next_counter(self, prefix: str) -> int:
        """The next number for a prefix; it is on disk before it is used."""
        number = self._counters.pop(prefix, None)
        if number is None:
            number = self._first_counter()
        self._counters[prefix] = (number + 1) % COUNTER_LIMIT
        while len(self._counters) > _COUNTERS:
            del self._counters[next(iter(self._counters))]
        path = str(self.folder / "counters.json")
        with opened(self._disk, f"{path}.new", os.O_WRONLY | os.O_CREAT | os.O_TRUNC) as fd:
            write_all(self._disk, fd, msgspec.json.encode(self._counters))
            self._disk.fsync(fd)
        self._disk.rename(f"{path}.new", path)
        return number

    def _first_counter(self) -> int:
        """Where Fluent Bit stopped, if it was here before."""
        try:
            return int(self._legacy_counter.read_text()) % COUNTER_LIMIT
        except (OSError, ValueError):
            return 0

    def _read_counters(self) -> None:
        try:
            self._counters = _decode_counters((self.folder / "counters.json").read_bytes())
        except FileNotFoundError:
            self._counters = {}
        except msgspec.MsgspecError as error:
            self._log.warning("the counters for $INDEX cannot be read and begin again", reason=error)

    def _adopted(self, but: frozenset[str] | set[str] = frozenset()) -> Iterator[Spool]:
        for name, path in self._sheets(self.folder):
            if name in but:
                continue
            try:
                yield adopt(self.folder, name, self._disk)
            except Damaged as error:
                self._log.error("what is left of an object cannot be read and is put aside", file=path, reason=error)
                rest = rest_without_sheet(self.folder, name, self._disk)
                for suffix in SUFFIXES:
                    with contextlib.suppress(OSError):
                        target = self.folder / QUARANTINE / f"damaged-{name}{suffix}"
                        self._disk.rename(str(self.folder / f"{name}{suffix}"), str(target))
                if rest is not None:
                    yield rest

    def _sheets(self, folder: Path) -> Iterator[tuple[str, Path]]:
        for path in sorted(folder.iterdir()):
            if found := _NAME.fullmatch(path.name):
                yield found[1], path

    def _move(self, source: Path, target: Path) -> None:
        """Move spools; the sheet goes last, so that a spool is not taken for one without data."""
        if not source.is_dir():
            return
        for name, _ in self._sheets(source):
            for suffix in SUFFIXES:
                with contextlib.suppress(FileNotFoundError):
                    self._disk.rename(str(source / f"{name}{suffix}"), str(target / f"{name}{suffix}"))
        for path in sorted(source.iterdir()):
            if _TAKEN.fullmatch(path.name):
                self._disk.rename(str(path), str(target / path.name))


def _locked(folder: Path) -> int | None:
    """A descriptor that holds the folder's lock, None if somebody else does."""
    fd = os.open(folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(fd)
        return None
    except OSError:
        os.close(fd)
        raise
    return fd
