"""How much memory the records of an input may take that are not finished."""

from __future__ import annotations

MOST_OPEN_BYTES = 8_000_000
"""Bytes of the lines of all open records together, unless a single one may be larger."""


class OpenRecords:
    """The bytes of open records by the path of their file; `most` is as many as there may be, 0 for no limit.

    They are in no buffer yet, so that no other limit knows of them.
    """

    def __init__(self, most: int) -> None:
        self.most = most
        self._sizes: dict[str, int] = {}
        self._sum = 0

    def note(self, path: str, size: int) -> None:
        """Take note that the open records of this file have so many bytes now."""
        self._sum += size - self._sizes.pop(path, 0)
        if size:
            self._sizes[path] = size

    def too_large(self) -> str | None:
        """The path with the most bytes if there are too many of all."""
        if not self.most or self._sum <= self.most:
            return None
        return max(self._sizes, key=self._sizes.__getitem__)


def most_open_bytes(largest_record: int) -> int:
    """What open records may take if the largest joined text may have so many bytes; 0 says that there is no limit."""
    return max(MOST_OPEN_BYTES, largest_record) if largest_record else 0
