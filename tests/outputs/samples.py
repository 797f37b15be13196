"""The records that the vectors of the outputs are written for."""

from __future__ import annotations

from shipper.buffers.base import Delivery
from shipper.record import Record, RecordBatch

TAG = "my/tag:x"

S1 = Record(
    1_700_000_000_123_000_000,
    {
        "s": 'he"llo\\ é\n\x01😀/',
        "i": -5,
        "u": 18446744073709551615,
        "f": 1.5,
        "f2": 2.0,
        "e": 1e300,
        "t": True,
        "n": None,
        "a": [1, "x", {}],
        "m": {"k": "v", "": {}},
        "dup": 2,  # of two pairs with this key the last one is kept
    },
)
S2 = Record(1_700_000_001_000_000_000, {"k": "v2"})
F1 = Record(1_700_000_000_500_000_000, {"k": "v"})


def sample_batch(*records: Record, tag: str = TAG) -> RecordBatch:
    """A batch of these records, 100 bytes each."""
    return RecordBatch(tag, list(records), 100 * len(records))


def delivery_of(*batches: RecordBatch) -> Delivery:
    """A delivery as an output gets it."""
    return Delivery("", batches)
