"""What flows: batches of records, and the receipts that say when their source may move on."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, Protocol

import msgspec

Body = dict[str, Any]


def seen_as_tag(told: str) -> str:
    """The text with `_` for all that cannot be shown: no part of a tag may end a line or do anything but be seen.

    Every tag that is made of what others have written goes through this: of names of files, of fields, of messages.
    """
    return told if told.isprintable() else "".join([c if c.isprintable() else "_" for c in told])


class Record(msgspec.Struct, gc=False):
    """A time in nanoseconds since the epoch, a body, and metadata where an input has any."""

    time_ns: int
    body: Body
    metadata: Body | None = None


class Content(Protocol):
    """The records of a batch in the form their input found cheapest.

    An input may keep them as columns or as encoded bytes until a filter asks for `records`; the four
    views always describe the same records in the same order.
    """

    def __len__(self) -> int: ...

    @property
    def has_metadata(self) -> bool:
        """Whether any record has metadata."""

    def records(self) -> list[Record]:
        """One object per record, made anew on each call."""

    def times_ns(self) -> Sequence[int]:
        """The times alone."""

    def bodies(self) -> Sequence[Any]:
        """The bodies alone, as anything msgspec encodes to a map."""

    def json_lines(self) -> bytes | None:
        """The bodies as JSON, one a line, if the content has a shorter way than encoding `bodies`; else None."""


class RecordList:
    """Content that is a plain list of records."""

    __slots__ = ("_records",)

    def __init__(self, records: list[Record]) -> None:
        self._records = records

    def __len__(self) -> int:
        return len(self._records)

    @property
    def has_metadata(self) -> bool:
        return any(r.metadata for r in self._records)

    def records(self) -> list[Record]:
        return self._records

    def times_ns(self) -> list[int]:
        return [r.time_ns for r in self._records]

    def bodies(self) -> list[Body]:
        return [r.body for r in self._records]

    def json_lines(self) -> None:
        return None


class Origin(msgspec.Struct, frozen=True):
    """A stretch of a source that can be read again: of a file, or of what a buffer has stored.

    A process that begins where another ended reads no stretch that overlaps one whose receipt was settled, as far as
    the settling was saved. A stretch is empty if what comes with it is read again together with something else.
    """

    source: str
    begin: int
    end: int


SOMEWHERE = Origin("", 0, 1)
"""The origin of what somebody keeps until its receipt is settled, and gives again otherwise; no more is known."""


class Receipt:
    """What is still owed to an input for a batch.

    It starts with one debt. Whoever hands the batch to several takers calls `share` first; each taker
    calls `settle` once. When nothing is owed any more `on_settled` runs, exactly once.

    `origin` is where the records can be read again until it is settled; None if they come once only.
    """

    __slots__ = ("_on_settled", "_owed", "origin")

    def __init__(self, on_settled: Callable[[], None] | None = None, origin: Origin | None = None) -> None:
        self._owed = 1
        self._on_settled = on_settled
        self.origin = origin if on_settled is None or origin is not None else SOMEWHERE

    def share(self, more: int = 1) -> None:
        """Owe `more` further settlements."""
        if self._owed <= 0:
            raise RuntimeError("a settled receipt cannot be shared")
        self._owed += more

    def settle(self) -> None:
        """Pay one debt."""
        self._owed -= 1
        if self._owed == 0:
            if self._on_settled is not None:
                self._on_settled()
        elif self._owed < 0:
            raise RuntimeError("the receipt was settled more often than it was owed")

    @property
    def is_settled(self) -> bool:
        return self._owed <= 0

    def __repr__(self) -> str:
        return f"Receipt(owed={self._owed})"


class RecordBatch:
    """Records of one tag that were read together; the only thing that flows.

    `size` is the number of bytes the records had where they were read; it is counted once and carried.
    Filters own the batch they are given; after routing it is shared by several outputs and read-only.
    """

    __slots__ = ("_content", "receipt", "size", "tag")

    def __init__(self, tag: str, content: Content | list[Record], size: int, receipt: Receipt | None = None) -> None:
        self.tag = tag
        self._content: Content = RecordList(content) if isinstance(content, list) else content
        self.size = size
        self.receipt = receipt or Receipt()

    def __len__(self) -> int:
        return len(self._content)

    def __iter__(self) -> Iterator[Record]:
        return iter(self._content.records())

    @property
    def content(self) -> Content:
        """The records in whatever form they are kept; for readers that do not change them."""
        return self._content

    @property
    def records(self) -> list[Record]:
        """The records as objects that may be changed in place; from now on they are the content."""
        content = self._content
        if not isinstance(content, RecordList):
            content = self._content = RecordList(content.records())
        return content.records()

    @records.setter
    def records(self, records: list[Record]) -> None:
        self._content = RecordList(records)

    def __repr__(self) -> str:
        return f"RecordBatch({self.tag!r}, {len(self)} records, {self.size} bytes, {self.receipt!r})"
