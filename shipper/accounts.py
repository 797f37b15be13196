"""The account of an output: each record of a delivery is counted once, as delivered or as dropped for a reason."""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from operator import itemgetter
from typing import TYPE_CHECKING

from .buffers.base import Delivery
from .context import Context
from .metrics import LATENCY_BOUNDS_S
from .outputs.base import Output
from .record import Record

if TYPE_CHECKING:
    from .buffers.filesystem import RejectedStore


def count_dropped(output: Context, input_name: str, records: int, size: int, reason: str) -> None:
    """Count records of an input that end at an output, or on the way to it."""
    output.dropped(records, size, reason)
    count = output.metrics.counter
    count("routing_drop_records_total", input=input_name, output=output.alias).add(records)
    count("routing_drop_bytes_total", input=input_name, output=output.alias).add(size)


def rows_left(output: Output, delivery: Delivery) -> list[list[int]] | None:
    """For each batch of a delivery the rows that are neither delivered nor refused; None if the output cannot tell."""
    if delivery.filtered is not None:
        return None
    left = output.left(delivery)
    if left is None or sum(map(len, left)) != delivery.records - delivery.accepted - delivery.refused_records:
        return None
    return left


class Accounts:
    """Counts what becomes of the deliveries of one output; what is refused is kept in `rejected`, if that is there."""

    def __init__(self, output: Output, context: Context, rejected: RejectedStore | None) -> None:
        self._output = output
        self._context = context
        self._clock = context.clock
        self._rejected = rejected
        self._proc_records = context.counter("proc_records_total")
        self._proc_bytes = context.counter("proc_bytes_total")

    def finish(self, input_name: str, delivery: Delivery, accepted: int, refusal: str | None, words: str) -> int:
        """Count a delivery that has ended; with `refusal` what is left of it is dropped, and the number of that given.

        `words` are what the destination said last, for the store of rejected records.
        """
        self.count_done(input_name, delivery, accepted)
        rest = delivery.records - delivery.refused_records - accepted
        if not rest or refusal is None:
            return 0
        count_dropped(self._context, input_name, rest, delivery.share(rest), refusal)
        self._keep_rest(delivery, refusal, words)
        return rest

    def count_done(self, input_name: str, delivery: Delivery, accepted: int) -> None:
        """Count what of the delivery is delivered, and what was refused or taken out."""
        self.keep_refused(delivery)
        for reason, (records, size) in delivery.refused.items():
            count_dropped(self._context, input_name, records, size, reason)
        if filtered := delivery.filtered:
            self._count_filtered(filtered, delivery)
        if accepted:
            latency = self._clock.monotonic() - delivery.started
            self._context.metrics.histogram(
                "output_latency_seconds", LATENCY_BOUNDS_S, input=input_name, output=self._context.alias
            ).observe(latency)
        self._proc_records.add(accepted)
        self._proc_bytes.add(delivery.share(accepted))

    def keep_refused(self, delivery: Delivery) -> None:
        """Hand what the destination has refused alone over to the store of rejected records."""
        if self._rejected is not None:
            for refusal in delivery.refusals:
                self._keep_records(refusal.which(), refusal.status or refusal.reason, refusal.message)
        delivery.refusals.clear()

    def _count_filtered(self, filtered: int, delivery: Delivery) -> None:
        """Count what the processors of the output took out, or have made more."""
        if filtered > 0:
            self._context.dropped(filtered, delivery.share(filtered), "filtered", wanted=True)
        else:
            self._context.counter("added_records_total").add(-filtered)

    def _keep_rest(self, delivery: Delivery, reason: str, words: str) -> None:
        """The same for what is left of a delivery that has failed; all of it if it is not known which records are."""
        if self._rejected is None:
            return
        batches = [(batch.tag, batch.content.records()) for batch in delivery.batches]
        if delivery.accepted or delivery.refused:
            left = rows_left(self._output, delivery)
            if left is not None:
                batches = [
                    (tag, [records[r] for r in rows]) for (tag, records), rows in zip(batches, left, strict=True)
                ]
            else:
                words = f"{words} (some of the {delivery.records} records may have been delivered)".lstrip()
        self._keep_records(((tag, record) for tag, records in batches for record in records), reason, words)

    def _keep_records(self, records: Iterable[tuple[str, Record]], status: str, words: str) -> None:
        assert self._rejected is not None
        for tag, run in itertools.groupby(records, key=itemgetter(0)):
            self._rejected.keep(self._context.alias, status, words, tag, [record for _, record in run])
