"""Which files there are: globs, exclusions, and the tag of a path."""

from __future__ import annotations

import os
import re
import stat
import time
from collections.abc import Iterator, Sequence

from ...disk import Disk
from ...log import Log
from ...parsers.onigmo import Regex
from ...record import seen_as_tag
from .access import READ_REMEDY, remedy_of
from .patterns import PathPattern, Wanted

_TICK_NS = 100_000_000


class Discovery:
    """Finds the regular files of a list of patterns, in order, without those that an exclusion matches."""

    def __init__(self, patterns: Sequence[str], excludes: Sequence[str], disk: Disk, log: Log) -> None:
        self._wanted = Wanted(patterns, excludes)
        self._patterns = self._wanted.patterns
        self._folders = [PathPattern(os.path.dirname(p.text) or ".") for p in self._patterns]
        self._disk = disk
        self._log = log
        self._seen_folders: dict[str, int | None] = {}
        self._missing: set[str] = set()
        """Names that led to no file, such as links to a file that is being rotated."""

    def scan(self) -> list[tuple[str, os.stat_result]]:
        """Every path that matches now, with the state of the file behind it."""
        found: dict[str, os.stat_result] = {}
        self._missing = set()
        for pattern in self._patterns:
            paths = pattern.paths()
            if not paths:
                self._check_access(pattern.text)
            for path in paths:
                if path not in found and not self._wanted.is_excluded(path):
                    state = self._state(path)
                    if state is None:
                        self._missing.add(path)
                    elif stat.S_ISREG(state.st_mode):
                        found[path] = state
        return list(found.items())

    def folders(self) -> list[str]:
        """The folders in which new files can appear, as far as they exist now."""
        return sorted({found for folder in self._folders for found in folder.paths()})

    def has_changed(self) -> bool:
        """Whether a folder was changed since the last call, or a name that led nowhere leads to a file now."""
        times: dict[str, int | None] = {}
        just_now_ns = time.time_ns() - _TICK_NS
        for folder in self.folders():
            state = self._state(folder)
            time_ns = state.st_mtime_ns if state else 0
            # A change in the same tick of the file system's clock would not show, so it is looked at once more.
            times[folder] = time_ns if time_ns < just_now_ns else None
        changed = times != self._seen_folders or None in times.values()
        self._seen_folders = times
        return changed or any(os.path.exists(path) for path in self._missing)

    def _state(self, path: str) -> os.stat_result | None:
        try:
            return self._disk.stat(path)
        except FileNotFoundError:
            return None
        except OSError as error:
            told = f"read error, check permissions: {path}{remedy_of(error)}"
            self._log.error(told, reason=error.strerror, every=60)
            return None

    def _check_access(self, pattern: str) -> None:
        """Tell of the first folder on the way to a pattern's files that may not be read."""
        for folder, is_listed in _folders_on_the_way(pattern):
            if _is_denied(folder, is_listed):
                self._log.error(f"NO read access for path: {pattern}; {READ_REMEDY}", folder=folder, every=60)
                return


def _folders_on_the_way(pattern: str) -> Iterator[tuple[str, bool]]:
    """The folders that lead to the files of a pattern, the outer ones first, and whether their names are looked at."""
    steps: list[tuple[str, bool]] = []
    path = pattern
    while (folder := os.path.dirname(path)) != path:
        is_listed = PathPattern(os.path.basename(path)).is_wild
        steps.append((folder or ".", is_listed))
        path = folder
    for folder, is_listed in reversed(steps):
        for found in PathPattern(folder).paths():
            yield found, is_listed


def _is_denied(folder: str, is_listed: bool) -> bool:
    """Whether a folder may not be entered, or not be listed if that is needed.

    It is tried, because access(2) leaves out the capabilities of a process that is not root.
    """
    try:
        os.stat(os.path.join(folder, os.curdir))
        if is_listed:
            os.scandir(folder).close()
    except PermissionError:
        return True
    except OSError:
        return False  # it is not there
    return False


class TagMaker:
    """The tag of a path: `*` stands for the path, or `<name>` for a group of a regular expression on it."""

    def __init__(self, tag: str, regex: Regex | None) -> None:
        self._tag = tag
        self._regex = regex

    def tag_of(self, path: str) -> str | None:
        """The tag, or None if there is a regular expression and it does not match the path.

        Whoever may write logs calls the files as they like, so what cannot be shown becomes `_`.
        """
        found = self._by_groups(path) if self._regex is not None else expand_tag(self._tag, path)
        return None if found is None else seen_as_tag(found)

    def _by_groups(self, path: str) -> str | None:
        assert self._regex is not None
        found = self._regex.search(path)
        if found is None:
            return None
        groups = self._regex.groups(found)
        return re.sub(r"<([^<>]+)>", lambda m: groups.get(m[1]) or "_", self._tag)


def expand_tag(tag: str, path: str) -> str:
    """Put the path in place of the first `*` and turn what separates its parts into single dots.

    A tag without `*` stays as it is.
    """
    if "*" not in tag:
        return tag
    before, _, after = tag.partition("*")
    whole = re.sub(r"[/\\:]", ".", before + path + after).replace("*", "")
    return re.sub(r"\.{2,}", ".", whole).strip(".")
