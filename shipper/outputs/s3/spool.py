"""One object on its way: a file that grows while its records come in, and that is kept until S3 has all of it.

A spool is a few files in the store folder. Their names are numbers of our own; nothing that comes from a record or a
tag ever becomes a part of them.

    ID.data   the bytes of the object, compressed as they come in
    ID.json   what it is (`Sheet`): its key, its pieces, the upload it belongs to. Replaced as a whole, by a rename
    ID.ids    only if lines do not show their times: for each record its identity, its length and its time
    ID.from   for each batch where its records can be read again, and how many of them are here (`Stretch`)
    ID.made   only if the object is not simply the data (Parquet, Arrow): the object, made when it is sent
    ID.begun  only with a multipart upload: which one it is (`Begun`), should nobody be able to read the sheet any more

The data are one *piece* after another, each of them compressed by itself. An object that is put in one go has one
piece; the pieces of a multipart upload are its parts. A piece is on the sheet before its first byte is sent. A kill
leaves a spool whose sheet says that it is open; `recovery` closes it.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import secrets
import struct
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Literal

import msgspec

from ...aws.messages import FilePart
from ...codecs.compression import Compression, Compressor, CorruptData, decoded, new_compressor
from ...disk import Disk
from ...record import Origin
from .debts import Owed

NOTE = struct.Struct("<QIQ")
"""The identity of a record, the length of its line with the line feed, and its time, by which both can be verified."""

_encode_line = msgspec.json.Encoder().encode

DATA_SUFFIXES = (".data", ".ids", ".from", ".made")
SUFFIXES = (*DATA_SUFFIXES, ".begun", ".json")


class Stretch(msgspec.Struct, array_like=True, gc=False):
    """So many records that follow each other, and where they come from, see `Origin`; None if they come once only."""

    records: int
    source: str | None = None
    begin: int = 0
    end: int = 0


class Piece(msgspec.Struct):
    """A finished stretch of the data, what it holds when decoded, and the ETag it got when it was sent as a part."""

    start: int
    end: int
    content_size: int
    sha256: str
    etag: str = ""


class Sheet(msgspec.Struct, kw_only=True):
    """What is known of an object.

    `first_ns` is the time of its first record. `is_unique` says that no other object can have its key by chance.
    `upload_id` is None without a multipart upload, and empty while one is being created. `lost_upload` is one that
    cannot be gone on with and must be aborted; empty if its id is not known, None if there is none. `was_sent` says
    that the object may be in S3 without our knowing. `state` is `open` while records come in, `closed` when there will
    be no more, and `done` when S3 has the object.
    """

    key: str
    tag: str
    first_ns: int
    compression: Compression = "none"
    is_unique: bool = False
    columnar: str = ""
    state: Literal["open", "closed", "done"] = "open"
    pieces: list[Piece] = []
    upload_id: str | None = None
    lost_upload: str | None = None
    was_sent: bool = False

    def lose_upload(self) -> None:
        """The upload is of no use any more; there may be parts of it in S3."""
        if self.upload_id is not None:
            self.lost_upload, self.upload_id = self.upload_id, None


class Begun(msgspec.Struct):
    """A multipart upload; without an id it was being created."""

    key: str
    upload_id: str


class Spool:
    """The files of one object, and who waits for it.

    `owed` are the deliveries in it, with the number of their records here. `is_aside` says that it is in quarantine,
    `is_deleted` that its data are gone, `is_expected` that its records may come again. `size` is what the data weigh on
    disk, `content_size` what they are decoded. The methods that write block for as long as the disk takes.
    """

    def __init__(self, folder: Path, name: str, sheet: Sheet, disk: Disk, *, has_identities: bool = False) -> None:
        self.name = name
        self.sheet = sheet
        self.folder = folder
        self.disk = disk
        self.has_identities = has_identities
        self.owed: list[tuple[Owed, int]] = []
        self.is_deleted = False
        self.is_aside = False
        self.is_expected = False
        self.size = 0
        self.content_size = 0
        self._compressor: Compressor | None = None
        self._hash = hashlib.sha256()
        self._piece_start = 0
        self._piece_content_start = 0
        self._unwritten = b""
        self._unwritten_identities = b""
        self._unwritten_stretches = b""

    def path(self, suffix: str) -> Path:
        """One of the files; see the module's text."""
        return self.folder / f"{self.name}{suffix}"

    @property
    def open_size(self) -> int:
        """Bytes of the piece that is not finished."""
        return self.size - self._piece_start

    @property
    def open_content_size(self) -> int:
        """The same, decoded."""
        return self.content_size - self._piece_content_start

    @property
    def weight(self) -> int:
        """Bytes that it takes on the disk."""
        return self.size + len(self._unwritten)

    def append(
        self, data: bytes, notes: Sequence[tuple[int, int, int]] = (), stretches: Sequence[Stretch] = ()
    ) -> None:
        """Compress and write lines, where they come from, and the `NOTE` of each record if lines show no times.

        If that raises `OSError`, the data are taken all the same: `write_out` must succeed before anything else.
        """
        if self._compressor is None:
            self._compressor = new_compressor(self.sheet.compression)
        self._unwritten += self._compressor.add(data)
        if self.has_identities:
            self._unwritten_identities += b"".join([NOTE.pack(*one) for one in notes])
        self._unwritten_stretches += b"".join([_encode_line(one) + b"\n" for one in stretches])
        self.content_size += len(data)
        self.write_out()

    def write_out(self) -> None:
        """Write what could not be written."""
        while self._unwritten_identities:
            written = self._write(".ids", self._unwritten_identities)
            self._unwritten_identities = self._unwritten_identities[written:]
        while self._unwritten_stretches:
            written = self._write(".from", self._unwritten_stretches)
            self._unwritten_stretches = self._unwritten_stretches[written:]
        while self._unwritten:
            written = self._write(".data", self._unwritten)
            self._hash.update(self._unwritten[:written])
            self.size += written
            self._unwritten = self._unwritten[written:]

    def finish_piece(self) -> None:
        """End the piece and note it on the sheet; does nothing if there is no piece."""
        if self._compressor is not None:
            self._unwritten += self._compressor.finish()
            self._compressor = None
        self.write_out()
        if self.open_size:
            content_size = self.content_size - self._piece_content_start
            self.sheet.pieces.append(Piece(self._piece_start, self.size, content_size, self._hash.hexdigest()))
            self._piece_start, self._piece_content_start = self.size, self.content_size
            self._hash = hashlib.sha256()
            self.save()

    def close(self) -> None:
        """There will be no more records."""
        self.finish_piece()
        self.sheet.state = "closed"
        self.save()

    def save(self) -> None:
        """Replace the sheet on disk."""
        self._replace(".json", self.sheet)

    def part(self, piece: Piece) -> FilePart:
        """A piece as the body of a request."""
        return FilePart(str(self.path(".data")), piece.start, piece.end, piece.sha256)

    def note_upload(self, upload_id: str) -> None:
        """There is a multipart upload now; without an id there may be one."""
        self.sheet.upload_id = upload_id
        self._replace(".begun", Begun(self.sheet.key, upload_id))
        self.save()

    def forget_upload(self) -> None:
        """All pieces have to be sent again, in another way or in another upload."""
        self.sheet.upload_id = None
        for piece in self.sheet.pieces:
            piece.etag = ""
        self.save()

    @property
    def owes(self) -> bool:
        """Whether S3 does not have it yet, and will."""
        return self.sheet.state != "done" and not self.is_aside and not self.is_deleted

    @property
    def is_empty(self) -> bool:
        """Whether nothing is left of the object but its sheet, for the upload that must be aborted."""
        return self.sheet.state == "closed" and not self.sheet.pieces

    def remove(self) -> None:
        """Forget the object. The sheet goes last, so that no data are ever left without it."""
        self._unlink(SUFFIXES)

    def remove_data(self) -> None:
        """Forget the object but for an upload of it, which is aborted when the spool is sent."""
        sheet = self.sheet
        sheet.lose_upload()
        sheet.pieces, sheet.state = [], "closed"
        self.size = self.content_size = 0
        self._unwritten = self._unwritten_identities = self._unwritten_stretches = b""
        if sheet.lost_upload is None:
            self.remove()
            return
        self._unlink(DATA_SUFFIXES)
        self.save()

    def contents(self) -> Iterator[bytes]:
        """The lines as they were written, in stretches of any length, as far as they are whole."""
        with contextlib.suppress(CorruptData, FileNotFoundError), self.path(".data").open("rb") as file:
            yield from decoded(file, self.sheet.compression)

    def lines(self) -> Iterator[list[bytes]]:
        """The lines in lists of many, without line feeds; a line without its end does not count."""
        rest = b""
        for data in self.contents():
            *whole, rest = (rest + data).split(b"\n")
            if whole:
                yield whole

    def _replace(self, suffix: str, content: msgspec.Struct) -> None:
        """Write one of the small files anew, as a whole."""
        path, new = str(self.path(suffix)), str(self.path(f"{suffix}.new"))
        with opened(self.disk, new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC) as fd:
            write_all(self.disk, fd, msgspec.json.encode(content))
        self.disk.rename(new, path)

    def _unlink(self, suffixes: Sequence[str]) -> None:
        for suffix in suffixes:
            with contextlib.suppress(FileNotFoundError):
                self.disk.unlink(str(self.path(suffix)))

    def _write(self, suffix: str, data: bytes) -> int:
        with opened(self.disk, str(self.path(suffix)), os.O_WRONLY | os.O_CREAT | os.O_APPEND) as fd:
            return self.disk.write(fd, data)

    def __repr__(self) -> str:
        return f"Spool({self.name}, {self.sheet.key!r}, {self.sheet.state}, {self.size} bytes)"


def stretches_of(origins: Sequence[Origin | None], counts: Sequence[int]) -> list[Stretch]:
    """What is noted of batches that come from there, of which so many records are left."""
    return [
        Stretch(count) if origin is None else Stretch(count, origin.source, origin.begin, origin.end)
        for origin, count in zip(origins, counts, strict=True)
        if count
    ]


def new_name(time_ns: int) -> str:
    """A name for a spool; names sort by the time at which they were made."""
    return f"{time_ns // 1000:016x}{secrets.token_hex(4)}"


def other_name(name: str) -> str:
    """A name for a spool that was made at the same time as another."""
    return f"{name[:16]}{secrets.token_hex(4)}"


@contextlib.contextmanager
def opened(disk: Disk, path: str, flags: int) -> Iterator[int]:
    """A file descriptor for as long as the context lasts."""
    fd = disk.open(path, flags | os.O_CLOEXEC, 0o600)
    try:
        yield fd
    finally:
        disk.close(fd)


def write_all(disk: Disk, fd: int, data: bytes) -> None:
    """Write all of it; raises `OSError` if the disk does not take it."""
    while data:
        data = data[disk.write(fd, data) :]
