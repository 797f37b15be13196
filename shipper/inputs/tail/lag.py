"""How old the oldest byte is that was not read."""

from __future__ import annotations

MOST_MARKS = 64  # an even number
"""Beyond that, neighbours are taken together: the older time of the two, so that no age is told too small."""


class Lag:
    """Remembers when the bytes behind the reader were seen first.

    Bytes are counted from the first one that was followed, over all files of a path. A mark says up to which of them a
    look has shown, and when; the bytes since the mark before it are as old as it is.
    """

    __slots__ = ("_marks",)

    def __init__(self) -> None:
        # A list, because there is one for each of thousands of files: an empty deque takes ten times as much.
        self._marks: list[tuple[int, float]] = []

    def note(self, read: int, unread: int, now: float) -> None:
        """So many bytes have been read, and so many more are there; `now` is in seconds of a monotonic clock."""
        marks, known = self._marks, read + unread
        while marks and marks[-1][0] > known:  # a file was truncated or given up
            _, seen_at = marks.pop()
            if not marks or marks[-1][0] < known:
                marks.append((known, seen_at))
        if not marks or marks[-1][0] < known:
            marks.append((known, now))
            if len(marks) > MOST_MARKS:
                self._thin_out()
        while marks and marks[0][0] <= read:
            del marks[0]

    def age_s(self, now: float) -> float:
        """Seconds since the oldest unread byte was seen; 0 if there is none."""
        return now - self._marks[0][1] if self._marks else 0.0

    def _thin_out(self) -> None:
        marks = self._marks
        older, younger = marks[:-1:2], marks[1:-1:2]
        marks[:-1] = [(end, seen_at) for (_, seen_at), (end, _) in zip(older, younger, strict=True)]

    def __repr__(self) -> str:
        return f"Lag({self._marks})"
