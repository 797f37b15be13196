"""Mode parser: join records by multiline parsers, over batches or within each."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import msgspec

from ...context import Context
from ...parsers.multiline import MultilineDefinition
from ...parsers.pending import Joined
from ...record import RecordBatch
from .stream import Stream, record_of

_MOST_STREAMS = 2000
_REMARK_EVERY_S = 60.0


class ParserMode:
    """Joins the records of each tag of each input apart from the others.

    A stream without pending records is kept, because its rules remember where they were; of many such streams the
    oldest are forgotten. `_pending` are the streams that have some, `_held` is how many they are by input. Without
    buffering nothing is pending between batches.
    """

    def __init__(
        self,
        definitions: Sequence[MultilineDefinition],
        key_content: str | None,
        flush_s: float,
        is_buffered: bool,
        context: Context,
    ) -> None:
        self._definitions = [
            msgspec.structs.replace(d, key_content=key, flush_timeout_s=flush_s)
            for d in definitions
            if (key := key_content or d.key_content) is not None
        ]
        keys = {d.key_content for d in self._definitions}
        self._key = keys.pop() if len(keys) == 1 else None
        """The field with the text, if all definitions look at the same."""
        self._is_buffered = is_buffered
        self._context = context
        self._log = context.log
        self._buffer_limit = int(context.service.multiline_buffer_limit)
        self._streams: dict[tuple[str, str], Stream] = {}
        self._pending: dict[tuple[str, str], Stream] = {}
        self._held: Counter[str] = Counter()
        self._ready: dict[str, list[RecordBatch]] = {}
        self._emitted = context.counter("emit_records_total")
        self._truncated = context.counter("emit_truncated_total")

    def take(self, batch: RecordBatch, source: str) -> RecordBatch | None:
        if not self._definitions or not len(batch):
            return batch
        key = (source, batch.tag)
        stream = self._stream(key)
        if self._key is not None and stream.leaves_alone(batch, self._key):
            if self._is_buffered:
                self._emitted.add(len(batch))
            return batch
        if not self._is_buffered:
            joined = stream.join_all(batch)
            self._tell_truncated(joined)
            batch.records = [record_of(j) for j in joined]
            return batch
        self._emitted.add(len(batch))
        self._held[source] += len(batch)
        self._hand_out(key, stream, stream.take(batch, self._context.clock.monotonic()))
        return None

    def handed_out(self, source: str) -> list[RecordBatch]:
        return self._ready.pop(source, [])

    def held(self, source: str) -> int:
        return self._held[source]

    def release(self, source: str, now: float | None) -> float | None:
        due: float | None = None
        for key, stream in [(k, s) for k, s in self._pending.items() if s.source == source]:
            self._hand_out(key, stream, stream.release(now))
            deadline = stream.deadline()
            if deadline is not None and (due is None or deadline < due):
                due = deadline
        return due

    def _hand_out(self, key: tuple[str, str], stream: Stream, joined: Sequence[Joined]) -> None:
        if joined:
            self._tell_truncated(joined)
            self._held[stream.source] -= sum(j.size for j in joined)
            self._ready.setdefault(stream.source, []).append(stream.hand_out(joined))
        if stream.records:
            self._pending[key] = stream
        else:
            self._pending.pop(key, None)

    def _tell_truncated(self, joined: Sequence[Joined]) -> None:
        if truncated := sum(1 for j in joined if j.truncated):
            self._truncated.add(truncated)
            self._log.warning("multiline message truncated due to buffer limit", every=_REMARK_EVERY_S)

    def _stream(self, key: tuple[str, str]) -> Stream:
        found = self._streams.get(key)
        if found is None:
            self._forget_idle()
            found = Stream(*key, self._definitions, self._buffer_limit, self._context.clock.time_ns)
            self._streams[key] = found
        return found

    def _forget_idle(self) -> None:
        if len(self._streams) < _MOST_STREAMS:
            return
        idle = [key for key in self._streams if key not in self._pending]
        for key in idle[: len(idle) // 2 + 1]:
            del self._streams[key]
