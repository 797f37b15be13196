"""A shipper whose grep filter has a bug: it raises for every record with `bad` in it. No real filter can be made to."""

from __future__ import annotations

import sys

from shipper.cli import main
from shipper.filters.grep import GrepFilter
from shipper.record import RecordBatch

_apply = GrepFilter.apply


def _failing(self: GrepFilter, batch: RecordBatch) -> RecordBatch | None:
    if any("bad" in record.body["log"] for record in batch.content.records()):
        raise RuntimeError("this filter has a bug")
    return _apply(self, batch)


if __name__ == "__main__":
    GrepFilter.apply = _failing  # type: ignore[method-assign]
    sys.exit(main())
