"""Records of one tag of one input on their way through the multiline engine."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from ...parsers.joiner import Joiner
from ...parsers.multiline import MultilineDefinition
from ...parsers.pending import Joined
from ...record import Receipt, Record, RecordBatch
from .owed import receipt_for


class Stream:
    """Joins the records of one tag and knows whose receipts it owes.

    `owed` holds a share of the receipt of every batch that has a record pending, or that is being taken. `records` and
    `size` are how many records are pending and the bytes they had where they were read.
    """

    __slots__ = ("_joiner", "_owed", "_tag", "records", "size", "source")

    def __init__(
        self,
        source: str,
        tag: str,
        definitions: Sequence[MultilineDefinition],
        buffer_limit: int,
        now_ns: Callable[[], int],
    ) -> None:
        self.source = source
        self.records = 0
        self.size = 0
        self._tag = tag
        self._joiner = Joiner(definitions, buffer_limit, now_ns)
        self._owed: list[Receipt] = []

    def leaves_alone(self, batch: RecordBatch, key: str) -> bool:
        """Whether the batch goes on as it is, because nothing is pending and nothing in it begins a message."""
        if self.records:
            return False
        texts = [body.get(key) for body in batch.content.bodies()]
        return self._joiner.leaves_alone([text for text in texts if isinstance(text, str)])

    def join_all(self, batch: RecordBatch) -> list[Joined]:
        """The records of the batch joined among themselves; nothing is left pending."""
        append = self._joiner.append_record
        for record in batch.records:
            append(record)
        self._joiner.flush_all()
        return self._joiner.take()

    def take(self, batch: RecordBatch, now: float) -> list[Joined]:
        """Take the records of a batch and share its receipt; gives what they finish, for `hand_out`."""
        append, receipt = self._joiner.append_record, batch.receipt
        receipt.share()
        self._owed.append(receipt)
        self.records += len(batch)
        self.size += batch.size
        for record in batch.records:
            append(record, receipt)
        self._joiner.touch(now)
        return self._joiner.take()

    def release(self, now: float | None) -> list[Joined]:
        """What is due at `now`, or everything; for `hand_out`."""
        if now is None:
            self._joiner.flush_all()
        else:
            self._joiner.flush_due(now)
        return self._joiner.take()

    def deadline(self) -> float | None:
        """When the first pending record is due."""
        return self._joiner.deadline()

    def hand_out(self, joined: Sequence[Joined]) -> RecordBatch:
        """The batch of these finished records.

        Its receipt stands for all batches that were owed: which of them a finished record is made of is not asked, only
        which of them have records pending still, so that nothing is settled too early.
        """
        count = sum(j.size for j in joined)
        size = self.size * count // self.records
        self.records -= count
        self.size -= size
        owed, self._owed = self._owed, []
        if self.records:
            pending = {id(span.source) for span in self._joiner.open_spans()}
            self._owed = [receipt for receipt in owed if id(receipt) in pending]
            for receipt in self._owed:
                receipt.share()
        return RecordBatch(self._tag, [record_of(j) for j in joined], size, receipt_for(owed))

    def __repr__(self) -> str:
        return f"Stream({self.source!r}, {self._tag!r}, {self.records} records pending, {self.size} bytes)"


def record_of(joined: Joined) -> Record:
    """A finished record as it goes on."""
    metadata = joined.metadata
    if joined.truncated:
        metadata = {**(metadata or {}), "multiline_truncated": True}
    return Record(joined.time_ns, joined.body, metadata)
