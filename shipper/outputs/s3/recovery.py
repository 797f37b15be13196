"""Brings what a process that died has left in the store into order."""

from __future__ import annotations

import contextlib
import hashlib
import os
from array import array
from bisect import bisect_right
from collections.abc import Iterator
from functools import partial
from itertools import accumulate
from pathlib import Path

import msgspec

from ...codecs.compression import CorruptData, decoded, new_compressor
from ...disk import Disk
from .bucket import file_digest
from .content import identities, identity_of
from .spool import NOTE, Begun, Piece, Sheet, Spool, Stretch, opened, other_name, write_all

_READ = 1 << 20
_NOTES_AT_ONCE = 1 << 12
_LONGEST = 1 << 26
"""No line is as long; a note that says so is damaged."""

_LONGEST_STRETCH = 1 << 16
"""No line of `.from` is as long; one that is is damaged."""

_decode_stretch = msgspec.json.Decoder(Stretch).decode


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


def rest_without_sheet(folder: Path, name: str, disk: Disk) -> Spool | None:
    """A new spool for what is left to do of one whose sheet cannot be read: to abort its multipart upload, if any."""
    try:
        begun = msgspec.json.decode((folder / f"{name}.begun").read_bytes(), type=Begun)
        sheet = Sheet(key=begun.key, tag="", first_ns=0, state="closed", lost_upload=begun.upload_id)
        spool = Spool(folder, other_name(name), sheet, disk)
        spool.save()
    except (OSError, msgspec.MsgspecError):
        return None
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
        sheet.lose_upload()
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
    ends = array("Q", accumulate(length for _, length, _ in _notes(spool)))
    # Notes are written before their lines. Where there are fewer, or others, they tell nothing of what is whole.
    if not ends or ends[-1] < before + last_feed:
        return last_feed
    fits = bisect_right(ends, before + total)
    if not fits:
        return 0
    is_right = any(one is not None and end == ends[fits - 1] for one, end in _verified(spool))
    return max(0, ends[fits - 1] - before) if is_right else last_feed


def _notes(spool: Spool) -> Iterator[tuple[int, int, int]]:
    if not spool.has_identities:
        return
    with contextlib.suppress(FileNotFoundError), spool.path(".ids").open("rb") as file:
        for data in iter(partial(file.read, _NOTES_AT_ONCE * NOTE.size), b""):
            yield from NOTE.iter_unpack(data[: len(data) - len(data) % NOTE.size])


def _verified(spool: Spool) -> Iterator[tuple[int | None, int]]:
    """The identity of each record, None if its line is not the one that was noted, and where the line ends."""
    contents, data = spool.contents(), b""
    start = place = 0  # where `data` starts in the content, and the record in `data`
    for identity, length, time_ns in _notes(spool):
        if length > _LONGEST:
            return
        while len(data) - place < length:
            more = next(contents, None)
            if more is None:
                return
            data, start, place = data[place:] + more, start + place, 0
        place += length
        is_right = identity_of(data[place - length : place - 1], time_ns) == identity
        yield (identity if is_right else None), start + place


def stretches_in(spool: Spool) -> Iterator[Stretch]:
    """Where the records of a spool come from, in their order, as far as that was noted."""
    with contextlib.suppress(FileNotFoundError, msgspec.MsgspecError), spool.path(".from").open("rb") as file:
        for line in iter(partial(file.readline, _LONGEST_STRETCH), b""):
            yield _decode_stretch(line)


def identities_in(spool: Spool) -> Iterator[int | None]:
    """The identities of all records in a closed spool.

    Lines that are not what was written have none, or none of those: their records are not recognised, and are stored
    again.
    """
    if spool.has_identities:
        yield from (identity for identity, _ in _verified(spool))
        return
    for lines in spool.lines():
        yield from identities(lines)
