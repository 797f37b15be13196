"""Brings what a process that died has left in the store into order."""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import Iterator, Sequence
from itertools import accumulate
from pathlib import Path

import msgspec

from ...codecs.compression import CorruptData, decoded, new_compressor
from ...disk import Disk
from .bucket import file_digest
from .content import identities
from .spool import IDENTITY, Piece, Sheet, Spool, opened, write_all

_READ = 1 << 20


class Damaged(Exception):
    """A spool that cannot be read."""


def adopt(folder: Path, name: str, disk: Disk) -> Spool:
    """A spool that another process left behind, closed; raises `Damaged`."""
    try:
        sheet = msgspec.json.decode((folder / f"{name}.json").read_bytes(), type=Sheet)
    except (OSError, msgspec.MsgspecError) as error:
        raise Damaged(str(error)) from error
    spool = Spool(folder, name, sheet, disk, has_identities=(folder / f"{name}.ids").exists())
    # A kill between the sheet and the first byte leaves a spool without data.
    with contextlib.suppress(FileNotFoundError):
        spool.size = disk.stat(str(spool.path(".data"))).st_size
    size = spool.size
    is_whole = sheet.state == "closed" and sheet.pieces and sheet.pieces[-1].end == size
    try:
        if sheet.state != "done" and not (is_whole and all(_is_intact(spool, piece) for piece in sheet.pieces)):
            _salvage(spool)
    except OSError as error:
        raise Damaged(str(error)) from error
    spool.content_size = sum(piece.content_size for piece in sheet.pieces)
    return spool


def _salvage(spool: Spool) -> None:
    """Close a spool that was left open, was cut short or has other bytes now.

    Finished pieces stay, the rest is written anew.
    """
    sheet = spool.sheet
    kept = [piece for piece in sheet.pieces if _is_intact(spool, piece)]
    if len(kept) < len(sheet.pieces):
        kept = []  # what was sent cannot be vouched for any more, so all that is left becomes one piece
        sheet.is_unique = sheet.is_unique and not sheet.was_sent  # and it must not take the place of what was whole
        sheet.upload_id = "" if sheet.upload_id is not None else None
    start = kept[-1].end if kept else 0
    before = sum(piece.content_size for piece in kept)
    new = str(spool.path(".data.new"))
    if spool.size:
        with opened(spool.disk, new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC) as fd:
            piece = _rewritten(spool, start, before, fd)
        spool.disk.rename(new, str(spool.path(".data")))
        spool.size = piece.end
        if piece.end > start:
            kept.append(piece)
    sheet.pieces, sheet.state = kept, "closed"
    spool.save()


def _is_intact(spool: Spool, piece: Piece) -> bool:
    """Whether the disk still has the bytes that were written; S3 would refuse others for ever."""
    return piece.end <= spool.size and file_digest(spool.part(piece), hashlib.sha256).hex() == piece.sha256


def _rewritten(spool: Spool, start: int, before: int, fd: int) -> Piece:
    """Copy the data up to `start` and write the whole records behind it as one piece."""
    disk, compression = spool.disk, spool.sheet.compression
    compressor, digest, end = new_compressor(compression), hashlib.sha256(), start
    left = size = _whole_content(spool, start, before)

    def write(data: bytes) -> int:
        write_all(disk, fd, data)
        digest.update(data)
        return len(data)

    with spool.path(".data").open("rb") as old:
        while old.tell() < start:
            write_all(disk, fd, old.read(min(_READ, start - old.tell())))
        with contextlib.suppress(CorruptData):
            for data in decoded(old, compression):
                if left:
                    end += write(compressor.add(data[:left]))
                    left -= min(left, len(data))
    if size:
        end += write(compressor.finish())
    return Piece(start, end, size, digest.hexdigest())


def _whole_content(spool: Spool, start: int, before: int) -> int:
    """How many bytes behind `start`, decoded, are whole records."""
    total = last_feed = 0
    with spool.path(".data").open("rb") as file:
        file.seek(start)
        with contextlib.suppress(CorruptData):
            for data in decoded(file, spool.sheet.compression):
                feed = data.rfind(b"\n")
                if feed >= 0:
                    last_feed = total + feed + 1
                total += len(data)
    if not spool.has_identities:
        return last_feed
    ends = [end for end in accumulate(length for _, length in _stored_identities(spool)) if end <= before + total]
    return max(0, ends[-1] - before) if ends else 0


def _stored_identities(spool: Spool) -> list[tuple[int, int]]:
    try:
        data = spool.path(".ids").read_bytes()
    except FileNotFoundError:
        return []
    return list(IDENTITY.iter_unpack(data[: len(data) - len(data) % IDENTITY.size]))


def identities_in(spool: Spool) -> Iterator[Sequence[int]]:
    """The identities of all records in a closed spool, in lists."""
    if not spool.has_identities:
        for lines in spool.lines():
            yield identities(lines)
        return
    stored = _stored_identities(spool)
    ends = accumulate(length for _, length in stored)
    yield [one for (one, _), end in zip(stored, ends, strict=True) if end <= spool.content_size]
