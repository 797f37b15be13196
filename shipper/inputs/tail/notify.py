"""File events. They are hints that save waiting; a regular look at every file stays the truth."""

from __future__ import annotations

import asyncio
import errno
from collections.abc import Callable

from inotify_simple import INotify, flags

from ...log import Log
from .access import remedy_of

_FILE = flags.MODIFY | flags.ATTRIB | flags.MOVE_SELF
_FOLDER = flags.CREATE | flags.MOVED_TO | flags.DELETE | flags.ONLYDIR


class Notifier:
    """Tells which watched paths had events; if the system refuses, the input works without and a line says so once."""

    def __init__(self, on_file: Callable[[str], None], on_folder: Callable[[], None], log: Log) -> None:
        self._on_file = on_file
        self._on_folder = on_folder
        self._log = log
        self._inotify: INotify | None = None
        self._files: dict[int, str] = {}
        self._folders: dict[str, int] = {}

    def open(self) -> None:
        """Begin to listen on the running event loop."""
        try:
            self._inotify = INotify(nonblocking=True)
        except OSError as error:
            self._log.warning("file events are not available; files are looked at regularly", reason=error)
            return
        asyncio.get_running_loop().add_reader(self._inotify.fileno(), self._take_events)

    def watch_file(self, path: str, fd: int) -> int | None:
        """Watch the open file, through renames, and tell its events under this path; gives a handle for `forget`."""
        # Not by the path, which may name another file by now.
        handle = self._add(f"/proc/self/fd/{fd}", _FILE, path)
        if handle is not None:
            self._files[handle] = path
        return handle

    def watch_folders(self, folders: list[str]) -> None:
        """Watch exactly these folders for new names."""
        for folder in folders:
            if folder not in self._folders and (handle := self._add(folder, _FOLDER, folder)) is not None:
                self._folders[folder] = handle
        for folder in set(self._folders) - set(folders):
            self.forget(self._folders.pop(folder))

    def forget(self, handle: int | None) -> None:
        if self._inotify is None or handle is None:
            return
        self._files.pop(handle, None)
        try:
            self._inotify.rm_watch(handle)
        except OSError:
            # The kernel forgets the watch by itself when the file is gone.
            return

    def close(self) -> None:
        if self._inotify is not None:
            asyncio.get_running_loop().remove_reader(self._inotify.fileno())
            self._inotify.close()
            self._inotify = None

    def _add(self, watched: str, mask: flags, path: str) -> int | None:
        """Watch something that the user knows by this path."""
        if self._inotify is None:
            return None
        try:
            handle: int = self._inotify.add_watch(watched, mask)
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            remedy = "; raise fs.inotify.max_user_watches" if error.errno == errno.ENOSPC else remedy_of(error)
            told = f"no file events for {path}; it is looked at regularly{remedy}"
            self._log.warning(told, reason=error.strerror, every=60)
            return None
        return handle

    def _take_events(self) -> None:
        if self._inotify is None:
            return
        for event in self._inotify.read(timeout=0):
            if event.mask & flags.Q_OVERFLOW:
                self._on_folder()
                for path in set(self._files.values()):
                    self._on_file(path)
            elif event.wd in self._files:
                self._on_file(self._files[event.wd])
            elif event.wd in self._folders.values():
                self._on_folder()
