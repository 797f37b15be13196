"""A shipper whose grep filter stands still at records with `wait` or `spin` in them, as a bug or a system can make it.

With `wait` it waits for the system; with `spin` it computes in one call that lets no other thread run, as a regular
expression does that tries everything. No real filter can be made to.
"""

from __future__ import annotations

import re
import sys
import time

from shipper.cli import main
from shipper.filters.grep import GrepFilter
from shipper.record import RecordBatch

_apply = GrepFilter.apply


def _blocking(self: GrepFilter, batch: RecordBatch) -> RecordBatch | None:
    texts = [str(record.body.get("log")) for record in batch.content.records()]
    if any("wait" in text for text in texts):
        time.sleep(60)
    if any("spin" in text for text in texts):
        re.match("(a|aa)+$", "a" * 60 + "b")
    return _apply(self, batch)


if __name__ == "__main__":
    GrepFilter.apply = _blocking  # type: ignore[method-assign]
    sys.exit(main())
