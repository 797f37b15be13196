"""What is still owed for deliveries that have left memory."""

from __future__ import annotations

from ...buffers.base import Delivery, Kept


class Owed:
    """A delivery whose records are in one or more spools; it is ended when all of them are."""

    __slots__ = ("_debts", "_delivery", "_kept", "_left", "_number")

    def __init__(self, debts: Debts, number: int, delivery: Delivery, spools: int) -> None:
        self._debts = debts
        self._number = number
        self._delivery = delivery
        self._kept: Kept = delivery.keep()
        self._left = spools

    def paid(self) -> None:
        """One of the spools is in S3, or its records have been counted as dropped."""
        self._left -= 1
        if self._left == 0:
            self._debts.ended(self._number)
            self._kept.settle()

    def dropped(self, records: int, reason: str) -> None:
        """One of the spools is given up, and so many records of this delivery with it."""
        self._delivery.refuse(records, reason)
        self.paid()


class Debts:
    """The deliveries that have not ended, in the order in which they came.

    An input cannot save that a record arrived while an earlier one of the same file is owed. So what is in S3 may come
    again after a kill until everything that came before it has ended; `mark` and `has_ended` tell when that is.
    """

    def __init__(self) -> None:
        self._open: dict[int, Owed] = {}
        self._next = 0

    def add(self, delivery: Delivery, spools: int) -> Owed:
        """A delivery that came now and is in so many spools."""
        owed = self._open[self._next] = Owed(self, self._next, delivery, spools)
        self._next += 1
        return owed

    def ended(self, number: int) -> None:
        """This delivery has ended."""
        del self._open[number]

    def mark(self) -> int:
        """A place behind all deliveries that have come so far."""
        return self._next

    def have_ended(self, mark: int) -> bool:
        """Whether all deliveries before this place have ended."""
        return next(iter(self._open), mark) >= mark
