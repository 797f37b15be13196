"""Why a database cannot be opened: what the file system forbids, which SQLite does not say, and what helps."""

from __future__ import annotations

import os

from ..errors import OptionError

_PARTS = ("", "-wal", "-shm", "-journal")


def unopened_database(path: str, error: Exception) -> OptionError:
    """The error for the option `db`, with owner and mode of what may not be written."""
    message = f"could not open/create database {path}: {error}"
    folder = os.path.dirname(path) or os.curdir
    denied = _denied_file(path) or _denied_folder(folder)
    if denied is None:
        return OptionError("db", message, "" if os.path.isdir(folder) else "the folder must exist")
    if _is_read_only(denied):
        return OptionError("db", f"{message}: {denied} is on a read-only file system", "mount it writable")
    state, user = os.stat(denied), os.geteuid()
    owned = f"{denied} belongs to user {state.st_uid} (mode {state.st_mode & 0o7777:04o}), and this is user {user}"
    given = denied if os.path.isdir(denied) else folder
    remedy = (
        f"chown -R {user}:{os.getegid()} {given}; in Kubernetes an init container that is root does that, or the "
        "fsGroup of the pod for a volume that knows it"
    )
    return OptionError("db", f"{message}: {owned}", remedy)


def _denied_file(path: str) -> str | None:
    """The database, or a journal of it, if it is there and may not be written."""
    for part in _PARTS:
        name = f"{path}{part}"
        try:
            os.close(os.open(name, os.O_RDWR | os.O_CLOEXEC))
        except OSError as error:
            if isinstance(error, PermissionError) and os.path.lexists(name):
                return name
    return None


def _denied_folder(folder: str) -> str | None:
    """The folder if nothing may be put into it, or the nearest one above it that may not be entered."""
    while folder:
        try:
            os.stat(os.path.join(folder, os.curdir))
        except PermissionError:
            if os.path.exists(folder):
                return folder
            folder = os.path.dirname(folder)
        except OSError:
            return None
        else:
            return None if os.access(folder, os.W_OK | os.X_OK, effective_ids=True) else folder
    return None


def _is_read_only(path: str) -> bool:
    return bool(os.statvfs(path).f_flag & os.ST_RDONLY)
