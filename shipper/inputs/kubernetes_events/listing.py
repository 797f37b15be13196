"""Lists of events in answers that are small enough to be held.

A list may have tens of thousands of events, and a small pod has no room for them. So, unless the configuration says how
many there are to be in one answer, the whole list is asked for as Fluent Bit does it, and the answer is left when it
turns out to be long; from then on the list is asked for in pages. A page is made of events that weigh little together,
and is handed on before the next one is asked for.
"""

from __future__ import annotations

from collections.abc import Callable
from urllib.parse import quote

from ...kubernetes.api import ApiServer
from .events import EventList, read_list
from .interruptions import Interrupted, refusal

LONGEST_PAGE = 8 << 20
"""Bytes of one answer that somebody has chosen the size of; one that is longer is asked for in smaller pages."""

LONGEST_WHOLE = 128 << 10
"""Bytes of a list that is taken as a whole, and about those of a page that nobody has chosen the size of."""

_LARGEST_PAGE = 200
_PATIENCE_S = 60.0


class Listing:
    """The pages of lists; the size of a page is learned, and kept for the lists that follow."""

    def __init__(self, api: ApiServer, path: str, wanted: int, now_s: Callable[[], float]) -> None:
        self._api = api
        self._path = path
        self._now_s = now_s
        self._is_chosen = wanted > 0
        # Events of a page; 0 for all of them.
        self._size = max(0, wanted)

    async def page(self, more: str) -> EventList:
        """The page that the last one has named, or the first one; raises `Interrupted` or `ListAgain`."""
        if not more and not self._size:
            body = await self._whole()
            if body is not None:
                return _read(body)
            self._size = _LARGEST_PAGE
        body = await self._answer(more)
        found = _read(body)
        if not self._is_chosen and found.items:
            self._size = max(1, min(_LARGEST_PAGE, LONGEST_WHOLE * len(found.items) // len(body)))
        return found

    async def _whole(self) -> bytes | None:
        """The list in one answer; None if that is too long."""
        stream = await self._api.follow(self._path)
        try:
            parts, size = [], 0
            while data := await stream.read(_PATIENCE_S):
                parts.append(data)
                size += len(data)
                if size > LONGEST_WHOLE:
                    break
            status, headers = stream.status, stream.headers
        finally:
            stream.close()
        if status != 200:
            raise refusal(status, headers, b"".join(parts), self._now_s())
        return b"".join(parts) if size <= LONGEST_WHOLE else None

    async def _answer(self, more: str) -> bytes:
        parts = [f"continue={quote(more, safe='')}"] if more else []
        parts += [f"limit={self._size}"] if self._size else []
        answer = await self._api.request("GET", f"{self._path}?{'&'.join(parts)}")
        if answer.status != 200:
            raise refusal(answer.status, answer.headers, answer.body, self._now_s())
        if len(answer.body) > LONGEST_PAGE:
            self._size = max(1, (self._size or _LARGEST_PAGE) // 2)
            raise Interrupted(f"the list of events is too long for one answer; it is asked for by {self._size}")
        return answer.body


def _read(body: bytes) -> EventList:
    try:
        return read_list(body)
    except (ValueError, RecursionError) as error:
        raise Interrupted(f"the list of events cannot be read: {error}") from error
