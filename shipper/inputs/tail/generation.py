"""One file of a path, and what reading it brings forward."""

from __future__ import annotations

import os

import msgspec

from .positions import Position, SavedFile, Span, fingerprint, spans_before
from .source import Source

Identity = tuple[int, int]
"""Device and inode."""


class Generation:
    """One file: an open descriptor, how far it was read, and how far that is safe.

    With a `source` the file is not plain: all offsets, and the size, are those of its text.
    """

    __slots__ = (
        "device",
        "fd",
        "first_bytes",
        "held_end",
        "inode",
        "is_blocked",
        "is_rotated",
        "is_skipping",
        "last_bytes",
        "looked",
        "marked",
        "mtime_before_ns",
        "mtime_ns",
        "number",
        "offset",
        "quiet_since",
        "replay",
        "saved",
        "size",
        "source",
        "whole_to",
    )

    def __init__(
        self,
        number: int,
        fd: int,
        stat: os.stat_result,
        saved: SavedFile,
        last_bytes: bytes,
        source: Source | None = None,
    ) -> None:
        self.number = number
        self.fd = fd
        self.device, self.inode = stat.st_dev, stat.st_ino
        self.saved = saved
        saved.is_taken = True
        self.offset = saved.position.ahead
        """First byte that has not been turned into records or put into an open one."""
        self.looked = self.offset
        """Up to where the bytes have been looked at; those behind `offset` are a line without its end."""
        self.replay: tuple[Span, ...] = saved.position.held
        """Bytes before `offset` that must be read again, because their record was open when the program stopped."""
        self.whole_to = self.replay[0][0] if self.replay else self.offset
        """First byte of a record that was not handed on; a position that is settled is never behind it."""
        self.first_bytes = b""
        """The first bytes of the file, read or not: with those before `offset` they tell what it holds."""
        self.last_bytes = last_bytes
        """The bytes before `offset`."""
        self.held_end: int | None = None
        """Where the last whole line ends of a copy that ends before what was read; nothing behind can be read again."""
        self.marked = -1
        """The offset before which the saved fingerprint's bytes lie; negative if none was made in this life."""
        self.source = source
        self.size = stat.st_size if source is None else source.text_size(self.looked)
        self.mtime_ns = self.mtime_before_ns = stat.st_mtime_ns
        """The file's time at the last look that showed a change, and at the one before."""
        self.is_rotated = False
        self.is_skipping = saved.position.skips
        """Whether the bytes at `offset` belong to a line that was too long."""
        self.is_blocked = False
        """Whether reading stopped at a line that is too long and may not be dropped."""
        self.quiet_since: float | None = None

    @property
    def identity(self) -> Identity:
        return self.device, self.inode

    @property
    def content_name(self) -> str:
        """Tells what the file holds from what it held before it was truncated, and from a file that had its inode."""
        return f"{self.device}:{self.inode}:{self.saved.found_ns}"

    @property
    def has_unread(self) -> bool:
        """Whether the last look at the file showed bytes that were not looked at."""
        return bool(self.replay) or (self.size > self.looked and not self.is_blocked)

    @property
    def has_unfinished_line(self) -> bool:
        """Whether there are bytes behind the last newline that could be taken as a line."""
        return self.looked > self.offset and not (self.is_blocked or self.is_skipping)

    @property
    def is_safe_to_its_end(self) -> bool:
        position = self.saved.position
        return (position.offset if self.source is None else position.ahead) >= self.offset and not position.held

    def end_at(self, size: int, last_line: int, last_bytes: bytes | None) -> None:
        """It ends before what was read of it, and its last whole line at `last_line`.

        `last_bytes` are those before its end, if it is plain.
        """
        self.offset = self.looked = size
        self.held_end = last_line
        self.is_skipping = self.is_blocked = False
        self.replay = spans_before(last_line, self.replay)
        self.whole_to = min(self.whole_to, size)
        if last_bytes is not None:
            self.last_bytes = last_bytes
            self.marked = -1
        Update(self, self.saved.position, None).cut_at(size, last_line, last_bytes).take_effect()

    def __repr__(self) -> str:
        return f"Generation({self.saved.name!r}, inode {self.inode}, offset {self.offset} of {self.size})"


class Update(msgspec.Struct, frozen=True):
    """A position to take effect; `last_bytes` are those before it, None if they are as they were."""

    generation: Generation
    position: Position
    last_bytes: bytes | None

    def cut_at(self, size: int, last_line: int, last_bytes: bytes | None) -> Update:
        """The same for a content that ends there; `last_bytes` are those before its end."""
        position = self.position.cut_at(size, last_line)
        is_elsewhere = position.offset != self.position.offset
        return Update(self.generation, position, last_bytes if is_elsewhere else self.last_bytes)

    def take_effect(self) -> None:
        """Let the position be the one that is saved."""
        saved = self.generation.saved
        saved.position = self.position
        if self.last_bytes is not None:
            saved.marker = fingerprint(self.last_bytes) if self.last_bytes else 0
            saved.marker_size = len(self.last_bytes)


class Step:
    """What one read brought forward; `updates` take effect when this and all earlier steps are settled."""

    __slots__ = ("is_settled", "read_ns", "updates")

    def __init__(self, updates: list[Update], read_ns: int) -> None:
        self.updates = updates
        self.read_ns = read_ns
        self.is_settled = False
