"""The options of the tail input."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import field

from ...config.options import opt
from ...config.units import ByteSize, PlainSeconds, Seconds
from ...errors import OptionError
from ...parsers.onigmo import Regex
from ..base import InputOptions
from .encoding import GENERIC_ENCODINGS, UNICODE_ENCODINGS, python_codec
from .state_loss import StateLoss


class TailOptions(InputOptions):
    """Options of the tail input."""

    path: Annotated[
        tuple[str, ...], opt("Files to follow; paths or globs.", split=",", example="/var/log/containers/*.log")
    ] = ()
    exclude_path: Annotated[
        tuple[str, ...], opt("Shell patterns of paths that are left out.", split=",", example="*.gz,*.zip")
    ] = ()
    key: Annotated[str, opt("Field that holds the line; not used with multiline.parser.")] = "log"
    path_key: Annotated[str | None, opt("Field that is to hold the path of the file.")] = None
    offset_key: Annotated[str | None, opt("Field that is to hold the offset of the line.")] = None
    read_from_head: Annotated[bool, opt("Read files that exist at the start from their beginning.")] = False
    read_newly_discovered_files_from_head: Annotated[bool, opt("Read files found later from their beginning.")] = True
    refresh_interval: Annotated[PlainSeconds, opt("Seconds between full scans; new files are seen sooner.")] = (
        PlainSeconds(60)
    )
    watcher_interval: Annotated[Seconds, opt("Accepted; symlinks are checked with every look at the file.")] = Seconds(
        2
    )
    progress_check_interval: Annotated[Seconds, opt("Time between looks at every file, events or not.")] = Seconds(2)
    progress_check_interval_nsec: Annotated[int, opt("Nanoseconds to add to progress_check_interval.")] = 0
    rotate_wait: Annotated[
        Seconds, opt("Time a rotated file stays open after it was read to its end and stayed quiet.")
    ] = Seconds(5)
    deleted_files_limit: Annotated[
        ByteSize,
        opt(
            "Most bytes of deleted files that stay open until they are read; beyond it the oldest are lost. 0: no limit"
        ),
    ] = ByteSize(0)
    deleted_files_max_age: Annotated[
        Seconds, opt("Longest time a deleted file stays open until it is read; then it is lost. 0: no limit.")
    ] = Seconds(0)
    ignore_older: Annotated[Seconds, opt("Leave out files that were not changed for this time; 0 for never.")] = (
        Seconds(0)
    )
    ignore_active_older_files: Annotated[bool, opt("Stop following files that become older than ignore_older.")] = False
    buffer_chunk_size: Annotated[ByteSize, opt("Accepted; blocks are read in a size of our own.")] = ByteSize(32_768)
    buffer_max_size: Annotated[ByteSize, opt("Longest line plus two bytes.")] = ByteSize(32_768)
    static_batch_size: Annotated[ByteSize, opt("Most bytes that a file may read in its turn.")] = ByteSize(50_000_000)
    event_batch_size: Annotated[ByteSize, opt("The same; the smaller one counts.")] = ByteSize(50_000_000)
    skip_long_lines: Annotated[bool, opt("Drop lines that are too long and go on.")] = False
    truncate_long_lines: Annotated[bool, opt("Cut lines that are too long and go on.")] = False
    skip_empty_lines: Annotated[bool, opt("Leave out empty lines.")] = False
    exit_on_eof: Annotated[bool, opt("Stop the service when all files present at the start were read.")] = False
    parser: Annotated[str | None, opt("Parser for each line.")] = None
    tag_regex: Annotated[Regex | None, opt("Named groups of the path for <name> in the tag.")] = None
    multiline_parser: Annotated[
        tuple[str, ...], opt("Multiline parsers to try on each line.", split=",", example="docker, cri")
    ] = field(default=(), name="multiline.parser")
    multiline: Annotated[bool, opt("Join lines by parser_firstline.")] = False
    multiline_flush: Annotated[Seconds, opt("Longest wait for the next line of a record.")] = Seconds(4)
    parser_firstline: Annotated[str | None, opt("Parser of the first line of a record.")] = None
    parser_n: Annotated[tuple[str, ...], opt("Parser of a following line.", family="parser_")] = field(
        default=(), name="parser_n"
    )
    docker_mode: Annotated[bool, opt("Join split docker JSON lines.")] = False
    docker_mode_flush: Annotated[Seconds, opt("Longest wait for the rest of a split line.")] = Seconds(4)
    docker_mode_parser: Annotated[str | None, opt("Parser of the first line of a docker record.")] = None
    db: Annotated[str | None, opt("SQLite file that keeps the positions.")] = None
    db_sync: Annotated[Literal["extra", "full", "normal", "off"], opt("SQLite's synchronous mode.")] = field(
        default="normal", name="db.sync"
    )
    db_locking: Annotated[bool, opt("Keep other programs out of the database.")] = field(
        default=False, name="db.locking"
    )
    db_journal_mode: Annotated[
        Literal["DELETE", "TRUNCATE", "PERSIST", "MEMORY", "WAL", "OFF"], opt("SQLite's journal mode.")
    ] = field(default="WAL", name="db.journal_mode")
    db_compare_filename: Annotated[bool, opt("A stored position counts only for the same file name.")] = field(
        default=False, name="db.compare_filename"
    )
    on_state_loss: Annotated[
        StateLoss | None,
        opt("Where files begin when the database is missing or damaged: head, tail, since=TIME.", example="since=10m"),
    ] = None
    unfinished_line_at_rotation: Annotated[
        Literal["record", "join"],
        opt("A last line without newline becomes a record, or is joined to the first line of the next file."),
    ] = "record"
    file_cache_advise: Annotated[bool, opt("Accepted; the page cache is left to the system.")] = True
    inotify_watcher: Annotated[bool, opt("Use file events; off looks at every file four times a second.")] = True
    unicode_encoding: Annotated[str | None, opt("Encoding of the files: auto, UTF-16LE, UTF-16BE.")] = field(
        default=None, name="unicode.encoding"
    )
    generic_encoding: Annotated[str | None, opt("Legacy encoding of the files.", example="ShiftJIS")] = field(
        default=None, name="generic.encoding"
    )

    def __post_init__(self) -> None:
        if not self.path:
            raise OptionError("path", "no input 'path' was given", "for example: path /var/log/containers/*.log")
        if self.refresh_interval <= 0:
            raise OptionError("refresh_interval", "must be above 0", "write seconds, for example: refresh_interval 10")
        if self.rotate_wait <= 0:
            raise OptionError("rotate_wait", "must be above 0", "for example: rotate_wait 5")
        if self.buffer_max_size < self.buffer_chunk_size:
            raise OptionError(
                "buffer_max_size", "buffer_max_size must be >= buffer_chunk_size", "raise buffer_max_size"
            )
        if self.docker_mode and self.multiline:
            raise OptionError("docker_mode", "cannot be on together with multiline", "use multiline.parser docker, cri")
        if self.multiline and self.parser_firstline is None:
            raise OptionError(
                "parser_firstline", "multiline: no parser defined for firstline", "name a parser of the first lines"
            )
        joins_lines = self.multiline or self.docker_mode or self.multiline_parser
        if joins_lines and self.unfinished_line_at_rotation == "join":
            raise OptionError(
                "unfinished_line_at_rotation", "cannot be join where lines are joined to records", "write record"
            )
        self._check_encodings()

    @property
    def codec(self) -> str | None:
        """Python's name of the encoding of the files, "auto", or None for UTF-8."""
        if self.unicode_encoding is not None:
            return python_codec(self.unicode_encoding, UNICODE_ENCODINGS)
        return python_codec(self.generic_encoding, GENERIC_ENCODINGS) if self.generic_encoding is not None else None

    def _check_encodings(self) -> None:
        if self.unicode_encoding is not None and self.generic_encoding is not None:
            raise OptionError("generic.encoding", "cannot be set together with unicode.encoding", "leave out one")
        for option, name, known in (
            ("unicode.encoding", self.unicode_encoding, UNICODE_ENCODINGS),
            ("generic.encoding", self.generic_encoding, GENERIC_ENCODINGS),
        ):
            if name is not None and python_codec(name, known) is None:
                raise OptionError(option, f"does not know '{name}'", f"possible are: {', '.join(known)}")
