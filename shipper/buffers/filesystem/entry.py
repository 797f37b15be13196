"""What is known of a stored batch while it waits or is being delivered."""

from __future__ import annotations

from ...record import RecordBatch

LONG_AGO = float("-inf")
"""When something was put that this process did not see come."""


class Entry:
    """A stored batch: what its delivery must know, where it is stored, and the batch itself while it is in memory.

    `path` is None while it is not stored, `time_ns` is when it was put. Of a batch that its output has in part, only
    the rest is here: `records` and `size` are those of the rest, and `had` are the records and bytes that are not. Of
    an entry that several readers got when it was put there is one object; `users` are the readers that have not
    finished it.
    """

    __slots__ = (
        "batch",
        "had",
        "offset",
        "outputs",
        "path",
        "put_at",
        "records",
        "sequence",
        "size",
        "stored",
        "tag",
        "time_ns",
        "users",
    )

    def __init__(
        self,
        sequence: int,
        outputs: tuple[str, ...],
        records: int,
        size: int,
        stored: int,
        time_ns: int,
        put_at: float,
        batch: RecordBatch,
    ) -> None:
        self.sequence = sequence
        self.outputs = outputs
        self.records = records
        self.size = size
        self.stored = stored
        self.time_ns = time_ns
        self.put_at = put_at
        self.tag = batch.tag
        self.batch: RecordBatch | None = batch
        self.had = (0, 0)
        self.path: str | None = None
        self.offset = 0
        self.users = 0

    def __repr__(self) -> str:
        return f"Entry({self.sequence}, {self.records} records, {self.size} bytes)"
