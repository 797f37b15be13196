"""The text of files that are not plain: compressed ones, and those that are not UTF-8.

Who reads such a file sees its *text*, UTF-8 bytes and offsets in them, as of a plain file. What is stored is an offset
in the file, because only that can be compared with the file's size, and only that Fluent Bit understands. Between the
two stand *breaks*: places of the file where converting can begin, with the offset in the text of each. Stored is the
last break before the first byte of text that is not safe, its offset in the text, and, in offsets of the text, what
beyond it was delivered (see `Position`). After a restart the file is converted again from the break, and what was
delivered is passed over. Fluent Bit does not store the offset in the text; without it the text is taken to begin at the
stored offset, whatever its true one.

Conversion goes forward only. The window of text that is kept begins where the reader last asked for.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Iterator, Sequence

import msgspec

from ...disk import Disk
from .access import read_whole
from .positions import MARKER_SIZE, Span

_CHUNK = 64 * 1024
"""Bytes of the file to convert at once."""

_MOST_AT_ONCE = 8 * 1024 * 1024
"""Bytes of the file and of its text to go through before the other files have their turn."""

_PIECE_COST = 4096
"""A piece takes as long as so many bytes, however small it is."""

_MOST_BREAKS = 4096
"""Breaks to remember; with more of them every second one is forgotten."""


class Unreadable(Exception):
    """The content of a file is not what it should be."""


class Break(msgspec.Struct, frozen=True):
    """A place where converting can begin: its offset in the text and in the file."""

    text: int
    file: int


class Piece(msgspec.Struct, frozen=True):
    """Some text, the number of bytes of the file it was made from, and whether a break follows."""

    text: bytes
    size: int
    ends_at_break: bool


class Converter(ABC):
    """Makes text of the bytes of a file, which it is given one after another."""

    @property
    def is_inside(self) -> bool:
        """Whether the bytes so far end inside something that has an end of its own."""
        return False

    @abstractmethod
    def convert(self, data: bytes) -> Iterator[Piece]:
        """The text of the next bytes; raises `Unreadable` if they make no sense."""


MakeConverter = Callable[[int], Converter | None]
"""A converter that begins at this offset of the file; None if the file is too short to tell which."""


class Source:
    """The text of one file that is not plain.

    `file_size` is the size at the last look. `failure` says why nothing more can be read, until `restart`; `on_failure`
    is told once.
    """

    def __init__(
        self,
        disk: Disk,
        fd: int,
        start: Break,
        file_size: int,
        make_converter: MakeConverter,
        on_failure: Callable[[str, int], None],
    ) -> None:
        self._disk = disk
        self._fd = fd
        self._make_converter = make_converter
        self._on_failure = on_failure
        self.file_size = file_size
        self._begin(start)
        self._last_bytes = self._bytes_before(start.file)
        self._work = 0
        """Bytes of the file and of its text that were gone through so far."""

    def _begin(self, start: Break) -> None:
        self.failure: str | None = None
        self._start = start
        self._breaks = deque([start])
        self._saved: Break | None = None
        self._converter: Converter | None = None
        self._pieces: Iterator[Piece] | None = None
        self._window = b""
        self._text_end = start.text
        self._converted = self._file_end = start.file
        """Bytes of the file that the text was made from, and those that the converter was given."""
        self._last_bytes = b""
        self._is_undecided_at = -1
        self._spans: list[bytes] = []
        """What `read_spans` has read so far."""
        self._reach: Break | None = None
        """Up to where converting goes without giving text, because it could not begin there."""
        self._left_out = 0
        """Bytes of text that were left out by that."""

    def restart(self) -> None:
        """Begin at the head of the file."""
        self._begin(Break(0, 0))

    def text_size(self, offset: int) -> int:
        """How much text there is as far as is known; beyond the offset if there may be more than was converted."""
        left = self._left
        return max(self._text_end + left, offset + 1) if left else self._text_end

    @property
    def _left(self) -> int:
        """Bytes of the file that are still to be converted, one more while the converter may have text of others."""
        if self.failure or self._is_undecided_at == self.file_size:
            return 0
        return max(0, self.file_size - self._file_end) + (self._pieces is not None)

    @property
    def unfinished_bytes(self) -> int:
        """Bytes of the file that cannot be read, or those of its last part if the end of that is missing."""
        if self.failure:
            return self.file_size - self._converted
        is_cut = self._converter is not None and self._converter.is_inside
        return self._converted - self._breaks[-1].file if is_cut else 0

    def is_what_was_read(self) -> bool:
        """Whether the file still has the bytes that were read from it last."""
        return self.file_size >= self._file_end and self._bytes_before(self._file_end) == self._last_bytes

    def ends_before(self, offset: int) -> bool:
        """Whether all of the file was converted and its text does not reach the offset."""
        return not self.failure and self._text_end < offset and self.text_size(offset) == self._text_end

    def read(self, size: int, offset: int) -> bytes:
        """At most `size` bytes of text from the offset on; never again can text before it be read.

        There may be more, though fewer are given: those of a file that has long stretches without text are read in
        many calls.
        """
        end = self._work + _MOST_AT_ONCE
        while self._text_end < offset:
            if not self._convert_more(end):
                return b""
            self._forget_before(offset)
        self._forget_before(offset)
        while len(self._window) < size and self._convert_more(end):
            pass
        return self._window[:size]

    def read_spans(self, spans: Sequence[Span]) -> list[bytes] | None:
        """The text of these spans, which lie one behind the other; None if it cannot be read in one turn.

        What was read by then is kept for the next call.
        """
        for start, end in spans[len(self._spans) :]:
            data = self.read(end - start, start)
            if len(data) < end - start and not self.failure and (self._left or not data):
                return None
            self._spans.append(data)
        found, self._spans = self._spans, []
        return found

    def break_before(self, offset: int) -> Break:
        """The last break that is not behind the offset; those before it are forgotten."""
        if self._reach is not None:
            return self._reach
        breaks = self._breaks
        while len(breaks) > 1 and breaks[1].text <= offset:
            breaks.popleft()
        return breaks[0]

    def marker_at(self, place: Break) -> bytes | None:
        """The last bytes of the file before the break; None if it is the break of the last call."""
        if place == self._saved:
            return None
        self._saved = place
        return self._bytes_before(place.file)

    def _bytes_before(self, offset: int) -> bytes:
        size = min(MARKER_SIZE, offset)
        return read_whole(self._disk, self._fd, size, offset - size) if size else b""

    def _forget_before(self, offset: int) -> None:
        extra = len(self._window) - (self._text_end - offset)
        if extra > 0:
            self._window = self._window[extra:]

    def _convert_more(self, end: int) -> bool:
        """Convert a little; false if nothing is left at present, or the work has come to its `end`."""
        if self._work >= end or (self._pieces is None and not self._feed()):
            return False
        piece = self._next_piece()
        if piece is not None:
            self._take(piece)
        elif self._reach is not None and self._file_end >= self._reach.file:
            self._arrive(self._reach)
        return not self.failure

    def _feed(self) -> bool:
        """Give the converter the next bytes of the file; false if there are none."""
        if self.failure:
            return False
        size = _CHUNK if self._reach is None else min(_CHUNK, self._reach.file - self._file_end)
        data = self._disk.pread(self._fd, size, self._file_end)
        if data and self._converter is None:
            self._converter = self._make_converter(self._file_end)
            if self._converter is None:
                self._is_undecided_at = self.file_size
        if not data or self._converter is None:
            return False
        self._file_end += len(data)
        self._work += len(data)
        self._last_bytes = (self._last_bytes + data)[-MARKER_SIZE:]
        self._pieces = self._converter.convert(data)
        return True

    def _next_piece(self) -> Piece | None:
        if self._pieces is None:
            return None
        try:
            piece = next(self._pieces, None)
        except Unreadable as error:
            self._pieces = None
            if self._converted != self._start.file or not self._started_inside():
                self.failure = str(error)
                self._on_failure(self.failure, self._converted)
            return None
        if piece is None:
            self._pieces = None
        return piece

    def _take(self, piece: Piece) -> None:
        self._work += len(piece.text) + _PIECE_COST
        self._converted += piece.size
        if self._reach is None:
            self._window += piece.text
            self._text_end += len(piece.text)
        else:
            self._left_out += len(piece.text)
        if piece.ends_at_break:
            text = self._text_end if self._reach is None else self._left_out
            self._breaks.append(Break(text, self._converted))
            if len(self._breaks) > _MOST_BREAKS:
                self._breaks = deque([b for number, b in enumerate(self._breaks) if number % 2 == 0])

    def _started_inside(self) -> bool:
        """Begin again at the head, because converting cannot begin at the stored offset; leave out what lies before.

        The offset in the text of what comes then stays what it was, so that of the head may be below zero.
        """
        start = self._start
        if start.file == 0:
            return False
        self._begin(Break(0, 0))
        self._reach, self._text_end = start, start.text
        return True

    def _arrive(self, start: Break) -> None:
        """The stored offset was reached from the head."""
        shift = start.text - self._left_out
        self._breaks = deque([Break(b.text + shift, b.file) for b in self._breaks])
        self._reach = None
