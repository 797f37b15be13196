"""Which files are not plain, and what it takes to read them."""

from __future__ import annotations

import os
from collections.abc import Sequence

from ...disk import Disk
from ...log import Log
from .access import read_whole
from .compressed import GzipConverter, decompressed_head, is_compressed
from .encoding import AUTO, EncodingConverter, TextDecoder, codec_by_mark, unit_size
from .positions import Position
from .source import Break, Converter, Source

_HEAD = 4096


class Conversion:
    """Knows by a file's name, and by the encoding that was configured for all files, how its text is made.

    `codec` is Python's name of the encoding, "auto", or None for UTF-8.
    """

    def __init__(self, disk: Disk, codec: str | None, log: Log) -> None:
        self._disk = disk
        self._codec = codec
        self._log = log

    def source_of(self, names: Sequence[str], fd: int, state: os.stat_result, position: Position) -> Source | None:
        """What makes the text of the file, from the position on; None for a plain file."""
        is_gzip = any(map(is_compressed, names))
        if not is_gzip and self._codec is None:
            return None
        start = Break(position.offset if position.text is None else position.text, position.offset)
        if not is_gzip and position.text is None:
            start = self._between_units(start)

        def make_converter(offset: int) -> Converter | None:
            return self._converter(fd, is_gzip, offset)

        def tell(reason: str, offset: int) -> None:
            self._log.error("file cannot be read", file=names[0], because=reason, offset=offset)

        return Source(self._disk, fd, start, state.st_size, make_converter, tell)

    def _converter(self, fd: int, is_gzip: bool, offset: int) -> Converter | None:
        codec = self._codec
        if codec == AUTO:
            codec = codec_by_mark(self._head(fd, is_gzip))
            if codec is None:
                return None
        if is_gzip:
            return GzipConverter(TextDecoder(codec, offset == 0) if codec else None)
        return EncodingConverter(codec or "utf-8", offset == 0)

    def _head(self, fd: int, is_gzip: bool) -> bytes:
        head = read_whole(self._disk, fd, _HEAD, 0)
        return decompressed_head(head, 2) if is_gzip else head[:2]

    def _between_units(self, start: Break) -> Break:
        """The end of a file that is being written may be the middle of a unit of two bytes."""
        extra = start.file % (2 if self._codec == AUTO else unit_size(self._codec or ""))
        return Break(start.text, start.file - extra)
