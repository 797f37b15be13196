"""Take records and forget them."""

from __future__ import annotations

from ..buffers.base import BatchLimits, Delivery
from ..context import Context
from .base import Output
from .record_format import FormatOptions, chosen_renderer, runs_of_one_tag


class NullOptions(FormatOptions):
    """Options of the null output; with a format the records are printed before they are forgotten."""


class NullOutput(Output):
    """Delivers to nowhere. Without a format it does not look at the records at all."""

    Options = NullOptions
    limits = BatchLimits(size=8_000_000, records=100_000)

    def __init__(self, options: NullOptions, context: Context) -> None:
        self._render = None if options.format == "msgpack" else chosen_renderer(options, context)

    async def send(self, delivery: Delivery) -> None:
        """Forget the delivery."""
        if self._render is not None:
            for tag, batches in runs_of_one_tag(delivery.batches):
                self._render(tag, batches)
