"""Whose the folders of the store are.

What lies in them is sent with the rights of this process, and names the objects that it is written to. So nobody else
may put anything there: the folders below `store_dir` have to be ours or root's, and so have those on the way to it that
anybody could have made, because they are below a folder where everybody may make some, such as /tmp.
"""

from __future__ import annotations

import os
import stat
import tempfile
from pathlib import Path

from ...disk import Disk

_ROOT = 0


class NotOurs(Exception):
    """A folder or a file belongs to somebody else, or anybody may write there."""


class Ownership:
    """Looks at places before they are used; every method raises `NotOurs` or `OSError`."""

    def __init__(self, disk: Disk) -> None:
        self._disk = disk

    def check_way(self, folder: Path) -> None:
        """Those folders on the way to this one, and this one, that anybody could have made.

        A volume may be open to all, as an emptyDir is; it was mounted by who runs us.
        """
        is_open = False
        way = Path(os.path.abspath(folder))
        for place in (*reversed(way.parents), way):
            if is_open:
                self._check_owner(place, place.parent)
            is_open = bool(self._disk.stat(str(place)).st_mode & stat.S_IWOTH)

    def check_own(self, folder: Path) -> None:
        """A folder that this program makes for itself; if anybody may write there, that is ended."""
        self._check_owner(folder, folder)
        if not self._is_open(folder):
            return
        try:
            folder.chmod(stat.S_IMODE(self._disk.stat(str(folder)).st_mode) & ~stat.S_IWOTH)
        except PermissionError as error:
            if (made := _file_made_in(folder)) and made.st_mode & stat.S_IWOTH:
                return  # this file system has no permissions
            raise NotOurs(f"anybody may write to {folder}: take that away (chmod o-w {folder})") from error

    def check_files(self, folder: Path) -> None:
        """What lies in such a folder."""
        for place in sorted(folder.iterdir()):
            self._check(place, self._disk.lstat(str(place)), folder)

    def _is_open(self, folder: Path) -> bool:
        mode = self._disk.stat(str(folder)).st_mode
        return bool(mode & stat.S_IWOTH and not mode & stat.S_ISVTX)

    def _check_owner(self, place: Path, beside: Path) -> None:
        # A link is theirs who made it, whatever it leads to.
        for state in (self._disk.lstat(str(place)), self._disk.stat(str(place))):
            self._check(place, state, beside)

    def _check(self, place: Path, state: os.stat_result, beside: Path) -> None:
        me = os.geteuid()
        if state.st_uid in (_ROOT, me):
            return
        # Some file systems know one owner alone, or call root nobody.
        made = _file_made_in(beside)
        if made is None or state.st_uid != made.st_uid:
            raise NotOurs(
                f"{place} belongs to user {state.st_uid}, who could make this process, user {me}, send anything: "
                f"give it to user {me} (chown -R {me} {place}), remove it, or set another store_dir"
            )


def _file_made_in(folder: Path) -> os.stat_result | None:
    """A new file as this file system shows it, None if none can be made."""
    try:
        with tempfile.TemporaryFile(dir=folder) as file:
            return os.fstat(file.fileno())
    except OSError:
        return None


__all__ = ["NotOurs", "Ownership"]
