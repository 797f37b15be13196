"""Setting full files aside: `name.20231114_221320_075bcd15`, compressed to `….gz`, the oldest of them removed."""

from __future__ import annotations

import os
import re
import shutil
import time

from ...disk import Disk

_STAMP = r"\.[0-9]{8}_[0-9]{6}_[0-9a-f]{8}(?:\.gz(?:\.unfinished)?)?"
_COMPRESSION_LEVEL = 1


def set_aside(disk: Disk, path: str, now_ns: int) -> str:
    """Rename a full file and return its new name, which is later in order than those there are."""
    second, rest = divmod(now_ns, 1_000_000_000)
    stamp = time.strftime("%Y%m%d_%H%M%S", time.gmtime(second)) + f"_{rest:08x}"
    if names := set_aside_names(disk, path):
        begin = len(os.path.basename(path)) + 1
        latest = names[-1][begin : begin + len(stamp)]
        if stamp <= latest:  # the clock was set back, or stands still
            stamp = f"{latest[:-8]}{int(latest[-8:], 16) + 1:08x}"
    disk.rename(path, f"{path}.{stamp}")
    return f"{path}.{stamp}"


def set_aside_names(disk: Disk, path: str) -> list[str]:
    """The names of the files that were set aside for this one, oldest first."""
    folder, name = os.path.split(path)
    is_aside = re.compile(re.escape(name) + _STAMP).fullmatch
    return sorted(n for n in disk.listdir(folder or ".") if is_aside(n))


def remove_oldest(disk: Disk, path: str, most: int) -> None:
    """Keep at most so many files that were set aside."""
    names = set_aside_names(disk, path)
    for name in names[: max(0, len(names) - most)]:
        disk.unlink(os.path.join(os.path.dirname(path), name))


def compress(path: str) -> None:
    """Replace a file by `path.gz`; takes a second or so for 100 MB, a crash leaves the file or both."""
    from isal import igzip  # only those who rotate need it

    unfinished = f"{path}.gz.unfinished"
    with (
        open(path, "rb") as source,
        igzip.open(unfinished, "wb", _COMPRESSION_LEVEL) as target,  # type: ignore[no-untyped-call]  # has no types
    ):
        shutil.copyfileobj(source, target, 1_000_000)
    os.rename(unfinished, f"{path}.gz")
    os.unlink(path)
