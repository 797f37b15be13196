"""Mode partial_message: join the parts into which Docker's fluentd driver splits long lines."""

from __future__ import annotations

from collections import Counter
from typing import Any

from ...context import Context
from ...record import Body, Receipt, Record, RecordBatch
from .owed import receipt_for

_REMARK_EVERY_S = 60.0

_Key = tuple[str, str, str]


class _Message:
    """The parts of one message so far.

    `fields` are those of the first part that the joined record keeps; `owed` holds a share of the receipt of every
    batch that a part came with, except the batch that is being taken.
    """

    __slots__ = ("deadline", "fields", "metadata", "owed", "parts", "size", "time_ns")

    def __init__(self, first: Record, content_key: str) -> None:
        self.time_ns = first.time_ns
        self.metadata = first.metadata
        self.fields = {k: v for k, v in first.body.items() if k != content_key and not k.startswith("partial_")}
        self.parts: list[str] = []
        self.size = 0
        self.owed: list[Receipt] = []
        self.deadline = 0.0

    def joined(self, content_key: str) -> Record:
        body: Body = {**self.fields, content_key: "".join(self.parts)}
        return Record(self.time_ns, body, self.metadata)


class PartialMessageMode:
    """Joins the parts of each partial_id of each tag of each input.

    A message goes on in the place of its last part; one whose last part does not come in `flush_s` after the one before
    is handed out as it is.
    """

    def __init__(self, content_key: str, flush_s: float, context: Context) -> None:
        self._content_key = content_key
        self._flush_s = flush_s
        self._clock = context.clock
        self._log = context.log
        self._messages: dict[_Key, _Message] = {}
        self._held: Counter[str] = Counter()
        self._ready: dict[str, list[RecordBatch]] = {}
        self._emitted = context.counter("emit_records_total")

    def take(self, batch: RecordBatch, source: str) -> RecordBatch | None:
        records = batch.records
        if not any("partial_message" in r.body for r in records):
            return batch
        touched: dict[_Key, _Message] = {}
        kept: list[Record] = []
        owed: list[Receipt] = []
        size_each = batch.size // len(records)
        size = batch.size
        for record in records:
            partial_id = self._partial_id(record.body)
            if partial_id is None:
                kept.append(record)
                continue
            key = (source, batch.tag, partial_id)
            message = self._add(key, record)
            message.size += size_each
            size -= size_each
            touched[key] = message
            if _is_true(record.body.get("partial_last")):
                del touched[key]
                kept.append(self._take_out(key))
                owed += message.owed
                size += message.size
        self._keep(touched, batch.receipt)
        if not kept:
            return None
        batch.records = kept
        batch.size = size
        batch.receipt = receipt_for([batch.receipt, *owed])
        return batch

    def handed_out(self, source: str) -> list[RecordBatch]:
        return self._ready.pop(source, [])

    def held(self, source: str) -> int:
        return self._held[source]

    def release(self, source: str, now: float | None) -> float | None:
        due: float | None = None
        for key, message in [(k, m) for k, m in self._messages.items() if k[0] == source]:
            if now is None or message.deadline <= now:
                batch = RecordBatch(key[1], [self._take_out(key)], message.size, receipt_for(message.owed))
                self._ready.setdefault(source, []).append(batch)
            elif due is None or message.deadline < due:
                due = message.deadline
        return due

    def _add(self, key: _Key, record: Record) -> _Message:
        message = self._messages.get(key)
        if message is None:
            message = self._messages[key] = _Message(record, self._content_key)
        message.parts.append(record.body[self._content_key])
        self._held[key[0]] += 1
        self._emitted.add()
        return message

    def _take_out(self, key: _Key) -> Record:
        """The record that the message of this key becomes; the next part begins another message."""
        message = self._messages.pop(key)
        self._held[key[0]] -= len(message.parts)
        return message.joined(self._content_key)

    def _keep(self, messages: dict[_Key, _Message], receipt: Receipt) -> None:
        """Owe the receipt for every message that has parts of its batch and waits for more."""
        deadline = self._clock.monotonic() + self._flush_s
        for message in messages.values():
            receipt.share()
            message.owed.append(receipt)
            message.deadline = deadline

    def _partial_id(self, body: Body) -> str | None:
        """The id of a part; None for a record that is none, or that cannot be joined."""
        if not _is_true(body.get("partial_message")):
            return None
        if (partial_id := body.get("partial_id")) is None:
            self._log.warning("a record says partial_message and has no partial_id", every=_REMARK_EVERY_S)
            return None
        if not isinstance(body.get(self._content_key), str):
            self._log.error(
                "a partial message has no text in multiline.key_content; it goes on as it is",
                every=_REMARK_EVERY_S,
                key=self._content_key,
            )
            return None
        return str(partial_id)


def _is_true(value: Any) -> bool:
    return isinstance(value, str) and value[:4].lower() == "true"
