"""stdout: records as lines, and unchanged behind it."""

from __future__ import annotations

import io

from shipper.filters.stdout import StdoutFilter, StdoutOptions
from shipper.record import Record, RecordBatch
from shipper.testing import BlockContent, context_of


def test_records_are_printed_with_their_number_tag_and_time() -> None:
    printed = io.BytesIO()
    one = StdoutFilter(StdoutOptions(), context_of("filter"), io.TextIOWrapper(printed))
    body = {"a": "x", "n": None, "f": 1.5, "l": [1, "b"], "t": True}
    one.apply(RecordBatch("tag", [Record(1_000_000_007, body), Record(5, {}, {"m": 1})], 10))

    assert printed.getvalue().decode() == (
        '[0] tag: [1.000000007, {}, {"a"=>"x", "n"=>nil, "f"=>1.500000, "l"=>[1, "b"], "t"=>true}]\n'
        '[1] tag: [0.000000005, {"m"=>1}, {}]\n'
    )


def test_the_batch_goes_on_as_it_is() -> None:
    content = BlockContent([{"a": 1}])
    batch = RecordBatch("t", content, 10)
    one = StdoutFilter(StdoutOptions(), context_of("filter"), io.TextIOWrapper(io.BytesIO()))

    assert one.apply(batch) is batch
    assert batch.content is content
