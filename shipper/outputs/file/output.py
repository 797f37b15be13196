"""Append records to files."""

from __future__ import annotations

import asyncio
import os
import stat
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from typing import Annotated

import msgspec

from ...buffers.base import BatchLimits, Delivery
from ...codecs.json_lines import JsonEncoder
from ...config.options import opt
from ...config.units import ByteSize
from ...context import Context
from ...errors import OptionError, RetryLater
from ...record import Content, Record, RecordBatch, RecordList
from ..base import Output, OutputOptions
from .destination import DynamicNames, Policy, Target, fixed_folder, is_dynamic, name_from_tag, parse_name
from .formats import (
    FileFormat,
    LineEncoder,
    csv_encoder,
    csv_header,
    delimiter_of,
    ltsv_encoder,
    msgpack_encoder,
    out_file_encoder,
    plain_encoder,
    template_encoder,
)
from .rotation import compress, remove_oldest, set_aside

_FLAGS = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC
_TAKEN = (NotADirectoryError, IsADirectoryError, FileExistsError)
"""What comes of a name that is a file already and should be a folder now, or the other way round."""


class FileOptions(OutputOptions):
    """Options of the file output."""

    path: Annotated[str | None, opt("Folder of the files; default is the working folder.")] = None
    file: Annotated[str | None, opt("Name of the file; default is the tag.", example="app.log")] = None
    mkdir: Annotated[bool, opt("Create missing folders.")] = False
    format: Annotated[FileFormat, opt("Form of a record.", example="plain")] = "out_file"
    delimiter: Annotated[str | None, opt("Between the fields of csv and ltsv: tab, space or comma.")] = None
    label_delimiter: Annotated[str | None, opt("Between label and value of ltsv: tab, space or comma.")] = None
    template: Annotated[str, opt("Text for format template; {key} stands for a value.")] = "{time} {message}"
    csv_column_names: Annotated[bool, opt("Begin a csv file with the names of its columns.")] = False
    enable_strftime: Annotated[bool, opt("Replace %Y and its like in path and file by the record's time, UTC.")] = False
    fallback_path: Annotated[str | None, opt("Folder of the fallback file.")] = None
    fallback_file: Annotated[str | None, opt("File for records that name no file of their own.")] = None
    on_missing_field: Annotated[Policy, opt("What becomes of a record without a field that path or file name.")] = (
        "error"
    )
    on_limit_reached: Annotated[Policy, opt("What becomes of a record that names one file too many.")] = "error"
    max_dynamic_files: Annotated[int, opt("Most files that records may name.")] = 1024
    rotate: Annotated[bool, opt("Set a file aside when it is full.")] = False
    rotate_max_size: Annotated[ByteSize, opt("A file of this size is full.")] = ByteSize(100_000_000)
    rotate_max_files: Annotated[int, opt("Most files that are kept aside.")] = 7
    rotate_gzip: Annotated[bool, opt("Compress files that are set aside.")] = True


class _Piece(msgspec.Struct):
    """What a delivery has for one file: how much of `data` is written, and the header if the file turns out empty."""

    path: str
    records: int
    data: bytes
    header: bytes = b""
    written: int = 0

    @property
    def is_done(self) -> bool:
        return self.written >= len(self.data)


class FileOutput(Output):
    """Appends to files that are opened for each delivery; what was written is never written again.

    A file that cannot be written does not keep the others of a delivery waiting.
    """

    Options = FileOptions
    limits = BatchLimits(size=1_000_000, records=10_000)

    def __init__(self, options: FileOptions, context: Context) -> None:
        self._options = options
        self._context = context
        self._disk = context.disk
        self._encode = _line_encoder(options, context)
        self._folder = options.path or "."
        self._dynamic = _dynamic_names(options)
        self._header = _header(options)
        self._root = fixed_folder(self._folder, options.enable_strftime)
        self._chosen = _chosen_file(options, self._dynamic)
        """The file that the configuration names whole; all others are named by tags and records."""

    async def send(self, delivery: Delivery) -> None:
        """Append every record; waits while a full file is compressed."""
        if delivery.progress is None:
            delivery.progress = self._pieces(delivery)
        failure: RetryLater | None = None
        for piece in delivery.progress:
            if piece.is_done:
                continue
            try:
                await self._make_room(piece)
                self._append(piece)
            except OSError as error:
                if isinstance(error, _TAKEN) and self._is_hopeless(piece):
                    self._refuse(piece, delivery, error)
                else:
                    failure = failure or RetryLater(self._told(piece, error))
                continue
            delivery.accepted += piece.records
        if failure is not None:
            raise failure

    def _pieces(self, delivery: Delivery) -> list[_Piece]:
        """What is to be written where, in the order in which the files come first."""
        pieces: dict[str, _Piece] = {}
        for batch in delivery.batches:
            for path, content in self._targets(batch, delivery):
                data = self._encode(batch.tag, content)
                piece = pieces.get(path)
                if piece is None:
                    header = self._header(content) if len(content) else b""
                    pieces[path] = _Piece(path, len(content), data, header)
                else:
                    piece.records += len(content)
                    piece.data += data
        return list(pieces.values())

    def _targets(self, batch: RecordBatch, delivery: Delivery) -> Iterable[tuple[str, Content]]:
        if self._dynamic is not None:
            return self._split(batch, delivery, self._dynamic)
        return [(self._file_of(batch.tag), batch.content)]

    def _file_of(self, tag: str) -> str:
        return f"{self._folder}/{self._options.file or name_from_tag(tag)}"

    def _split(self, batch: RecordBatch, delivery: Delivery, names: DynamicNames) -> Iterator[tuple[str, Content]]:
        groups: dict[Target, RecordList] = {}
        for record in batch.content.records():
            groups.setdefault(names.target(batch.tag, record), RecordList([])).records().append(record)
        for target, content in groups.items():
            if target.path:
                yield target.path, content
                continue
            self._context.log.error("records have no file to go to", every=60, reason=target.refusal)
            records = [(batch.tag, record) for record in content.records()]
            delivery.refuse(len(content), target.refusal, partial(list, records))

    async def _make_room(self, piece: _Piece) -> None:
        """Set the file aside if it is full; not between two parts of a piece, which may be parts of a line."""
        options = self._options
        if not options.rotate or piece.written:
            return
        try:
            state = self._disk.stat(piece.path)
        except FileNotFoundError:
            return
        if state.st_size < options.rotate_max_size or stat.S_ISDIR(state.st_mode):
            return
        aside = set_aside(self._disk, piece.path, self._context.clock.time_ns())
        if options.rotate_gzip:
            try:
                await asyncio.to_thread(compress, aside)
            except OSError as error:
                self._context.log.warning("a full file could not be compressed", file=aside, error=error.strerror)
        remove_oldest(self._disk, piece.path, options.rotate_max_files)

    def _is_hopeless(self, piece: _Piece) -> bool:
        """Whether the name that is taken was made of tags and records; one that the user wrote can be put right."""
        if piece.path == self._chosen:
            return False
        try:
            return stat.S_ISDIR(self._disk.stat(self._root).st_mode)
        except OSError:
            return False

    def _refuse(self, piece: _Piece, delivery: Delivery, error: OSError) -> None:
        """Drop what was to go to this file, and keep it from being tried again."""
        self._context.log.error(
            "records dropped: their file has the name of a folder that other records need, or the reverse; "
            "rename tags so that none begins with another one and a slash, or set `file`",
            every=60,
            file=piece.path,
            records=piece.records,
            reason=error.strerror,
        )
        which = partial(self._records_for, piece.path, delivery.batches)
        delivery.refuse(piece.records, "file_name_taken", which, message=self._told(piece, error))
        piece.data = b""

    def _records_for(self, path: str, batches: Sequence[RecordBatch]) -> list[tuple[str, Record]]:
        """The records that go to this file, with their tags."""
        found = []
        for batch in batches:
            for record in batch.content.records():
                dynamic = self._dynamic
                goes_to = self._file_of(batch.tag) if dynamic is None else dynamic.target(batch.tag, record).path
                if goes_to == path:
                    found.append((batch.tag, record))
        return found

    def _told(self, piece: _Piece, error: OSError) -> str:
        hint = "; mkdir is off" if isinstance(error, FileNotFoundError) and not self._options.mkdir else ""
        return f"cannot write {piece.path}: {error.strerror}{hint}"

    def _append(self, piece: _Piece) -> None:
        if self._options.mkdir:
            self._disk.mkdirs(os.path.dirname(piece.path) or ".", 0o755)
        fd = self._disk.open(piece.path, _FLAGS, 0o644)
        try:
            if piece.header and not piece.written and self._disk.fstat(fd).st_size == 0:
                piece.data = piece.header + piece.data
            piece.header = b""
            while not piece.is_done:
                piece.written += self._disk.write(fd, piece.data[piece.written :])
        finally:
            self._disk.close(fd)


def _line_encoder(options: FileOptions, context: Context) -> LineEncoder:
    encoder = JsonEncoder(context.service.escape_unicode)
    makers: dict[FileFormat, Callable[[], LineEncoder]] = {
        "out_file": lambda: out_file_encoder(encoder),
        "plain": lambda: plain_encoder(encoder),
        "csv": lambda: csv_encoder(delimiter_of(options.delimiter, ",")),
        "ltsv": lambda: ltsv_encoder(delimiter_of(options.delimiter, "\t"), delimiter_of(options.label_delimiter, ":")),
        "template": lambda: template_encoder(options.template),
        "msgpack": msgpack_encoder,
    }
    return makers[options.format]()


def _header(options: FileOptions) -> Callable[[Content], bytes]:
    if options.format != "csv" or not options.csv_column_names:
        return lambda content: b""
    delimiter = delimiter_of(options.delimiter, ",")
    return lambda content: csv_header(content, delimiter)


def _chosen_file(options: FileOptions, dynamic: DynamicNames | None) -> str | None:
    if dynamic is not None:
        return _fallback(options)
    return f"{options.path or '.'}/{options.file}" if options.file else None


def _fallback(options: FileOptions) -> str:
    return f"{options.fallback_path or '.'}/{options.fallback_file}"


def _dynamic_names(options: FileOptions) -> DynamicNames | None:
    folder = parse_name("path", options.path or ".")
    file = parse_name("file", options.file or "")
    if not is_dynamic(folder, options.enable_strftime) and not is_dynamic(file, options.enable_strftime):
        return None
    if not options.fallback_file:
        raise OptionError(
            "fallback_file", "is required when dynamic destinations are configured", "name a file for the other records"
        )
    return DynamicNames(
        folder,
        file,
        strftime=options.enable_strftime,
        fallback=_fallback(options),
        most=options.max_dynamic_files,
        on_missing=options.on_missing_field,
        on_limit=options.on_limit_reached,
    )
