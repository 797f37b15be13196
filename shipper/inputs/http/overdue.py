"""Requests whose records were taken and whose clients were told to send them again, because it took too long.

HTTP has no ids by which a request that comes again could be known, so it is known by its client, its target and its
content. Each time that it was taken is forgotten with the first one that comes again, so that equal requests which are
sent on purpose are taken as often as they were sent.
"""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Iterable

import msgspec

from ...clock import Clock
from ...record import Receipt
from ..listening import Answer
from .requests import Request

MOST_REMEMBERED = 1024
"""Requests of which it is known that they were taken; of more the oldest are forgotten, and may come twice."""

REMEMBERED_S = 3600.0
"""How long a client may wait before it sends again; what is equal after that is taken for something new."""


class Taken:
    """The first so many batches of a request, and who is to be told when they are safe.

    `receipt` is for so many batches more; those that are not taken after all have to be settled, too.
    """

    def __init__(self, batches: int, more: int) -> None:
        self.batches = batches
        self.receipt = Receipt(self._are_safe)
        self.receipt.share(more - 1)
        self._answers: list[Answer] = []

    def tell(self, answer: Answer) -> None:
        """Send this when all is safe, which may be now."""
        if self.receipt.is_settled:
            answer.send_now()
        else:
            self._answers.append(answer)

    def withdraw(self, answer: Answer) -> None:
        """Never send it."""
        self._answers.remove(answer)
        answer.withdraw()

    def _are_safe(self) -> None:
        answers, self._answers = self._answers, []
        for answer in answers:
            answer.send_now()


class Entry(msgspec.Struct, frozen=True):
    """A request that will come again, since when, and what was taken of it."""

    key: bytes
    since: float
    taken: Taken


class Overdue:
    """Remembers what was taken of requests that will come again."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._entries: deque[Entry] = deque(maxlen=MOST_REMEMBERED)

    def remember(self, key: bytes, taken: Taken) -> None:
        """Expect this request once more."""
        self._entries.append(Entry(key, self._clock.monotonic(), taken))

    def recall(self, key: bytes) -> Taken | None:
        """What was taken of this request, and forget it; None if it has not come before."""
        entries, oldest = self._entries, self._clock.monotonic() - REMEMBERED_S
        while entries and entries[0].since < oldest:
            entries.popleft()
        found = next((entry for entry in entries if entry.key == key), None)
        if found is None:
            return None
        entries.remove(found)
        return found.taken

    def safe(self) -> list[Entry]:
        """What is remembered of records that are safe; what is not safe at the end of a run has to come again."""
        return [entry for entry in self._entries if entry.taken.receipt.is_settled]

    def go_on_from(self, entries: Iterable[Entry]) -> None:
        """Remember these, too, which another one has remembered before."""
        self._entries.extend(entries)

    def __len__(self) -> int:
        return len(self._entries)


def key_of(request: Request, peer: str) -> bytes:
    """What is the same if the client sends the request again."""
    client = f"{peer.rpartition(':')[0]}\0{request.headers.get('x-forwarded-for', '')}\0{request.target}\0"
    return hashlib.blake2b(client.encode("utf-8", "surrogateescape") + request.body, digest_size=16).digest()
