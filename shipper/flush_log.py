"""What is logged of deliveries, in the words of Fluent Bit: people search for these lines, and alert on them.

A chunk there is a delivery here. It has a name and a number from the first line on that tells of it; the name is that
of the file if Fluent Bit has left it, and else one of the same form.
"""

from __future__ import annotations

import itertools
import os

from .buffers.base import Delivery
from .context import Context

_MOST_TAGS = 5


class FlushLog:
    """The lines about the deliveries of one output; `out_id` is its place among the outputs."""

    def __init__(self, context: Context, out_id: int) -> None:
        self._log = context.log
        self._clock = context.clock
        self._output = context.alias
        self._out_id = out_id
        self._numbers = itertools.count()

    def retried(self, input_name: str, delivery: Delivery, pause_s: float, reason: Exception) -> None:
        """A delivery has failed, and its destination is tried again after `pause_s` seconds."""
        self._log.warning(
            f"failed to flush chunk '{self._name(delivery)}', retry in {max(1, round(pause_s))} seconds: "
            f"{self._told(input_name, delivery)}",
            records=delivery.records,
            reason=reason,
        )

    def not_retried(self, input_name: str, delivery: Delivery, reason: Exception) -> None:
        """A delivery has failed and must not be tried again."""
        self._log.info(
            f"chunk '{self._name(delivery)}' is not retried (no retry config): {self._told(input_name, delivery)}",
            records=delivery.records,
            reason=reason,
        )

    def given_up(self, input_name: str, delivery: Delivery, reason: Exception) -> None:
        """A delivery has failed as often as it may."""
        self._log.error(
            f"chunk '{self._name(delivery)}' cannot be retried: {self._told(input_name, delivery)}",
            records=delivery.records,
            reason=reason,
        )

    def delivered(self, input_name: str, delivery: Delivery) -> None:
        """A delivery was made; nothing is told if it was new and went well at once."""
        if delivery.attempts:
            name, told = self._name(delivery), self._told(input_name, delivery)
            text = f"flush chunk '{name}' succeeded at retry {delivery.attempts}: {told}"
        elif delivery.is_replayed:
            text = f"flush backlog chunk '{self._name(delivery)}' succeeded: {self._told(input_name, delivery)}"
        else:
            return
        self._log.info(text, records=delivery.records)

    def dropped(self, input_name: str, delivery: Delivery, records: int, reason: str) -> None:
        """Records of a delivery will never be delivered."""
        self._log.error(
            "records dropped",
            records=records,
            tag=shown_tags(delivery.tags),
            reason=reason,
            chunk=f"'{self._name(delivery)}'",
            of=self._told(input_name, delivery),
        )

    def _name(self, delivery: Delivery) -> str:
        if not delivery.name:
            seconds, nanoseconds = divmod(self._clock.time_ns(), 1_000_000_000)
            delivery.name = f"{os.getpid()}-{seconds}.{nanoseconds}.flb"
        return delivery.name

    def _told(self, input_name: str, delivery: Delivery) -> str:
        if delivery.number is None:
            delivery.number = next(self._numbers)
        return f"task_id={delivery.number}, input={input_name} > output={self._output} (out_id={self._out_id})"


def shown_tags(tags: tuple[str, ...]) -> str:
    """The tags for a log line, the first few of them if there are many."""
    more = len(tags) - _MOST_TAGS
    return " ".join(tags[:_MOST_TAGS]) + (f" and {more} more" if more > 0 else "")
