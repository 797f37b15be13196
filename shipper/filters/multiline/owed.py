"""Receipts of records that are made from those of several batches."""

from __future__ import annotations

from collections.abc import Sequence

from ...record import Receipt


def receipt_for(owed: Sequence[Receipt]) -> Receipt:
    """A receipt that settles each of the given ones once, when it is settled itself."""
    if len(owed) == 1:
        return owed[0]

    def settle_all() -> None:
        for receipt in owed:
            receipt.settle()

    return Receipt(settle_all)
