"""What Fluent Bit has left in the `store_dir`: it is taken over when we start, and nothing of it is deleted unread.

    STORE_DIR/BUCKET/
        YYYY-MM-DDTHH:MM:SS/NAME              lines that were not sent yet; a folder for each start of Fluent Bit
        quarantine/NAME                       the same, given up by Fluent Bit
        multipart_upload_metadata/NAME        an upload that was not completed (`left_uploads`)

Every file is a chunk file: a head, metadata, content. Those of lines have their tag as metadata, so an output takes
only what its `match` fits. What is taken is renamed into the output's own folder first, where nobody else looks for it:

    ID.left                                   lines; they become the spool ID
    ID.upload                                 an upload that is to be completed
    quarantine/unreadable-…                   what is no chunk file, or was cut

The sheet of a spool is written when it has all lines, and the file goes after that. So after a kill a file with a sheet
beside it has been read, and any other is read from its beginning.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
from collections.abc import AsyncGenerator, Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from struct import Struct
from typing import Any

import msgspec

from ...disk import Disk
from ...log import Log
from .spool import Sheet, Spool, new_name, opened

LEFT, UPLOAD = ".left", ".upload"
UPLOADS_FOLDER, QUARANTINE = "multipart_upload_metadata", "quarantine"

_STARTED = re.compile(r"\d{4}-\d\d-\d\dT\d\d[:-]\d\d[:-]\d\d")
_UNSAFE = re.compile(r"[^A-Za-z0-9_.-]")
_HEAD = Struct(">2sI4xI8xH")
_MAGIC = b"\xc1\x00"
_READ = 1 << 20
_MILLISECONDS_FROM = 100_000_000_000
"""Numbers from here on are times in milliseconds; in seconds that would be in 3,000 years."""

_decode_line = msgspec.json.Decoder(dict[str, Any]).decode


class Unreadable(Exception):
    """A file that is not what it should be."""


class Chunk(msgspec.Struct, frozen=True):
    """Where the content of a chunk file is; `missing` are the bytes by which the file is too short."""

    metadata: bytes
    start: int
    end: int
    missing: int


class LeftBehind:
    """The files that one output takes. `wants` says which tags are its own."""

    def __init__(self, bucket: Path, wants: Callable[[str], bool], disk: Disk, log: Log) -> None:
        self._bucket = bucket
        self._wants = wants
        self._disk = disk
        self._log = log

    def claim(self, own: Path) -> None:
        """Take what is there into the output's own folder; a file that somebody else takes first is theirs."""
        for path in _files(own):
            if path.suffix == LEFT and path.with_suffix(".json").exists():
                self._remove(path)  # a kill came between the sheet and this
        for folder in _folders(self._bucket):
            is_uploads, is_aside = folder.name == UPLOADS_FOLDER, folder.name == QUARANTINE
            if not (is_uploads or is_aside or _STARTED.fullmatch(folder.name)):
                continue
            for path in _files(folder):
                try:
                    self._claim(path, own, UPLOAD if is_uploads else LEFT, is_aside=is_aside)
                except OSError as error:
                    self._log.error("a file of Fluent Bit cannot be taken over", file=path, reason=error)

    def waiting(self, own: Path, suffix: str) -> list[Path]:
        """The files of this kind that were taken and are still to be read, oldest first."""
        return [path for path in _files(own) if path.suffix == suffix]

    async def adopt(self, path: Path, sheet_for: Callable[[str, int], Sheet], date_key: str | None) -> Spool | None:
        """Make a closed spool of a file, giving way to others meanwhile; None if there is not one whole line.

        `sheet_for` gives the sheet for a tag and the time of the first record. Raises `OSError`, or `Unreadable` for
        lines that cannot be part of the object; the file is untouched then.
        """
        chunk = read_chunk(self._disk, path)
        spool: Spool | None = None
        async with contextlib.aclosing(self._whole_lines(path, chunk)) as stretches:
            async for lines in stretches:
                if spool is None:
                    first_ns = time_of(lines[: lines.index(b"\n")], date_key)
                    if first_ns is None:
                        first_ns = self._disk.stat(str(path)).st_mtime_ns
                    spool = self._new_spool(path, sheet_for(_tag_of(chunk), first_ns))
                if spool.sheet.columnar:
                    _demand_objects(lines)
                spool.append(lines)
        if spool is not None:
            spool.close()
        if chunk.missing or not self._ends_with_line(path, chunk):
            self._log.error("a file of Fluent Bit was cut; its whole lines are sent", file=path, missing=chunk.missing)
            self.put_aside(path, "cut")
        else:
            self._remove(path)
        return spool

    def put_aside(self, path: Path, why: str) -> None:
        """Move a file to the quarantine of its folder; nothing is sent of it any more."""
        target = path.parent / QUARANTINE / f"{why}-{path.name}"
        try:
            self._disk.rename(str(path), str(target))
        except OSError as error:
            self._log.error("a file cannot be moved to the quarantine", file=path, reason=error)

    def _claim(self, path: Path, own: Path, suffix: str, *, is_aside: bool) -> None:
        name = new_name(self._disk.stat(str(path)).st_mtime_ns)
        try:
            chunk = read_chunk(self._disk, path)
        except Unreadable as error:
            if not is_aside:
                aside = f"unreadable-{path.parent.name}-{_UNSAFE.sub('_', path.name)[:100]}-{name[-8:]}"
                self._disk.rename(str(path), str(own / QUARANTINE / aside))
                self._log.error("a file of Fluent Bit cannot be read and is put aside", file=path, reason=error)
            return
        except FileNotFoundError:
            return
        if suffix == UPLOAD or self._wants(_tag_of(chunk)):
            with contextlib.suppress(FileNotFoundError):
                self._disk.rename(str(path), str(own / f"{name}{suffix}"))

    def _new_spool(self, path: Path, sheet: Sheet) -> Spool:
        spool = Spool(path.parent, path.stem, sheet, self._disk)
        with contextlib.suppress(FileNotFoundError):  # what an attempt that was cut off has left
            self._disk.unlink(str(spool.path(".data")))
        return spool

    async def _whole_lines(self, path: Path, chunk: Chunk) -> AsyncGenerator[bytes, None]:
        """The content up to its last line feed, in stretches that end with one."""
        rest = b""
        for data in _content(self._disk, path, chunk):
            whole, feed, more = data.rpartition(b"\n")
            if feed:
                yield rest + whole + feed
                rest = more
            else:
                rest += data
            await asyncio.sleep(0)

    def _ends_with_line(self, path: Path, chunk: Chunk) -> bool:
        if chunk.end == chunk.start:
            return True
        with opened(self._disk, str(path), os.O_RDONLY) as fd:
            return self._disk.pread(fd, 1, chunk.end - 1) == b"\n"

    def _remove(self, path: Path) -> None:
        try:
            self._disk.unlink(str(path))
        except OSError as error:
            self._log.error("a file that was taken over cannot be deleted", file=path, reason=error)


def read_chunk(disk: Disk, path: Path) -> Chunk:
    """What the head of a chunk file says; raises `Unreadable` or `OSError`."""
    with opened(disk, str(path), os.O_RDONLY) as fd:
        size = disk.fstat(fd).st_size
        head = disk.pread(fd, _HEAD.size, 0)
        if len(head) < _HEAD.size or not head.startswith(_MAGIC):
            raise Unreadable("it has no head of a chunk")
        _, _, length, metadata_length = _HEAD.unpack(head)
        metadata = disk.pread(fd, metadata_length, _HEAD.size)
        if not metadata_length or len(metadata) < metadata_length:
            raise Unreadable("it does not say what it holds")
        start = _HEAD.size + metadata_length
        end = start + length if length else _end_of_content(disk, fd, start, size)
    return Chunk(metadata, start, min(end, max(start, size)), max(0, end - size))


def content_of(disk: Disk, path: Path, chunk: Chunk) -> bytes:
    """The whole content; for files that are known to be small."""
    return b"".join(_content(disk, path, chunk))


def time_of(line: bytes, date_key: str | None) -> int | None:
    """The time that a line shows, in nanoseconds; None if it shows none that can be read."""
    try:
        date = _decode_line(line).get(date_key or "date")
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    if isinstance(date, str):
        try:
            moment = datetime.fromisoformat(date)
        except ValueError:
            return None
        moment = moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)
        return int(moment.timestamp() * 1_000_000) * 1000
    if isinstance(date, bool) or not isinstance(date, (int, float)) or not 0 <= date < 1e16:
        return None
    in_ms = date if date >= _MILLISECONDS_FROM else date * 1000
    return round(in_ms * 1000) * 1000


def _demand_objects(lines: bytes) -> None:
    """Raise `Unreadable` if some line is no JSON object, which a columnar file could not take."""
    try:
        for line in lines.splitlines():
            _decode_line(line)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise Unreadable("it has a line that is no JSON object, or one that is nested too deep") from error


def _tag_of(chunk: Chunk) -> str:
    return chunk.metadata.decode("utf-8", "surrogateescape")


def _content(disk: Disk, path: Path, chunk: Chunk) -> Iterator[bytes]:
    with opened(disk, str(path), os.O_RDONLY) as fd:
        position = chunk.start
        while position < chunk.end and (data := disk.pread(fd, min(_READ, chunk.end - position), position)):
            yield data
            position += len(data)


def _end_of_content(disk: Disk, fd: int, start: int, size: int) -> int:
    """Where the zeros begin that fill the file; old versions do not say how much they have written."""
    end = size
    while end > start:
        begin = max(start, end - _READ)
        kept = len(disk.pread(fd, end - begin, begin).rstrip(b"\0"))
        if kept:
            return begin + kept
        end = begin
    return start


def _folders(folder: Path) -> list[Path]:
    try:
        return sorted(path for path in folder.iterdir() if path.is_dir() and not path.is_symlink())
    except FileNotFoundError:
        return []


def _files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if path.is_file() and not path.is_symlink())
