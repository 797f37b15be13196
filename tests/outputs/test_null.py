"""null: nothing comes of records."""

from __future__ import annotations

import pytest

from shipper.outputs.null import NullOptions, NullOutput
from shipper.record import Body, Record, RecordBatch
from shipper.testing import context_of

from ..written_options import options_from
from .samples import F1, delivery_of, sample_batch


class Untouchable:
    """Content that may be counted and nothing else."""

    has_metadata = False

    def __len__(self) -> int:
        return 3

    def records(self) -> list[Record]:
        raise AssertionError("the records were looked at")

    def times_ns(self) -> list[int]:
        raise AssertionError("the times were looked at")

    def bodies(self) -> list[Body]:
        raise AssertionError("the bodies were looked at")

    def json_lines(self) -> None:
        raise AssertionError("the bodies were looked at")


async def test_records_are_not_looked_at_without_a_format() -> None:
    output = NullOutput(options_from(NullOptions, "", "output"), context_of("output"))
    delivery = delivery_of(RecordBatch("t", Untouchable(), 10))
    await output.send(delivery)

    assert delivery.progress is None


async def test_with_a_format_records_are_printed_before_they_are_forgotten() -> None:
    output = NullOutput(options_from(NullOptions, "Format json", "output"), context_of("output"))
    await output.send(delivery_of(sample_batch(F1)))

    with pytest.raises(AssertionError, match="looked at"):
        await output.send(delivery_of(RecordBatch("t", Untouchable(), 10)))
